"""Sessions out of utterances: exact times, truthful audio, manifests that survive a move."""

import random

import numpy as np
import pytest
from lhotse import CutSet, RecordingSet, SupervisionSet, validate

from speech_xl.data.sessions import (
    SAMPLE_RATE,
    Utterance,
    assemble_session,
    draw_pauses,
    manifest_path,
    read_split,
    write_split,
)


def tone(samples: int, text: str = "hello", speaker: str = "karen") -> Utterance:
    return Utterance(0.5 * np.ones(samples, dtype=np.float32), text, speaker, "F")


def session(folder, session_id="s1", **options):
    utterances = [tone(1601, "one", "karen"), tone(4000, "two", "peter"), tone(777, "three", "karen")]
    return assemble_session(session_id, utterances, [0.1, 0.25, 0.0, 0.3], folder / f"{session_id}.flac", **options)


def test_times_are_exact_to_the_sample(tmp_path):
    cut = session(tmp_path)
    audio = cut.load_audio()[0]
    loud = np.zeros(len(audio), dtype=bool)
    for supervision in cut.supervisions:
        start, end = round(supervision.start * SAMPLE_RATE), round(supervision.end * SAMPLE_RATE)
        assert not loud[start:end].any(), "supervisions overlap"
        loud[start:end] = True
    np.testing.assert_allclose(audio, np.where(loud, 0.5, 0.0), atol=1 / 32768)
    assert [s.duration for s in cut.supervisions] == [1601 / SAMPLE_RATE, 4000 / SAMPLE_RATE, 777 / SAMPLE_RATE]
    assert [(s.text, s.speaker, s.gender) for s in cut.supervisions] == [
        ("one", "karen", "F"),
        ("two", "peter", "F"),
        ("three", "karen", "F"),
    ]
    assert len(audio) == 1600 + 1601 + 4000 + 4000 + 0 + 777 + 4800
    assert cut.duration == len(audio) / SAMPLE_RATE
    validate(cut)


def test_noise_has_its_level_and_the_session_s_seed(tmp_path):
    first = session(tmp_path / "a", noise_rms=0.01)
    again = session(tmp_path / "b", noise_rms=0.01)
    other = session(tmp_path / "a", "s2", noise_rms=0.01)
    audio = first.load_audio()[0]
    assert np.std(audio[:1600]) == pytest.approx(0.01, rel=0.1)
    assert (tmp_path / "a/s1.flac").read_bytes() == (tmp_path / "b/s1.flac").read_bytes()
    assert again.num_samples == len(audio)
    assert not np.array_equal(audio, other.load_audio()[0])


def test_loud_audio_is_clipped_not_wrapped(tmp_path):
    cut = assemble_session("s", [Utterance(np.array([2.0, -2.0], np.float32), "x", "a")], [0, 0], tmp_path / "s.flac")
    np.testing.assert_allclose(cut.load_audio()[0], [1.0, -1.0], atol=1e-4)


def test_pauses_are_in_their_range_and_seeded():
    pauses = draw_pauses(random.Random(1), 50, 0.2, 0.8)
    assert len(pauses) == 51
    assert 0.2 <= min(pauses) < 0.3 and 0.7 < max(pauses) <= 0.8
    assert pauses == draw_pauses(random.Random(1), 50, 0.2, 0.8)


def test_manifests_hold_everything_and_survive_a_move(tmp_path):
    folder = tmp_path / "old"
    cuts = [session(folder / "audio", name, custom={"caption": name}) for name in ("s1", "s2")]
    write_split(folder, "dev", cuts)
    assert [r.id for r in RecordingSet.from_file(manifest_path(folder, "recordings", "dev"))] == ["s1", "s2"]
    assert len(list(SupervisionSet.from_file(manifest_path(folder, "supervisions", "dev")))) == 6
    stored = CutSet.from_file(manifest_path(folder, "cuts", "dev"))
    assert [c.recording.sources[0].source for c in stored] == ["audio/s1.flac", "audio/s2.flac"]
    (tmp_path / "old").rename(tmp_path / "new")
    read = read_split(tmp_path / "new", "dev")
    validate(read, read_data=True)
    assert [c.caption for c in read] == ["s1", "s2"]
    assert read["s1"].supervisions == cuts[0].supervisions


def test_audio_outside_the_folder_keeps_its_absolute_path(tmp_path):
    write_split(tmp_path / "corpus", "dev", [session(tmp_path / "elsewhere")])
    (cut,) = read_split(tmp_path / "corpus", "dev")
    assert cut.recording.sources[0].source == str(tmp_path / "elsewhere/s1.flac")


@pytest.mark.parametrize(
    ("utterances", "pauses", "message"),
    [
        ([], [0.1], "no utterances"),
        ([tone(10)], [0.1], "give one more"),
        ([tone(10)], [0.1, -0.1], "must not overlap"),
        ([tone(10), tone(0, "silent one")], [0, 0, 0], "silent one"),
        ([Utterance(np.zeros((2, 10), np.float32), "stereo", "a")], [0, 0], "one channel"),
    ],
)
def test_bad_sessions_are_refused_by_name(tmp_path, utterances, pauses, message):
    with pytest.raises(ValueError, match=message) as error:
        assemble_session("s7", utterances, pauses, tmp_path / "s.flac")
    assert "s7" in str(error.value)
    assert not (tmp_path / "s.flac").exists()


def test_missing_and_empty_splits_say_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cuts_dev\.jsonl\.gz is missing.*prepare"):
        read_split(tmp_path, "dev")
    with pytest.raises(ValueError, match="'dev'.*no sessions"):
        write_split(tmp_path, "dev", [])
