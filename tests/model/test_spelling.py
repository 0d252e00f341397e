"""Spelling: any text in an LLM's single letters, and back."""

import pytest

from speech_xl.model.spelling import Spelling
from tests.model.tiny import letters_tokenizer


def test_a_text_is_spelled_word_by_word():
    tokenizer = letters_tokenizer()
    spelling = Spelling(tokenizer)
    ids = [spelling.ids[place] for place in spelling("It didn't  rain")]
    assert tokenizer.convert_ids_to_tokens(ids) == ["Ġi", "t", "Ġd", "i", "d", "n", "'", "t", "Ġr", "a", "i", "n"]
    assert tokenizer.decode(ids) == " it didn't rain"
    assert spelling.ids == sorted(spelling.ids)


def test_letters_that_have_no_token_of_their_own_are_left_out():
    tokenizer = letters_tokenizer()
    spelling = Spelling(tokenizer)
    assert spelling("señor 4") == spelling("seor")
    assert {tokenizer.decode([i]).strip() for i in spelling.ids} == set("abcdefghijklmnopqrstuvwxyz'"), "no bytes"


def test_a_tokenizer_without_letters_is_refused():
    with pytest.raises(ValueError, match=r"adapter\.letters: .*no token for the letter 'q'"):
        Spelling(letters_tokenizer(without="q"))
