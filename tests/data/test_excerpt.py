"""Excerpts that grow over epochs, and several of a session in one epoch."""

import pytest

from speech_xl.data.dataset import Excerpt
from speech_xl.data.loaders import TrainSampling
from speech_xl.data.session_part import session_offset
from speech_xl.data.tasks import asr_turn
from speech_xl.extensions.timestamps.marks import timed_parts
from speech_xl.extensions.timestamps.transcript import Timestamps


def test_the_longest_length_grows_evenly_and_stays():
    excerpt = Excerpt(2.0, 10.0, length_curriculum_epochs=4)
    assert [excerpt.longest(epoch) for epoch in range(6)] == [2.0, 4.0, 6.0, 8.0, 10.0, 10.0]
    assert Excerpt(2.0, 10.0).longest(0) == 10.0


@pytest.mark.parametrize("wrong", [{"per_session": 0}, {"length_curriculum_epochs": -1}])
def test_wrong_counts_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Excerpt(2.0, 10.0, **wrong)


def test_several_excerpts_of_each_session_and_not_the_same(tiny_corpus):
    cuts = tiny_corpus().cuts("train")

    def drawn(per_session):
        excerpt = Excerpt(0.5, 1.5, per_session=per_session)
        return [cut for batch in TrainSampling(0, 30.0, None, 2, excerpt).sampler(cuts, 0) for cut in batch]

    one, five = drawn(1), drawn(5)
    assert len(one) == len(list(cuts)) and len(five) == 5 * len(one)
    recording = five[0].recording_id
    assert len({(cut.start, cut.duration) for cut in five if cut.recording_id == recording}) > 1


def test_an_excerpt_may_keep_its_place_in_the_session(tiny_corpus):
    """Its marks are the session's own, of the utterances that it has; by default they begin at 0."""
    marks, late = Timestamps(0.1), 0
    for cut in tiny_corpus(sessions=10).cuts("train"):
        for epoch in range(5):
            part, placed = (Excerpt(0.3, 0.8, absolute_time=keep)(cut, 0, epoch) for keep in (False, True))
            assert part.id == placed.id and session_offset(part) == 0.0
            if placed.id == cut.id:
                continue
            first, last = map(int, placed.id.removeprefix(f"{cut.id}-").split("-"))
            assert session_offset(placed) == pytest.approx(cut.supervisions[first].start)
            session, own = (timed_parts(asr_turn(one, marks).answer) for one in (cut, placed))
            assert own == session[first : last + 1]
            assert timed_parts(asr_turn(part, marks).answer)[0][0] == 0.0
            late += session_offset(placed) > 0
    assert late > 10
