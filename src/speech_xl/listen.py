"""A trained stage as a listener: `load_model` and `Listener`, and `python -m speech_xl.listen` on the command line.

from speech_xl.listen import Listener, load_model
listener = Listener(load_model("runs/default/stage3"), ratio=4)
for piece in pieces:                       # float32 tensors at 16 kHz, of any length, as they come
    listener.push(piece)
print(listener.ask("how many speakers are there").text)
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser
from lhotse import Recording
from torch import Tensor
from tqdm import tqdm

from speech_xl import SAMPLE_RATE
from speech_xl.data.audio import AudioError, load_audio
from speech_xl.data.tasks import ASR_INSTRUCTION, TIMED_ASR_INSTRUCTION
from speech_xl.evaluation.predictions import answer_limit
from speech_xl.mistakes import message_of
from speech_xl.model import Listener, SpeechLLM
from speech_xl.phases import Phase
from speech_xl.stages import CONFIG, WEIGHTS, ConfigError

__all__ = ["Listener", "load_model"]

PIECE_SECONDS = 30.0
RATIO, INTERVAL_SECONDS = 4, 4.0  # of a new listener, where its stage says nothing else
ANSWER_TOKENS = 512


def load_model(folder: str | Path, device: str = "cpu") -> SpeechLLM:
    """The backbone of a finished stage, ready to listen; `folder` is the stage's own, such as ``runs/default/stage3``.

    Raises ConfigError where the folder holds no finished stage.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Phase, "model")
    phase = parser.instantiate(parser.parse_object({"model": config_of(folder)["model"]})).model
    phase.initial = Path(folder) / WEIGHTS
    phase.load()
    phase.backbone.rules = phase.rules
    return phase.backbone.eval().requires_grad_(False).to(device)


def config_of(folder: str | Path) -> dict[str, Any]:
    """The configuration a finished stage was trained with. Raises ConfigError where the folder holds none."""
    for name, what in ((CONFIG, "the configuration it was trained with"), (WEIGHTS, "its weights")):
        if not (Path(folder) / name).is_file():
            raise ConfigError(f"{Path(folder) / name} is missing, {what}: give the folder of a stage that is finished")
    return yaml.safe_load((Path(folder) / CONFIG).read_text(encoding="utf-8"))


def transcribing(folder: str | Path) -> str:
    """The instruction this stage learned to transcribe by."""
    return TIMED_ASR_INSTRUCTION if config_of(folder)["data"].get("time_marks") else ASR_INSTRUCTION


def tokens_per_second(folder: str | Path) -> float:
    """What this stage allows its answers."""
    return float(config_of(folder)["model"]["init_args"].get("max_tokens_per_second") or 8.0)


def longest_answer(folder: str | Path, question: str, seconds: float) -> int:
    """Tokens that an answer about so much audio may have: a transcript as many as in the stage's own evaluation."""
    if question not in (ASR_INSTRUCTION, TIMED_ASR_INSTRUCTION):
        return ANSWER_TOKENS
    return answer_limit("asr", seconds, tokens_per_second(folder))


def recording_of(path: str) -> Recording:
    """A file's description. Raises AudioError where it is missing or no audio."""
    try:
        found = Recording.from_file(path)
    except Exception as error:  # each of lhotse's audio backends has its own exception types
        why = "is missing" if not Path(path).exists() else f"can't be read as audio ({type(error).__name__})"
        raise AudioError(f"{path} {why}; name an audio file") from error
    if not found.num_samples:
        raise AudioError(f"{path} holds no audio; leave it out")
    return found


def pieces_of(recording: Recording) -> Iterator[Tensor]:
    """A file's audio in pieces, 16 kHz mono, resampled and mixed where needed; no more than one in memory."""
    for cut in recording.to_cut().cut_into_windows(PIECE_SECONDS):
        yield load_audio(cut)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m speech_xl.listen", description="Hear audio files one after another and answer questions."
    )
    parser.add_argument("folder", help="a finished stage, such as runs/default/stage3")
    parser.add_argument("audio", nargs="*", help="audio files, heard in this order as one session")
    parser.add_argument("--ask", action="append", default=[], metavar="TEXT", help="a question; may be repeated")
    parser.add_argument("--ratio", type=int, help=f"frames an SST stands for ({RATIO}; without SSTs 1, uncompressed)")
    parser.add_argument("--interval", type=float, help="length of an interval in seconds (as in training)")
    parser.add_argument("--limit", type=int, help=f"most tokens of an answer ({ANSWER_TOKENS}; of a transcript, more)")
    parser.add_argument("--load", metavar="FILE", help="go on from a memory that --save wrote")
    parser.add_argument("--save", metavar="FILE", help="write the memory, to ask more another time")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(%(default)s)")
    given = parser.parse_args(argv)
    try:
        run(given)
    except Exception as error:
        message = message_of(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        raise SystemExit(2) from error


def usual(folder: str | Path, model: SpeechLLM) -> tuple[int, float]:
    """Ratio and seconds of an interval where nothing else is asked for: what the stage can do, and was trained with."""
    partition = config_of(folder)["data"].get("partition") or {}
    told = partition.get("init_args", {})
    seconds = told.get("seconds", told.get("max_seconds", INTERVAL_SECONDS))
    return (1 if model.sst is None else RATIO), float(seconds)


def listener_for(given: argparse.Namespace, model: SpeechLLM) -> Listener:
    """A listener as the command line says: a new one, or the one whose memory `--load` names."""
    if not given.load:
        ratio, seconds = usual(given.folder, model)
        ratio = ratio if given.ratio is None else given.ratio
        return Listener(model, ratio, seconds if given.interval is None else given.interval)
    listener = Listener.load(given.load, model)
    if given.interval not in (None, listener.interval_seconds):
        held = f"{listener.interval_seconds:g} s"
        raise ConfigError(f"--interval {given.interval:g}: {given.load} was heard in intervals of {held}; leave it out")
    if given.ratio is not None:
        listener.ratio = given.ratio
    return listener


def run(given: argparse.Namespace) -> None:
    config_of(given.folder)  # a folder that holds no finished stage is told first
    recordings = [recording_of(path) for path in given.audio]  # all of them, before any is listened to
    listener = listener_for(given, load_model(given.folder, given.device))
    for path, recording in zip(given.audio, recordings, strict=True):
        with tqdm(total=round(recording.duration), desc=Path(path).name, unit="s") as bar:
            for piece in pieces_of(recording):
                listener.push(piece)
                bar.update(len(piece) / SAMPLE_RATE)
    if given.save:
        listener.save(given.save)  # before the end is heard: another time may go on from here
    listener.flush()  # once, not with every question
    print(f"{listener.seconds:.1f} s heard, {listener.kept} KV tokens kept", file=sys.stderr)
    for question in given.ask or ([] if given.save else [transcribing(given.folder)]):
        limit = given.limit or longest_answer(given.folder, question, listener.seconds)
        answer = listener.ask(question, limit)
        print(answer.text)
        if not answer.finished:
            print(f"cut at {limit} tokens; --limit allows more", file=sys.stderr)


if __name__ == "__main__":
    main()
