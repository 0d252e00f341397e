"""Word times: where they stand, that they move with their cut, and the marks they give a transcript."""

import pytest
from lhotse.testing.dummies import dummy_cut, dummy_supervision
from lhotse.utils import fastcopy

from speech_xl.data.sessions import WORD_STARTS
from speech_xl.data.tasks import asr_turn
from speech_xl.extensions.timestamps.transcript import Timestamps
from speech_xl.extensions.timestamps.word_times import WordTimes, pieces, with_times, write_times


def test_words_have_marks_of_their_own_where_their_times_are_known():
    timed = dummy_supervision(0, start=0.5, duration=2.0, text="yes hilda i know")
    whole = dummy_supervision(1, start=3.0, duration=1.0, text="well well")
    cut = with_times(dummy_cut(0, duration=5.0, supervisions=[timed, whole]), {timed.id: [0.0, 0.4, 0.6, 1.6]})
    assert pieces(cut.supervisions[0], words=True) == [(0.5, "yes"), (0.9, "hilda"), (1.1, "i"), (2.1, "know")]
    assert asr_turn(cut, Timestamps(1.0, words=True)).answer == "[0] yes hilda [1] i [2] know [3] well well"
    assert asr_turn(cut, Timestamps(1.0)).answer == "[0] yes hilda i know [3] well well"
    assert asr_turn(cut).answer == "yes hilda i know well well"


def test_times_move_with_the_cut():
    said = dummy_supervision(0, start=2.0, duration=1.0, text="a b")
    cut = with_times(dummy_cut(0, duration=5.0, supervisions=[said]), {said.id: [0.0, 0.5]})
    later = cut.truncate(offset=1.5, duration=2.0)
    assert [start for start, _ in pieces(later.supervisions[0], words=True)] == pytest.approx([0.5, 1.0])


def test_too_few_times_are_an_error_naming_the_supervision():
    said = fastcopy(dummy_supervision(7, text="a b c"), custom={WORD_STARTS: [0.0]})
    with pytest.raises(ValueError, match=r"dummy-segment-0007: 1 times .* for 3 words"):
        pieces(said, words=True)


def test_sessions_get_their_times_from_files(tiny_corpus, tmp_path):
    corpus = tiny_corpus(sessions=3)
    first = next(iter(corpus.cuts("train")))
    others = {WORD_STARTS: [0.5], "kept": 1}
    timed = WordTimes(str(tmp_path / "times"))
    with pytest.raises(FileNotFoundError, match=r"speech_xl\.extensions\.timestamps\.align"):
        timed.check()
    timed.check(not_yet=[tmp_path / "times"])
    write_times(tmp_path / "times", "train", {first.supervisions[0].id: [0.03125]})
    timed.check()
    with pytest.warns(UserWarning, match=r"utterances of the split train have no word times .* align again"):
        said = [s for cut in timed(corpus.cuts("train"), "train") for s in cut.supervisions]
    assert [s.custom for s in said] == [{WORD_STARTS: [0.031]}] + [None] * (len(said) - 1)
    assert [cut.id for cut in timed(corpus.cuts("dev"), "dev")] == [cut.id for cut in corpus.cuts("dev")]
    one = fastcopy(said[0], custom=others)
    (kept,) = with_times(dummy_cut(0, supervisions=[one]), {one.id: [0.25]}).supervisions
    assert kept.custom == {WORD_STARTS: [0.25], "kept": 1}
