"""FrameCache: keyed by the audio that is heard, whole files only, damage is a miss."""

import os
from pathlib import Path

import pytest
import torch
from lhotse.cut import PaddingCut
from lhotse.utils import fastcopy

from speech_xl.data.frame_cache import FrameCache


@pytest.fixture
def cache(tmp_path):
    return FrameCache(tmp_path / "frames", "openai/whisper-tiny@abc window=30 taps=[2,4]", 50.0)


def files_of(cache):
    return sorted(path for path in cache.folder.rglob("*") if path.is_file() and path.name != "fingerprint.txt")


@pytest.mark.parametrize("shape", [(50, 8), (2, 50, 8)])
def test_returns_what_was_stored(cache, session, shape):
    frames = torch.randn(shape)
    assert cache.load(session) is None
    cache.store(session, frames)
    assert cache.load(session).dtype == torch.float16
    assert torch.equal(cache.load(session), frames.to(torch.float16))
    assert [path.suffix for path in files_of(cache)] == [".safetensors"]  # no drafts left behind


def test_encodes_what_it_has_not_and_only_once(cache, session):
    frames, encoded = torch.randn(50, 8), []
    for _ in range(2):
        kept = cache.load_or_store(session, lambda cut: encoded.append(cut.id) or frames)
        assert torch.equal(kept, frames.half())
    assert encoded == [session.id]


def test_stores_views_and_graphs(cache, session):
    frames = torch.randn(8, 50, requires_grad=True).T  # not contiguous, with a gradient, float32
    cache.store(session, frames)
    assert torch.equal(cache.load(session), frames.detach().to(torch.float16))


def test_key_is_the_audio_not_the_labels(cache, session):
    same = session.drop_supervisions().with_id("other")
    same.custom = {"questions": []}
    assert cache.key(same) == cache.key(session)


def test_key_changes_with_what_is_heard(cache, session):
    padded = session.pad(duration=session.duration + 1)
    heard = [
        session,
        session.truncate(offset=0.2),
        session.truncate(duration=0.2),
        session.truncate(offset=0.2, duration=0.2),
        session.resample(8000),
        session.perturb_speed(1.1),
        session.perturb_volume(2.0),
        padded,
        session.pad(duration=session.duration + 2),
        session.append(session),
        session.mix(session, offset_other_by=0.1),
        PaddingCut("silence", 1.0, 16000, 0.0, num_samples=16000),
    ]
    assert len({cache.key(cut) for cut in heard}) == len(heard)
    assert cache.key(padded) == cache.key(session.pad(duration=session.duration + 1))


def test_key_changes_when_the_file_does(cache, session):
    before = cache.key(session)
    path = session.recording.sources[0].source
    os.utime(path, ns=(1, 1))  # the same size, written anew
    assert cache.key(session) != before
    os.remove(path)
    assert cache.key(session) != before  # a missing file has a key too: reading it says what is wrong


def test_a_link_to_a_file_is_that_file(cache, session, tmp_path):
    here = tmp_path / "link"
    here.symlink_to(Path(session.recording.sources[0].source).parent, target_is_directory=True)
    source = session.recording.sources[0]
    recording = fastcopy(session.recording, sources=[fastcopy(source, source=str(here / Path(source.source).name))])
    linked = fastcopy(session, recording=recording)
    assert linked.recording.sources[0].source != session.recording.sources[0].source
    assert cache.key(linked) == cache.key(session)


def test_encoders_do_not_share(tmp_path, cache, session):
    cache.store(session, torch.zeros(5, 2))
    # the readable part of the folder name is cut and cleaned; the names must differ all the same
    for fingerprint in ("openai/whisper-tiny@abc window=30 taps=[2,5]", "openai-whisper-tiny@abc window=30 taps=[2,4]"):
        assert FrameCache(tmp_path / "frames", fingerprint, 50.0).load(session) is None
    assert FrameCache(tmp_path / "frames", cache.fingerprint, 50.0).load(session) is not None
    assert (cache.folder / "fingerprint.txt").read_text().strip() == cache.fingerprint


@pytest.mark.parametrize("damage", [b"", b"not a safetensors file", None])
def test_damaged_file_is_a_miss_with_a_warning(cache, session, damage):
    cache.store(session, torch.ones(50, 8))
    path = cache.path(session)
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    with pytest.warns(UserWarning, match=f"{path.name}: damaged cached frames"):
        assert cache.load(session) is None
    assert not path.exists(), "or who looks whether it is there would never make it anew"
    cache.store(session, torch.ones(50, 8))
    assert cache.load(session) is not None and cache.holds(session)
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    with pytest.warns(UserWarning, match="damaged cached frames"):
        assert not cache.holds(session)
    assert not path.exists()


def test_killed_in_the_middle_leaves_nothing_to_read(cache, session, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        cache.store(session, torch.ones(50, 8))
    assert cache.load(session) is None
    assert files_of(cache) == []


def test_refuses_frames_float16_cannot_hold(cache, session):
    with pytest.raises(ValueError, match=f"cut {session.id}: encoder frames are not finite in float16"):
        cache.store(session, torch.full((5, 2), 1e6))
    assert cache.load(session) is None


def test_refuses_an_empty_fingerprint(tmp_path):
    with pytest.raises(ValueError, match="fingerprint is empty"):
        FrameCache(tmp_path, "", 50.0)


def test_refuses_a_cut_without_audio(cache, session):
    with pytest.raises(ValueError, match=f"cut {session.id}: has no recording"):
        cache.key(fastcopy(session, recording=None))
