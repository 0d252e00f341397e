"""How the AudioMarathon repository's Qwen2.5-Omni scripts read a reply, task by task, with their oddities.

Source: github.com/DabDans/AudioMarathon, src/Qwen_2.5_Omni/Others, commit c8f49f3; each function names its script.
A parser takes the reply and the texts of the choices in the prompt's order, and returns a class or "" where it finds
none. What it returns may be no class of the task ("IT"): the scorer drops such answers, as the scripts do.

Not reproduced: the script for SD shortens replies of more than ten tokens, and its own limit is five.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

Parser = Callable[[str, Sequence[str]], str]

LETTERS = "ABCD"
EMOTION_WORDS = (  # a reply and a choice that each hold a word of one line belong together
    ("anger", "frustrated", "mad", "furious"),
    ("joy", "cheerful", "pleased", "delighted"),
    ("sadness", "melancholy", "depressed", "sorrow"),
    ("fear", "anxiety", "scared", "afraid"),
    ("flat", "emotionless", "neutral", "bland"),
)


def parse_scr(reply: str, _texts: Sequence[str]) -> str:
    """race_qwen2.5.py: the first character that is A, B, C or D, in whatever word; else the first word. So "The answer
    is B" is A, for the A of "answer"."""
    upper = reply.strip().upper()
    return next((char for char in upper if char in LETTERS), next(iter(upper.split()), ""))


def parse_ser(reply: str, _texts: Sequence[str]) -> str:
    """SLUE_qwen2.5.py: a reply of at most three characters by its first letter, else as `parse_sed`.

    An empty reply is A: the script then reads its own prompt, whose first letter that stands alone is the A of "You are
    Qwen, a virtual human".
    """
    upper = reply.strip().upper()
    if not upper:
        return "A"
    return upper[0] if len(upper) <= 3 and upper[0] in LETTERS else _first_letter(upper)


def parse_sed(reply: str, _texts: Sequence[str]) -> str:
    """DESED_qwen2.5.py: the first letter A to D that stands alone, the article "a" included, else the first one in any
    word."""
    return _first_letter(_after_role(reply).strip().upper())


def parse_mc(reply: str, _texts: Sequence[str]) -> str:
    """GTZAN_qwen2.5.py: a letter that begins or ends the reply, then "option a" and the like, then as `parse_sed`."""
    lower = _after_role(reply).strip().lower()
    found = _edge_letter(lower, "abcd", ends=True) or _marked_letter(lower, "abcd", "option {}", "choice {}", "{})")
    return found.upper() or _first_letter(lower.upper())


def parse_asc(reply: str, texts: Sequence[str]) -> str:
    """TAU_qwen2.5.py: a letter that begins the reply or is marked, else the first choice whose whole text is inside,
    else the one with most words of its name as substrings of the reply, if these are two or more."""
    lower = _after_role(reply).strip().lower()
    letters = "abcd"
    found = next((a for a in letters if lower == a or lower.startswith((f"{a}.", f"{a})", f"{a}:"))), "")
    if found := found or _marked_letter(lower, letters, "option {}", "choice {}", "{})"):
        return found.upper()
    best, most = "", 1
    for letter, text in zip(LETTERS, texts, strict=False):
        if text.lower() in lower:
            return letter
        inside = sum(word in lower for word in text.lower().split(" - ")[0].split())
        if inside > most:
            best, most = letter, inside
    return best


def parse_sd(reply: str, _texts: Sequence[str]) -> str:
    """HAD_qwen2.5.py: a is real and b is fake, as a letter at an edge, marked, or as a word (so the article "a" is
    real); else the one of the two words that is inside; else a synonym."""
    lower = _after_role(reply).strip().lower()
    marked = "option {}", "choice {}", "{})", " {} "
    if letter := _edge_letter(lower, "ab", ends=True) or _marked_letter(lower, "ab", *marked):
        return {"a": "real", "b": "fake"}[letter]
    synonyms = {
        "real": r"\b(real|authentic|genuine)\b",
        "fake": r"\b(fake|artificial|synthetic|synthesized)\b|\bcontains.*fake\b",
    }
    return _the_only_one(["real", "fake"], lambda word: word in lower) or _the_only_one(
        ["real", "fake"], lambda word: re.search(synonyms[word], lower) is not None
    )


