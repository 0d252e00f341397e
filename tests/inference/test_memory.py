"""A memory hears what users have, in chunks of any size, remembers it in files and forks, and tells what it keeps."""

import threading
import time

import numpy as np
import pytest
import soundfile
import torch

from experiments.random_models import audio
from speech_xl.data.decode import AudioError
from speech_xl.inference import NamedAudio, load_stage
from speech_xl.model.memory_file import MemoryFileError
from speech_xl.storage.files import FileError
from tests.listening_models import INTERVAL, stage_folder, tiny_backbone, tiny_model

WHO, WHAT = "who?", "what was said?"


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("audio") / "talk.wav"
    soundfile.write(path, audio(2.9).numpy(), 16_000, subtype="FLOAT")
    return path


def tensors_of(memory):
    return memory.listener.memory.tensors()


def same(memory, other):
    left, right = tensors_of(memory), tensors_of(other)
    assert left.keys() == right.keys() and all(torch.equal(tensor, right[name]) for name, tensor in left.items())
    assert memory.intervals == other.intervals and memory.seconds == other.seconds


def test_a_path_its_bytes_and_its_samples_are_heard_alike(model, file):
    memory = model.listen(file)
    samples, rate = soundfile.read(file, dtype="float32")
    kinds = [str(file), file.read_bytes(), bytearray(file.read_bytes()), NamedAudio(file, "upload")]
    for other in (*map(model.listen, kinds), model.listen(samples, rate=rate)):
        same(memory, other)
    same(memory, model.listen(torch.from_numpy(samples)[None], rate=rate))
    same(memory, model.listen(np.stack([samples, samples]), rate=rate))
    assert memory.seconds == pytest.approx(2.9)


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_chunks_of_any_rate_and_size_are_heard_as_the_whole_file(model, tmp_path, rate):
    samples = audio(samples=2 * rate + 77).numpy()
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    whole = model.listen(tmp_path / "a.wav")
    whole.finish()
    for size in (441, len(samples)):
        memory = model.listen()
        for start in range(0, len(samples), size):
            memory.push(samples[start : start + size], rate)
            if start == 441 * 20:
                memory.ask(WHO, 1)  # leaves no trace
        memory.finish()
        same(memory, whole)


def test_integers_are_divided_by_their_full_scale(model):
    samples = (audio(1.0) * 32768).to(torch.int16)
    same(model.listen(samples, rate=16_000), model.listen(samples.float() / 32768, rate=16_000))


def test_what_is_told_is_what_lies_in_the_cache(model, file):
    memory = model.listen(file, ratio=2)
    memory.finish()
    held = [tensor for name, tensor in tensors_of(memory).items() if name.startswith("layers.")]
    prefix = len(model.backbone.llm.prompt.prefix)
    assert memory.kept_kv_bytes == sum(one[:, :, prefix:].numel() * one.element_size() for one in held)
    assert memory.kept_kv_tokens == held[0].shape[2] - prefix
    intervals = memory.intervals
    assert sum(one.kept_kv_tokens for one in intervals) == memory.kept_kv_tokens
    assert sum(one.kept_kv_bytes for one in intervals) == memory.kept_kv_bytes
    assert sum(one.full_kv_bytes for one in intervals) == memory.full_kv_bytes
    uncompressed = model.listen(file, ratio=1)
    uncompressed.finish()
    assert uncompressed.kept_kv_bytes == uncompressed.full_kv_bytes == memory.full_kv_bytes
    assert [one.start_seconds for one in intervals[1:]] == [one.end_seconds for one in intervals[:-1]]
    assert intervals[0].start_seconds == 0 and intervals[-1].end_seconds == pytest.approx(2.9)
    assert {one.ratio for one in intervals} == {2} and intervals[0].end_seconds == pytest.approx(INTERVAL)
    answer = model.listen(file, ratio=2).ask(WHO, 3)  # of a memory whose end is still open
    told = ("kept_kv_tokens", "kept_kv_bytes", "full_kv_bytes")
    assert [getattr(answer, name) for name in told] == [getattr(memory, name) for name in told]
    assert answer.audio_seconds_heard == pytest.approx(2.9) and answer.ratio == 2


