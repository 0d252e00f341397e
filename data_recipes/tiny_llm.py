"""Pretrains the tiny LLM to read speech-like frames: `python -m data_recipes.tiny_llm experiments/models/tiny/llm`.

Speech-XL starts from a pretrained LLM. So does the default: this one has read the grammar's texts, each word stretched
over a few noisy frames with silence between, and answered with the transcript, a caption or an answer. It never heard
audio. Only sentences of the train split are read. While it learns to transcribe, two heads are told where to look
(decision 33): at the frames of the next word.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from data_recipes.grammar import draw_cast, draw_turns, make_caption, make_questions, vocabulary
from data_recipes.pretraining import descend, learning_rate, write_weights
from speech_xl.data.tasks import ASR_INSTRUCTION, CAPTION_INSTRUCTION
from speech_xl.model import LLM, Adapter, Encoder, SpeechLLM
from speech_xl.model.clock import clock
from speech_xl.model.speech_llm import Speech
from speech_xl.model.sst import attention_modules
from speech_xl.precision import BF16, best_precision

SILENCE = -1  # where a frame holds no word
SHORTEST, FIRST_LONGEST = 2, 16  # words of the shortest texts, and of the longest ones at first
CLOCK = 0.5  # adapter.clock in the stages that start from these weights
MOST_QUESTIONS = 4  # a sample's, about one text


@dataclass(frozen=True)
class Reading:
    """What is spoken, and the (instruction, answer) turns about it."""

    text: str
    turns: list[tuple[str, str]]

    @property
    def transcribed(self) -> bool:
        return self.turns[0][0] == ASR_INSTRUCTION


@dataclass(frozen=True)
class Stretched:
    """A text as frames: the token id of every frame or `SILENCE`, and which of the text's tokens it is or `SILENCE`."""

    ids: list[int]
    places: list[int]

    def __len__(self) -> int:
        return len(self.ids)


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


def stretch(tokens: list[int], letters: list[int], rng: random.Random) -> Stretched:
    """Each of the tokens [N] over about as many frames as it has `letters` [N], some silent, and pauses between."""
    peaked = rng.random()  # from steady frames to one frame a word, as CTC likes them
    pace = rng.uniform(0.6, 1.2)  # frames a letter
    places = [SILENCE] * rng.randint(0, 10)
    for place, long in enumerate(letters):
        length = max(1, round(long * pace * rng.uniform(0.8, 1.2)))
        sure = rng.randrange(length)
        places += [place if i == sure or rng.random() > peaked else SILENCE for i in range(length)]
        if rng.random() < 0.2:
            places += [SILENCE] * rng.randint(1, 12)
    misheard = rng.uniform(0.0, 0.04)  # share of frames that sound like another word
    heard = [rng.choice(tokens) if p != SILENCE and rng.random() < misheard else tokens[p] for p in places]
    return Stretched([t if p != SILENCE else SILENCE for t, p in zip(heard, places, strict=True)], places)


def stretched(llm: LLM, text: str, rng: random.Random) -> Stretched:
    """A text as frames."""
    tokenizer = llm.prompt.tokenizer
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    return stretch(tokens, [len(str(tokenizer.decode([t])).strip()) for t in tokens], rng)


def as_speech(rows: list[Stretched], table: Tensor, silence: Tensor, noise: float) -> Speech:
    """Frames [B, N, D] out of the embedding `table` [V, D] and `silence` [D], noisy, as large as text embeddings."""
    lengths = torch.tensor([len(row) for row in rows])
    index = pad_sequence([torch.tensor(row.ids) for row in rows], batch_first=True, padding_value=SILENCE)
    size = table.detach().square().mean().sqrt()
    frames = torch.cat([table, silence[None]])[index.where(index != SILENCE, len(table))]
    frames = frames + noise * size * torch.randn_like(frames)
    frames = layer_norm(frames, frames.shape[-1:]) + CLOCK * clock(frames.shape[1], frames.shape[2])
    return Speech(frames * size, lengths, [[len(row)] for row in rows])


