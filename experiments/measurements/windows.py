"""One long answer against windows side by side: WER and seconds of sessions of five minutes and of an hour.

    python experiments/measurements/windows.py STAGE
    python experiments/measurements/windows.py STAGE --one OTHER_STAGE --data corpus.init_args.test_sessions=120

STAGE is the folder of a stage whose transcripts are asked for in windows (data.transcript.init_args.windows). The
sessions are test sessions of its corpus, joined until they are long enough. Each is heard once, in parts as long as the
model has room for. Every part is then transcribed twice from the same memory: as one answer, and in windows. Seconds of
hearing and of writing are counted apart. The hour's errors are also counted by blocks of ten minutes: its words are
aligned with the reference as a whole, and an inserted word belongs to the block of the reference word before it.

--one names a stage that was trained without windows, for the one long answer. Each stage then hears the audio itself.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jiwer
import torch
import yaml
from lhotse.cut import Cut
from torch import Tensor

from experiments.measurements.record import RESULTS, commit_of_tree, record
from speech_xl import SAMPLE_RATE
from speech_xl.data.audio import load_audio
from speech_xl.data.session_part import session_offset
from speech_xl.data.transcript import Transcript
from speech_xl.evaluation.normaliser import units
from speech_xl.inference import ListeningModel, load_stage
from speech_xl.inference.parts import part_seconds, quietest, search_samples
from speech_xl.run.comparison import changed
from speech_xl.run.configs import ConfigError
from speech_xl.run.trained_stage import TrainedStage

ONE, WINDOWS = "one", "windows"  # the ways, as in the record's keys
BLOCK_SECONDS = 600.0


@dataclass(frozen=True)
class Session:
    """Audio [S] at 16 kHz, and (second, text) of what is said in it, in order."""

    audio: Tensor
    spoken: list[tuple[float, str]]


@dataclass
class Written:
    """What a way made of a session: its text, seconds of hearing and of writing, and whether all parts are whole."""

    text: str = ""
    heard_seconds: float = 0.0
    decode_seconds: float = 0.0
    unfinished: int = 0


@dataclass
class Way:
    """How transcripts are asked for: by which model, and in which windows (None: one answer)."""

    model: ListeningModel
    windows: Any = None
    written: list[Written] = field(default_factory=list)


def joined(cuts: Iterable[Cut], seconds: float, most: int, transcript: Transcript) -> list[Session]:
    """Sessions of at least so many seconds, each of the next recordings; at most so many sessions.

    Raises ValueError where there isn't audio enough for one.
    """
    made: list[Session] = []
    audio, spoken, length = [], [], 0
    for cut in cuts:
        samples = load_audio(cut)
        offset = length / SAMPLE_RATE - session_offset(cut)
        spoken += [(offset + second, text) for second, text in transcript.spoken(cut)]
        audio.append(samples)
        length += len(samples)
        if length >= seconds * SAMPLE_RATE:
            made.append(Session(torch.cat(audio), spoken))
            audio, spoken, length = [], [], 0
            if len(made) == most:
                break
    if not made:
        raise ValueError(
            f"the sessions have {length / SAMPLE_RATE:.0f} s in all and {seconds:g} are asked for; ask for less, or "
            "for more sessions of the corpus (--data corpus.init_args.test_sessions=N)"
        )
    return made


def parts(audio: Tensor, longest: int) -> list[Tensor]:
    """Audio [S] cut as the transcriber cuts it: each part at the quietest moment of its last seconds."""
    made, search = [], search_samples(longest)
    while len(audio) > longest:
        place = longest - search + quietest(audio[longest - search : longest])
        made.append(audio[:place])
        audio = audio[place:]
    return [*made, audio]


@torch.no_grad()
def transcribe(audio: Tensor, ways: Sequence[Way], ratio: int, longest: int) -> list[Written]:
    """What each way writes of audio [S]; ways of the same model write from the same memory."""
    made = [Written() for _ in ways]
    for part in parts(audio, longest):
        memories: dict[int, tuple[Any, float]] = {}
        for way, one in zip(ways, made, strict=True):
            model = way.model
            if id(model) not in memories:
                begin = time.perf_counter()
                memory = model.listen(part, rate=SAMPLE_RATE, ratio=ratio)
                memory.finish()
                memories[id(model)] = memory, time.perf_counter() - begin
            memory, heard = memories[id(model)]
            model.transcript.windows = way.windows
            begin = time.perf_counter()
            said = memory.ask(model.transcript.instruction)
            one.decode_seconds += time.perf_counter() - begin
            one.heard_seconds += heard
            one.unfinished += not said.finished
            one.text = " ".join(f"{one.text} {model.transcript.words(said.text)}".split())
    return made


def block_errors(
    spoken: Sequence[tuple[float, str]], text: str, borders: Sequence[float] = ()
) -> list[tuple[int, int]]:
    """(word errors, reference words) of each block between these seconds, from one alignment of the whole text."""
    placed = [(bisect_right(borders, second), word) for second, said in spoken for word in units(said)]
    counts = [[0, 0] for _ in range(len(borders) + 1)]
    for block, _ in placed:
        counts[block][1] += 1
    reference, hypothesis = " ".join(word for _, word in placed), " ".join(units(text))
    for chunk in jiwer.process_words(reference, hypothesis).alignments[0]:
        if chunk.type == "insert":
            block = placed[max(0, chunk.ref_start_idx - 1)][0]
            counts[block][0] += chunk.hyp_end_idx - chunk.hyp_start_idx
        elif chunk.type != "equal":
            for index in range(chunk.ref_start_idx, chunk.ref_end_idx):
                counts[placed[index][0]][0] += 1
    return [(errors, words) for errors, words in counts]


def wer(sessions: Sequence[Session], written: Sequence[Written]) -> float:
    """Micro WER in percent."""
    counts = [block_errors(one.spoken, said.text)[0] for one, said in zip(sessions, written, strict=True)]
    return 100 * sum(errors for errors, _ in counts) / sum(words for _, words in counts)


def row_of(audio: str, sessions: Sequence[Session], ways: dict[str, list[Written]]) -> dict[str, Any]:
    """A row of the record: of both ways WER in percent, and seconds of all sessions together."""
    row: dict[str, Any] = {"audio": audio, "sessions": len(sessions)}
    row["audio_seconds"] = round(sum(len(one.audio) for one in sessions) / SAMPLE_RATE, 1)
    row["words"] = sum(len(units(text)) for one in sessions for _, text in one.spoken)
    for name, written in ways.items():
        row[f"wer_{name}"] = round(wer(sessions, written), 2)
        decode, heard = sum(one.decode_seconds for one in written), sum(one.heard_seconds for one in written)
        row[f"decode_seconds_{name}"], row[f"total_seconds_{name}"] = round(decode, 2), round(decode + heard, 2)
        row[f"unfinished_{name}"] = sum(one.unfinished for one in written)
        row["heard_seconds"] = round(heard, 2)
    return row


def blocks_of(session: Session, ways: dict[str, Written], seconds: float = BLOCK_SECONDS) -> list[dict[str, Any]]:
    """WER in percent of each block of so many seconds of both ways; what is left at the end is of the last block."""
    count = max(1, round(len(session.audio) / SAMPLE_RATE / seconds))
    borders = [seconds * number for number in range(1, count)]
    found = {name: block_errors(session.spoken, written.text, borders) for name, written in ways.items()}
    rows = []
    for number, counts in enumerate(zip(*found.values(), strict=True)):
        row: dict[str, Any] = {"minutes": f"{number * seconds / 60:g} to {(number + 1) * seconds / 60:g}"}
        row["words"] = counts[0][1]
        row |= {f"wer_{name}": round(100 * e / n, 2) if n else None for name, (e, n) in zip(found, counts, strict=True)}
        rows.append(row)
    return rows


def summary_of(rows: Sequence[dict[str, Any]], blocks: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Of the sessions WER of both ways and how much faster windows are written; of the hour also two blocks."""
    short, hour = rows
    return {
        "wer_one": short["wer_one"],
        "wer_windows": short["wer_windows"],
        "speedup": round(short["decode_seconds_one"] / short["decode_seconds_windows"], 2),
        "speedup_total": round(short["total_seconds_one"] / short["total_seconds_windows"], 2),
        "hour_wer_one": hour["wer_one"],
        "hour_wer_windows": hour["wer_windows"],
        "hour_speedup": round(hour["decode_seconds_one"] / hour["decode_seconds_windows"], 2),
        "hour_wer_first_block": blocks[0]["wer_windows"],
        "hour_wer_last_block": blocks[-1]["wer_windows"],
        "hour_wer_one_first_block": blocks[0]["wer_one"],
        "hour_wer_one_last_block": blocks[-1]["wer_one"],
    }


