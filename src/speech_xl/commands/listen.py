"""`speech-xl listen`: hear audio files one behind the other as one session, and answer questions about it."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speech_xl import SHORTEST_SECONDS
from speech_xl.commands.model_options import add_model_options, add_ratio_option, loaded, stage_of, warn
from speech_xl.commands.progress import heard_bar
from speech_xl.run.arguments import not_blank, real_number, whole_number
from speech_xl.run.configs import ConfigError
from speech_xl.storage.files import check_target

if TYPE_CHECKING:
    from speech_xl.inference import Answer, ListeningModel, Memory

HELP = "hear audio files as one session and answer questions about it"
EXAMPLES = """examples:
  speech-xl listen talk.m4a --ask "who speaks?" --ask "what is it about?" --model runs/mine/sst
  speech-xl listen part1.mp3 part2.mp3 --ratio 8               a higher ratio keeps less
  speech-xl listen talk.m4a --save talk.memory                 heard once,
  speech-xl listen --load talk.memory --ask "who spoke first?" asked another time, by the same model
  speech-xl listen --load talk.memory more.m4a --ask "what is new?"
  speech-xl listen talk.m4a --ask "who speaks?" --json         with what was heard and kept, for programs

Without --ask it transcribes; of audio of any length `speech-xl transcribe` does that. Answers go to stdout, all else to
stderr.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("audio", nargs="*", metavar="AUDIO", help="files of any kind, heard in this order")
    parser.add_argument(
        "--ask", action="append", default=[], type=not_blank, metavar="TEXT", help="a question; may be repeated"
    )
    add_ratio_option(parser)
    parser.add_argument(
        "--interval",
        type=real_number(least=SHORTEST_SECONDS, unit="seconds"),
        metavar="SECONDS",
        help="length of an interval (as in training)",
    )
    parser.add_argument(
        "--limit", type=whole_number(), metavar="N", help="most tokens of an answer (512; of a transcript, more)"
    )
    parser.add_argument("--load", metavar="FILE", help="go on from a memory that --save wrote")
    parser.add_argument("--save", metavar="FILE", help="write the memory, to ask more another time")
    parser.add_argument("--overwrite", action="store_true", help="let --save write over a file that is there")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each answer")
    add_model_options(parser)


def run(given: argparse.Namespace) -> None:
    """Raises what `exit_on_user_error` knows, where a user can mend it."""
    if not given.audio and not given.load:
        raise ConfigError("nothing to hear: name audio files, or a memory with --load. See listen --help")
    stage = stage_of(given)  # a folder that holds no model is told first
    from speech_xl.data.decode import AudioFile
    from speech_xl.inference.memory import check_text

    files = [AudioFile.of(path) for path in given.audio]  # all of them, before any is heard
    for file in files:
        for remark in file.remarks():
            warn(f"{file.path}: {remark}")
    if given.save:
        check_save(given)  # before hours are heard
    model = loaded(stage, given)
    memory = memory_for(given, model)
    questions = given.ask or ([] if given.save else [model.transcript.instruction])
    for question in questions:
        check_text(model, question)
    for file in files:
        with heard_bar(Path(file.path).name, file.seconds) as progress:
            memory.push(file, progress=progress)
    if given.save:
        memory.save(given.save)  # before the end is heard: another time may go on from here
    memory.finish()  # once, not with every question
    say_heard(memory)
    for question in questions:
        answer(memory, question, given)


def check_save(given: argparse.Namespace) -> None:
    """Raises FileError or ConfigError where --save can't write, or would write over something."""
    check_target(given.save, "--save")
    target = Path(given.save)
    if not target.exists():
        return
    if any(target.samefile(path) for path in given.audio):
        raise ConfigError(f"--save {target}: is the audio that is to be heard; name another file")
    going_on = given.load and target.samefile(given.load)
    if not given.overwrite and not going_on:
        raise ConfigError(f"--save {target}: is there already; name another file, or add --overwrite")


def memory_for(given: argparse.Namespace, model: ListeningModel) -> Memory:
    """A memory as the command line says: a new one, or the one that `--load` names."""
    if not given.load:
        return model.listen(ratio=given.ratio, interval_seconds=given.interval)
    memory = model.load_memory(given.load)
    held = memory.listener.interval_seconds
    if given.interval not in (None, held):
        raise ConfigError(
            f"--interval {given.interval:g}: {given.load} was heard in intervals of {held:g} s; leave it out"
        )
    if given.ratio is not None:
        memory.ratio = given.ratio
    return memory


def say_heard(memory: Memory) -> None:
    kept, full = (size / 2**20 for size in (memory.kept_kv_bytes, memory.full_kv_bytes))
    what = f"{memory.kept_kv_tokens} KV tokens kept, {kept:.2f} MiB in place of {full:.2f} MiB"
    print(f"{memory.seconds:.1f} s heard, {what}", file=sys.stderr)


def answer(memory: Memory, question: str, given: argparse.Namespace) -> None:
    """Print an answer, a piece at a time; warn where it may not be all."""
    with memory.ask_stream(question, given.limit) as stream:
        for piece in stream:
            if not given.json:
                print(piece, end="", flush=True)
        said = stream.answer
    print(json.dumps(as_plain(question, said), ensure_ascii=False) if given.json else "")
    if said.reached_seconds is not None:
        rest = f"{memory.seconds - said.reached_seconds:.1f} s of {memory.seconds:.1f} s"
        warn(
            f"its timestamps reach {said.reached_seconds:.1f} s; what is said after that can't be written down "
            f"({rest}). `speech-xl transcribe` writes all"
        )
    elif not said.finished:
        print(f"cut at {said.new_tokens} tokens; --limit allows more", file=sys.stderr)
    elif question == memory.model.transcript.instruction:
        from speech_xl.inference.transcription import silent_end

        if (late := silent_end(memory.model.transcript, said.text, memory.seconds)) is not None:
            warn(late)


def as_plain(question: str, said: Answer) -> dict[str, Any]:
    return {"question": question, **asdict(said)}
