"""Windows: every second of a session in one window, every word in one answer, whatever is drawn."""

import random
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import CutSet, MonoCut, SupervisionSegment

from speech_xl.data.dataset import EvaluationTurns
from speech_xl.data.partition import FixedWindows, PauseWindows
from speech_xl.data.session_part import SessionPart
from speech_xl.data.split_report import report_training
from speech_xl.data.tasks import Dialogue, TaskMixture, Turn, asr_turn, dialogues, drawn_windows
from speech_xl.data.transcript import Transcript
from speech_xl.data.windows import Windows, check_borders, spans
from speech_xl.extensions.timestamps.marks import without_time_marks
from speech_xl.extensions.timestamps.transcript import Timestamps
from speech_xl.extensions.timestamps.word_times import WORD_STARTS

HALF = 0.5 / 12.5 + 1e-5  # of a frame, in seconds: borders of intervals are rounded to frames
STARTS = [0.0, 1.9, 2.0, 7.35, 8.0, 15.999, 16.0, 31.2]


def session(starts=STARTS, duration=33.3, offset=0.0):
    said = [SupervisionSegment(f"s{i}", "r", start, 0.5, text=f"w{i} x{i}") for i, start in enumerate(starts)]
    cut = MonoCut("one", 0.0, duration, 0, supervisions=said)
    return SessionPart(0.0, 200.0, offset=offset).written(cut) if offset else cut


@settings(max_examples=200, deadline=None)
@given(
    st.floats(0, 300),
    st.floats(0.1, 200),
    st.sampled_from([0.2, 0.4, 1.0]),
    st.sampled_from([0.1, 0.5, 4.0, 7.3]),
    st.integers(1, 9),
    st.integers(1, 9),
)
def test_windows_cover_the_audio_once(start, length, step, unit, first, each):
    end, windows = start + length, Windows(unit, multiple_of=unit)
    for found in (spans(start, end, step, unit, first, each), windows.spans(start, end, step)):
        assert found[0][0] <= start + 1e-6 and found[-1][1] >= start + length - 1e-6
        assert all(one[1] == pytest.approx(other[0]) for one, other in zip(found, found[1:], strict=False))
        assert all(stop - begin > step / 2 for begin, stop in found)
        for border in (second for span in found for second in span):
            assert border / step == pytest.approx(round(border / step), abs=1e-6)


@pytest.mark.parametrize("transcript", [Transcript(), Timestamps(1.0), Timestamps(0.2), Timestamps(0.4)])
@pytest.mark.parametrize("offset", [0.0, 61.3])
def test_every_word_is_in_one_window(transcript, offset):
    cut, rng = session(offset=offset), random.Random(0)
    plain = " ".join(s.text for s in cut.supervisions)
    for _ in range(50):
        transcript.windows = Windows(8.0, shortest=0.5, longest=20.0, multiple_of=0.5)
        turn = asr_turn(cut, transcript, drawn_windows(cut, transcript, rng))
        assert without_time_marks(" ".join(w.answer for w in turn.windows if w.answer)) == plain
        assert without_time_marks(turn.answer) == plain, "the whole transcript stays the truth"
        for window in turn.windows:
            assert transcript.span_of(window.instruction) == pytest.approx(window.span)


def test_a_window_holds_what_begins_in_it():
    transcript = Timestamps(1.0, windows=Windows(8.0))
    cut = session()
    (turn,) = EvaluationTurns(["asr"], transcript=transcript)(cut)
    assert [window.instruction for window in turn.windows][:2] == [
        "transcribe the speech with times until [8] from [0]",
        "transcribe the speech with times until [16] from [8]",
    ]
    assert [window.answer for window in turn.windows] == [
        "[0] w0 x0 [1] w1 x1 [2] w2 x2 [7] w3 x3",
        "[8] w4 x4 [15] w5 x5",
        "[16] w6 x6",
        "[31] w7 x7",
        "",
    ]
    assert transcript.instructions(cut.duration) == [window.instruction for window in turn.windows]
    assert Timestamps(1.0).instructions(100.0) == ["transcribe the speech with times"]


