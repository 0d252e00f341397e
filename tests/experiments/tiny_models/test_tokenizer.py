"""The tiny models' tokenizer: one token a word, two a time mark, and its copy is what the recipe makes."""

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from data_recipes.grammar import vocabulary
from experiments.tiny_models.tokenizer import SECONDS, main, make_tokenizer, write_config
from speech_xl.extensions.timestamps.marks import time_mark, without_time_marks
from speech_xl.model import LLM

TINY = Path(__file__).parents[3] / "experiments" / "models" / "tiny" / "llm"


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(TINY)


def test_words_are_one_token_each(tokenizer):
    assert all(len(tokenizer(word, add_special_tokens=False)["input_ids"]) == 1 for word in vocabulary())


def test_a_time_mark_is_two_tokens_and_comes_back(tokenizer):
    text = " ".join(f"{time_mark(second + 0.2, 0.2)} i met peter" for second in range(SECONDS))
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(ids) == 5 * SECONDS and len(set(ids)) == 1 + SECONDS + 3
    assert without_time_marks(tokenizer.decode(ids)) == " ".join(["i met peter"] * SECONDS)


def test_the_copy_is_what_the_recipe_makes(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["tokenizer", str(tmp_path)])
    main()
    for name in ("tokenizer.json", "config.json"):
        made, copy = (json.loads((folder / name).read_text()) for folder in (tmp_path, TINY))
        assert made == copy, name


def test_a_corpus_has_its_own_vocabulary_and_an_llm_for_it(tmp_path):
    made = make_tokenizer(["hilda looked up", "hilda laughed"] * 20, vocabulary=300, seconds=30, step=1.0)
    assert len(made(" hilda", add_special_tokens=False)["input_ids"]) == 1
    assert [len(made(time_mark(s), add_special_tokens=False)["input_ids"]) for s in (29, 30)] == [2, 4]
    write_config(made, tmp_path)
    llm = LLM(str(tmp_path), pretrained=False)
    made.save_pretrained(tmp_path)
    llm.build()
    assert llm.embedding.num_embeddings == len(made)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--step", "0"], "--step: got 0; give a number above 0"),
        (["--corpus", "nowhere.yaml"], "nowhere.yaml: No such file"),
    ],
)
def test_what_can_not_be_made_is_said_in_a_line(flags, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tokenizer", str(tmp_path), *flags])
    with pytest.raises(SystemExit):
        main()
    assert said in capsys.readouterr().err


def test_a_tokenizer_that_weights_were_trained_with_is_not_replaced(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tokenizer", str(TINY)])
    with pytest.raises(SystemExit):
        main()
    assert "holds weights, which fit the tokenizer that is there" in capsys.readouterr().err
