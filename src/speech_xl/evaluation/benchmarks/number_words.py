"""Whole numbers in an answer: the first one in digits, or the only one in digits or English words."""

from __future__ import annotations

import re
import unicodedata

_FIRST = re.compile(r"(?<!\d)-?\d+(?!\d)")
# Letters of a word that a number may not touch ("S2", "2nd"); not those of Chinese, Japanese, Korean and Thai ("2人").
_LETTER = "[^\\W\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af]"
_DIGITS = re.compile(rf"(?<!{_LETTER})-?\d+(?:,\d{{3}})*(?:\.\d+)?(?!{_LETTER})")
_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_LARGE = {"dozen": 12, "hundred": 100, "thousand": 1000}  # each a value by itself: "two hundred" is 2 and 100
_WORDS = dict(zip(_ONES, range(20), strict=True)) | dict(zip(_TENS, range(20, 100, 10), strict=True)) | _LARGE
_TEN, _ONE, _SMALL = ("|".join(words) for words in (_TENS, _ONES[1:10], (*_ONES, *_LARGE)))
_SPELLED = re.compile(rf"\b(?:(?P<tens>{_TEN})(?:[\s-]+(?P<ones>{_ONE}))?|(?P<small>{_SMALL}))\b")


def first_integer(text: str) -> int | None:
    """The first run of digits, with a minus sign that stands before it; None without one. Words are no numbers."""
    found = _FIRST.search(text)
    return int(found.group()) if found else None


def numbers_in(text: str) -> set[float]:
    """Every value in a text, in digits ("2", "2.0", "1,200", "２人") or in English words up to ninety-nine.

    Larger numbers in words are several values, so that `only_integer` finds none in them.
    """
    text = unicodedata.normalize("NFKC", text).lower()
    # The minus sign of "2-3" is a dash: only one that follows no word belongs to its number.
    values = {float(found.replace(",", "")) for found in _DIGITS.findall(text)}
    return values | {float(_value(found)) for found in _SPELLED.finditer(text)}


def only_integer(text: str) -> int | None:
    """The only value in a text, which may be there several times ("two (2)"); None where there are none, several
    unlike ones ("2 or 3"), or one that is not whole."""
    values = numbers_in(text)
    if len(values) != 1:
        return None
    value = values.pop()
    return int(value) if value.is_integer() else None


def _value(found: re.Match[str]) -> int:
    if small := found["small"]:
        return _WORDS[small]
    return _WORDS[found["tens"]] + (_WORDS[found["ones"]] if found["ones"] else 0)
