"""LongSpeech's tasks with a closed set of answers, against results made by hand."""

import pytest

from speech_xl.evaluation.benchmarks.longspeech.counting import M_R, N_A, P_R, PR
from speech_xl.evaluation.benchmarks.longspeech.emotion import RELAXED, STRICT
from speech_xl.evaluation.benchmarks.longspeech.languages import D_A, READINGS, UNPARSED, WRONG
from speech_xl.evaluation.benchmarks.rows import rows_of
from tests.evaluation.benchmarks.longspeech_answers import LONGSPEECH, answer, answers, same, scores

RIGHT, NO, NONE = "right", "wrong", "unparsed"

# reference, answer, what h1 (and paper-words) make of it, what strict makes of it
COUNTS = [
    ("2", "2", RIGHT, RIGHT),
    ("2", "There are 2 speakers.", RIGHT, RIGHT),
    ("2", "two", NONE, RIGHT),  # h1 reads no words
    ("2", "2 or 3", RIGHT, NONE),  # h1 takes the first
    ("3", "2 or 3", NO, NONE),
    ("2", "two (2) speakers", RIGHT, RIGHT),
    ("21", "twenty-one blocks", NONE, RIGHT),
    ("3", "Speaker 1, speaker 2 and speaker 3: 3 speakers", NO, NONE),
    ("2", "-2", NO, NO),
    ("2", "1-2", NO, NONE),
    ("2", "", NONE, NONE),
    ("2", "I can't tell.", NONE, NONE),
    ("2", "2.5", RIGHT, NONE),  # h1 sees the 2; strict, that it isn't whole
    ("2", "２", RIGHT, RIGHT),  # full-width
    ("2", "２人", RIGHT, RIGHT),
    ("2", "話者は2人です。", RIGHT, RIGHT),
    ("2", "화자는 2명입니다", RIGHT, RIGHT),
    ("2", "2人か3人", RIGHT, NONE),
    ("2", "the 2nd", RIGHT, NONE),  # a digit in a word of another script
    ("3", "3 3 3 3 3 3 3 3 3 3", RIGHT, RIGHT),  # a runaway that says one thing
    ("2", "Zwei Sprecher", NONE, NONE),  # another language: English words alone are read
    ("100", "one hundred", NONE, NONE),  # 1 and 100
    ("12", "a dozen", NONE, RIGHT),
    ("2", "S2", RIGHT, NONE),  # a digit inside a word
    ("2.0", "2", RIGHT, RIGHT),  # a reference that was a number in the file
    ("2", "The transcript has 1,200 words by 2 speakers", NO, NONE),
]
# reference, answer, the row's language, h1, strict
LANGUAGES = [
    ("Italian", "Italian", "it", RIGHT, RIGHT),
    ("Italian", "The language is Italian.", "it", RIGHT, RIGHT),
    ("Italian", "it", "it", RIGHT, RIGHT),
    ("Italian", "<|it|>", "it", RIGHT, RIGHT),
    ("Italian", "<|de|> Italian", "it", NO, NONE),  # h1: the tag first
    ("Italian", "I think it is hard to say", "it", NONE, NONE),  # codes count as the whole answer alone
    ("Italian", "Spanish", "it", NO, NO),
    ("Italian", "Italian or Spanish", "it", RIGHT, NONE),  # h1: both have 7 letters, the first by alphabet
    ("Spanish", "Italian or Spanish", "es", NO, NONE),
    ("Chinese", "Mandarin Chinese", "zh-CN", RIGHT, RIGHT),
    ("Chinese", "中文", "zh-CN", RIGHT, RIGHT),
    ("Chinese", "这是中文", "zh-CN", RIGHT, RIGHT),
    ("Romanian", "limba română", "ro", RIGHT, RIGHT),
    ("Castellano de Castilla", "It's castellano de castilla!", "es", RIGHT, RIGHT),  # a reference's own spelling
    ("Thai", "She lives in Thailand", "th", RIGHT, NONE),  # h1: anywhere, inside words too
    ("German", "deu", "de", RIGHT, RIGHT),
    ("German", "", "de", NONE, NONE),
    ("German", "The speaker greets the audience.", "de", NONE, NONE),
    ("German", "Klingon", "de", NONE, NONE),
    ("German", "German", None, RIGHT, RIGHT),  # a row without language: by its reference
]
# reference, answer, (Strict, Relaxed) of h1, of strict; None: unparsed
EMOTIONS = [
    ("Hopeful", "hopeful", (1, 1), (1, 1)),
    ("Hopeful", "The speaker sounds determined.", (1, 1), (1, 1)),  # the same coarse class
    ("Hopeful", "excited", (0, 1), (0, 1)),  # another class, the same polarity
    ("Hopeful", "serious", (0, 0), (0, 0)),
    ("Urgent", "calm but urgent", (1, 1), None),  # h1: the longest label; strict: two classes
    ("Calm", "calm but urgent", (0, 0), None),
    ("Calm", "calm and objective", (1, 1), (1, 1)),  # two labels of one class
    ("Melancholy", "Negative - Sadness / Reflection", (1, 1), (1, 1)),
    ("Melancholy", "Negative_Sadness/Reflection: serious", (1, 1), None),  # h1: coarse names first
    ("Confused", "Cognitive-Curiosity", (0, 1), (0, 1)),
    ("Neutral", "assertively", None, None),  # no whole word
    ("Neutral", "", None, None),
    ("Neutral", "happy", None, None),  # none of the labels
    ("Neutral", "gelassen", None, None),  # another language
    ("Awe", "excited amused hopeful " * 5, (0, 1), None),  # a runaway; h1: excited and hopeful have 7 letters
]


