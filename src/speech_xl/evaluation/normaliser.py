"""Texts as they are compared: normalised alike in every script, and parted into the units that error rates count."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from speech_xl.extensions.timestamps.marks import without_time_marks

NORMALISER_VERSION = 2
NORMALISER = (
    "version 2: time marks such as [12] out where the corpus has them, apostrophes of all kinds made one and kept "
    "inside words, invisible and format characters out, Unicode NFKC, case folded (Turkish and Azerbaijani by their "
    "own i where the language is known), punctuation and symbols out (a space in their place), white space collapsed; "
    "digits and number words are not mapped onto each other; a letter of a script that is written without spaces (Han, "
    "kana, Thai, Lao, Khmer, Burmese, Tibetan and the like) is a unit by itself, with its marks; all else is words"
)

_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u201b\u02bc\u00b4\u2032\uff07`", "'"))
# Default ignorable code points that Unicode doesn't count among the format characters (category Cf): the grapheme
# joiner, Hangul and Khmer fillers, variation selectors.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0\ufe00-\ufe0f\U000e0000-\U000e0fff]")
_DOTLESS = ("tr", "tur", "az", "aze", "turkish", "azerbaijani")
_UNSPACED = (  # how Unicode's names of letters begin, in scripts written without spaces between words
    *("CJK UNIFIED", "CJK COMPATIBILITY", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "HENTAIGANA", "BOPOMOFO"),
    *("THAI ", "LAO ", "KHMER ", "MYANMAR ", "TIBETAN ", "TAI ", "NEW TAI LUE ", "BALINESE ", "JAVANESE "),
    *("YI ", "NUSHU ", "TANGUT "),
)
_UNSPACED_LANGUAGES = (
    *(
        "zh",
        "zho",
        "chi",
        "cmn",
        "yue",
        "wuu",
        "nan",
        "hak",
        "chinese",
        "mandarin",
        "cantonese",
        "ja",
        "jpn",
        "japanese",
    ),
    *("th", "tha", "thai", "lo", "lao", "km", "khm", "khmer", "my", "mya", "bur", "burmese"),
    *("bo", "bod", "tib", "tibetan", "dz", "dzo", "dzongkha"),
)


def normalize(text: str, language: str | None = None, timestamps: bool = True) -> str:
    """`text` as it is compared; NORMALISER says how in words. Normalising it again changes nothing.

    language: of the text, as a code or in English ("tr", "zh-CN", "Turkish"), where it is known.
    timestamps: whether "[12]" is a time mark, which is taken out, or something that was said.
    """
    text, before = without_time_marks(text) if timestamps else text, None
    dotless = _primary(language) in _DOTLESS
    while text != before:  # what one step lets go of may let another one join what it kept apart
        text, before = _step(text, dotless), text
    return text


def units(text: str, language: str | None = None, timestamps: bool = True) -> list[str]:
    """What a word error rate counts, of a text as `normalize` has it: words, and by itself each letter of a script
    that is written without spaces."""
    normal = normalize(text, language, timestamps)
    return normal.split() if normal.isascii() else [part for word in normal.split() for part in _parts(word, unspaced)]


def characters(text: str, language: str | None = None, timestamps: bool = True) -> list[str]:
    """What a character error rate counts: the letters of a text as `normalize` has it, each with the marks that belong
    to it. Spaces are none: where scripts do without them they are put at will."""
    return [part for word in normalize(text, language, timestamps).split() for part in _parts(word, lambda _: True)]


def error_unit(reference: str, language: str | None = None, timestamps: bool = True) -> str:
    """ "word" or "character": what most `units` of a reference are.

    Of an empty reference it is what the language is written in, and words where that isn't known.
    """
    found = units(reference, language, timestamps)
    if not found:
        return "character" if _primary(language) in _UNSPACED_LANGUAGES else "word"
    return "character" if 2 * sum(unspaced(unit[0]) for unit in found) > len(found) else "word"


@lru_cache(maxsize=1 << 16)
def unspaced(char: str) -> bool:
    """Whether a character is of a script that is written without spaces."""
    return not char.isascii() and unicodedata.name(char, "").startswith(_UNSPACED)


def _primary(language: str | None) -> str:
    return re.split(r"[-_ (]", language.strip().lower())[0] if language else ""


def _step(text: str, dotless: bool) -> str:
    text = "".join(char for char in text.translate(_APOSTROPHES) if unicodedata.category(char) != "Cf")
    text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
    if dotless:
        text = text.replace("\u0130", "i").replace("I", "\u0131")
    text = unicodedata.normalize("NFKC", text.casefold()).replace("i\u0307", "i").translate(_APOSTROPHES)
    # Unicode categories P* and S*: punctuation and symbols, of any script; Cc: control characters.
    text = "".join(" " if char != "'" and _separates(char) else char for char in text)
    inside = (
        char != "'" or (0 < place < len(text) - 1 and _in_word(text[place - 1]) and _in_word(text[place + 1]))
        for place, char in enumerate(text)
    )
    return " ".join("".join(char if keep else " " for char, keep in zip(text, inside, strict=True)).split())


def _separates(char: str) -> bool:
    category = unicodedata.category(char)
    return category[0] in "PS" or category == "Cc"


def _in_word(char: str) -> bool:
    """Whether an apostrophe beside it may be a part of the word; the marks of Indic letters are, spaces aren't."""
    return unicodedata.category(char)[0] in "LMN" and not unspaced(char)


def _parts(word: str, alone: Callable[[str], bool]) -> list[str]:
    """A word in parts: characters that stand alone, each with the marks that follow it, and what lies between."""
    parts: list[str] = []
    joins = False  # whether the next character that doesn't stand alone belongs to the last part
    for char in word:
        if parts and unicodedata.category(char)[0] == "M":
            parts[-1] += char
        elif alone(char) or not joins:
            parts.append(char)
            joins = not alone(char)
        else:
            parts[-1] += char
    return parts
