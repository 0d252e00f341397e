"""LongSpeech's ASR profiles against error counts made by hand."""

import pytest

from speech_xl.evaluation.benchmarks import normalisers
from speech_xl.evaluation.benchmarks.longspeech.asr import CJK_CER, NON_CJK_WER, OVERALL_CER, WER
from tests.evaluation.benchmarks.longspeech_answers import LONGSPEECH, answer, answers, same, scores

# reference, hypothesis, language; then percent in each profile: (non-CJK WER, CJK CER, overall CER), or one WER in
# authors-dev. None: there is no such row.
CASES = {
    "right": ("the lamp was out", "the lamp was out", "en", (0, None, 0), (0, None, 0), (0, None, 0), 0, (0, None, 0)),
    # 2 of 4 words have other punctuation; 2 of 13 characters without spaces ("Thelampwasout" has 13).
    "punctuation": (
        *("the lamp was out", "The lamp, was out.", "en"),
        *((0, None, 0), (50, None, 200 / 13), (0, None, 0), 0, (0, None, 0)),
    ),
    # An apostrophe inside a word: h2 parts it ("it s" against "its": 1 substitution and 1 deletion of 4 words), the
    # English normaliser writes "it is" (against "its": the same).
    "apostrophe": (
        *("it's very late", "its very late", "en"),
        *((100 / 3, None, 100 / 12), (100 / 3, None, 100 / 12), (50, None, 0), 50, (100 / 3, None, 100 / 12)),
    ),
    "curly apostrophe": (
        *("it’s very late", "it's very late", "en"),
        *((0, None, 0), (100 / 3, None, 100 / 12), (0, None, 0), None, (0, None, 0)),
    ),
    # One of the 9 characters is wrong. h2 takes zh-CN for words: the comma parts it in two, one of which is right.
    "zh-CN": (
        *("今天的会议，改到下午", "今天的会议，改到上午", "zh-CN"),
        *((None, 100 / 9, 100 / 9), (None, 10, 10), (50, None, 100 / 9), 100 / 9, (None, 100 / 9, 100 / 9)),
    ),
    "zh": (
        *("今天的会议，改到下午", "今天的会议，改到上午", "zh"),
        *((None, 100 / 9, 100 / 9), (None, 10, 10), (None, 100 / 9, 100 / 9), 100 / 9, (None, 100 / 9, 100 / 9)),
    ),
    # Japanese counts as words in authors-dev: one word, and it's wrong.
    "ja": (
        *("今日は雨です", "今日は雪です", "ja"),
        *((None, 100 / 6, 100 / 6), (None, 100 / 6, 100 / 6), (None, 100 / 6, 100 / 6), 100, (None, 100 / 6, 100 / 6)),
    ),
    # Spaces don't matter to characters; of 2 words in authors-dev both are changed into one.
    "ko": (
        *("오늘은 비가", "오늘은비가", "ko"),
        *((None, 0, 0), (None, 0, 0), (None, 0, 0), 100, (None, 0, 0)),
    ),
    # Thai without spaces is one word, but in strict letters with their marks: 1 of 4. A mark is no \w and not of the
    # categories that Whisper keeps: h2 and authors-dev part "ดีมาก" there into two words, of which one is changed.
    "th": (
        *("ดีมาก", "ดีมาด", "th"),
        *((100, None, 20), (100, None, 20), (50, None, 25), 50, (25, None, 25)),
    ),
    "empty": (
        *("la lampe est là", "", "fr"),
        *((100, None, 100), (100, None, 100), (100, None, 100), 100, (100, None, 100)),
    ),
    # 2 words become 6: 4 insertions of 2 words; "oui" four times is 12 characters beside 6.
    "runaway": (
        *("oui merci", "oui merci oui oui oui oui", "fr"),
        *((200, None, 150), (200, None, 150), (200, None, 150), 200, (200, None, 150)),
    ),
    # "uten" becomes "ood" by 4 errors, "gen" becomes "ning" by 3, of 11 characters.
    "wrong language": (
        *("guten morgen", "good morning", "de"),
        *((100, None, 700 / 11), (100, None, 700 / 11), (100, None, 700 / 11), 100, (100, None, 700 / 11)),
    ),
    "language unknown, by its characters": (
        *("雨です", "雪です", None),
        *((None, 100 / 3, 100 / 3), (None, 100 / 3, 100 / 3), (100, None, 100 / 3), 100, (None, 100 / 3, 100 / 3)),
    ),
    # Whisper's basic normaliser takes out what is in brackets, the others only the brackets: 1 insertion of 2 words.
    "brackets": (
        *("bonjour madame", "bonjour (rires) madame", "fr"),
        *((50, None, 500 / 13), (50, None, 700 / 13), (50, None, 500 / 13), 0, (50, None, 500 / 13)),
    ),
    # English number words and titles become one spelling in authors-dev alone.
    "numbers": (
        *("mister brown has twenty one", "mr brown has 21", "en"),
        *((60, None, None), (60, None, None), (60, None, None), 0, (60, None, None)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_error_rates_of_every_profile(case):
    reference, hypothesis, language, paper, h1, h2, authors, strict = CASES[case]
    one = answers("ASR", (reference, hypothesis, language))
    for profile, expected in (("paper-words", paper), ("h1", h1), ("h2", h2), ("strict", strict)):
        found = scores(profile, one)
        assert same(found[NON_CJK_WER].value, expected[0]), (profile, found[NON_CJK_WER])
        assert same(found[CJK_CER].value, expected[1]), (profile, found[CJK_CER])
        assert expected[2] is None or same(found[OVERALL_CER].value, expected[2]), (profile, found[OVERALL_CER])
    if authors is not None:
        assert same(scores("authors-dev", one)[WER].value, authors), scores("authors-dev", one)


def test_averages_are_of_the_corpus_and_intervals_of_sessions():
    rows = answers(
        "ASR", ("one two", "one", "en"), ("one two three four five six", "one two three four five six", "en")
    )
    found = scores("strict", rows)[NON_CJK_WER]
    assert found.value == pytest.approx(100 / 8)  # 1 error of 8 words; the mean over rows would be 25
    assert (found.low, found.high) == (0, 50) and found.items == 2 and found.main


@pytest.mark.parametrize(
    "profile, value, left_out", [("paper-words", 50, 0), ("h1", 0, 1), ("h2", 50, 0), ("strict", 50, 0)]
)
def test_failed_answers(profile, value, left_out):
    rows = answers("ASR", ("one two", "one two"), ("three four", ""))
    rows[1] = answer("ASR", "three four", "", number=1, failed="out of memory")
    found = scores(profile, rows)[NON_CJK_WER]
    assert (found.value, found.left_out, found.items) == (value, left_out, 2 - left_out)


def test_authors_dev_leaves_failed_answers_out_and_tells():
    rows = [*answers("ASR", ("one two", "one two")), answer("ASR", "a", "", number=1, failed="out of memory")]
    found = scores("authors-dev", rows)[WER]
    assert (found.value, found.left_out, found.items) == (0, 1, 1) and "left out" in found.note


def test_of_answers_with_one_id_the_first_that_did_not_fail_counts():
    rows = [
        answer("ASR", "one two", "", failed="out of memory"),
        answer("ASR", "one two", "one too"),
        answer("ASR", "one two", "one two"),
    ]
    for profile in ("strict", "h1"):
        found = scores(profile, rows)[NON_CJK_WER]
        assert (found.value, found.left_out, found.items) == (50, 2, 1)


def test_time_marks_are_no_words():
    row = answer("ASR", "[0] one two [3] three", "[0] one two [2] three", timestamps=1.0)
    for profile in ("strict", "h1", "h2", "paper-words"):
        assert scores(profile, [row])[NON_CJK_WER].value == 0
    assert scores("authors-dev", [row])[WER].value == 0
    untimed = answer("ASR", "see [3] there", "see [4] there")
    assert scores("strict", [untimed])[NON_CJK_WER].value == pytest.approx(100 / 3)


def test_authors_dev_drops_tags_and_mixes_units_in_one_figure():
    rows = answers("ASR", ("今天好", "<|zh|> 今天坏", "zh-CN"), ("so far", "<|en|> so far", "en"))
    assert scores("authors-dev", rows)[WER].value == pytest.approx(100 / 5)  # 1 of 3 characters and 2 words


def test_the_spelling_map_is_taken_from_a_whisper_model_in_the_cache(tmp_path, monkeypatch):
    snapshot = tmp_path / "models--openai--whisper-small" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "normalizer.json").write_text('{"colour": "color"}', encoding="utf-8")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for cached in (normalisers._spelling_file, normalisers._english):
        cached.cache_clear()
    try:
        assert normalisers.spelling_map() == ({"colour": "color"}, "with its map of British spellings")
        assert normalisers.by_language("The Colour!", "en") == "the color"
    finally:
        for cached in (normalisers._spelling_file, normalisers._english):
            cached.cache_clear()


def test_every_profile_names_its_normaliser():
    row = answers("ASR", ("one", "one"))
    for profile in LONGSPEECH.profiles:
        assert all("normaliser: " in one.note for one in scores(profile.name, row).values())
