"""Pretrains a tiny LLM to read speech-like frames: `python -m experiments.tiny_models.tiny_llm OUT_DIR`.

Speech-XL starts from a pretrained LLM. So does the default: this one has read the grammar's texts, each word stretched
over a few noisy frames with silence between, and answered with the transcript, a caption or an answer. It never heard
audio. Only sentences of the train split are read, or with `--corpus YAML` the transcripts of a corpus. While it learns,
two heads are told where to look (decision 33; `guidance.py` says where).
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import layer_norm
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from data_recipes.grammar import vocabulary
from data_recipes.session_truths import Asked
from experiments.tiny_models.guidance import Guidance
from experiments.tiny_models.pretraining import descend, learning_rate
from experiments.tiny_models.pretraining_texts import (
    GrammarReadings,
    Readings,
    add_corpus_arguments,
    corpus_of,
    readings_of,
)
from experiments.tiny_models.pseudo_frames import FRAME_RATE, SILENCE, Reading, Stretched, stretch
from experiments.tiny_models.tiny_llm_weights import (
    begin_as,
    begin_as_stage,
    marks,
    start_copying,
    write,
    write_stage,
)
from experiments.tiny_models.tokenizer import TINY
from speech_xl.data.windows import Windows
from speech_xl.extensions.answer_noise import corrupt_answer_tokens
from speech_xl.extensions.time_code import time_code, with_time_code
from speech_xl.extensions.timestamps.transcript import Timestamps
from speech_xl.model import LLM, Adapter, Encoder, SpeechLLM
from speech_xl.model.layout import View, interval_frames
from speech_xl.model.prompt import Suffix
from speech_xl.model.speech import Speech
from speech_xl.run.configs import ConfigError
from speech_xl.run.precision import BF16, best_precision
from speech_xl.run.run_folder import WEIGHTS
from speech_xl.run.user_errors import exit_on_user_error

SHORTEST, FIRST_LONGEST = 2, 16  # words of the shortest texts, and of the longest ones at first
TIME_CODE = 2.0  # scale of TimeCode in the stages that start from these weights
MOST_WINDOWS = 4  # of a row in a step
QUESTIONS = 0.35  # share of steps that answer questions
SLIPS = 0.02  # share of an answer's tokens read back wrong
SPARE_SECONDS = 10  # from the latest frame to the last second that has a time mark


def stretched(llm: LLM, reading: Reading, rng: random.Random, rate: float = FRAME_RATE) -> Stretched:
    """A reading's utterances as frames."""
    tokenizer = llm.prompt.tokenizer
    tokens = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in reading.utterances]
    letters = [[len(str(tokenizer.decode([token])).strip()) for token in ids] for ids in tokens]
    frames = stretch(list(zip(tokens, letters, strict=True)), rng, marks(llm)[0] - SPARE_SECONDS, rate)
    frames = replace(frames, links=reading.links)
    if not reading.by_words:
        return frames
    sizes = [len(tokenizer(word, add_special_tokens=False)["input_ids"]) for word in reading.marked]
    return replace(frames, firsts=[0, *accumulate(sizes[:-1])])


def as_speech(rows: list[Stretched], table: Tensor, silence: Tensor, noise: float, babble: float = 0.0) -> Speech:
    """Frames [B, N, D] out of the embedding `table` [V, D] and `silence` [D], noisy, as large as text embeddings.

    noise: its RMS beside a word's. babble: each frame sounds up to so much like another word of its batch as well.
    """
    lengths = torch.tensor([len(row) for row in rows])
    index = pad_sequence([torch.tensor(row.ids) for row in rows], batch_first=True, padding_value=SILENCE)
    size = table.detach().square().mean().sqrt()
    spoken = index[index != SILENCE]
    others = table[spoken[torch.randint(len(spoken), index.shape)]]
    frames = torch.cat([table, silence[None]])[index.where(index != SILENCE, len(table))]
    frames = frames + babble * torch.rand(*index.shape, 1) * others + noise * size * torch.randn_like(frames)
    longest = frames.shape[1]
    codes = time_code(max(row.offset for row in rows) + longest, frames.shape[2])
    times = torch.stack([codes[row.offset : row.offset + longest] for row in rows])
    frames = with_time_code(layer_norm(frames, frames.shape[-1:]), TIME_CODE * times)
    return Speech(frames * size, lengths, [[len(row)] for row in rows])


