"""A trained stage as a listener: `load_model` and `Listener`, and `python -m speech_xl.listen` on the command line.

from speech_xl.listen import Listener, load_model
listener = Listener(load_model("runs/default/stage3"), ratio=4)
for piece in pieces:                       # float32 tensors at 16 kHz, of any length, as they come
    listener.push(piece)
print(listener.ask("how many speakers are there").text)
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from speech_xl import SAMPLE_RATE, SHORTEST_SECONDS
from speech_xl.data.decode import AudioFile
from speech_xl.data.transcript import ASR_INSTRUCTION, Transcript
from speech_xl.model import Listener, SpeechLLM
from speech_xl.model.context import check_question
from speech_xl.model.decoding_rules import DecodingRules
from speech_xl.run.arguments import device_option, not_blank, real_number, whole_number
from speech_xl.run.command import ConfigError
from speech_xl.run.trained_stage import FORCE_HELP, TrainedStage
from speech_xl.run.trust import TRUST_HELP
from speech_xl.run.user_errors import exit_on_user_error
from speech_xl.storage.files import check_target

__all__ = ["Listener", "load_model"]

RATIO = 4  # of a new listener, where its stage has SSTs
ANSWER_TOKENS = 512
INTERVAL = real_number(least=SHORTEST_SECONDS, unit="seconds")
LONGEST_UTTERANCE = 30.0  # seconds, without a timestamp amid it


def load_model(
    folder: str | Path, device: str = "cpu", trust_remote_code: bool = False, force: bool = False
) -> SpeechLLM:
    """The backbone of a finished stage, ready to listen; `folder` is the stage's own, such as ``runs/default/stage3``.

    trust_remote_code  run code that comes with its encoder or LLM; nothing in the folder can ask for that by itself
    force              use the weights even where the configuration isn't the one they were trained with

    Raises ConfigError where the folder holds no finished stage, or names classes that aren't of this package, and
    LineageError where its weights were trained with other settings or models.
    """
    return TrainedStage.of(folder, trust_remote_code, force).model(device)


def longest_answer(stage: TrainedStage, question: str, seconds: float) -> int:
    """Tokens that an answer about so much audio may have: a transcript as many as in the stage's own evaluation."""
    if question not in (ASR_INSTRUCTION, stage.transcript.instruction):
        return ANSWER_TOKENS
    return DecodingRules(stage.tokens_per_second).limit("asr", seconds)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m speech_xl.listen", description="Hear audio files one after another and answer questions."
    )
    parser.add_argument("folder", help="a finished stage, such as runs/default/stage3")
    parser.add_argument("audio", nargs="*", help="audio files, heard in this order as one session")
    parser.add_argument(
        "--ask", action="append", default=[], type=not_blank, metavar="TEXT", help="a question; may be repeated"
    )
    parser.add_argument(
        "--ratio", type=whole_number(), help=f"frames an SST stands for ({RATIO}; without SSTs 1, uncompressed)"
    )
    parser.add_argument("--interval", type=INTERVAL, help="length of an interval in seconds (as in training)")
    parser.add_argument(
        "--limit", type=whole_number(), help=f"most tokens of an answer ({ANSWER_TOKENS}; of a transcript, more)"
    )
    parser.add_argument("--load", metavar="FILE", help="go on from a memory that --save wrote")
    parser.add_argument("--save", metavar="FILE", help="write the memory, to ask more another time")
    device_option(parser)
    parser.add_argument("--trust_remote_code", action="store_true", help=TRUST_HELP)
    parser.add_argument("--force", action="store_true", help=FORCE_HELP)
    given = parser.parse_args(argv)
    if not given.audio and not given.load:
        parser.error("nothing to hear: name audio files, or a memory with --load")
    with exit_on_user_error():
        run(given)


def listener_for(given: argparse.Namespace, stage: TrainedStage) -> Listener:
    """A listener as the command line says: a new one, or the one whose memory `--load` names."""
    model = stage.model(given.device)
    if not given.load:
        ratio = given.ratio if given.ratio is not None else 1 if model.sst is None else RATIO
        return Listener(model, ratio, stage.interval_seconds if given.interval is None else given.interval)
    listener = Listener.load(given.load, model)
    if given.interval not in (None, listener.interval_seconds):
        held = f"{listener.interval_seconds:g} s"
        raise ConfigError(f"--interval {given.interval:g}: {given.load} was heard in intervals of {held}; leave it out")
    if given.ratio is not None:
        listener.ratio = given.ratio
    return listener


def run(given: argparse.Namespace) -> None:
    # A folder that holds no stage is told first.
    stage = TrainedStage.of(given.folder, given.trust_remote_code, given.force)
    files = [AudioFile.of(path) for path in given.audio]  # all of them, before any is listened to
    for file in files:
        for remark in file.remarks():
            warn(f"{file.path}: {remark}")
    if given.save:
        check_target(given.save, "--save")  # before hours are heard
    listener = listener_for(given, stage)
    questions = given.ask or ([] if given.save else [stage.transcript.instruction])
    for question in questions:  # before hours are heard
        check_question(listener.model.llm, len(listener.model.llm.prompt.question(question)))
    for file in files:
        with tqdm(total=round(file.seconds), desc=Path(file.path).name, unit="s") as bar:
            for chunk in file.chunks():
                listener.push(chunk)
                bar.update(len(chunk) / SAMPLE_RATE)
    if given.save:
        listener.save(given.save)  # before the end is heard: another time may go on from here
    listener.flush()  # once, not with every question
    print(f"{listener.seconds:.1f} s heard, {listener.kept} KV tokens kept", file=sys.stderr)
    for question in questions:
        reach = listener.reach(question)
        if reach is not None:
            rest = f"{listener.seconds - reach:.1f} s of {listener.seconds:.1f} s"
            warn(f"its timestamps reach {reach:.1f} s; what is said after that can't be written down ({rest})")
        limit = given.limit or longest_answer(stage, question, listener.seconds)
        answer = listener.ask(question, limit)
        print(answer.text)
        transcribed = question == stage.transcript.instruction and reach is None
        if transcribed and (late := silent_end(stage.transcript, answer.text, listener.seconds)):
            warn(late)
        if not answer.finished and reach is None:
            print(f"cut at {limit} tokens; --limit allows more", file=sys.stderr)


def silent_end(transcript: Transcript, text: str, seconds: float) -> str | None:
    """A sentence where the last timestamp of a transcript's text is long before the end of the audio; None where it
    isn't, or transcripts have no timestamps."""
    if transcript.step_seconds is None:
        return None
    last = transcript.last_second(text) or 0.0
    if seconds - last <= LONGEST_UTTERANCE:
        return None
    return f"the last timestamp is {last:.1f} s, {seconds - last:.1f} s before the end; was nothing said after it?"


def warn(what: str) -> None:
    print(f"warning: {what}", file=sys.stderr)


if __name__ == "__main__":
    main()