@pytest.mark.parametrize(
    "text", ["transcribe the speech", "transcribe the speech with times until [1] from", "until [2] from [1]"]
)
def test_other_instructions_ask_for_no_window(text):
    assert Timestamps(1.0).span_of(text) is None


def test_a_plain_transcript_says_seconds_in_words():
    transcript = Transcript(Windows(16.0))
    assert transcript.instructions(20.0) == [
        "transcribe the speech until 16 s from 0 s",
        "transcribe the speech until 20 s from 16 s",
    ]
    assert transcript.span_of("transcribe the speech until 20 s from 16 s") == (16.0, 20.0)


def test_a_share_of_training_samples_is_asked_in_one_answer():
    transcript = Timestamps(1.0, windows=Windows(8.0, share=0.5))
    mixture = TaskMixture({"asr": 1.0}, transcript=transcript)
    drawn = [mixture.draw(session(), random.Random(seed))[0] for seed in range(200)]
    assert 70 < sum(bool(turn.windows) for turn in drawn) < 130
    assert all(turn.answer == drawn[0].answer for turn in drawn)


def test_what_is_asked_apart_is_a_dialogue_of_its_own():
    asked = [Turn("qa", "a", "1"), Turn("qa", "b", "2")]
    assert dialogues(asked) == [Dialogue([("a", "1"), ("b", "2")])]
    cut = session()
    cut.custom = {"questions": [{"question": q, "answer": "1"} for q in "abcd"]}
    drawn = TaskMixture({"qa": 1.0}, turns=3, dialogue=False).draw(cut, random.Random(0))
    assert [len(one.pairs) for one in dialogues(drawn)] == [1, 1, 1]
    assert [len(one.pairs) for one in dialogues(TaskMixture({"qa": 1.0}, turns=3).draw(cut, random.Random(0)))] == [3]


@pytest.mark.parametrize(
    "wrong, named",
    [
        ({"seconds": 0.0}, "windows.seconds"),
        ({"shortest": 9.0, "longest": 8.0}, "windows.longest"),
        ({"share": 1.2}, "windows.share"),
        ({"seconds": 9.0}, "windows.seconds: got 9.*multiple"),
        ({"shortest": 6.0, "longest": 8.0}, "windows.shortest: got 6.*multiple"),
        ({"multiple_of": 0.0}, "windows.multiple_of"),
    ],
)
def test_windows_that_cannot_be_are_refused(wrong, named):
    with pytest.raises(ValueError, match=named):
        Windows(**wrong)


def test_windows_that_would_begin_amid_intervals_are_refused():
    for windows in (None, Windows(8.0), Windows(12.0, multiple_of=12.0), Windows(8.0, context=None, multiple_of=2.0)):
        check_borders(windows, FixedWindows(4.0), 0.4)
    with pytest.raises(ValueError, match="windows.multiple_of: got 4.*6 s of data.partition"):
        check_borders(Windows(8.0), FixedWindows(6.0), 1.0)
    with pytest.raises(ValueError, match="windows.multiple_of: got 4.*0.3 s from one timestamp"):
        check_borders(Windows(8.0), FixedWindows(4.0), 0.3)
    with pytest.warns(UserWarning, match="PauseWindows elsewhere"):
        check_borders(Windows(8.0), PauseWindows(6.0), 1.0)


