"""Makes a tiny LLM's tokenizer: `python -m experiments.tiny_models.tokenizer OUT_DIR`, from the embedded texts.

With `--corpus YAML` it is made from the transcripts of that overlay's corpus. OUT_DIR gets the tiny LLM's config.json
too, with the new vocabulary's size. A byte-level BPE small enough for a from-scratch LLM; words of the embedded corpus
are one token each, time marks two, anything else is spelled. The result is deterministic, and a copy stands in
experiments/models/tiny/llm.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, ByteLevelBPETokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from data_recipes.grammar import sample_texts
from experiments.tiny_models.pretraining_texts import add_corpus_arguments, corpus_of, texts_of
from speech_xl.data.tasks import CAPTION_INSTRUCTION
from speech_xl.data.transcript import ASR_INSTRUCTION
from speech_xl.extensions.timestamps.marks import time_mark
from speech_xl.run.user_errors import exit_on_user_error

VOCABULARY = 1024
TEXTS = 20_000  # enough that every word of the grammar is merged into one token
SECONDS = 200  # that time marks know; the embedded corpus's sessions last 180
STEP = 0.2  # from time mark to time mark: few words begin within it after the word before
TINY = Path(__file__).parents[2] / "experiments" / "models" / "tiny" / "llm"


def grammar_texts() -> list[str]:
    """What the tiny LLM's tokenizer is made from."""
    return [*sample_texts(TEXTS, seed=0), *[ASR_INSTRUCTION, CAPTION_INSTRUCTION] * 100]


def make_tokenizer(
    texts: Iterable[str], vocabulary: int = VOCABULARY, seconds: int = SECONDS, step: float = STEP
) -> PreTrainedTokenizerFast:
    """A new tokenizer of about `vocabulary` tokens, with time marks below `seconds` in steps of `step` seconds."""
    bpe = ByteLevelBPETokenizer(add_prefix_space=True)
    bpe.train_from_iterator(texts, vocab_size=vocabulary, min_frequency=2, special_tokens=["<bos>", "<eos>", "<pad>"])
    # "met [3] we" is four tokens: whether an utterance ends here is one choice, the second at which the next one begins
    # another. With a token for each whole mark a word wins where the seconds share what is likely among them.
    opening, *marks = ["[", *(time_mark(n * step, step).removeprefix("[") for n in range(round(seconds / step)))]
    bpe.add_tokens([AddedToken(opening, lstrip=True, normalized=False)])
    bpe.add_tokens([AddedToken(mark, normalized=False) for mark in marks])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", model_max_length=10**9
    )


def write_config(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """config.json of an LLM like the tiny one, with this tokenizer's vocabulary."""
    config = json.loads((TINY / "config.json").read_text()) | {"vocab_size": len(tokenizer)}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


@exit_on_user_error()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "out",
        type=Path,
        help="folder to write tokenizer.json, tokenizer_config.json and config.json to, over those that are there",
    )
    add_corpus_arguments(parser)
    parser.add_argument("--vocabulary", type=int, default=VOCABULARY, help="tokens, about (%(default)s)")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="that time marks know (%(default)s)")
    parser.add_argument(
        "--step", type=float, default=STEP, help="seconds from mark to mark: step_seconds of Timestamps (%(default)s)"
    )
    given = parser.parse_args()
    for name in ("vocabulary", "seconds", "step"):
        if not 0 < getattr(given, name) < math.inf:
            parser.error(f"--{name}: got {getattr(given, name):g}; give a number above 0")
    if (given.out / "model.safetensors").exists():
        parser.error(f"{given.out}: holds weights, which fit the tokenizer that is there; give another folder")
    texts = texts_of(corpus_of(given.corpus, given.corpus_dir)) if given.corpus else grammar_texts()
    tokenizer = make_tokenizer(texts, given.vocabulary, given.seconds, given.step)
    tokenizer.save_pretrained(given.out)
    write_config(tokenizer, given.out)
    print(f"{len(tokenizer)} tokens in {given.out}")


if __name__ == "__main__":
    main()
