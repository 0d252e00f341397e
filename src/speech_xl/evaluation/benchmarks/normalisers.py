"""Normalisers that others score transcripts with, each by the rule that its docstring states."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path

SPELLINGS = tuple(f"openai/whisper-{size}" for size in ("large-v3", "large-v2", "small", "base", "tiny"))
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\uff07", "'"))
_TAG = re.compile(r"<\|[^|>]*\|>")


def nfkc_lower(text: str) -> str:
    """Unicode NFKC, lower case, white space collapsed. Punctuation stays."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def without_punctuation(text: str) -> str:
    """NFKC, lower case; punctuation and symbols (Unicode P, S) are spaces, but apostrophes inside words stay."""
    text = nfkc_lower(text).translate(_APOSTROPHES)
    text = "".join(" " if char != "'" and _separates(char) else char for char in text)
    return " ".join(re.sub(r"(?<!\w)'|'(?!\w)", " ", text).split())


def word_characters(text: str) -> str:
    r"""NFKC, lower case; whatever is neither ``\w`` nor white space is a space, apostrophes and vowel marks too."""
    return " ".join(re.sub(r"[^\w\s]", " ", nfkc_lower(text)).split())


def by_language(text: str, language: str | None) -> str:
    """Whisper's normalisers (arXiv 2212.04356, appendix C) by language, as LongSpeech's authors use them.

    Tags such as ``<|en|>`` are spaces. Then "en": Whisper's English one; a language with "zh" in it: punctuation and
    symbols are spaces (numbers are not written out, as the package cn_tn would); all else: Whisper's basic one. At
    last tokens that are all punctuation are dropped, and the rest is lower case.
    """
    text = _TAG.sub(" ", text)
    if language == "en":
        text = _english()(text)
    elif language is not None and "zh" in language:
        text = "".join(" " if _separates(char) else char for char in text)
    else:
        text = _basic()(text)
    return " ".join(word.lower() for word in text.split() if not all(map(_separates, word)))


@cache
def _spelling_file() -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(name, "normalizer.json") for name in SPELLINGS)
    return next((Path(file) for file in found if isinstance(file, str)), None)


def spelling_map() -> tuple[dict[str, str], str]:
    """Whisper's map of British onto American spellings, and what to say about it.

    It is `normalizer.json` of a Whisper model in the local Hugging Face cache; empty where there is none.
    """
    file = _spelling_file()
    if file is None:
        return {}, "without its map of British spellings, which is in no Whisper model of the Hugging Face cache"
    return json.loads(file.read_text(encoding="utf-8")), "with its map of British spellings"


def whisper_english(text: str) -> str:
    """Whisper's English normaliser (arXiv 2212.04356, appendix C), with `spelling_map`."""
    return _english()(text)


@cache
def _english() -> Callable[[str], str]:
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    return EnglishTextNormalizer(spelling_map()[0])


@cache
def _basic() -> Callable[[str], str]:
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer

    return BasicTextNormalizer()


def _separates(char: str) -> bool:
    return unicodedata.category(char)[0] in "PS"