def check_words(llm: LLM) -> None:
    """Raise ConfigError where the tokenizer spells a word of the grammar: what tells an answer is counted in words."""
    known = {word: llm.prompt.tokenizer(f" {word}", add_special_tokens=False)["input_ids"] for word in vocabulary()}
    if spelled := [word for word, tokens in known.items() if len(tokens) > 1]:
        raise ConfigError(
            f"{llm.name}: the tokenizer spells {len(spelled)} words of the grammar, such as {spelled[0]!r}; make one "
            "with experiments.tiny_models.tokenizer, or read a corpus with --corpus"
        )


def longest_words(gone: float, longest: int) -> int:
    """Words of the longest texts: FIRST_LONGEST for a tenth of the training, then by equal factors up to 60 % of it."""
    grown = min(1.0, max(0.0, (gone - 0.1) / 0.5))
    return round(FIRST_LONGEST * (longest / FIRST_LONGEST) ** grown)


def asked_about(row: Stretched, reading: Reading, step: float) -> list[Asked]:
    """What is asked about a reading: a transcript, with time marks in such steps, where it comes with nothing."""
    return reading.asked or [row.transcript(reading.marked, step)]


def intervals_of(row: Stretched, windows: Windows) -> list[int]:
    """Frames of a reading's intervals, as long as the unit of windows; the last one is what is left."""
    number = math.ceil(len(row) / row.rate / windows.multiple_of)
    return interval_frames([windows.multiple_of * (n + 1) for n in range(number)], len(row), row.rate)


def in_windows(
    row: Stretched, reading: Reading, step: float, windows: Windows, rng: random.Random
) -> list[tuple[Asked, View | None]]:
    """Some windows of a reading, with what each sees; none where the reading is asked as a whole.

    All frames are there, as in training on audio: in rows that begin where their window does an LLM learns to begin at
    the prompt, whatever second it is asked for.
    """
    transcript, begin = Timestamps(step, windows=windows), row.seconds[0]
    spans = [] if reading.asked else windows.drawn(*row.seconds, transcript.grid, rng)
    intervals, found = intervals_of(row, windows), []
    for first, end in sorted(rng.sample(spans, min(MOST_WINDOWS, len(spans)))):
        said = row.transcript(reading.marked, step, (first, end))
        if said.answer:
            view = windows.view((first - begin, end - begin), intervals, row.rate)
            found.append((replace(said, instruction=transcript.asking_for((first, end))), view))
    return found


def suffixes_of(llm: LLM, asked: list[Asked], views: Sequence[View | None] | None = None) -> list[Suffix]:
    """What is asked about a reading, each for itself, with labels on the answers. views: what each sees"""
    suffixes = [llm.prompt.training([(turn.instruction, turn.answer)]) for turn in asked]
    return [replace(one, view=view) for one, view in zip(suffixes, views or [None] * len(asked), strict=True)]


@torch.no_grad()
def held_out(
    backbone: SpeechLLM,
    readings: Readings,
    words: int,
    rate: float = FRAME_RATE,
    texts: int = 8,
) -> float:
    """Cross entropy a token on transcripts of `words` words kept back, teacher-forced, stretched and noisy."""
    rng, llm = random.Random(f"held-out-{words}"), backbone.llm
    torch.manual_seed(words)
    long = (r for r in readings.transcripts(rng, words, held_out=True) if r.words > 0.8 * words)
    loss = tokens = 0.0
    for _ in range(texts):
        reading = next(long)
        row = stretched(llm, reading, rng, rate)
        silence = 0.5 * llm.embedding.weight.std() * torch.randn(llm.width)
        speech = as_speech([row], llm.embedding.weight, silence, 0.3)
        asked = asked_about(row, reading, marks(llm)[1])
        out = backbone(speech, [[None]], [suffixes_of(llm, asked)])
        loss, tokens = loss + out.loss_sum.item(), tokens + out.label_tokens
    return loss / tokens


