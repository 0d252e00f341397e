"""SpeechDataset: batches from cuts, bad audio named with its mend, excerpts of whole utterances."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from lhotse import CutSet, Recording
from lightning.pytorch.plugins.precision import MixedPrecision

from speech_xl.data.audio import AudioError, load_audio
from speech_xl.data.dataset import EvaluationTurns, Excerpt, SpeechDataset
from speech_xl.data.frame_cache import FrameCache
from speech_xl.data.partition import FixedWindows
from speech_xl.data.tasks import TaskMixture
from speech_xl.extensions.timestamps.transcript import Timestamps


def dataset_of(turns=None, **options):
    return SpeechDataset(turns or TaskMixture({"asr": 1.0}), FixedWindows(0.5), **options)


def recorded(path, samples, rate=16000):
    """A cut of a file with these samples."""
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return Recording.from_file(path).to_cut()


def tone(rate, seconds=1.0, hertz=200):
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


# Batches


def test_rows_belong_together(tiny_corpus):
    cuts = tiny_corpus(sessions=3).cuts("train")
    batch = dataset_of()[cuts]
    assert batch.ids == [cut.id for cut in cuts] and len(batch) == 3
    assert batch.frames == [None] * 3
    for cut, audio, ends, turns in zip(cuts, batch.audio, batch.interval_ends, batch.turns, strict=True):
        assert audio.dtype == torch.float32 and audio.shape == (cut.num_samples,)
        assert ends == FixedWindows(0.5)(cut)
        assert [t.answer for t in turns] == [" ".join(s.text for s in cut.supervisions)]
    assert batch.audio_seconds == pytest.approx(sum(cut.duration for cut in cuts))


def test_cache_hit_reads_no_audio(tiny_corpus, tmp_path):
    cuts = tiny_corpus(sessions=2).cuts("train")
    first, second = list(cuts)
    cache = FrameCache(tmp_path / "frames", "encoder", 50.0)
    cache.store(first, torch.ones(4, 2))
    batch = dataset_of(cache=cache)[cuts]
    assert batch.audio[0] is None and batch.frames[0].shape == (4, 2)
    assert batch.audio[1].shape == (second.num_samples,) and batch.frames[1] is None


def test_cache_hit_does_not_open_the_file(session, tmp_path, monkeypatch):
    cache = FrameCache(tmp_path / "frames", "encoder", 50.0)
    cache.store(session, torch.ones(4, 2))

    def opened(*_, **__):
        raise AssertionError("the audio was read")

    monkeypatch.setattr(Recording, "load_audio", opened)
    assert dataset_of(cache=cache)[CutSet.from_cuts([session])].audio == [None]
    with pytest.raises(AudioError):  # the trap works: without the cache the file would have been opened
        dataset_of()[CutSet.from_cuts([session])]


def test_batch_moves_its_tensors_only(session, tmp_path):
    batch = dataset_of()[CutSet.from_cuts([session])]
    batch.frames = [torch.ones(4, 2)]
    moved = batch.to("meta")
    assert moved.audio[0].device.type == moved.frames[0].device.type == "meta"
    assert batch.audio[0].device.type == "cpu"
    assert moved.ids == batch.ids and moved.turns == batch.turns and moved.interval_ends == batch.interval_ends


def test_precision_plugins_leave_the_batch_alone(session):
    batch = dataset_of()[CutSet.from_cuts([session])]
    batch.frames = [torch.ones(4, 2, dtype=torch.float16)]
    assert MixedPrecision("bf16-mixed", "cpu").convert_input(batch) is batch
    assert batch.frames[0].dtype == torch.float16


# Turns


def test_turns_are_seeded_by_seed_epoch_and_cut(tiny_corpus):
    cuts = tiny_corpus().cuts("train")
    mixture = TaskMixture({"asr": 1.0, "qa": 1.0, "caption": 1.0}, turns=3)

    def drawn(seed, epoch, rows=cuts):
        dataset = dataset_of(mixture, seed=seed)
        dataset.epoch = epoch
        batch = dataset[rows]
        assert batch.epoch == epoch
        return dict(zip(batch.ids, batch.turns, strict=True))

    assert drawn(0, 0) == drawn(0, 0)
    assert drawn(0, 0) != drawn(0, 1)
    assert drawn(0, 0) != drawn(1, 0)
    backwards = CutSet.from_cuts(list(cuts)[::-1][:5])  # company and order don't matter
    assert drawn(0, 0, backwards) == {key: turns for key, turns in drawn(0, 0).items() if key in backwards.ids}


def test_evaluation_asks_everything_every_time(session):
    turns = EvaluationTurns(["asr", "caption", "qa"], questions=4)(session)
    assert [t.task for t in turns] == ["asr", "caption", "qa", "qa", "qa", "qa"]
    assert turns == EvaluationTurns(["qa", "caption", "asr"], questions=4)(session)
    assert len(EvaluationTurns(["qa"], questions=100)(session)) == 6
    asked = {EvaluationTurns(["qa"], questions=2)(session.with_id(f"s{i}"))[0].instruction for i in range(20)}
    assert len(asked) > 1  # not always the first questions of the corpus
    (timed,) = EvaluationTurns(["asr"], transcript=Timestamps(1.0))(session)
    assert timed.answer.startswith("[0] ") and timed.answer.count("[") == len(
        {int(s.start) for s in session.supervisions}
    )


@pytest.mark.parametrize(
    ("tasks", "questions", "message"),
    [
        (["asr", "singing"], 4, "unknown task 'singing'"),
        ([], 4, "no task"),
        (["qa"], 0, "eval_questions: got 0"),
    ],
)
def test_refuses_bad_evaluation_settings(tasks, questions, message):
    with pytest.raises(ValueError, match=message):
        EvaluationTurns(tasks, questions)


# Audio


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_other_sample_rates_are_resampled(tmp_path, rate):
    audio = load_audio(recorded(tmp_path / "a.wav", tone(rate), rate))
    assert audio.shape == (16000,)
    middle = slice(1000, -1000)  # resampling rings at the edges
    assert np.abs(audio.numpy()[middle] - tone(16000)[middle]).max() < 0.01


def test_channels_are_averaged(tmp_path):
    stereo = np.stack([tone(16000), np.zeros(16000, np.float32)], axis=1)
    audio = load_audio(recorded(tmp_path / "a.wav", stereo))
    assert audio.shape == (16000,)
    assert np.abs(audio.numpy() - tone(16000) / 2).max() < 1e-3


def test_stereo_of_another_rate(tmp_path):
    stereo = np.stack([tone(8000), tone(8000)], axis=1)
    audio = load_audio(recorded(tmp_path / "a.wav", stereo, 8000))
    assert np.abs(audio.numpy()[1000:-1000] - tone(16000)[1000:-1000]).max() < 0.01


def test_mixed_cuts_are_heard(session):
    padded = session.pad(duration=session.duration + 0.5)
    assert load_audio(padded).shape == (padded.num_samples,)


def empty_file(path: Path):
    path.write_bytes(b"")


def no_samples(path: Path):
    soundfile.write(path, np.zeros(0), 16000, format="FLAC")


def not_audio(path: Path):
    path.write_bytes(b"<html>404</html>")


def cut_short(path: Path):
    samples, rate = soundfile.read(path)
    soundfile.write(path, samples[: len(samples) // 2], rate, format="FLAC")


def other_rate(path: Path):
    samples, _ = soundfile.read(path)
    soundfile.write(path, samples, 8000, format="FLAC")


@pytest.mark.parametrize("spoil", [os.remove, empty_file, no_samples, not_audio, cut_short, other_rate])
def test_bad_files_are_named_with_the_mend(session, spoil):
    path = Path(session.recording.sources[0].source)
    spoil(path)
    with pytest.raises(AudioError) as caught:
        dataset_of()[CutSet.from_cuts([session])]
    message = str(caught.value)
    assert str(path) in message and session.id in message
    assert "restore the file, or take the session out" in message
    assert len(message) < 800  # lhotse's own report is a page


def test_resampled_and_mixed_cuts_pass_the_check_of_rates(tmp_path):
    cut = recorded(tmp_path / "a.wav", tone(8000), 8000).resample(16000)
    assert load_audio(cut).shape == (16000,)
    assert load_audio(cut.append(cut.pad(duration=2.0))).shape == (48000,)


def test_samples_that_are_not_numbers(tmp_path):
    samples = tone(16000)
    samples[100] = np.nan
    with pytest.raises(AudioError, match="holds samples that are not numbers"):
        load_audio(recorded(tmp_path / "a.wav", samples))


# Excerpts


def texts(cut):
    return [s.text for s in cut.supervisions]


def test_excerpts_are_whole_utterances_heard_exactly(tiny_corpus):
    partial = 0
    for cut in tiny_corpus(sessions=30).cuts("train"):
        for epoch in range(5):
            part = Excerpt(0.5, 1.0)(cut, 0, epoch)
            if part.id == cut.id:
                assert part == cut
                continue
            partial += 1
            first, last = map(int, part.id.removeprefix(f"{cut.id}-").split("-"))
            expected = cut.supervisions[first : last + 1]
            assert texts(part) == [s.text for s in expected]
            assert part.supervisions[0].start == pytest.approx(0, abs=1e-4)
            assert part.duration == pytest.approx(expected[-1].end - expected[0].start, abs=1e-4)
            assert part.duration <= 1.0 or first == last
            whole = load_audio(cut).numpy()
            start = round(expected[0].start * 16000)
            assert np.array_equal(load_audio(part).numpy(), whole[start : start + part.num_samples])
    assert partial > 50


def test_every_utterance_is_heard_and_lengths_vary(tiny_corpus):
    cut = max(tiny_corpus(sessions=30).cuts("train"), key=lambda c: len(c.supervisions))
    parts = [Excerpt(0.3, 1.0)(cut, 0, epoch) for epoch in range(200)]
    heard = [sum(text in texts(part) for part in parts) for text in texts(cut)]
    assert min(heard) > 20
    assert len({len(part.supervisions) for part in parts}) > 1


def test_one_utterance_longer_than_asked_stays_whole(session):
    part = Excerpt(0.01, 0.02)(session, 0, 0)
    assert len(part.supervisions) == 1 and part.duration > 0.05


def test_excerpts_have_only_the_asr_task(session):
    part = Excerpt(0.3, 0.5)(session, 0, 0)
    assert part.id != session.id
    assert "questions" not in part.custom and "caption" not in part.custom
    assert "questions" in session.custom  # the session itself is not touched
    batch = dataset_of(TaskMixture({"qa": 1.0, "caption": 1.0, "asr": 1e-9}))[CutSet.from_cuts([part])]
    assert [t.task for t in batch.turns[0]] == ["asr"]
    (timed,) = dataset_of(TaskMixture({"asr": 1}, transcript=Timestamps(1.0)))[CutSet.from_cuts([part])].turns[0]
    assert timed.answer.startswith("[0] ")


def test_a_session_that_fits_keeps_its_tasks(session):
    assert Excerpt(60.0, 60.0)(session, 0, 0) is session


def test_excerpts_are_seeded(session):
    def drawn(fixed, seed, epochs=range(20)):
        return [Excerpt(0.3, 0.6, fixed)(session, seed, epoch).id for epoch in epochs]

    assert drawn(False, 0) == drawn(False, 0)
    assert len(set(drawn(False, 0))) > 1
    assert drawn(False, 0) != drawn(False, 1)
    assert len(set(drawn(True, 0))) == 1


def test_fixed_excerpts_hit_the_cache(session, tmp_path):
    cache = FrameCache(tmp_path, "encoder", 50.0)
    cache.store(Excerpt(0.3, 0.6, fixed=True)(session, 0, 0), torch.ones(3, 2))
    assert cache.load(Excerpt(0.3, 0.6, fixed=True)(session, 0, 7)) is not None


def test_random_excerpts_do_not_fill_the_disk(session, tmp_path):
    cache = FrameCache(tmp_path / "frames", "encoder", 50.0)
    part = Excerpt(0.3, 0.6)(session, 0, 0)
    cache.store(part, torch.ones(3, 2))
    assert cache.load(part) is None and not cache.folder.exists()
    cache.store(Excerpt(60.0, 60.0)(session, 0, 0), torch.ones(3, 2))  # a session that stays whole is kept
    assert cache.load(session) is not None


def test_random_excerpts_are_cut_out_of_their_sessions_frames(tiny_corpus, tmp_path):
    rate, several = 50.0, 0
    cache = FrameCache(tmp_path / "frames", "encoder", rate)
    for cut in tiny_corpus(sessions=8).cuts("train"):
        numbered = torch.arange(math.ceil(cut.duration * rate), dtype=torch.float32)[:, None]
        cache.store(cut, numbered)
        for epoch in range(4):
            part = Excerpt(0.3, 0.8)(cut, 0, epoch)
            frames = cache.load(part)
            first, last = part.start * rate, (part.start + part.duration) * rate
            assert abs(frames[0].item() - first) <= 0.5 and abs(frames[-1].item() + 1 - last) <= 1.5
            assert len(frames) == math.ceil(part.duration * rate - 1e-6)  # what encoding it alone would give
            assert torch.equal(frames[:, 0], frames[0, 0] + torch.arange(len(frames)).half())
            several += part.id != cut.id
    assert several > 10


@pytest.mark.parametrize(("low", "high"), [(0, 5), (5, 4), (-1, 3), (1, float("nan")), (1, float("inf"))])
def test_refuses_bad_excerpts(low, high):
    with pytest.raises(
        ValueError, match=rf"excerpt\.(min_seconds: got {low}|max_seconds .*: got {high}); give a number"
    ):
        Excerpt(low, high)


def test_refuses_sessions_it_cannot_take_excerpts_of(session):
    with pytest.raises(ValueError, match="no supervisions to take an excerpt of"):
        Excerpt(1, 2)(session.drop_supervisions(), 0, 0)
    with pytest.raises(ValueError, match="excerpts need sessions of one recording"):
        Excerpt(1, 2)(session.append(session), 0, 0)


def test_a_damaged_file_is_named_with_the_decoders_cause_and_a_mend_that_deletes_nothing_of_the_users(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 48_000), 16_000)
    cut = Recording.from_file(path).to_cut()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(
        AudioError, match=r"decoder lost sync.*; restore the file, or take the session out \(where"
    ) as bad:
        load_audio(cut)
    assert "Details:" not in str(bad.value) and "corpus folder" not in str(bad.value)
