"""LongSpeech's translation and summary profiles: against scores by hand, and against sacrebleu's and rouge_score's."""

import math

import numpy as np
import pytest

from speech_xl.evaluation.benchmarks import bleu
from speech_xl.evaluation.benchmarks.longspeech.summary import CJK_ROWS, MIXED
from speech_xl.evaluation.benchmarks.longspeech.translation import MEAN, POOLED
from speech_xl.evaluation.benchmarks.rouge import rouge_f1, rouge_name
from tests.evaluation.benchmarks.longspeech_answers import LONGSPEECH, answer, answers, same, scores

R1, R2, RL = (rouge_name(kind) for kind in ("rouge1", "rouge2", "rougeL"))


def by_hand(precisions: list[float], hypothesis: int, reference: int) -> float:
    """BLEU of four n-gram precisions and two lengths in tokens."""
    brevity = math.exp(1 - reference / hypothesis) if hypothesis < reference else 1.0
    return 100 * brevity * math.prod(precisions) ** 0.25


# reference, answer, language; BLEU of paper-words (mean), h1 (pooled), authors-dev (mean), strict (mean)
HALF = by_hand([5 / 6, 3 / 5, 2 / 4, 1 / 3], 6, 6)  # one word of six is wrong: "a b c d X f" against "a b c d e f"
TRANSLATIONS = {
    "right": ("la lampe était éteinte .", "la lampe était éteinte .", "fr", 100, 100, 100, 100),
    "one word": ("a b c d e f", "a b c d x f", "fr", HALF, HALF, HALF, HALF),
    # With its case, only "fünf" is right: 1 of 5, then 0 of 4, 3, 2, which sacrebleu smooths.
    "case": (
        *("eins zwei drei vier fünf", "EINS ZWEI DREI VIER fünf", "de"),
        *(100, 100, by_hand([1 / 5, 1 / (2 * 4), 1 / (4 * 3), 1 / (8 * 2)], 5, 5), 100),
    ),
    # 13a parts punctuation: 5 of 5 words, and one token more.
    "punctuation": (
        *("a b c d e", "a b c d e.", "es"),
        *[by_hand([5 / 6, 4 / 5, 3 / 4, 2 / 3], 6, 5)] * 4,
    ),
    # Too short: all 5 tokens right, of 10.
    "short": ("a b c d e f g h i j", "a b c d e", "it", *[by_hand([1, 1, 1, 1], 5, 10)] * 4),
    # Characters for zh, one token for 13a: 5 of 6, 4 of 5, 3 of 4, 2 of 3 with the last one wrong.
    "zh-CN": (
        *("今天的会议好", "今天的会议坏", "zh-CN"),
        *(by_hand([5 / 6, 4 / 5, 3 / 4, 2 / 3], 6, 6), 0, by_hand([5 / 6, 4 / 5, 3 / 4, 2 / 3], 6, 6)),
        by_hand([5 / 6, 4 / 5, 3 / 4, 2 / 3], 6, 6),
    ),
    # Thai is one token for 13a, characters in strict: 5 letters and marks, the last one wrong.
    "th": (
        *("ดีมาก", "ดีมาด", "th"),
        *(0, 0, 0, by_hand([4 / 5, 3 / 4, 2 / 3, 1 / 2], 5, 5)),
    ),
    "empty": ("a b c d e", "", "fr", 0, 0, 0, 0),
    # A runaway: 4 of 12 unigrams, 3 of 11, 2 of 10, 1 of 9; no brevity penalty.
    "runaway": (
        *("a b c d", "a b c d x x x x x x x x", "fr"),
        *[by_hand([4 / 12, 3 / 11, 2 / 10, 1 / 9], 12, 4)] * 4,
    ),
    # Another language: one token ("." ) of 5 is right; 0 of 4, 3, 2 smoothed.
    "wrong language": (
        *("la lampe était éteinte .", "the lamp was out .", "fr"),
        *[by_hand([1 / 5, 1 / (2 * 4), 1 / (4 * 3), 1 / (8 * 2)], 5, 5)] * 4,
    ),
}


@pytest.mark.parametrize("case", TRANSLATIONS)
def test_bleu_of_every_profile(case):
    reference, hypothesis, language, paper, h1, authors, strict = TRANSLATIONS[case]
    one = answers("translation", (reference, hypothesis, language))
    assert scores("paper-words", one)[MEAN].value == pytest.approx(paper)
    assert scores("h1", one)[POOLED].value == pytest.approx(h1)
    assert scores("authors-dev", one)[MEAN].value == pytest.approx(authors)
    assert scores("strict", one)[MEAN].value == pytest.approx(strict)


ROWS = (
    ("das rote Haus steht am See", "das rote Haus steht am Fluss", "de"),
    ("wir sehen das alte Boot im Hafen", "wir sehen ein altes Boot im Hafen", "de"),
    ("la porte de la ville est fermée", "la porte de la ville est ouverte", "fr"),
    ("今日は朝から雨が降っています。", "今日は朝から雪が降っています。", "ja"),
    ("오늘은 아침부터 비가 옵니다.", "오늘은 아침부터 눈이 옵니다.", "ko"),
)


