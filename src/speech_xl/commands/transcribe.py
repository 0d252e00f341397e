"""`speech-xl transcribe`: what is said in audio files, as text, JSON or subtitles."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from speech_xl.commands.model_options import add_model_options, add_ratio_option, loaded, stage_of, warn
from speech_xl.commands.progress import heard_bar
from speech_xl.run.arguments import real_number
from speech_xl.run.configs import ConfigError
from speech_xl.storage.files import check_writable, write_text

if TYPE_CHECKING:
    from speech_xl.data.decode import AudioFile
    from speech_xl.inference import ListeningModel, Transcription

HELP = "write down what is said in audio files of any kind and length"
EXAMPLES = """examples:
  speech-xl transcribe talk.m4a                                text, to stdout
  speech-xl transcribe talk.mp4 --format srt > talk.srt        subtitles
  speech-xl transcribe *.m4a --format vtt --output-dir out     a file each: out/talk.vtt
  speech-xl transcribe talk.m4a --format json --ratio 8 --model runs/mine/sst

JSON holds segments with times, words where the model times them, seconds heard, and KV bytes kept.

Long audio is heard in parts that fit the LLM, cut where it is quiet; each part's memory is dropped once it is written
down. A file that can't be read is named at the end; the others are transcribed all the same. Exit status: 0, and 2
where a file was left out.
"""
FORMATS = ("txt", "json", "srt", "vtt")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("audio", nargs="+", metavar="AUDIO", help="files of any kind: wav, mp3, m4a, mp4, webm, ...")
    parser.add_argument("--format", choices=FORMATS, default="txt", help="(%(default)s)")
    parser.add_argument(
        "--output-dir",
        type=Path,
        metavar="DIR",
        help="write NAME.FORMAT there (stdout for one file; the working directory for several)",
    )
    parser.add_argument("--overwrite", action="store_true", help="write over files that are there")
    add_ratio_option(parser)
    parser.add_argument(
        "--part-seconds",
        type=real_number(least=1.0, unit="seconds"),
        metavar="SECONDS",
        help="longest part that is heard at once (what the LLM's context and its timestamps allow)",
    )
    add_model_options(parser)


def run(given: argparse.Namespace) -> None:
    """Raises what `exit_on_user_error` knows, where a user can mend it; SystemExit where files were left out."""
    targets = targets_of(given)
    stage = stage_of(given)
    from speech_xl.data.decode import AudioError, AudioFile
    from speech_xl.inference.parts import part_seconds

    files, failed = [], []
    for path in targets:  # all of them, before any is heard
        try:
            files.append(AudioFile.of(path))
        except AudioError as error:
            failed.append(str(error))
    if files:
        model = loaded(stage, given)
        ratio = model.default_ratio if given.ratio is None else given.ratio
        model.listen(ratio=ratio)  # refuses a ratio that the model can't have
        part_seconds(model, ratio, given.part_seconds)
        for file in files:
            try:
                write(transcribed(model, file, given), targets[file.path], given.format)
            except AudioError as error:  # changed since it was looked at
                failed.append(str(error))
    for message in failed:
        print(f"error: {message}", file=sys.stderr)
    if failed:
        if len(targets) > 1:
            print(f"{len(failed)} of {len(targets)} files left out", file=sys.stderr)
        raise SystemExit(2)


def targets_of(given: argparse.Namespace) -> dict[str, Path | None]:
    """Audio file -> where its transcript goes, None: stdout. Raises ConfigError where it would write over a file."""
    paths = list(dict.fromkeys(given.audio))
    if given.output_dir is None and len(paths) == 1:
        return {paths[0]: None}
    folder = given.output_dir or Path()
    check_writable(folder, "--output-dir")
    targets: dict[str, Path | None] = {}
    owners: dict[Path, str] = {}
    for path in paths:
        target = folder / f"{Path(path).stem}.{given.format}"
        if target in owners:
            raise ConfigError(
                f"{owners[target]} and {path} would both be written to {target}; transcribe one of them apart"
            )
        if target.exists() and (not given.overwrite or target.samefile(path)):
            raise ConfigError(f"{target} is there already; name another --output-dir, or add --overwrite")
        owners[target], targets[path] = path, target
    return targets


def transcribed(model: ListeningModel, file: AudioFile, given: argparse.Namespace) -> Transcription:
    """The transcript of a file; what who reads it should know goes to stderr."""
    for remark in file.remarks():
        warn(f"{file.path}: {remark}")
    with heard_bar(Path(file.path).name, file.seconds) as progress:
        found = model.transcribe(file, ratio=given.ratio, part_seconds=given.part_seconds, progress=progress)
    for remark in found.remarks:
        warn(f"{file.path}: {remark}")
    kept, full = (size / 2**20 for size in (found.kept_kv_bytes, found.full_kv_bytes))
    parts = f"in {found.parts} parts, " if found.parts > 1 else ""
    print(
        f"{file.path}: {found.audio_seconds_heard:.1f} s heard {parts}{kept:.2f} MiB of KV kept in place of {full:.2f}",
        file=sys.stderr,
    )
    return found


def write(found: Transcription, target: Path | None, form: str) -> None:
    """Write a transcript to a file, as a whole or not at all, or to stdout."""
    text = text_of(found, form)
    if target is None:
        sys.stdout.write(text)
        return
    write_text(target, text)
    print(target)


def text_of(found: Transcription, form: str) -> str:
    """The transcript in one of `FORMATS`."""
    if form == "json":
        return json.dumps(found.as_dict(), indent=2, ensure_ascii=False) + "\n"
    return {"txt": found.as_text, "srt": found.as_srt, "vtt": found.as_vtt}[form]()
