"""Spelling: any text in an LLM's single letters, and back from scores of them."""

import pytest
import torch

from speech_xl.extensions.ctc.vocabulary import Letters
from tests.model.tiny import letters_tokenizer


def test_a_text_is_spelled_word_by_word():
    tokenizer = letters_tokenizer()
    letters = Letters(tokenizer)
    ids = [letters.ids[place] for place in letters("It didn't  rain")]
    assert tokenizer.convert_ids_to_tokens(ids) == ["Ġi", "t", "Ġd", "i", "d", "n", "'", "t", "Ġr", "a", "i", "n"]
    assert tokenizer.decode(ids) == " it didn't rain"
    assert letters.ids == sorted(letters.ids)


def test_scores_of_letters_are_heard_as_text():
    tokenizer = letters_tokenizer()
    letters = Letters(tokenizer)
    embeddings = torch.arange(len(tokenizer) * 2.0).reshape(-1, 2)
    assert letters.table(embeddings).equal(embeddings[letters.ids])
    blank = len(letters.ids)
    said = letters("all rain")
    path = [place for letter in said for place in (letter, letter, blank)]  # a blank parts the two l
    scores = torch.nn.functional.one_hot(torch.tensor([blank, *path]), blank + 1).float()
    assert letters.heard(scores) == letters.text_of(said).strip() == "all rain"


def test_letters_that_have_no_token_of_their_own_are_left_out():
    tokenizer = letters_tokenizer()
    letters = Letters(tokenizer)
    assert letters("señor 4") == letters("seor")
    assert {tokenizer.decode([i]).strip() for i in letters.ids} == set("abcdefghijklmnopqrstuvwxyz'"), "no bytes"


def test_a_tokenizer_without_letters_is_refused():
    with pytest.raises(ValueError, match=r"adapter\.letters: .*no token for the letter 'q'"):
        Letters(letters_tokenizer(without="q"))
