"""Intervals end in the middle of pauses that are heard, the same for excerpts and again, and are found once."""

import pickle

import numpy as np
import pytest
from lhotse.cut import CutSet
from lhotse.testing.dummies import dummy_cut

from speech_xl import SHORTEST_SECONDS
from speech_xl.data.datamodule import SpeechDataModule
from speech_xl.data.partition import PauseWindows, packed_ends
from speech_xl.data.session_part import SessionPart
from speech_xl.extensions.pauses import SileroPauses
from speech_xl.extensions.pauses.silero_pauses import pauses_between

CHUNK = 0.032


def lengths(ends):
    return np.diff([0.0, *ends])


def test_pauses_lie_between_speech_and_speech():
    p = np.array([0.1, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.8, 0.4, 0.2, 0.9, 0.1])
    assert pauses_between(p, 0.5, 0.1) == [[3 * CHUNK, 7 * CHUNK]]
    # 0.4 is neither: the pause of 0.03 s begins behind it
    assert pauses_between(p, 0.5, 0.03) == [[3 * CHUNK, 7 * CHUNK], [pytest.approx(9 * CHUNK), 10 * CHUNK]]
    # in silence, what doesn't reach the threshold is silence still
    assert (
        pauses_between(np.array([0.9, 0.1, 0.45, 0.45, 0.9]), 0.5, 0.1)
        == []
        != pauses_between(np.array([0.9, 0.1, 0.45, 0.45, 0.1, 0.9]), 0.5, 0.1)
    )
    for silent in (np.zeros(5), np.zeros(0), np.ones(5)):
        assert pauses_between(silent, 0.5, 0.1) == []


def test_intervals_end_in_the_pauses_that_are_there(session):
    """As the truth would have them, which the supervisions know and the partition isn't told."""
    partition = SileroPauses(3.2, min_seconds=0.5, pause_seconds=0.3)
    utterances = sorted(session.supervisions, key=lambda one: one.start)
    gaps = [(a.end, b.start) for a, b in zip(utterances, utterances[1:], strict=False)]
    unlabelled = session.drop_supervisions()
    assert np.abs(np.array(partition.pauses(unlabelled)) - np.array(gaps)).max() < 0.15
    ends = partition(unlabelled)
    wanted = packed_ends([(start + end) / 2 for start, end in gaps], session, 3.2)
    assert 3 <= len(ends) == len(wanted) and np.abs(np.array(ends) - np.array(wanted)).max() < 0.1
    assert abs(PauseWindows(3.2)(session)[0] - gaps[0][0]) < 1e-6  # with the utterance, not in the middle of the pause


@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.5, 5.0, 60.0])
def test_intervals_cover_the_session_and_are_no_longer_than_asked(session, seconds):
    partition = SileroPauses(seconds, min_seconds=min(1.0, seconds))
    ends = partition(session)
    assert ends[-1] == session.duration and max(lengths(ends)) <= seconds + SHORTEST_SECONDS
    assert len(ends) == 1 or min(lengths(ends[:-1])) >= min(1.0, seconds) - 1e-6


def test_where_nobody_pauses_windows_are_fixed():
    assert SileroPauses(4.0)(dummy_cut(0, duration=10.0, with_data=True)) == [4.0, 8.0, 10.0]


def test_an_excerpt_has_the_pauses_of_its_session(session):
    part = SessionPart(session.start, session.duration).written(session.truncate(offset=2.0, duration=5.0))
    partition = SileroPauses(60.0, pause_seconds=0.3)
    whole = [(a + b) / 2 for a, b in partition.pauses(session)]
    heard = []
    partition.pauses = lambda cut: heard.append(cut.duration) or SileroPauses.pauses(partition, cut)
    partition.max_seconds, partition.min_seconds = 2.5, 0.5
    ends = partition(part)
    assert heard == [session.duration] and len(ends) > 1
    assert all(min(abs(end + 2.0 - middle) for middle in whole) < 1e-9 for end in ends[:-1])


def test_a_session_is_listened_to_once_by_all_epochs_and_workers(session, tmp_path, monkeypatch):
    first = SileroPauses(2.5)
    first.keep_in(str(tmp_path))
    ends = first(session)
    (kept,) = tmp_path.rglob("*.json")
    other = pickle.loads(pickle.dumps(SileroPauses(2.5)))  # as a worker gets it
    other.keep_in(str(tmp_path))
    monkeypatch.setattr(SileroPauses, "_listen", lambda self, cut: pytest.fail("listened again"))
    assert other(session) == ends and other(session.with_id("renamed").drop_supervisions()) == ends
    with pytest.raises(BaseException, match="listened again"):  # other settings find other pauses
        stricter = SileroPauses(2.5, threshold=0.9)
        stricter.keep_in(str(tmp_path))
        stricter(session)
    monkeypatch.undo()
    kept.write_text("[[1.0,")
    assert other(session) == ends and kept.read_text().endswith("]]")


def test_in_memory_too_it_is_listened_to_once(session, monkeypatch):
    partition = SileroPauses(2.5)
    ends = partition(session)
    monkeypatch.setattr(SileroPauses, "_listen", lambda self, cut: pytest.fail("listened again"))
    assert partition(session) == ends


def test_the_data_module_says_where(session, tmp_path, tiny_corpus):
    data = SpeechDataModule(tiny_corpus(), cache_dir=str(tmp_path / "kept"), partition=SileroPauses(2.5), num_workers=0)
    assert str(data.partition.folder).startswith(str(tmp_path / "kept" / "pauses"))
    (batch,) = [data.partition(cut) for cut in CutSet.from_cuts([session])]
    assert list((tmp_path / "kept").rglob("*.json")) and batch[-1] == session.duration


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"max_seconds": 0}, r"partition\.max_seconds: got 0; give a number from 0\.1 upwards"),
        ({"max_seconds": 4.0, "min_seconds": 5.0}, r"partition\.min_seconds: got 5\.0; give a number from 0\.1 to 4"),
        (
            {"max_seconds": 4.0, "pause_seconds": 0},
            r"partition\.pause_seconds: got 0; .* of seconds above 0",
        ),
        ({"max_seconds": 4.0, "threshold": 0.1}, r"partition\.threshold: got 0\.1; give a number from 0\.2 to 0\.99"),
    ],
)
def test_settings_that_mean_nothing_are_refused(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        SileroPauses(**arguments)