def test_samples_that_lie_backwards_are_heard(model):
    backwards = audio(1.0).numpy()[::-1]
    same(model.listen(backwards, rate=16_000), model.listen(backwards.copy(), rate=16_000))


def test_a_ratio_holds_for_intervals_that_end_later(model):
    memory = model.listen(audio(1.0), rate=16_000, ratio=4)
    memory.ratio = 2
    memory.push(audio(1.0, seed=1), 16_000)
    memory.finish()
    ratios = [one.ratio for one in memory.intervals]
    assert ratios == [4, 4, 2, 2]
    with pytest.raises(ValueError, match="ratio"):
        memory.ratio = 0


def test_answers_are_finished_or_cut_and_count_their_tokens(model, file):
    memory = model.listen(file)
    cut = memory.ask(WHO, 3)
    assert (cut.new_tokens, cut.finished) == (3, False)
    assert memory.ask(model.transcript.instruction).new_tokens <= 32 + 8 * 3
    for question, limit, said in (
        ("", None, "question"),
        (WHO, 0, "max_new_tokens"),
        (WHO, 2.5, "max_new_tokens"),
        ("a\ud800", 3, "character 1 is half of one"),
    ):
        with pytest.raises(ValueError, match=said):
            memory.ask(question, limit)
    with pytest.raises(ValueError, match="nothing was heard yet"):
        model.listen().ask(WHO)


def test_a_memory_is_forked_saved_and_loaded_and_goes_on(model, tmp_path):
    samples = audio(samples=50_000).numpy()
    memory = model.listen(ratio=2)
    memory.push(samples[:30_001], 22_050)
    fork = memory.fork()
    memory.save(tmp_path / "memory.safetensors")
    again = model.load_memory(tmp_path / "memory.safetensors")
    same(memory, again)
    fork.push(audio(1.0, seed=3), 16_000)
    for one in (memory, again):
        one.push(samples[30_001:], 22_050)
        one.finish()
    same(memory, again)
    whole = model.listen(samples, rate=22_050, ratio=2)
    whole.finish()
    same(memory, whole)
    with pytest.raises(MemoryFileError, match="other weights or settings"):
        tiny_model(seed=6).load_memory(tmp_path / "memory.safetensors")


def test_threads_share_a_memory(model):
    """One pushes, two ask, and each sees all of an interval or nothing of it."""
    sound, failures = audio(6.0).numpy(), []
    memory = model.listen(sound[:4_000], rate=16_000, ratio=2)
    heard, done = [], threading.Event()

    def look():
        try:
            while not done.is_set():
                answer = memory.ask(WHO, 2)
                rest = memory.fork()
                assert sum(one.kept_kv_tokens for one in rest.intervals) == rest.kept_kv_tokens
                heard.append(answer.audio_seconds_heard)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for start in range(4_000, len(sound), 400):
        memory.push(sound[start : start + 400], 16_000)
    done.set()
    for thread in threads:
        thread.join()
    assert not failures and heard
    whole = model.listen(sound, rate=16_000, ratio=2)
    same(memory, whole)


def test_a_push_is_seen_whole_or_not_at_all(model, monkeypatch):
    """A fork made while an interval is being heard waits for its end."""
    memory, inside, forks = model.listen(ratio=2), threading.Event(), []
    real = model.backbone.compress_interval

    def slow(*given):
        inside.set()
        time.sleep(0.2)
        return real(*given)

    monkeypatch.setattr(model.backbone, "compress_interval", slow)
    pushing = threading.Thread(target=memory.push, args=(audio(0.9), 16_000))
    pushing.start()
    assert inside.wait(10)
    forks.append(memory.fork())
    assert not forks[0].listener.next_interval() and len(forks[0].intervals) == len(memory.intervals) > 0
    pushing.join()


def test_the_identity_of_a_model_is_reckoned_once_until_its_weights_change(monkeypatch):
    backbone, counted = tiny_backbone(), []
    from speech_xl.model import fingerprint

    real = fingerprint.fingerprint
    monkeypatch.setattr(fingerprint, "fingerprint", lambda *given: counted.append(1) or real(*given))
    first = backbone.identity()
    assert backbone.identity() == first and len(counted) == 1
    with torch.no_grad():
        next(backbone.sst.parameters()).add_(1.0)
    assert backbone.identity() != first and len(counted) == 2
    backbone.sst.load_state_dict(
        {name: value.clone() for name, value in backbone.sst.state_dict().items()}, assign=True
    )
    assert backbone.identity() != first and len(counted) == 3