def pretrain(
    folder: Path,
    readings: Readings,
    steps: int,
    frames: int,
    longest: int,
    highest: float,
    seed: int,
    minutes: float = math.inf,
    begin: Path | None = None,
    questions: float = QUESTIONS,
    rate: float = FRAME_RATE,
    windows: Windows | None = None,
) -> LLM:
    """Train on texts of all lengths at once, from random weights or from those of `begin`: the folder of a tiny LLM, or
    a stage's weights file.

    frames: of a step, about; longest: words of the longest texts; minutes: at most, whatever the steps; questions: the
    share of steps that answer questions; rate: frames a second; windows: how transcripts are asked for, in some
    windows of each text.
    """
    torch.manual_seed(seed)
    rng = random.Random(f"tiny-llm-{seed}")
    llm = LLM(str(folder), pretrained=False)
    llm.build()
    if isinstance(readings, GrammarReadings):
        check_words(llm)
    if begin and begin.suffix == ".safetensors":
        begin_as_stage(llm, begin)
    elif begin:
        begin_as(llm, begin, rate)
    else:
        start_copying(llm, rate)
    guidance, step_of_marks = Guidance(llm), marks(llm)[1]
    backbone = SpeechLLM(Encoder(), Adapter(), llm)  # frames are made here: neither is used
    optimizer = torch.optim.AdamW(llm.parameters(), lr=highest, betas=(0.9, 0.98), weight_decay=0.01)
    fast = best_precision("cpu") == BF16
    means = {kind: {"loss": 5.0, "guidance": 5.0} for kind in ("transcripts", "questions")}
    started = time.monotonic()
    with tqdm(range(steps), desc="reading", unit="step", mininterval=5) as bar:
        for step in bar:
            gone = max(step / steps, (time.monotonic() - started) / 60 / minutes)
            if gone >= 1:
                break
            rows: list[Stretched] = []
            asked: list[list[Asked]] = []
            views: list[list[View | None]] = []
            words = longest if begin else longest_words(gone, longest)
            # All lengths come, in equal shares a factor: where a word stands must not tell which it is. Questions have
            # steps of their own: their answers are short, and beside transcripts a token would hardly count.
            long = round(SHORTEST * (words / SHORTEST) ** rng.random())
            of_questions = rng.random() < questions
            drawn = readings.dialogues(rng, words) if of_questions else readings.transcripts(rng, long)
            while sum(len(row) for row in rows) < frames:
                reading = next(drawn)
                row = stretched(llm, reading, rng, rate)
                viewed = []
                if windows:
                    row = replace(row, offset=row.offset - row.offset % round(windows.multiple_of * rate))
                    viewed = in_windows(row, reading, step_of_marks, windows, rng)
                turns = [turn for turn, _ in viewed] or asked_about(row, reading, step_of_marks)
                rows.append(row)
                asked.append(turns)
                views.append([view for _, view in viewed] or [None] * len(turns))
            # Silence sounds different every time: whatever is no word has to be read as silence.
            silence = rng.uniform(0.0, 1.0) * llm.embedding.weight.detach().std() * torch.randn(llm.width)
            speech = as_speech(rows, llm.embedding.weight, silence, rng.uniform(0.0, 0.6), rng.uniform(0.0, 0.6))
            if windows:
                speech = replace(speech, intervals=[intervals_of(row, windows) for row in rows])
            suffixes = [
                [corrupt_answer_tokens(suffix, SLIPS, rng) for suffix in suffixes_of(llm, turns, seen)]
                for turns, seen in zip(asked, views, strict=True)
            ]
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                out = backbone(speech, speech.throughout(None), suffixes)
            loss, guided = out.loss_sum / out.label_tokens, guidance(rows, suffixes, asked, speech.intervals)
            descend(loss + guided, optimizer, learning_rate(step, gone, highest))
            mean = means["questions" if of_questions else "transcripts"]
            for name, value in (("loss", loss), ("guidance", guided)):
                mean[name] += 0.03 * (value.item() - mean[name])
            shown = {kind: " ".join(f"{value:.3f}" for value in m.values()) for kind, m in means.items()}
            bar.set_postfix(shown, words=words, refresh=False)
            if (step + 1) % 250 == 0:
                write(llm, folder)
    write(llm, folder)
    for words in (12, 50, 150, 300):
        print(f"held out, {words} words: {held_out(backbone, readings, words, rate):.3f} a token")
    return llm