def layers_without_rope(llm: LLM) -> list[int]:
    """The layers that find frames by content: every one whose queries and keys aren't turned."""
    return [number for number, turned in enumerate(llm.model.config.no_rope_layers) if not turned]


@torch.no_grad()
def start_copying(llm: LLM) -> None:
    """Random weights with which attending to a token already makes it likelier as the next one.

    In the layers without RoPE the output projection is the transpose of an orthogonal value projection, so what a head
    looks at passes through unchanged, and everything else speaks softly at first. Only where to look is left to learn.
    Decision 33 has what was tried. Structured starts like this are after Trockman and Kolter, "Mimetic
    Initialization of Self-Attention Layers" (arXiv 2305.09828).
    """
    for name, weight in llm.model.named_parameters():
        if weight.dim() == 2:
            weight.normal_(0.0, 0.06)
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.mul_(0.05)
    for layer in layers_without_rope(llm):
        attention = attention_modules(llm.decoder)[layer]
        values, output = attention.get_submodule("v_proj"), attention.get_submodule("o_proj")
        assert isinstance(values, nn.Linear) and isinstance(output, nn.Linear)
        nn.init.orthogonal_(values.weight)
        output.weight.copy_(0.5 * values.weight.T)


class Guidance:
    """Tells the first head of each layer without RoPE where to look while a text is transcribed.

    After guided attention (Tachibana et al., arXiv 1710.08969), with the true alignment in place of a diagonal.
    """

    def __init__(self, llm: LLM) -> None:
        self.llm = llm
        self.seen: dict[tuple[int, str], Tensor] = {}  # queries and keys of the latest pass, [B, T, heads * D]
        config = llm.model.config
        self.head = config.hidden_size // config.num_attention_heads
        self.layers = layers_without_rope(llm)
        for layer in self.layers:
            for name in ("q_proj", "k_proj"):
                projection = attention_modules(llm.decoder)[layer].get_submodule(name)
                projection.register_forward_hook(self._keep(layer, name))

    def _keep(self, layer: int, name: str):
        def hook(_module, _args, output: Tensor) -> None:
            self.seen[layer, name] = output

        return hook

    def __call__(self, rows: list[Stretched], batch: list[Reading]) -> Tensor:
        """Mean over words and heads of -log(attention on the frames of the word to be said); 0 with no transcript."""
        prompt = self.llm.prompt
        losses = [torch.zeros(1)]
        for number, (row, reading) in enumerate(zip(rows, batch, strict=True)):
            if not reading.transcribed:
                continue
            words = max(row.places) + 1
            audio = len(prompt.prefix) + len(row)
            first = audio + len(prompt.question(ASR_INSTRUCTION)) - 1  # here the first word is predicted
            places = torch.tensor([SILENCE] * len(prompt.prefix) + row.places)
            theirs = places[None] == torch.arange(words)[:, None]
            for layer in self.layers:
                queries = self.seen[layer, "q_proj"][number, first : first + words, : self.head].float()
                keys = self.seen[layer, "k_proj"][number, :audio, : self.head].float()
                attention = (queries @ keys.T * self.head**-0.5).log_softmax(-1)
                losses.append(-attention.masked_fill(~theirs, -math.inf).logsumexp(-1))
        told = torch.cat(losses)
        return told.sum() / max(1, len(told) - 1)


def longest_words(gone: float, longest: int) -> int:
    """Words of the longest texts: FIRST_LONGEST for a tenth of the training, then by equal factors up to 60 % of it."""
    grown = min(1.0, max(0.0, (gone - 0.1) / 0.5))
    return round(FIRST_LONGEST * (longest / FIRST_LONGEST) ** grown)


def write(llm: LLM, folder: Path) -> None:
    """model.safetensors in float16, beside the config and the tokenizer that are there."""
    write_weights({n: w for n, w in llm.model.state_dict().items() if n != "lm_head.weight"}, folder)


