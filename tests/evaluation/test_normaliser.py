"""The normaliser in every script: what is compared, what is counted, and that normalising twice is normalising once."""

import random
import string
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech_xl.evaluation.metrics import is_correct, summarise, wer_counts
from speech_xl.evaluation.normaliser import characters, error_unit, normalize, units
from tests.predictions import make_prediction

LANGUAGES = st.sampled_from([None, "en", "tr", "zh"])


@given(st.text(max_size=30), LANGUAGES, st.booleans())
def test_normalising_again_changes_nothing(text, language, timestamps):
    once = normalize(text, language, timestamps)
    assert normalize(once, language, timestamps) == once
    parts = units(text, language, timestamps)
    assert units(" ".join(parts), language, timestamps) == parts
    assert "".join(parts) == "".join(characters(text, language, timestamps)) == once.replace(" ", "")


@pytest.mark.parametrize("around", ["{}", "a{}b", "{}'\u0307I"])
def test_normalising_again_changes_nothing_whatever_the_code_point(around):
    # Of the planes that are hardly assigned a sample; all of what is written with.
    points = [*range(0x3500), *range(0xA000, 0xAC20), *range(0xD7A0, 0x11000), *range(0x11000, sys.maxunicode, 97)]
    for point in points:
        once = normalize(around.format(chr(point)))
        assert normalize(once) == once, hex(point)


@given(st.text(st.sampled_from(string.printable[:95]), max_size=40))
def test_printable_ascii_is_lower_case_without_punctuation(text):
    """As version 1 had it: the numbers of English corpora are the same."""
    kept = "".join(char if char.isalnum() or char == "'" else " " for char in text.lower().replace("`", "'"))
    inside = "".join(
        " " if char == "'" and not (kept[i - 1 : i].isalnum() and kept[i + 1 : i + 2].isalnum()) else char
        for i, char in enumerate(kept)
    )
    assert normalize(text, timestamps=False) == " ".join(inside.split())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("STRASSE", "straße"),
        ("İstanbul", "istanbul"),
        ("ΟΔΟΣ", "οδος"),
        ("na\u00efve", "nai\u0308ve"),
        ("co\u00adoperate\ufeff", "cooperate"),
        ("می\u200cخواهم", "میخواهم"),
        ("\u202bשלום\u202c", "שלום"),
        ("葛\U000e0100 ❤\ufe0f", "葛"),
        ("ｱｲｳ", "アイウ"),
    ],
)
def test_the_same_word_written_otherwise(one, other):
    assert normalize(one) == normalize(other) != ""


@pytest.mark.parametrize("apostrophe", "'\u2018\u2019\u201b\u02bc\u00b4\u2032\uff07`")
def test_every_apostrophe_is_one(apostrophe):
    assert normalize(f"Don{apostrophe}t {apostrophe}quote{apostrophe}") == "don't quote"


def test_turkish_keeps_its_two_i_where_the_language_is_known():
    assert normalize("IŞIK İLE", "tr") == normalize("ışık ile", "Turkish") == "ışık ile"
    assert normalize("ISTANBUL") == "istanbul" and normalize("ISTANBUL", "az-Latn") == "ıstanbul"


@pytest.mark.parametrize("word", ["हिन्दी", "مَدْرَسَة", "שָׁלוֹם", "কি", "தமிழ்"])
def test_the_marks_of_letters_are_kept(word):
    assert units(word) == [normalize(word)] and len(normalize(word)) == len(word)
    assert "".join(characters(word)) == normalize(word) and len(characters(word)) < len(word)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("今天天气很好。", [*"今天天气很好"]),
        ("今天 天气", [*"今天天气"]),
        ("我去 Apple Store 买iPhone", ["我", "去", "apple", "store", "买", "iphone"]),
        ("ありがとう、スーパー", [*"ありがとうスーパー"]),
        ("สวัสดี", ["ส", "วั", "ส", "ดี"]),
        ("안녕 하세요", ["안녕", "하세요"]),
        ("it's 3 o'clock", ["it's", "3", "o'clock"]),
    ],
)
def test_letters_of_scripts_without_spaces_are_units_by_themselves(text, expected):
    assert units(text) == expected


def test_one_wrong_letter_of_eight_is_one_error_of_eight():
    assert wer_counts("今天天气非常好吗", "今天 天汽 非常好吗。") == (1, 8)
    assert is_correct("今天 天气", "今天天气") and not is_correct("to day", "today")


@pytest.mark.parametrize(
    ("reference", "language", "unit"),
    [
        ("今天很好", None, "character"),
        ("ok 今天很好", "zh", "character"),
        ("the word 好", None, "word"),
        ("안녕 하세요", "ko", "word"),
        ("", None, "word"),
        ("", "zh-CN", "character"),
        ("", "Japanese", "character"),
        ("", "english", "word"),
    ],
)
def test_the_unit_is_that_of_the_reference(reference, language, unit):
    assert error_unit(reference, language) == unit


def test_time_marks_are_taken_out_where_the_corpus_has_them():
    said, heard = "see note [3] please", "see note please"
    assert normalize(said, timestamps=False) == "see note 3 please"
    without, with_marks, older = ({"timestamps": None}, {"timestamps": 1.0}, {})
    errors = [
        summarise([make_prediction("a", 2, reference=said, hypothesis=heard, **field)])[2]["wer"].errors
        for field in (without, with_marks, older)
    ]
    assert errors == [1, 0, 0]


def test_languages_of_several_units_are_told_apart():
    records = [
        make_prediction("a", 2, reference="今天很好", hypothesis="今天好"),
        make_prediction("b", 2, reference="one two", hypothesis="one six"),
    ]
    rates = summarise(records)[2]
    assert (rates["wer"].errors, rates["wer"].words) == (2, 6)
    assert (rates["wer/character"].value, rates["wer/word"].value) == (0.25, 0.5)
    assert (rates["cer"].errors, rates["cer"].words) == (4, 10)
    assert "wer/word" not in summarise(records[1:])[2]


def test_random_marks_and_letters_settle():
    draw = random.Random(0)
    odd = "aIiİı'\u0307\u0301\u200d\u00ad´ﬁ\u0345[1]ß今ก\u0e49\u1160가"
    for _ in range(5000):
        text = "".join(draw.choice(odd) for _ in range(12))
        assert normalize(normalize(text, "tr"), "tr") == normalize(text, "tr")