def metric_of(tokeniser: str, lowercase: bool):
    """sacrebleu's metric; by characters where the tokeniser's dictionary, which tests don't need, isn't installed."""
    from sacrebleu.metrics.bleu import BLEU

    try:
        return BLEU(tokenize=tokeniser, lowercase=lowercase)
    except RuntimeError:
        return BLEU(tokenize="char", lowercase=lowercase)


@pytest.mark.parametrize(
    "profile, tokenisers, lowercase",
    [
        ("paper-words", {"ja": "ja-mecab", "ko": "ko-mecab"}, True),
        ("strict", {"ja": "ja-mecab", "ko": "ko-mecab"}, True),
        ("authors-dev", {"ja": "ja-mecab"}, False),
    ],
)
def test_the_mean_is_over_sacrebleus_score_of_each_language(profile, tokenisers, lowercase):
    found = scores(profile, answers("translation", *ROWS))
    values = {}
    for language in ("de", "fr", "ja", "ko"):
        metric = metric_of(tokenisers.get(language, "13a"), lowercase)
        rows = [row for row in ROWS if row[2] == language]
        score = metric.corpus_score([row[1] for row in rows], [[row[0] for row in rows]])
        values[language] = score.score
        assert found[f"BLEU, {language}"].value == pytest.approx(score.score)
        assert str(metric.get_signature()) in found[f"BLEU, {language}"].note
        assert str(metric.get_signature()) in found[MEAN].note
    assert found[MEAN].value == pytest.approx(np.mean(list(values.values()))) and found[MEAN].main
    spread = {name: one.value for name, one in found.items() if "over target languages" in name and name != MEAN}
    expected = {"standard deviation": np.std, "highest": np.max, "lowest": np.min} if profile == "authors-dev" else {}
    assert spread == pytest.approx(
        {f"BLEU, {name} over target languages": of(list(values.values())) for name, of in expected.items()}
    )
    assert (POOLED in found) == (profile != "authors-dev")


def test_the_pooled_figure_is_one_corpus():
    score = metric_of("13a", True).corpus_score([row[1] for row in ROWS], [[row[0] for row in ROWS]]).score
    for profile in ("h1", "paper-words", "strict"):
        found = scores(profile, answers("translation", *ROWS))[POOLED]
        assert found.value == pytest.approx(score) and found.main == (profile == "h1")
        assert found.low < found.value < found.high and "tok:13a" in found.note


def test_intervals_draw_sessions_and_a_draw_without_a_language_is_a_mean_over_the_others():
    rows = answers("translation", ("a b c d e", "a b c d e", "de"), ("f g h i j", "v w x y z", "fr"))
    found = scores("strict", rows)
    assert found[MEAN].value == pytest.approx((100 + found["BLEU, fr"].value) / 2)
    assert found[MEAN].high == pytest.approx(100)  # both draws are the German session, a quarter of all
    assert math.isnan(found["BLEU, de"].low)  # one session


@pytest.mark.parametrize(
    "profile, metric", [("paper-words", MEAN), ("h1", POOLED), ("authors-dev", MEAN), ("strict", MEAN)]
)
def test_failed_translations(profile, metric):
    rows = [
        *answers("translation", ("a b c d e", "a b c d e", "de")),
        answer("translation", "f g h i j", "", "de", number=1, failed="out of memory"),
    ]
    found = scores(profile, rows)[metric]
    if profile in ("h1", "authors-dev"):
        assert (found.value, found.items, found.left_out) == (pytest.approx(100), 1, 1)
    else:  # all right, but half as long as the reference
        assert (found.value, found.items, found.left_out) == (pytest.approx(100 * math.exp(-1)), 2, 0)


def test_a_tokeniser_that_is_not_installed_is_replaced_by_characters_and_told(monkeypatch):
    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_ja_mecab.MeCab", None)
    for cached in (bleu._metric, bleu._counts):
        cached.cache_clear()
    try:
        found = scores("strict", answers("translation", ("今日は雨です。", "今日は雪です。", "ja")))["BLEU, ja"]
    finally:
        for cached in (bleu._metric, bleu._counts):
            cached.cache_clear()
    assert "tok:char" in found.note and "ja-mecab is not installed" in found.note
    # 6 of 7 characters, 4 of 6, 2 of 5, and 0 of 4 smoothed
    assert found.value == pytest.approx(by_hand([6 / 7, 4 / 6, 2 / 5, 1 / (2 * 4)], 7, 7))


