"""Pretrains the tiny LLM on text, so that it can read and answer: `python -m data_recipes.tiny_llm FOLDER`.

Speech-XL starts from a pretrained LLM; this makes one small enough to stand in the repository. It reads texts of
the embedded corpus's training split, as tokens a few places long with blanks between them, the way speech frames
will come later, and repeats them, describes them or answers a question about them. Random token strings are
repeated too, which teaches it to copy rather than to guess. No audio and no dev or test sentence is seen.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from data_recipes.grammar import draw_cast, draw_turns, make_caption, make_questions
from speech_xl.data.tasks import ASR_INSTRUCTION, CAPTION_INSTRUCTION
from speech_xl.model.prompt import IGNORE, Prompt

ROWS = 32  # sequences a step
SPECIAL = 3  # ids below are special
NOISE = 0.3  # on the embeddings read, relative to their RMS


def text_turn(rng: random.Random, utterances: int) -> tuple[str, str, str]:
    """A conversation as text, an instruction about it and the true answer."""
    cast = draw_cast(rng, rng.randint(1, max(1, min(4, utterances // 2))))
    sentences = draw_turns(rng, cast, max(2 * len(cast), utterances), "train")
    text = " ".join(s.text for s in sentences)
    task = rng.choices(("asr", "caption", "qa"), (0.6, 0.1, 0.3))[0]
    if task == "asr":
        return text, ASR_INSTRUCTION, text
    if task == "caption":
        return text, CAPTION_INSTRUCTION, make_caption(sentences)
    question = rng.choice(make_questions(sentences, rng))
    return text, question["question"], question["answer"]


def stretch(ids: list[int], blank: int, rng: random.Random, looseness: float) -> list[int]:
    """Each token up to three places long, then up to three blanks; at a looseness of 0 as it is."""
    longest, blanks = 1 + round(2 * looseness), round(3 * looseness)
    return [x for i in ids for x in [i] * rng.randint(1, longest) + [blank] * rng.randint(0, blanks)]


def make_row(prompt: Prompt, rng: random.Random, reach: float) -> tuple[list[int], list[int], int]:
    """One training sequence: ids, labels, and where its heard part ends. `reach` 0..1 says how long and loose it is.

    At a reach of 0 all are random strings to repeat, which can only be copied; texts can be guessed, and the model is
    slow to find out that it may copy them.
    """
    tokenizer = prompt.tokenizer
    blank = int(tokenizer.pad_token_id)  # type: ignore[arg-type]
    if reach == 0 or rng.random() < 0.35:
        length = rng.randint(16 if reach == 0 else 2, 16 + int(16 * reach))
        heard = [rng.randrange(SPECIAL, len(tokenizer)) for _ in range(length)]
        asked, said = prompt.question(ASR_INSTRUCTION), heard
    else:
        text, instruction, answer = text_turn(rng, rng.randint(1, 2 + int(6 * reach)))
        words = text.split()
        if instruction == ASR_INSTRUCTION:  # a run of words, so that short ones come too
            length = rng.randint(2, 6 + int(60 * reach))
            first = rng.randrange(max(1, len(words) - length))
            text = answer = " ".join(words[first : first + length])
        heard = tokenizer(text, add_special_tokens=False)["input_ids"]
        asked = prompt.question(instruction)
        said = tokenizer(answer, add_special_tokens=False)["input_ids"]
    before = prompt.prefix + stretch(heard, blank, rng, min(1.0, 1.5 * reach))
    ids = before + asked + said + [prompt.end_id]
    return ids, [IGNORE] * (len(before) + len(asked)) + said + [prompt.end_id], len(before)


def pretrain(folder: Path, minutes: float, lr: float, seed: int) -> Any:
    """Train for so many minutes of wall time; the learning rate falls with the time."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    prompt = Prompt(tokenizer)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), attn_implementation="sdpa")
    embed = model.get_input_embeddings()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    start, step, smooth = time.monotonic(), 0, math.nan
    with tqdm(total=round(minutes * 60), desc="pretraining", unit="s") as bar:
        while (share := (time.monotonic() - start) / (60 * minutes)) < 1:
            # A fifth of the time for bare copying, then longer and looser; the last fifth at full reach.
            reach = min(1.0, max(0.0, (share - 0.2) / 0.6))
            rows = [make_row(prompt, rng, reach) for _ in range(ROWS)]
            width = max(len(ids) for ids, _, _ in rows)
            ids = torch.tensor([i + [0] * (width - len(i)) for i, _, _ in rows])
            labels = torch.tensor([lab + [IGNORE] * (width - len(lab)) for _, lab, _ in rows])[:, 1:]
            heard = torch.arange(width) < torch.tensor([n for _, _, n in rows])[:, None]
            x = embed(ids)
            x = x + NOISE * x.detach().square().mean().sqrt() * torch.randn_like(x) * heard[..., None]
            with torch.autocast("cpu", dtype=torch.bfloat16):
                hidden = model.get_decoder()(inputs_embeds=x, use_cache=False).last_hidden_state[:, :-1]
                logits = model.get_output_embeddings()(hidden[labels != IGNORE])
            loss = torch.nn.functional.cross_entropy(logits.float(), labels[labels != IGNORE])
            for group in optimizer.param_groups:
                group["lr"] = lr * min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * share))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
            smooth = loss.item() if math.isnan(smooth) else 0.95 * smooth + 0.05 * loss.item()
            bar.n = round(time.monotonic() - start)
            if step % 20 == 0:
                bar.set_postfix_str(f"step {step}, loss {smooth:.3f}")
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with config.json and the tokenizer; the weights go there")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    model = pretrain(arguments.folder, arguments.minutes, arguments.lr, arguments.seed)
    model.half().save_pretrained(arguments.folder)
    print(f"weights in {arguments.folder}")


if __name__ == "__main__":
    main()