def outcome(found, right: str) -> str:
    return NONE if found[right].unparsed else RIGHT if found[right].value == 100 else NO


@pytest.mark.parametrize("task", ["speaker_count", "content_separation"])
@pytest.mark.parametrize("reference, hypothesis, h1, strict", COUNTS)
def test_counts(task, reference, hypothesis, h1, strict):
    row = answers(task, (reference, hypothesis))
    assert outcome(scores("h1", row), N_A) == h1
    assert outcome(scores("paper-words", row), N_A) == h1
    assert outcome(scores("strict", row), N_A) == strict


@pytest.mark.parametrize(
    "profile, n_a, p_r, pr, m_r", [("h1", 50, 75, 200 / 3, 25), ("paper-words", 50, 75, 200 / 3, 25)]
)
def test_shares_of_counts(profile, n_a, p_r, pr, m_r):
    rows = answers("speaker_count", ("2", "2"), ("2", "2 or 3"), ("3", "2"), ("3", "three"))
    found = scores(profile, rows)
    values = [found[name].value for name in (N_A, P_R, PR, M_R)]
    assert values == pytest.approx([n_a, p_r, pr, m_r])
    assert found[N_A].value == pytest.approx(found[PR].value * found[P_R].value / 100)  # as in the paper's Table 4
    strict = scores("strict", rows)
    assert [strict[name].value for name in (N_A, P_R, PR, M_R)] == pytest.approx([50, 75, 200 / 3, 25])
    assert strict[N_A].main and not strict[P_R].main and strict[N_A].unparsed == 1
    assert strict[M_R].better == "lower" and 0 <= strict[N_A].low <= 50 <= strict[N_A].high <= 100


def test_no_answer_parses():
    found = scores("strict", answers("speaker_count", ("2", ""), ("1", "no idea")))
    assert found[N_A].value == 0 and found[M_R].value == 100 and same(found[PR].value, None)


def test_references_that_do_not_parse_are_left_out_and_told():
    rows = answers("speaker_count", ("two", "2"), ("2", "2"))
    found = scores("h1", rows)[N_A]
    assert (found.value, found.items, found.left_out) == (100, 1, 1) and "reference doesn't parse" in found.note
    assert scores("strict", rows)[N_A].items == 2


@pytest.mark.parametrize("reference, hypothesis, language, h1, strict", LANGUAGES)
def test_languages(reference, hypothesis, language, h1, strict):
    row = answers("language_detection", (reference, hypothesis, language))
    assert outcome(scores("h1", row), D_A) == h1
    assert outcome(scores("paper-words", row), D_A) == h1
    assert outcome(scores("strict", row), D_A) == strict


# answer of the row, its language, hypothesis, outcome in paper-words, in h1, in strict
DISAGREEING = [
    ("French", "en", "French", RIGHT, NO, RIGHT),
    ("French", "en", "English", NO, RIGHT, NO),
    ("French", "en", "not English but French", NO, RIGHT, NONE),  # the longest name is English
    ("It is French", "en", "It is French", RIGHT, RIGHT, RIGHT),  # to h1 a spelling of "en"
]


@pytest.mark.parametrize("reference, language, hypothesis, words, h1, strict", DISAGREEING)
def test_the_rows_answer_is_the_language_that_is_right(reference, language, hypothesis, words, h1, strict):
    rows = answers("language_detection", (reference, hypothesis, language))
    for profile, expected in (("paper-words", words), ("h1", h1), ("strict", strict)):
        found = scores(profile, rows)
        assert outcome(found, D_A) == expected, profile
        assert "the two disagree in 1 of 1 rows" in found[D_A].note
        first = "the row's `language`, else" if profile == "h1" else "the language that the row's answer names, else"
        assert f"truth: {first}" in found[D_A].note


