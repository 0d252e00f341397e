"""Makes the tiny models' tokenizer from the embedded corpus's texts: `python -m data_recipes.tokenizer OUT_DIR`.

A byte-level BPE small enough for a from-scratch LLM; words of the corpus are one token each, time marks
two, anything else is spelled.
The result is deterministic, and a copy stands in experiments/models/tiny/llm.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tokenizers import AddedToken, ByteLevelBPETokenizer
from transformers import PreTrainedTokenizerFast

from data_recipes.grammar import sample_texts
from speech_xl.data.tasks import ASR_INSTRUCTION, CAPTION_INSTRUCTION
from speech_xl.data.time_marks import time_mark

VOCABULARY = 1024
TEXTS = 20_000  # enough that every word of the grammar is merged into one token
SECONDS = 200  # that time marks know; sessions last 180


def make_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer, trained anew."""
    bpe = ByteLevelBPETokenizer(add_prefix_space=True)
    texts = [*sample_texts(TEXTS, seed=0), *[ASR_INSTRUCTION, CAPTION_INSTRUCTION] * 100]
    bpe.train_from_iterator(texts, vocab_size=VOCABULARY, min_frequency=2, special_tokens=["<bos>", "<eos>", "<pad>"])
    # "met [3] we" is four tokens: whether an utterance ends here is one choice, the second at which the next one begins
    # another. With a token for each whole mark a word wins where the seconds share what is likely among them.
    opening, *seconds = ["[", *(time_mark(second).removeprefix("[") for second in range(SECONDS))]
    bpe.add_tokens([AddedToken(opening, lstrip=True, normalized=False)])
    bpe.add_tokens([AddedToken(second, normalized=False) for second in seconds])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", model_max_length=10**9
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder to write tokenizer.json and tokenizer_config.json to")
    folder = parser.parse_args().out
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(folder)
    print(f"{len(tokenizer)} tokens in {folder}")


if __name__ == "__main__":
    main()