def test_windows_begin_where_intervals_do():
    windows, rng = Windows(8.0, shortest=4.0, longest=20.0), random.Random(0)
    assert [begin for begin, _ in windows.spans(0.0, 33.3, 0.4)] == pytest.approx([0.0, 8.0, 16.0, 24.0, 32.0])
    lengths = set()
    for _ in range(100):
        *drawn, _ = windows.drawn(0.0, 90.0, 0.4, rng)
        assert all(second == pytest.approx(4 * round(second / 4)) for span in drawn for second in span)
        lengths |= {round(end - begin) for begin, end in drawn}
    assert lengths == {4, 8, 12, 16, 20}
    ((begin, end),) = windows.spans(0.0, 8.05, 0.2)
    assert (begin, end) == pytest.approx((0.0, 8.2)), "a rest that is no interval of its own"
    for offset in (0.1, 0.5, 1.3):
        for step in (0.2, 1.0):
            for begin, _ in windows.spans(offset, offset + 60.0, step)[1:]:
                assert windows.view((begin - offset, begin + 8 - offset), [50] * 15, 12.5)[0] == (begin - offset) // 4
                assert (begin - offset) % 4 < step
    for rate in (12.5, 50 / 3, 100 / 7, 21.5, 25 / 3):
        ends = [round(4 * (n + 1) * rate) for n in range(9)]
        frames = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
        assert windows.view((16.0, 24.0), frames, rate) == (4, 7)


def test_a_window_sees_its_own_intervals_and_some_behind():
    """Intervals of 4 s at 12.5 frames a second."""
    lengths = [50, 50, 50, 50, 50, 20]
    windows = Windows(8.0, context=4.0)
    assert windows.view((0.0, 8.0), lengths, 12.5) == (0, 2)
    assert windows.view((8.0, 16.0), lengths, 12.5) == (2, 4)
    assert windows.view((16.0, 22.0), lengths, 12.5) == (4, 5)
    assert Windows(8.0, context=0.0).view((8.0, 16.0), lengths, 12.5) == (2, 3)
    assert Windows(8.0, context=0.0).view((9.0, 12.5), lengths, 12.5) == (2, 3)
    assert Windows(8.0, context=None).view((8.0, 16.0), lengths, 12.5) is None
    transcript = Timestamps(1.0, windows=windows)
    assert transcript.view((68.0, 76.0), lengths, 12.5, offset=60.0) == (2, 4), "of an excerpt that counts on"
    assert transcript.view(None, lengths, 12.5) is None


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 80), min_size=1, max_size=30), st.floats(0.5, 30), st.floats(0, 20), st.integers(0, 99))
def test_every_frame_of_a_window_is_seen_by_it(lengths, seconds, context, seed):
    duration = sum(lengths) / 12.5
    for span in spans(0.0, duration, 1.0, seconds, 1 + seed % 7, 2):
        first, last = Windows(context=context).view(span, lengths, 12.5)
        begin, end = sum(lengths[:first]) / 12.5, sum(lengths[: last + 1]) / 12.5
        assert 0 <= first <= last < len(lengths)
        assert begin <= span[0] + HALF and end >= min(duration, span[1] + context) - HALF


@pytest.mark.parametrize("context", [-1.0, "all"])
def test_a_context_is_seconds(context):
    with pytest.raises(ValueError, match="windows.context"):
        Windows(8.0, context=context)


@pytest.mark.parametrize(
    ("words", "context", "said"),
    [
        (False, 4.0, "up to 9.0 s"),
        (False, 9.0, None),
        (False, None, None),
        (True, 4.0, None),
        (True, 1.0, "up to 1.5 s"),
    ],
)
def test_what_goes_on_behind_all_that_a_window_sees_is_told(words, context, said):
    long = SupervisionSegment("s", "r", 1.0, 9.0, text="one two three four five six seven")
    long.custom = {WORD_STARTS: [0.0, 1.5, 3.0, 4.5, 6.0, 7.5, 8.0]}
    cuts = CutSet.from_cuts([MonoCut("one", 0.0, 20.0, 0, supervisions=[long])])
    mixture = TaskMixture({"asr": 1.0}, 1, Timestamps(1.0, words=words, windows=Windows(8.0, context=context)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report_training(cuts, mixture)
    assert [said in str(one.message) for one in caught] == ([True] if said else [])
    assert all("in train sessions" in str(one.message) for one in caught)
