"""The tiny models' tokenizer: one token a word, two a time mark, and its copy is what the recipe makes."""

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from data_recipes.grammar import vocabulary
from data_recipes.tokenizer import SECONDS, make_tokenizer
from speech_xl.data.time_marks import time_mark, without_time_marks

TINY = Path(__file__).parents[2] / "experiments" / "models" / "tiny" / "llm"


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(TINY)


def test_words_are_one_token_each(tokenizer):
    assert all(len(tokenizer(word, add_special_tokens=False)["input_ids"]) == 1 for word in vocabulary())


def test_a_time_mark_is_two_tokens_and_comes_back(tokenizer):
    text = " ".join(f"{time_mark(second)} i met peter" for second in range(SECONDS))
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(ids) == 5 * SECONDS and len(set(ids)) == 1 + SECONDS + 3
    assert without_time_marks(tokenizer.decode(ids)) == " ".join(["i met peter"] * SECONDS)


def test_the_copy_is_what_the_recipe_makes(tmp_path):
    make_tokenizer().save_pretrained(tmp_path)
    made, copy = (json.loads((folder / "tokenizer.json").read_text()) for folder in (tmp_path, TINY))
    assert made == copy