def test_a_file_of_before_is_of_another_version(model, tmp_path):
    from speech_xl.model.listener import Listener
    from speech_xl.storage.tensor_files import read_tensors, write_tensors

    path = tmp_path / "memory.safetensors"
    Listener(model.backbone).save(path)
    with pytest.raises(MemoryFileError, match=r"another version \(it has no intake\)"):
        model.load_memory(path)
    with pytest.raises(FileError, match="the folder .* is missing; make it"):
        model.listen().save(tmp_path / "missing" / "memory.safetensors")
    tensors, notes = read_tensors(path)
    write_tensors(tensors, path, {"speech_xl_memory": notes["speech_xl_memory"].replace('"intervals"', '"other"')})
    with pytest.raises(MemoryFileError, match=r"another version \(it has no intervals\)"):
        model.load_memory(path)


def test_files_of_a_batch_are_heard_as_each_alone(model, tmp_path):
    sounds = [audio(seconds, seed=number).numpy() for number, seconds in enumerate((2.9, 0.3, 1.7))]
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for path, sound in zip(paths, sounds, strict=True):
        soundfile.write(path, sound, 16_000, subtype="FLOAT")
    told = []
    memories = model.listen([*paths], ratio=2, progress=lambda *seconds: told.append(seconds))
    assert told[-1] == (pytest.approx(4.9), pytest.approx(4.9))
    for memory, path in zip(memories, paths, strict=True):
        alone = model.listen(path, ratio=2)
        assert memory.intervals == alone.intervals and memory.seconds == alone.seconds
        for one in (memory, alone):  # more may follow
            one.push(audio(0.9, seed=9), 16_000)
            one.finish()
        left, right = tensors_of(memory), tensors_of(alone)
        for name, tensor in left.items():
            torch.testing.assert_close(tensor, right[name], atol=1e-5, rtol=1e-4, msg=name)
        for question in (WHO, WHAT):
            assert memory.ask(question, 12) == alone.ask(question, 12)
    with pytest.raises(ValueError, match="list is empty"):
        model.listen([])


def test_what_cannot_be_heard_is_named(model, file, tmp_path):
    (tmp_path / "broken.m4a").write_bytes(b"no audio at all")
    wrong = [
        (b"", {}, AudioError, "0 bytes"),
        (b"garbage" * 99, {}, AudioError, "audio can't be read as audio"),
        ("https://example.org/talk.wav", {}, AudioError, "is an address; download"),
        (NamedAudio(tmp_path / "broken.m4a", "my talk.m4a"), {}, AudioError, "^my talk.m4a can't be read"),
        (tmp_path / "none.wav", {}, AudioError, "is missing"),
        (file, {"rate": 16_000}, ValueError, "a file says its rate itself"),
        (np.zeros(100), {}, ValueError, "rate: missing"),
        (np.zeros(100), {"rate": 3}, ValueError, "rate: got 3"),
        (np.zeros((16_000, 2)), {"rate": 16_000}, ValueError, r"\[channels, samples\]"),
        (np.full(100, np.nan), {"rate": 16_000}, ValueError, "finite"),
        (np.zeros(100, np.uint8), {"rate": 16_000}, ValueError, "int16 or int32"),
        (np.array(["a", "b"]), {"rate": 16_000}, ValueError, "audio of type <U1: give numbers"),
        (np.zeros(0), {"rate": 16_000}, AudioError, "0 samples"),
        (17, {}, ValueError, "got int"),
    ]
    for given, options, kind, said in wrong:
        with pytest.raises(kind, match=said):
            model.listen(given, **options)


def test_a_stage_is_loaded_from_its_folder(tmp_path, file):
    model = load_stage(stage_folder(tmp_path / "stage"))
    assert (model.name, model.default_ratio, model.interval_seconds) == ("stage", 4, INTERVAL)
    answer = model.listen(file).ask(WHAT, 8)
    assert answer == tiny_model().listen(file).ask(WHAT, 8)
    assert load_stage(stage_folder(tmp_path / "first", sst=False)).default_ratio == 1
