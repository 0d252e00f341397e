"""Languages: which one an answer names, which ones are written in Chinese, Japanese or Korean script."""

from __future__ import annotations

import json
import re
import string
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

CJK_CODES = frozenset({"zh", "zho", "chi", "cmn", "ja", "jpn", "ko", "kor"})
CJK_NAMES = frozenset({"chinese", "mandarin", "japanese", "korean"})
# Han with its extension A and compatibility forms, kana, Hangul syllables.
_CJK = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff\uac00-\ud7af]")
_TAG = re.compile(r"<\|\s*([a-z]{2,3}(?:-[a-z]+)?)\s*\|>", re.IGNORECASE)
Aliases = Mapping[str, str]  # name or code of a language in lower case -> code


@cache
def languages() -> dict[str, dict[str, list[str]]]:
    """ISO 639-1 code (639-3 where there is none) -> its ISO 639-2 codes, its names in English and in itself."""
    return json.loads(Path(__file__).with_name("language_names.json").read_text(encoding="utf-8"))


@cache
def codes() -> dict[str, str]:
    """Every code of a language -> its first one."""
    return {code: first for first, known in languages().items() for code in (first, *known["iso"])}


@cache
def names() -> dict[str, str]:
    """Every name of a language, folded -> its code."""
    return {fold(name): code for code, known in languages().items() for name in known["names"]}


def fold(text: str) -> str:
    """NFKC, lower case, white space collapsed, no punctuation round it."""
    text = " ".join(unicodedata.normalize("NFKC", text).lower().split())
    return text.strip(string.punctuation + string.whitespace + "。、！？")


def code_of(language: str) -> str:
    """The first code of a language that is given by code or name ("zh-CN", "deu", "German"); what isn't known stays."""
    whole = fold(language)
    if whole in names():
        return names()[whole]
    primary = re.split(r"[-_]", whole)[0]
    return codes().get(primary, primary)


def is_cjk(language: str | None, transcript: str) -> bool:
    """Whether a row is Chinese, Japanese or Korean: by the part of its language code before "-", or by its name. Only
    of a row without a language, by whether its transcript has a character of these scripts."""
    if not language:
        return _CJK.search(transcript) is not None
    known = language.strip().lower()
    return re.split(r"[-_]", known)[0] in CJK_CODES or known in CJK_NAMES


def with_spellings(spellings: Iterable[tuple[str, str]]) -> Aliases:
    """`names`, and what else languages are called: pairs of a name and a code."""
    return {fold(name): code for name, code in spellings if fold(name) and fold(name) not in codes()} | names()


def first_language(text: str, aliases: Aliases) -> str | None:
    """A tag such as ``<|it|>`` first; then the whole text as an alias or a code; then the longest alias that is
    anywhere in it, also inside a word. None without one."""
    if tag := _TAG.search(text):
        return code_of(tag[1])
    whole = fold(text)
    if found := aliases.get(whole) or _whole_code(whole):
        return found
    return next((aliases[name] for name in _longest_first(aliases) if name in whole), None)


def only_language(text: str, aliases: Aliases) -> str | None:
    """The only language that a text names, by a tag, as a whole word, or as a code where that is all it says. None
    where it names none or several."""
    found = {code_of(tag) for tag in _TAG.findall(text)}
    whole = fold(_TAG.sub(" ", text))
    if code := _whole_code(whole):
        found.add(code)
    for name in _longest_first(aliases):
        # A name that holds another one ("Mandarin Chinese") is taken out, so that it counts once.
        whole, times = re.subn(_bounded(name), " ", whole)
        if times:
            found.add(aliases[name])
    return found.pop() if len(found) == 1 else None


def _whole_code(text: str) -> str | None:
    """The language of a text that is nothing but a code, such as "it" or "zh-cn"."""
    return codes().get(text.split("-")[0]) if re.fullmatch("[a-z]{2,3}(-[a-z]+)?", text) else None


def _longest_first(aliases: Aliases) -> list[str]:
    return sorted(aliases, key=lambda name: (-len(name), name))


def _bounded(name: str) -> str:
    """A pattern that finds a name as a whole word; in scripts without spaces, anywhere."""
    return (
        re.escape(name) if _CJK.search(name) or "\u0e00" <= name[0] <= "\u0e7f" else rf"(?<!\w){re.escape(name)}(?!\w)"
    )