@torch.no_grad()
def held_out(backbone: SpeechLLM, words: int, texts: int = 8) -> float:
    """Cross entropy a token on transcripts of `words` words of the dev split, teacher-forced, stretched and noisy."""
    rng, llm = random.Random(f"held-out-{words}"), backbone.llm
    torch.manual_seed(words)
    long = (r for r in readings(rng, words, "dev") if r.transcribed and len(r.text.split()) > 0.8 * words)
    loss = tokens = 0.0
    for _ in range(texts):
        reading = next(long)
        silence = 0.5 * llm.embedding.weight.std() * torch.randn(llm.width)
        speech = as_speech([stretched(llm, reading.text, rng)], llm.embedding.weight, silence, 0.3)
        out = backbone(speech, [[None]], [llm.prompt.training(reading.turns)])
        loss, tokens = loss + out.loss_sum.item(), tokens + out.label_tokens
    return loss / tokens


def pretrain(
    folder: Path,
    steps: int,
    frames: int,
    longest: int,
    highest: float,
    seed: int,
    minutes: float = math.inf,
    go_on: bool = False,
) -> LLM:
    """Train from random weights, or with `go_on` from the folder's, on texts of all lengths at once.

    frames: of a step, about; longest: words of the longest texts; minutes: at most, whatever the steps.
    """
    torch.manual_seed(seed)
    rng = random.Random(f"tiny-llm-{seed}")
    llm = LLM(str(folder), pretrained=go_on)
    llm.build()
    if not go_on:
        start_copying(llm)
    guidance = Guidance(llm)
    backbone = SpeechLLM(Encoder(), Adapter(), llm)  # frames are made here: neither is used
    optimizer = torch.optim.AdamW(llm.parameters(), lr=highest, betas=(0.9, 0.98), weight_decay=0.01)
    fast = best_precision("cpu") == BF16
    level, astray, started = 5.0, 5.0, time.monotonic()
    with tqdm(range(steps), desc="reading", unit="step", mininterval=5) as bar:
        for step in bar:
            gone = max(step / steps, (time.monotonic() - started) / 60 / minutes)
            if gone >= 1:
                break
            batch: list[Reading] = []
            rows: list[Stretched] = []
            words = longest if go_on else longest_words(gone, longest)
            # All lengths come, in equal shares a factor: where a word stands must not tell which it is.
            for reading in readings(rng, round(SHORTEST * (words / SHORTEST) ** rng.random())):
                batch.append(reading)
                rows.append(stretched(llm, reading.text, rng))
                if sum(len(row) for row in rows) >= frames:
                    break
            # Silence sounds different every time: whatever is no word has to be read as silence.
            silence = rng.uniform(0.0, 1.0) * llm.embedding.weight.detach().std() * torch.randn(llm.width)
            speech = as_speech(rows, llm.embedding.weight, silence, rng.uniform(0.05, 0.6))
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                out = backbone(speech, [[None]] * len(rows), [llm.prompt.training(r.turns) for r in batch])
            loss, guided = out.loss_sum / out.label_tokens, guidance(rows, batch)
            descend(loss + guided, optimizer, learning_rate(step, gone, highest))
            level += 0.03 * (loss.item() - level)
            astray += 0.03 * (guided.item() - astray)
            bar.set_postfix(loss=f"{level:.3f}", guidance=f"{astray:.3f}", words=words, refresh=False)
            if (step + 1) % 500 == 0:
                write(llm, folder)
    write(llm, folder)
    for words in (12, 50, 150, 300):
        print(f"held out, {words} words: {held_out(backbone, words):.3f} a token")
    return llm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="config.json and tokenizer lie here; model.safetensors is added")
    parser.add_argument("--steps", type=int, default=2500, help="optimizer steps (%(default)s)")
    parser.add_argument("--frames", type=int, default=1000, help="frames a step, about (%(default)s)")
    parser.add_argument("--longest", type=int, default=200, help="words of the longest texts (%(default)s)")
    parser.add_argument("--lr", type=float, default=1.5e-3, help="highest learning rate (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other weights (%(default)s)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="end by then, whatever the steps (%(default)s)")
    parser.add_argument("--go-on", action="store_true", help="train the weights further that are in the folder")
    given = parser.parse_args()
    pretrain(given.folder, given.steps, given.frames, given.longest, given.lr, given.seed, given.minutes, given.go_on)
    print(f"written: {given.folder / 'model.safetensors'}")


if __name__ == "__main__":
    main()