# reference, answer, language; F1 of ROUGE-1, -2, -L over words, then the same in strict
SUMMARIES = {
    "right": ("the harbour town rebuilt its market", "the harbour town rebuilt its market", "en", (1, 1, 1), (1, 1, 1)),
    "stem": ("the talks ended", "the talk ended", "en", (1, 1, 1), (1, 1, 1)),
    "order": ("a b c d", "d c b a", "en", (1, 0, 1 / 4), (1, 0, 1 / 4)),
    "half": ("a b c d", "a b", "en", (2 / 3, 1 / 2, 2 / 3), (2 / 3, 1 / 2, 2 / 3)),
    "case and punctuation": ("A harbour, a market.", "a harbour a market", "en", (1, 1, 1), (1, 1, 1)),
    "empty": ("a b c d", "", "en", (0, 0, 0), (0, 0, 0)),
    "runaway": ("a b", "a b " + "c d " * 4, "en", (4 / 12, 2 / 10, 4 / 12), (4 / 12, 2 / 10, 4 / 12)),
    "wrong language": ("der alte Hafen", "le vieux port", "de", (0, 0, 0), (0, 0, 0)),
    "zh-CN": ("今天开会", "今天下雨", "zh-CN", (0, 0, 0), (1 / 2, 1 / 3, 1 / 2)),
    "ja": ("雨です", "雨です。", "ja", (0, 0, 0), (1, 1, 1)),
    "number": ("2", "2", "en", (1, 0, 1), (1, 0, 1)),  # no pair of words
    "twice": ("a b", "a a b", "en", (4 / 5, 2 / 3, 4 / 5), (4 / 5, 2 / 3, 4 / 5)),
}


@pytest.mark.parametrize("case", SUMMARIES)
def test_rouge_of_every_profile(case):
    reference, hypothesis, language, words, strict = SUMMARIES[case]
    row = answers("summary", (reference, hypothesis, language))
    for profile in ("paper-words", "h1", "h2"):
        found = scores(profile, row)
        assert [found[name].value for name in (R1, R2, RL)] == pytest.approx([100 * one for one in words]), profile
    found = scores("strict", row)
    names = [rouge_name(kind, MIXED) for kind in ("rouge1", "rouge2", "rougeL")]
    assert [found[name].value for name in names] == pytest.approx([100 * one for one in strict])


def test_rouge_is_a_mean_over_answers_and_characters_have_a_name_of_their_own():
    rows = answers("summary", ("a b", "a b", "en"), ("今天开会", "今天下雨", "zh-CN"))
    paper, h1, strict = (scores(profile, rows) for profile in ("paper-words", "h1", "strict"))
    assert paper[R1].value == h1[R1].value == 50 and paper[R1].main and "1 CJK rows" in paper[R1].note
    assert paper[rouge_name("rouge1", CJK_ROWS)].value == pytest.approx(50)
    assert paper[rouge_name("rouge1", CJK_ROWS)].items == 1
    assert set(h1) == {R1, R2, RL}
    assert strict[rouge_name("rouge1", MIXED)].value == pytest.approx(75)


def test_failed_summaries():
    rows = [*answers("summary", ("a b", "a b")), answer("summary", "c d", "", number=1, failed="out of memory")]
    h1, h2, strict = (scores(profile, rows) for profile in ("h1", "h2", "strict"))
    assert (h1[R1].value, h1[R1].left_out) == (100, 1)
    assert (h2[R1].value, h2[R1].left_out) == (50, 0)
    assert strict[rouge_name("rouge1", MIXED)].value == 50


def test_rouge_words_are_rouge_scores_own():
    from rouge_score.rouge_scorer import RougeScorer

    reference, hypothesis = "Running quickly, the runners crossed it.", "The runner runs and crosses it quickly"
    found = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True).score(reference, hypothesis)
    assert rouge_f1(hypothesis, reference) == [found[kind].fmeasure for kind in ("rouge1", "rouge2", "rougeL")]


def test_nothing_but_failures_has_no_score():
    rows = [answer("translation", "a", "", "de", failed="out of memory")]
    assert same(scores("h1", rows)[POOLED].value, None) and same(scores("authors-dev", rows)[MEAN].value, None)


def test_profiles_have_the_tasks_that_they_have_rules_for():
    tasks = {profile.name: set(profile.tasks) for profile in LONGSPEECH.profiles}
    assert tasks["paper-words"] == tasks["h1"] == tasks["strict"] == set(LONGSPEECH.tasks)
    assert tasks["h2"] == {"ASR", "summary", "Temporal_Relative_QA"}
    assert tasks["authors-dev"] == {"ASR", "translation"}


def test_published_figures_name_their_source_and_a_task():
    assert all(one.task in LONGSPEECH.tasks and one.source and one.note for one in LONGSPEECH.published if one.note)
    whisper = {one.metric: one.value for one in LONGSPEECH.published if one.system == "Whisper"}
    assert whisper == {"non-CJK WER, %": 18.6, "CJK CER, %": 38.5, "overall CER, %": 11.0}
    assert [one.value for one in LONGSPEECH.published if one.system == "Speech-XL"] == [11.4, 72.84]
