"""AudioMarathon's ASR: the script's text rules and mean over files, and the corpus word error rate."""

import math

import pytest

from speech_xl.evaluation.benchmarks.audiomarathon.profiles import OFFICIAL, STRICT
from speech_xl.evaluation.benchmarks.audiomarathon.transcripts import clean_reply, official_text
from tests.evaluation.benchmarks.audiomarathon_answers import answer, answers

CASES = [  # reference, reply, the file's WER in % to the script (None: left out), strict WER in %
    ("the lamp was out", "Spoken Content: The lamp was out.", 0, 0),
    ("the lamp was out", "The lamp was off!", 25, 25),
    ("the content was out", "the content: was out", 50, 0),  # cut behind "content:"
    ("hello content bye", "Spoken Content: hello content: bye", 0, 0),
    ("hello content bye", "content: hello content: bye", 200 / 3, 100 / 3),  # between two markers
    ("a b", "transcript: a content: b", 50, 100),  # "content:" is looked for first; strictly two words too many
    ("twenty one", "twenty-one", 100, 0),  # "twentyone"
    ("it's fine", "it\u2019s fine", 50, 0),  # a curly apostrophe stays, a straight one is deleted
    ("a b", "a b<sep>c d", 0, 150),  # strictly "sep" is a word as well
    ("a b", "...", 100, 100),  # empty once it is normalised
    ("a b", "", None, 100),
    ("a b", "Spoken Content: <transcribed text here>", None, 100),
    ("a b", "a b c d", 100, 100),
    ("a", "b b b", 300, 300),
    ("7 men", "seven men", 50, 50),  # neither maps numbers
    ("", "a", None, None),
]


@pytest.mark.parametrize(("reference", "reply", "official", "strict"), CASES)
def test_a_file_as_published_and_strictly(reference, reply, official, strict):
    some = answers("ASR", (reference, reply))
    figure, wer = OFFICIAL.tasks["ASR"].score(some, {})
    left_out = official is None
    assert (figure.left_out, figure.items) == (int(left_out), 1 - int(left_out))
    assert wer.value == pytest.approx(100 if left_out else official) and figure.value == 100 - wer.value
    figure, wer = STRICT.tasks["ASR"].score(some, {})
    if strict is None:
        assert math.isnan(figure.value)
    else:
        assert wer.value == pytest.approx(strict) and figure.value == 100 - wer.value and figure.left_out == 0


def test_the_script_takes_the_mean_of_files_and_strict_all_words():
    some = answers("ASR", ("one", "two"), ("a b c d e f g h i", "a b c d e f g h i"))
    assert OFFICIAL.tasks["ASR"].score(some, {})[0].value == 50.0
    assert STRICT.tasks["ASR"].score(some, {})[0].value == 90.0
    assert [one.metric for one in STRICT.tasks["ASR"].score(some, {})] == ["100 - WER (corpus), %", "WER (corpus), %"]


def test_a_figure_below_zero_is_explained():
    for profile in (OFFICIAL, STRICT):
        figure, wer = profile.tasks["ASR"].score(answers("ASR", ("a", "b b b")), {})
        assert figure.value == -200 and "below 0 where there are more errors than words" in figure.note
        assert "below 0" not in wer.note


def test_empty_and_failed_transcripts_leave_the_mean_and_count_strictly():
    some = answers("ASR", ("a b", "a b"), ("a b", "")) + [answer("ASR", 2, "a b c d", "", failed="no memory")]
    figure, wer = OFFICIAL.tasks["ASR"].score(some, {})
    assert (figure.value, figure.items, figure.left_out, figure.unparsed) == (100.0, 1, 2, 1)
    assert figure.main and not wer.main and wer.better == "lower"
    figure, wer = STRICT.tasks["ASR"].score(some, {})
    assert (wer.value, wer.items, wer.left_out, wer.unparsed) == (75.0, 3, 0, 1)
    assert "failed answers (1)" in figure.note
    assert figure.low == 100 - wer.high and figure.high == 100 - wer.low and wer.low <= 75 <= wer.high


def test_time_marks_are_no_words():
    marked = answer("ASR", 0, "one two", "[0] one [2] two", timestamps=1.0)
    spoken = answer("ASR", 0, "one two", "[0] one [2] two")
    for profile in (OFFICIAL, STRICT):
        assert profile.tasks["ASR"].score([marked], {})[1].value == 0.0
        assert profile.tasks["ASR"].score([spoken], {})[1].value == 100.0


@pytest.mark.parametrize(
    ("reply", "transcript"),
    [
        ("Spoken Content: hello content: bye", "hello content: bye"),
        ("the content: was", "was"),
        ("SPOKEN CONTENT:  Hello", "Hello"),
        ("spoken text: hello", "hello"),
        ("Transcription: a transcript: b", "a transcript: b"),
        ("transcript: a", "a"),
        ("a <sep> b < c", "a  c"),
        ("a<sep>b", "a"),
        ("<transcribed text here> a", "a"),
        ("user: b\nassistant\na", "a"),
        ("  a  ", "a"),
        ("", ""),
    ],
)
def test_the_transcript_in_a_reply(reply, transcript):
    assert clean_reply(reply) == transcript


def test_the_scripts_normaliser():
    assert official_text('He\'d said: "Twenty-One; (two)?" [a] {b}!') == "hed said twentyone two a b"
    assert official_text("\u00c9t\u00e9 \u2014 it\u2019s 5%") == "\u00e9t\u00e9 \u2014 it\u2019s 5%"