@exit_on_user_error()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="config.json and tokenizer lie here; model.safetensors is added")
    add_corpus_arguments(parser)
    parser.add_argument("--mark_words", action="store_true", help="time marks for words, not for utterances")
    parser.add_argument(
        "--few_words", type=float, default=0.0, help="share of texts that are the same few words again and again (0)"
    )
    parser.add_argument("--steps", type=int, default=2500, help="optimizer steps (%(default)s)")
    parser.add_argument("--frames", type=int, default=1000, help="frames a step, about (%(default)s)")
    parser.add_argument("--longest", type=int, default=400, help="words of the longest texts (%(default)s)")
    parser.add_argument("--lr", type=float, default=1.5e-3, help="highest learning rate (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other weights (%(default)s)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="end by then, whatever the steps (%(default)s)")
    parser.add_argument("--begin", type=Path, metavar="DIR", help="begin with the weights of the tiny LLM there")
    parser.add_argument(
        "--stage",
        type=Path,
        metavar="FILE",
        help="begin with the LLM of a stage's weights, and write them anew with what it has read, for --init_from",
    )
    parser.add_argument(
        "--questions", type=float, default=QUESTIONS, help="share of steps that answer questions (%(default)s)"
    )
    parser.add_argument(
        "--frame_rate", type=float, default=FRAME_RATE, help="speech frames a second, by adapter.stride (%(default)s)"
    )
    parser.add_argument("--blends", type=float, default=0.0, help="share of --corpus's random words nobody says (0)")
    parser.add_argument(
        "--windows", type=float, nargs=3, metavar=("SHORTEST", "LONGEST", "SHARE"),
        help="a share of the texts is asked for in windows of so many seconds, multiples of 4, that see 4 s behind "
        "them (none)",
    )  # fmt: skip
    given = parser.parse_args()
    for name in ("few_words", "questions", "blends"):
        if not 0 <= getattr(given, name) <= 1:
            parser.error(f"--{name}: got {getattr(given, name):g}, a share; give a number from 0 to 1")
    for name in ("steps", "frames", "longest"):
        if getattr(given, name) < 1:
            parser.error(f"--{name}: got {getattr(given, name)}; give 1 or more")
    for name in ("lr", "minutes", "frame_rate"):
        if not getattr(given, name) > 0 or (name != "minutes" and math.isinf(getattr(given, name))):
            parser.error(f"--{name}: got {getattr(given, name):g}; give a number above 0")
    for name in ("corpus_dir", "blends"):
        if getattr(given, name) and not given.corpus:
            parser.error(f"--{name}: is of a corpus; add --corpus YAML, or leave it out")
    if missing := [name for name in ("config.json", "tokenizer.json") if not (given.folder / name).is_file()]:
        parser.error(
            f"{given.folder}: has no {' and no '.join(missing)}; copy them from another tiny LLM, such as {TINY}, "
            "or make a tokenizer with experiments.tiny_models.tokenizer"
        )
    weights = given.folder / "model.safetensors"
    if weights.is_file() and (given.begin is None or given.begin.resolve() != given.folder.resolve()):
        parser.error(f"{weights}: is there already; delete it, or go on from it with --begin {given.folder} alone")
    if given.stage and given.stage.resolve() == (given.folder / WEIGHTS).resolve():
        parser.error(f"--stage {given.stage}: would be written over; give another folder than {given.folder}")
    if given.corpus and given.few_words:
        parser.error("--few_words: the texts of --corpus are drawn otherwise; leave one of them out")
    if given.windows and not given.mark_words:
        parser.error("--windows: utterances go on behind what a window sees; add --mark_words")
    if given.stage and given.begin:
        parser.error("--begin and --stage are both given; one is where to begin")
    readings: Readings = GrammarReadings(given.mark_words, given.few_words)
    if given.corpus:
        readings = readings_of(corpus_of(given.corpus, given.corpus_dir), given.mark_words, given.blends)
    windows = None
    if given.windows:
        shortest, longest, share = given.windows
        try:
            windows = Windows(longest, shortest, longest, share, context=4.0)
        except ValueError as error:
            parser.error(f"--windows: {error}")
    llm = pretrain(
        given.folder,
        readings,
        given.steps,
        given.frames,
        given.longest,
        given.lr,
        given.seed,
        given.minutes,
        given.stage or given.begin,
        given.questions,
        given.frame_rate,
        windows,
    )
    print(f"written: {given.folder / 'model.safetensors'}")
    if given.stage:
        print(f"written: {write_stage(llm, given.stage, given.folder)}")


if __name__ == "__main__":
    main()