def test_rows_whose_answer_and_language_agree_are_not_counted_as_disagreeing():
    rows = [("Mandarin Chinese", "zh", "zh-CN"), ("German", "German", None), ("Ursprache", "ursprache", "de")]
    found = scores("paper-words", answers("language_detection", *rows))[D_A]
    assert found.value == 100 and "disagree" not in found.note


@pytest.mark.parametrize("profile", ["h1", "strict", "paper-words"])
def test_correct_wrong_and_unparsed_sum_to_100_and_are_read_both_ways(profile):
    rows = [("Italian", "Italian", "it"), ("Italian", "Polish", "it"), ("Polish", "music", "pl"), ("Thai", "", "th")]
    found = scores(profile, answers("language_detection", *rows))
    assert [found[name].value for name in (D_A, WRONG, UNPARSED)] == [25, 25, 50]
    assert {name: found[name].value for name in READINGS} == {
        "wrong language, if that is M.R, %": 25,
        "no language found, if that is D.E, %": 50,
        "no language found, if that is M.R, %": 50,
        "wrong language, if that is D.E, %": 25,
    }


@pytest.mark.parametrize("reference, hypothesis, h1, strict", EMOTIONS)
def test_emotions(reference, hypothesis, h1, strict):
    row = answers("emotionQA", (reference, hypothesis))
    for profile, expected in (("h1", h1), ("paper-words", h1), ("strict", strict)):
        found = scores(profile, row)
        assert found[STRICT].unparsed == (expected is None)
        assert (found[STRICT].value, found[RELAXED].value) == tuple(100 * one for one in expected or (0, 0))


@pytest.mark.parametrize(
    "task, main, reference",
    [("speaker_count", N_A, "2"), ("language_detection", D_A, "English"), ("emotionQA", STRICT, "calm")],
)
def test_failed_answers_are_left_out_by_h1_and_wrong_in_strict(task, main, reference):
    rows = [answer(task, reference, reference), answer(task, reference, "", number=1, failed="out of memory")]
    strict, h1 = scores("strict", rows)[main], scores("h1", rows)[main]
    assert (strict.value, strict.items, strict.left_out, strict.unparsed) == (50, 2, 0, 1)
    assert (h1.value, h1.items, h1.left_out, h1.unparsed) == (100, 1, 1, 0)


@pytest.mark.parametrize(
    "task, references, constants",
    [
        ("speaker_count", ["1", "2", "2", "3"], ["2", "1", "3"]),
        ("language_detection", ["Thai", "Polish", "Thai"], ["Thai", "Polish"]),
        ("emotionQA", ["calm", "Hopeful", "objective"], ["Neutral-Informative", "Positive-Uplifting"]),
    ],
)
def test_constant_answers_are_the_classes_the_most_frequent_first(task, references, constants):
    rows = answers(task, *((reference, "") for reference in references))
    for profile in ("strict", "h1"):
        scorer = LONGSPEECH.profile(profile).tasks[task]
        assert scorer.constants is not None and scorer.constants(rows) == constants
        for constant in constants:
            always = answers(task, *((reference, constant) for reference in references))
            assert scorer.score(always, {})[0].unparsed == 0


@pytest.mark.parametrize("task", ["speaker_count", "language_detection", "emotionQA"])
def test_names_of_figures_say_what_they_are_beside_the_papers_abbreviation(task):
    found = scores("strict", answers(task, ("2", "2", "en")) + answers(task, ("calm", "calm", "en")))
    words = ("correct", "parsed", "unparsed", "wrong language", "no language found", "same coarse", "same polarity")
    assert all(name.startswith(words) for name in found)
    assert any(mark in " ".join(found) for mark in ("(N.A)", "(D.A)", "(paper: Strict)"))


@pytest.mark.parametrize("profile", [one.name for one in LONGSPEECH.profiles])
def test_rows_of_a_table_have_every_task_and_constant_answers_beside_closed_ones(profile):
    closed = {"speaker_count": "2", "content_separation": "2", "language_detection": "Thai", "emotionQA": "calm"}
    rows = [
        answer(
            task, closed.get(task, "one two three"), "", number=number, failed="out of memory" if number == 3 else None
        )
        for task in LONGSPEECH.tasks
        for number in range(4)
    ]
    table = rows_of(rows, LONGSPEECH, LONGSPEECH.profile(profile), {})
    assert [row.task for row in table] == list(LONGSPEECH.tasks)
    for row in table:
        assert bool(row.scores) == (row.task in LONGSPEECH.profile(profile).tasks)
        assert (row.answered, row.failed) == (3, 1)
        if row.scores and row.task in closed:
            assert row.majority is not None and row.best_constant is not None
            # Languages have "en" as their row's language, and "Thai" as their reference: to h1 the row's is the truth.
            other = row.task == "language_detection" and profile == "h1"
            assert row.majority.value == row.best_constant.value == (0 if other else 100)
        else:
            assert row.majority is None and row.best_constant is None
