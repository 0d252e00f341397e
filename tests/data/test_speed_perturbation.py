"""Speed perturbation: the train split once more at each speed, its times moved along, its audio as long as they say."""

import pytest

from speech_xl.data.audio import load_audio
from speech_xl.data.frame_cache import FrameCache
from speech_xl.data.sessions import WORD_STARTS
from speech_xl.data.speed_perturbation import SpeedPerturbation, at_speed
from speech_xl.extensions.timestamps.word_times import with_times


def test_the_train_split_is_there_at_every_speed_and_the_others_are_left_alone(tiny_corpus):
    corpus = tiny_corpus(sessions=3)
    faster = SpeedPerturbation([0.9, 1.1])
    recorded = [cut.id for cut in corpus.cuts("train")]
    cuts = list(faster(corpus.cuts("train"), "train"))
    assert [cut.id for cut in cuts[: len(recorded)]] == recorded
    assert len({cut.id for cut in cuts}) == len(cuts) == 3 * len(recorded)
    assert len({s.id for cut in cuts for s in cut.supervisions}) == 3 * sum(
        len(cut.supervisions) for cut in corpus.cuts("train")
    )
    for split in ("dev", "test"):
        assert [cut.id for cut in faster(corpus.cuts(split), split)] == [cut.id for cut in corpus.cuts(split)]


def test_times_and_audio_go_with_the_speed(tiny_corpus, tmp_path):
    cut = next(iter(tiny_corpus(sessions=1).cuts("train")))
    timed = with_times(cut, {cut.supervisions[0].id: [0.0, 0.22]})
    fast = at_speed(timed, 1.1)
    assert fast.duration == pytest.approx(cut.duration / 1.1, abs=1e-3)
    for before, after in zip(timed.supervisions, fast.supervisions, strict=True):
        assert after.start == pytest.approx(before.start / 1.1, abs=1e-3)
        assert after.duration == pytest.approx(before.duration / 1.1, abs=1e-3)
        assert after.text == before.text and after.end <= fast.duration + 1e-3
    assert fast.supervisions[0].custom[WORD_STARTS] == [0.0, 0.2]
    assert len(load_audio(fast)) == fast.num_samples == pytest.approx(len(load_audio(cut)) / 1.1, abs=1)
    cache = FrameCache(tmp_path, "encoder", 50.0)
    assert len({cache.key(one) for one in (cut, fast, at_speed(cut, 0.9))}) == 3


@pytest.mark.parametrize(
    ("speeds", "said"), [([1.0], r"speeds\[0\]: got 1.0"), ([0.9, 0.9], "twice"), ([0.9, 3], r"speeds\[1\]: got 3")]
)
def test_what_is_no_speed_is_refused(speeds, said):
    with pytest.raises(ValueError, match=said):
        SpeedPerturbation(speeds)
