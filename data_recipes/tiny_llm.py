"""Pretrains the tiny LLM to read speech-like frames: `python -m data_recipes.tiny_llm experiments/models/tiny/llm`.

Speech-XL starts from a pretrained LLM. So does the default: this one has read the grammar's texts, each word stretched
over a few noisy frames with silence between, and answered with the transcript, a caption or an answer. It never heard
audio. Only sentences of the train split are read.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import layer_norm
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from data_recipes.grammar import draw_cast, draw_turns, make_caption, make_questions, vocabulary
from speech_xl.data.tasks import ASR_INSTRUCTION, CAPTION_INSTRUCTION
from speech_xl.model import LLM, Adapter, Encoder, SpeechLLM
from speech_xl.model.speech_llm import Speech
from speech_xl.model.sst import attention_modules

SILENCE = -1  # where a frame holds no word
SHORTEST, FIRST_LONGEST = 2, 16  # words of the shortest texts, and of the longest ones at first
MOST_QUESTIONS = 4  # a sample's, about one text


@dataclass(frozen=True)
class Reading:
    """What is spoken, and the (instruction, answer) turns about it."""

    text: str
    turns: list[tuple[str, str]]


def readings(rng: random.Random, words: int, split: str = "train") -> Iterator[Reading]:
    """Random words and pieces of sessions, half to all of `words` long; whole sessions no longer, with questions."""
    known = vocabulary()
    while True:
        length = rng.randint(-(-words // 2), words)
        if rng.random() < 0.4:
            text = " ".join(rng.choices(known, k=length))
            yield Reading(text, [(ASR_INSTRUCTION, text)])
            continue
        cast = draw_cast(rng, rng.randint(1, 4))
        sentences = draw_turns(rng, cast, 2 * len(cast) + rng.randint(0, 8), split)
        spoken = " ".join(s.text for s in sentences)
        whole = len(spoken.split()) <= words
        if whole and rng.random() < 0.7:
            questions = [(q["question"], q["answer"]) for q in make_questions(sentences, rng)]
            turns = rng.sample(questions, min(MOST_QUESTIONS, len(questions)))
            yield Reading(spoken, [(CAPTION_INSTRUCTION, make_caption(sentences))] if rng.random() < 0.2 else turns)
            continue
        several = spoken.split()
        length = min(len(several), length)
        start = rng.randint(0, len(several) - length)
        text = " ".join(several[start : start + length])
        yield Reading(text, [(ASR_INSTRUCTION, text)])


def stretch(ids: list[int], rng: random.Random) -> list[int]:
    """Token ids [N] to one entry a frame: each token over 2 to 7 frames, some of them silent, and pauses between."""
    peaked = rng.random()  # from steady frames to one frame a word, as CTC likes them
    frames: list[int] = []
    for token in ids:
        length = rng.randint(2, 7)
        sure = rng.randrange(length)
        frames += [token if i == sure or rng.random() > peaked else SILENCE for i in range(length)]
        if rng.random() < 0.2:
            frames += [SILENCE] * rng.randint(1, 16)
    return [SILENCE] * rng.randint(0, 10) + frames


def as_speech(rows: list[list[int]], table: Tensor, silence: Tensor, noise: float) -> Speech:
    """Frames [B, N, D] out of the embedding `table` [V, D] and `silence` [D], noisy, as large as text embeddings."""
    lengths = torch.tensor([len(row) for row in rows])
    index = pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=SILENCE)
    size = table.detach().square().mean().sqrt()
    frames = torch.cat([table, silence[None]])[index.where(index != SILENCE, len(table))]
    frames = frames + noise * size * torch.randn_like(frames)
    return Speech(layer_norm(frames, frames.shape[-1:]) * size, lengths, [[len(row)] for row in rows])


@torch.no_grad()
def start_copying(llm: LLM) -> None:
    """Random weights with which attending to a token already makes it likelier as the next one.

    In the last two layers the output projection is the transpose of an orthogonal value projection, so what a head
    looks at passes through unchanged, and everything else speaks softly at first. Only where to look is left to learn.
    Decision 33 has what was tried. Structured starts like this are after Trockman and Kolter, "Mimetic
    Initialization of Self-Attention Layers" (arXiv 2305.09828).
    """
    for name, weight in llm.model.named_parameters():
        if weight.dim() == 2:
            weight.normal_(0.0, 0.06)
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.mul_(0.05)
    for attention in attention_modules(llm.decoder)[-2:]:
        values, output = attention.get_submodule("v_proj"), attention.get_submodule("o_proj")
        assert isinstance(values, nn.Linear) and isinstance(output, nn.Linear)
        nn.init.orthogonal_(values.weight)
        output.weight.copy_(0.5 * values.weight.T)


def learning_rate(step: int, steps: int, highest: float) -> float:
    """Up over 100 steps, level, then a cosine to nothing over the last 40 %."""
    late = max(0.0, (step / steps - 0.6) / 0.4)
    return highest * min(1.0, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * late))


def longest_words(step: int, steps: int, longest: int) -> int:
    """Words of the longest texts: FIRST_LONGEST for a tenth of the steps, then by equal factors up to 60 % of them."""
    grown = min(1.0, max(0.0, (step / steps - 0.1) / 0.5))
    return round(FIRST_LONGEST * (longest / FIRST_LONGEST) ** grown)


def write(llm: LLM, folder: Path) -> None:
    """model.safetensors in float16, beside the config and the tokenizer that are there."""
    state = {n: w.detach().half().contiguous() for n, w in llm.model.state_dict().items() if n != "lm_head.weight"}
    draft = folder / "model.part"
    save_file(state, draft, metadata={"format": "pt"})
    draft.replace(folder / "model.safetensors")


def pretrain(folder: Path, steps: int, frames: int, longest: int, highest: float, seed: int) -> LLM:
    """Train from random weights. frames: of a step, about; longest: words of the longest texts."""
    torch.manual_seed(seed)
    rng = random.Random(f"tiny-llm-{seed}")
    llm = LLM(str(folder), pretrained=False)
    llm.build()
    start_copying(llm)
    backbone = SpeechLLM(Encoder(), Adapter(), llm)  # frames are made here: neither is used
    parameters = list(llm.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=highest, betas=(0.9, 0.98), weight_decay=0.01)
    level = 5.0
    with tqdm(range(steps), desc="reading", unit="step", mininterval=5) as bar:
        for step in bar:
            batch: list[Reading] = []
            rows: list[list[int]] = []
            words = longest_words(step, steps, longest)
            # All lengths come, in equal shares a factor: where a word stands must not tell which it is.
            for reading in readings(rng, round(SHORTEST * (words / SHORTEST) ** rng.random())):
                batch.append(reading)
                rows.append(stretch(llm.prompt.tokenizer(reading.text, add_special_tokens=False)["input_ids"], rng))
                if sum(len(row) for row in rows) >= frames:
                    break
            # Silence sounds different every time: whatever is no word has to be read as silence.
            silence = rng.uniform(0.0, 1.0) * llm.embedding.weight.detach().std() * torch.randn(llm.width)
            speech = as_speech(rows, llm.embedding.weight, silence, rng.uniform(0.05, 0.6))
            out = backbone(speech, [[None]] * len(rows), [llm.prompt.training(r.turns) for r in batch])
            loss = out.loss_sum / out.label_tokens
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, highest)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            level += 0.03 * (loss.item() - level)
            bar.set_postfix(loss=f"{level:.3f}", words=words, refresh=False)
            if (step + 1) % 500 == 0:
                write(llm, folder)
    write(llm, folder)
    return llm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="config.json and tokenizer lie here; model.safetensors is added")
    parser.add_argument("--steps", type=int, default=2500, help="optimizer steps (%(default)s)")
    parser.add_argument("--frames", type=int, default=1000, help="frames a step, about (%(default)s)")
    parser.add_argument("--longest", type=int, default=80, help="words of the longest texts (%(default)s)")
    parser.add_argument("--lr", type=float, default=1.5e-3, help="highest learning rate (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other weights (%(default)s)")
    given = parser.parse_args()
    pretrain(given.folder, given.steps, given.frames, given.longest, given.lr, given.seed)
    print(f"written: {given.folder / 'model.safetensors'}")


if __name__ == "__main__":
    main()