def parse_sgr(reply: str, texts: Sequence[str]) -> str:
    """Vox_qwen2.5.py: a and b are the row's choices, whatever the prompt says; else the one choice that is inside. For
    rows of Male, then Female, also the one of the two words; "female" holds "male", so other rows lose it."""
    lower = reply.strip().lower()
    names = [text.strip().lower() for text in texts[:2]] if len(texts) > 1 else ["male", "female"]
    if letter := _edge_letter(lower, "ab") or _marked_letter(lower, "ab", "option {}", "choice {}", "{})"):
        return names["ab".index(letter)]
    if found := _the_only_one(names, lambda name: name in lower):
        return found
    if names != ["male", "female"]:
        return ""
    return _the_only_one(names, lambda name: re.search(rf"\b{name}\b", lower) is not None)


def parse_sar(reply: str, texts: Sequence[str]) -> str:
    """Vox_age_qwen2.5.py: a letter at an edge, the only letter a to e that stands alone (the article "a" included), or
    one after "option", "choice", "answer"; else the only choice whose whole text is inside. Returns its text."""
    lower, letters = reply.strip().lower(), "abcde"[: len(texts)]
    letter = (
        _edge_letter(lower, letters, ends=True)
        or _the_only_one(list(letters), lambda one: re.search(rf"\b{one}\b", lower) is not None)
        or _marked_letter(lower, letters, "option {}", "choice {}", "answer {}")
    )
    return texts[letters.index(letter)] if letter else _the_only_one(texts, lambda text: text.lower() in lower)


def parse_er(reply: str, texts: Sequence[str]) -> str:
    """VESUS_qwen2.5.py: a letter that begins the reply or is marked, else the first choice that shares a line of
    `EMOTION_WORDS` with the reply. The choice's own name ("Angry") is none of these words."""
    lower = _after_role(reply).strip().lower()
    if found := _edge_letter(lower, "abcd") or _marked_letter(lower, "abcd", "option {}", "choice {}", "{})"):
        return found.upper()
    for letter, text in zip(LETTERS, texts, strict=False):
        if any(_any_of(words, lower) and _any_of(words, text.lower()) for words in EMOTION_WORDS):
            return letter
    return ""


def _after_role(reply: str) -> str:
    """The scripts that decode prompt and reply together keep what follows the last role line."""
    return reply.rpartition("assistant\n")[2]


def _first_letter(upper: str) -> str:
    found = re.search(rf"\b[{LETTERS}]\b", upper) or re.search(f"[{LETTERS}]", upper)
    return found[0] if found else ""


def _edge_letter(lower: str, letters: str, ends: bool = False) -> str:
    """The first of `letters` that is the whole reply or begins it, as "a." or "a)"; ends: or ends it, as " a"."""
    for one in letters:
        if lower == one or lower.startswith((f"{one}.", f"{one})")) or (ends and lower.endswith(f" {one}")):
            return one
    return ""


def _marked_letter(lower: str, letters: str, *marks: str) -> str:
    """The first of `letters` that stands inside in one of these marks, such as "option {}"."""
    return next((one for one in letters if any(mark.format(one) in lower for mark in marks)), "")


def _any_of(words: Sequence[str], text: str) -> bool:
    return any(word in text for word in words)


def _the_only_one(names: Sequence[str], holds: Callable[[str], bool]) -> str:
    """The one name that holds; "" where none or several do."""
    found = [name for name in names if holds(name)]
    return found[0] if len(found) == 1 else ""