def measure(
    ways: dict[str, Way], sessions: Sequence[Session], ratio: int, longest: int
) -> tuple[dict[str, Any], dict[str, list[Written]]]:
    """The row of some sessions, and what each way wrote of each."""
    written: dict[str, list[Written]] = {name: [] for name in ways}
    audio = f"{_minutes(*sessions)} minutes"
    for number, session in enumerate(sessions, 1):
        for name, one in zip(ways, transcribe(session.audio, list(ways.values()), ratio, longest), strict=True):
            written[name].append(one)
        told = ", ".join(f"{name} {wer([session], some[-1:]):.1f} %" for name, some in written.items())
        print(f"{audio}, {number} of {len(sessions)}: WER {told}", flush=True)
    return row_of(audio, sessions, written), written


def _minutes(*sessions: Session) -> str:
    """Their mean length."""
    return f"{sum(len(one.audio) for one in sessions) / len(sessions) / SAMPLE_RATE / 60:.3g}"


def prepare(given: argparse.Namespace) -> tuple[dict[str, Way], int, int, str, list[Session], Session]:
    """Ways, ratio, longest samples of a part, name of the corpus, sessions of some minutes and the long one.

    Raises ConfigError for a folder or a key that can't be used, ValueError for other values.
    """
    stage, windowed = TrainedStage.of(given.stage), load_stage(given.stage, given.device)
    if windowed.transcript.windows is None:
        raise ValueError(f"{given.stage}: data.transcript.init_args.windows is null; give a stage trained with windows")
    if given.window_seconds is not None:
        windowed.transcript.windows = replace(windowed.transcript.windows, seconds=given.window_seconds)
    whole = windowed if given.one is None else load_stage(given.one, given.device)
    ways = {ONE: Way(whole), WINDOWS: Way(windowed, windowed.transcript.windows)}
    ratio = given.ratio or windowed.default_ratio
    longest = min(round(part_seconds(way.model, ratio, given.part_seconds) * SAMPLE_RATE) for way in ways.values())
    changes = {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in given.data)}
    if own := [key for key in changes if key.split(".")[0] == "transcript"]:
        raise ValueError(f"--data {own[0]}: the stage has its own; --window_seconds sets the length of windows")
    data = stage.data(changed(stage.config["data"], changes))
    cuts = list(data.cuts(given.split))
    short = joined(cuts, given.seconds, given.sessions, windowed.transcript)
    (hour,) = joined(cuts, given.hour_seconds, 1, windowed.transcript)
    return ways, ratio, longest, data.corpus.name, short, hour


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", type=Path, help="folder of the stage that is asked in windows")
    parser.add_argument("--one", type=Path, help="folder of the stage for one long answer (STAGE)")
    parser.add_argument("--data", nargs="*", default=[], metavar="KEY=VALUE", help="keys of the stage's data, changed")
    parser.add_argument("--split", default="test", choices=("dev", "test"))
    parser.add_argument("--ratio", type=int, help="frames an SST stands for (the stage's default)")
    parser.add_argument("--sessions", type=int, default=12, help="how many of about five minutes (12)")
    parser.add_argument("--seconds", type=float, default=300.0, help="of a session (300)")
    parser.add_argument("--hour_seconds", type=float, default=3600.0, help="of the long one (3600)")
    parser.add_argument("--part_seconds", type=float, help="longest part (as long as the model has room for)")
    parser.add_argument("--window_seconds", type=float, help="length of a window (the stage's)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the record (docs/results)")
    given = parser.parse_args()
    commit = commit_of_tree()
    try:
        prepared = prepare(given)
    except (ConfigError, ValueError) as error:
        parser.error(str(error))
    ways, ratio, longest, corpus, short, hour = prepared
    of_short, _ = measure(ways, short, ratio, longest)
    of_hour, written = measure(ways, [hour], ratio, longest)
    rows, blocks = [of_short, of_hour], blocks_of(hour, {name: one for name, (one,) in written.items()})
    names = {str(given.stage): "STAGE", str(given.one): "OTHER_STAGE", str(given.out): "DIR"}
    path = record(
        "windows",
        summary_of(rows, blocks) | {"split": given.split},
        command=shlex.join(["python", "experiments/measurements/windows.py", *(names.get(w, w) for w in sys.argv[1:])]),
        data=(
            f"{given.split} sessions of {corpus}, joined to {len(short)} of {_minutes(*short)} minutes on average and "
            f"one of {_minutes(hour)} minutes, at {ratio}x, in parts of at most {longest / SAMPLE_RATE:.0f} s"
        ),
        items=len(short) + 1,
        commit=commit,
        folder=given.out,
        unit="WER, %; seconds of all sessions of a row together",
        window_seconds=ways[WINDOWS].windows.seconds,
        rows=rows,
        blocks=blocks,
    )
    print(f"written: {path}")


if __name__ == "__main__":
    main()
