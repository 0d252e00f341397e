"""A parser for multiple choice that wants exactly one choice, named by its label or by its text; any number of them.

It reads what is written, not what may be meant: "fear" doesn't name "Fearful". A reply that names one choice alone, and
that one behind a negation ("not a dog"), names none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache

from speech_xl.evaluation.normaliser import units

FREE, END = r"(?<![\w'’])", r"(?![\w'’])"  # no word goes on here
LISTED = r"\s*(?:,|/|&|\bor\b|\band\b)\s*"
CUE = r"\b(?:option|choice|letter)\s*[:=]?\s*"
ANSWER = r"\banswer(?:\s+(?:is|was|would\s+be))?\s*[:=]?\s*"
NEGATION = re.compile(r"\b(?:no|not|non|never|neither|nor|without|cannot|\w+n['’]t)\b", re.IGNORECASE)
CLAUSE = re.compile(r"[^.,;:!?\n]*?(?=[.,;:!?\n]|\bbut\b|$)", re.IGNORECASE)  # to the end of it
OPEN, NO_WORD = r"[\"'“‘*(\[]*", r"(?=\s*(?:[^\w\s'’]|$))"  # marks before a label; no word after it


def parse_choice(reply: str, choices: Mapping[str, str]) -> str | None:
    """The label of the only choice that the reply names; None where it names none or several.

    A label names its choice where it is the whole reply, begins it with a mark ("b)", "b."), stands in brackets,
    follows "option", "choice", "letter" or "answer is", or stands alone as a capital; a small letter anywhere else is
    none (", e\\nt"). The labels A and I are English words, so they need a mark or the reply's end after them ("I hear a
    dog" names no A).

    A text names its choice where all its words stand in the reply in their order. Parts do as well: what is before or
    after " - ", without the brackets or inside of them ("Early Career", "31-40"), without a word that ends all choices
    ("46" of "46 entities"). Where choices overlap ("metro", "metro station"), the longer one is meant.

    A negation holds to the end of its clause, which a mark or "but" ends ("No, a dog" names "Dog"). Negations that are
    in a choice's own text are none.
    """
    return _parse(reply, tuple(choices.items()))


@lru_cache(maxsize=1 << 14)  # a constant answer is read once for all rows of the same choices
def _parse(reply: str, offered: tuple[tuple[str, str], ...]) -> str | None:
    choices, text = dict(offered), unicodedata.normalize("NFKC", reply).strip()
    names = {label: _names(whole, choices) for label, whole in choices.items()}
    words = _words(text)
    if whole := {label for label, some in names.items() if words in some}:
        return whole.pop() if len(whole) == 1 else None
    named = _named(text, choices, names)
    if len(named) != 1 or not named & _named(_without_negated(text, choices), choices, names):
        return None
    return named.pop()


def _named(text: str, choices: Mapping[str, str], names: Mapping[str, set[tuple[str, ...]]]) -> set[str]:
    return _by_label(text, list(choices)) | _by_text(_words(text), names)


def _without_negated(text: str, choices: Mapping[str, str]) -> str:
    """The text without its negations and what follows them in their clauses."""
    own = {found.casefold() for one in choices.values() for found in NEGATION.findall(one)}
    kept, place = [], 0
    for found in NEGATION.finditer(text):
        if found.start() >= place and found[0].casefold() not in own and (rest := CLAUSE.match(text, found.end())):
            kept.append(text[place : found.start()])
            place = rest.end()
    return " ".join([*kept, text[place:]])


def _by_label(text: str, labels: Sequence[str]) -> set[str]:
    """Labels that the text names as such, each by itself or in a list ("a or b")."""
    any_label = "|".join(re.escape(label.strip()) for label in sorted(labels, key=len, reverse=True))
    lists = re.findall(rf"{FREE}(?:{any_label})(?:{LISTED}(?:{any_label}))+{END}", text, re.IGNORECASE)
    in_lists = {part.strip().casefold() for one in lists for part in re.split(LISTED, one, flags=re.IGNORECASE)}
    return {label for label in labels if label.strip().casefold() in in_lists or _names_label(text, label.strip())}


def _names_label(text: str, label: str) -> bool:
    one = re.escape(label)
    patterns = [
        rf"^\W*{one}\W*$",
        rf"^{OPEN}{one}\s*[.):\]](?!\w\.)",  # not "e.g."
        rf"^{OPEN}{one}\s+[-–—]",
        rf"[(\[]\s*{one}\s*[)\]]",
        rf"{FREE}{one}\)",
        rf"{CUE}{OPEN}{one}{END}",
        rf"{ANSWER}{OPEN}{one}{NO_WORD}",
    ]
    upper = re.escape(label.upper())
    capitals = [rf"^\W*{upper}\s*[.):,\]\n]"]
    if label.lower() == "a":
        capitals.append(rf"{FREE}{upper}\W*$")
    elif label.lower() != "i":
        capitals.append(rf"{FREE}{upper}{END}")
        patterns.append(rf"{ANSWER}{OPEN}{one}{END}")
    return any(re.search(pattern, text) for pattern in capitals) or any(
        re.search(pattern, text, re.IGNORECASE) for pattern in patterns
    )


def _by_text(words: Sequence[str], names: Mapping[str, set[tuple[str, ...]]]) -> set[str]:
    """Labels of the choices with a name among the words that isn't a part of another choice's longer one."""
    found = [
        (start, start + len(name), label)
        for label, some in names.items()
        for name in some
        for start in range(len(words) - len(name) + 1)
        if tuple(words[start : start + len(name)]) == name
    ]
    return {
        label
        for start, stop, label in found
        if not any(
            other != label and first <= start and stop <= last and last - first > stop - start
            for first, last, other in found
        )
    }


def _names(text: str, choices: Mapping[str, str]) -> set[tuple[str, ...]]:
    """All that names a choice, as words; none of it empty."""
    parts = [text, *text.split(" - ")]
    for part in list(parts):
        parts.append(re.sub(r"[(\[].*?[)\]]", " ", part))
    names = {_words(part) for part in parts}
    names |= {inside for found in re.findall(r"[(\[](.*?)[)\]]", text) if len(inside := _words(found)) > 1}
    every = [_words(other) for other in choices.values()]
    shared = 0
    while len(every) > 1 and all(len(one) > shared + 1 for one in every) and len({o[-1 - shared] for o in every}) == 1:
        shared += 1
    if shared:
        names.add(_words(text)[:-shared])
    return names - {()}


@lru_cache(maxsize=1 << 14)  # choices come again with every item
def _words(text: str) -> tuple[str, ...]:
    return tuple(units(text, timestamps=False))
