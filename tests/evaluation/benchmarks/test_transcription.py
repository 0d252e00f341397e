"""Profiles of transcription sets against hand-computed cases: what each counts, leaves out and says of itself."""

import json

import pytest

from speech_xl.evaluation.benchmarks import normalisers
from speech_xl.evaluation.benchmarks.registry import MODULES, find_benchmark
from speech_xl.evaluation.benchmarks.transcription import plain_words
from tests.evaluation.benchmarks.item_answers import answer

AMI = find_benchmark("ami")


def transcripts(*pairs: tuple[str, str], **changes):
    return [answer("ami", "ASR", *pair, number, **changes) for number, pair in enumerate(pairs)]


def scores(profile: str, *pairs, **changes):
    found = AMI.profile(profile).tasks["ASR"].score(transcripts(*pairs, **changes), {})
    assert all(one.better == "lower" and "normaliser" in one.note for one in found)
    return {one.metric: one for one in found}


@pytest.fixture
def spellings(tmp_path, monkeypatch):
    """A map of spellings, as in a Whisper model of the cache."""
    (tmp_path / "normalizer.json").write_text(json.dumps({"colour": "color"}))
    caches = (normalisers._spelling_file, normalisers._english)
    for cached in caches:
        cached.cache_clear()
    monkeypatch.setattr(normalisers, "_spelling_file", lambda: tmp_path / "normalizer.json")
    yield
    normalisers._english.cache_clear()


@pytest.mark.parametrize(
    ("reference", "hypothesis", "leaderboard", "suite", "truncated"),
    [
        ("he went home today", "he went hone today", 25.0, 25.0, 25.0),
        ("one two three four", "one two tree four", 300.0, 25.0, 25.0),  # Whisper: 1234 and 12 tree 4
        ("The cat, sat.", "the cat sat", 0.0, 0.0, 100 / 3),  # sat. with its point is another word
        ("Mr. Hill won't go", "mister hill will not go", 0.0, 75.0, 75.0),  # Whisper writes contractions out
        ("uh he went um home", "he went home", 0.0, 40.0, 40.0),  # and takes fillers out
        ("twenty one men", "21 men", 0.0, 200 / 3, 200 / 3),  # and writes figures
        ("[noise] yes", "yes", 0.0, 50.0, 50.0),  # and takes brackets out with what is in them
        ("well-known facts", "well known facts", 0.0, 0.0, 0.0),
        ("IT'S me", "it\u2019s me", 100 / 3, 0.0, 0.0),  # it is me and it s me
        ("a b c d e", "a b c d e f g h i j", 100.0, 100.0, 20.0),  # cut at six words
        ("a b", "a b c d", 100.0, 100.0, 50.0),  # at ceil(2.4)
        ("one two", "", 100.0, 100.0, 100.0),
    ],
)
def test_what_each_profile_counts(reference, hypothesis, leaderboard, suite, truncated):
    pair = (reference, hypothesis)
    assert scores("leaderboard", pair)["WER, %"].value == pytest.approx(leaderboard)
    assert scores("suite", pair)["WER, %"].value == pytest.approx(suite)
    found = scores("truncated", pair)
    assert found["truncated WER, %"].value == pytest.approx(truncated) and found["truncated WER, %"].main
    assert found["WER, %"].value >= found["truncated WER, %"].value and not found["WER, %"].main


def test_rates_are_of_all_words_and_not_means_of_recordings():
    pairs = [("one", "two"), ("a b c d e f g h i", "a b c d e f g h i")]
    for profile in ("leaderboard", "suite", "truncated"):
        assert next(iter(scores(profile, *pairs).values())).value == pytest.approx(10.0)
    assert scores("suite", ("ab cd", "ab ce"))["CER, %"].value == 25.0


def test_the_leaderboard_leaves_out_what_it_does_not_count():
    predictions = [
        *transcripts(("one two", "one two"), ("", "noise"), ("ignore time segment in scoring", "x"), ("[laughs]", "y")),
        answer("ami", "ASR", "un deux", "un", 7, language="fr"),
        answer("ami", "ASR", "five", "", 8, failed="audio can't be read"),
        answer("ami", "ASR", "three", "tree", 9, language=None),  # nothing says that it isn't English
    ]
    (score,) = AMI.profile("leaderboard").tasks["ASR"].score(predictions, {})
    assert score.value == pytest.approx(50.0) and (score.items, score.left_out) == (2, 5)
    wer, _ = AMI.profile("suite").tasks["ASR"].score(predictions, {})
    assert wer.left_out == 0 and "empty" in wer.note  # what has no answer counts as an empty one
    assert wer.value == pytest.approx(100 * (0 + 1 + 5 + 1 + 1 + 1 + 1) / (2 + 0 + 5 + 1 + 2 + 1 + 1))


def test_the_note_says_whether_the_map_of_spellings_was_there(spellings):
    score = scores("leaderboard", ("colour", "color"))["WER, %"]
    assert score.value == 0.0 and "with its map" in score.note and "merge_compounds" in score.note


def test_timestamps_are_no_words():
    pair = ("[1] one [2] two", "[1] one [3] two")
    for profile in ("leaderboard", "suite", "truncated"):
        assert next(iter(scores(profile, pair, timestamps=0.4).values())).value == 0.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's 3.5, isn't it?", ["it's", "3.5", "isn't", "it"]),
        ("well-known\u2014facts!", ["well", "known", "facts"]),
        ("$5 & more", ["5", "more"]),
        ("\u2018Yes\u2019", ["yes'"]),
    ],
)
def test_plain_words(text, words):
    assert plain_words(text) == words


def test_every_set_has_the_three_profiles_and_librispeech_long_figures_of_others():
    names = [name for name, module in MODULES.items() if module == "transcription"]
    assert len(names) == 7
    for name in names:
        benchmark = find_benchmark(name)
        assert benchmark.name == name and [one.name for one in benchmark.profiles] == [
            "leaderboard",
            "suite",
            "truncated",
        ]
        assert all(set(one.tasks) == set(benchmark.tasks) for one in benchmark.profiles)
    published = find_benchmark("librispeech_long").published
    assert {(one.system, one.task): one.value for one in published}["Voxtral-Mini-3B", "test-other"] == 8.86
    assert all(one.task in find_benchmark("librispeech_long").tasks and one.source for one in published)
