"""Samples: answers, audio and picture in TensorBoard, one session on the console."""

import builtins
import io
from types import SimpleNamespace

import pytest
import soundfile
import torch
from PIL import Image

from speech_xl.callbacks import Samples
from speech_xl.callbacks.pictures import log_mel, session_picture
from speech_xl.callbacks.samples import answers_table, console_text


@pytest.fixture
def validated(toy_phase, make_cut, make_record):
    """A phase whose validation gives two sessions, each at 2x and 4x."""
    examples = [
        SimpleNamespace(cut=make_cut(id), interval_ends=[1.0, 2.0], sst_times={2: [0.5, 1.0, 1.5, 2.0], 4: [1.0, 2.0]})
        for id in ("dev-0", "dev-1")
    ]
    records = [make_record(id, ratio) for id in ("dev-0", "dev-1") for ratio in (2, 4)]
    return toy_phase(records, examples)


def test_writes_answers_audio_and_picture(train, validated, capsys):
    events = train(Samples(), phase=validated, epochs=2, limit_val_batches=1, num_sanity_val_steps=1).events
    # Answers after every validation (not the sanity check); audio and picture stay the same and are written once.
    assert [step for step, _ in events.texts("samples/dev-0/answers")] == [4, 8]
    assert "one two tree four" in events.texts("samples/dev-1/answers")[0][1]
    assert events.tags["audio"] == ["samples/dev-0/audio", "samples/dev-1/audio"]
    [audio] = events.accumulator.Audio("samples/dev-0/audio")
    samples, rate = soundfile.read(io.BytesIO(audio.encoded_audio_string))
    assert (rate, len(samples)) == (16_000, 32_000)
    [image] = events.accumulator.Images("samples/dev-0/picture")
    assert Image.open(io.BytesIO(image.encoded_image_string)).size[0] == 800
    assert capsys.readouterr().out.count("transcribe the speech") == 2


def test_picture_is_drawn_anew_when_the_intervals_change(train, validated):
    samples = Samples(n=1, audio=False, console=False)
    train(samples, phase=validated, limit_val_batches=1, version="first")
    validated.examples[0].interval_ends = [0.7, 2.0]
    events = train(samples, phase=validated, limit_val_batches=1, version="second").events
    assert events.tags["images"] == ["samples/dev-0/picture"]
    assert events.tags["audio"] == []


def test_phases_without_examples_or_records_are_left_alone(train, validated, toy_phase):
    validated.examples = []
    events = train(Samples(console=False), phase=validated, limit_val_batches=1, version="texts").events
    assert events.texts("samples/dev-0/answers")
    events = train(Samples(), phase=toy_phase(), limit_val_batches=1, version="nothing").events
    assert not events.tags["tensors"]


def test_training_goes_on_without_matplotlib(train, validated, monkeypatch):
    real_import = builtins.__import__

    def no_matplotlib(name, *rest, **options):
        if name.startswith("matplotlib"):
            raise ImportError("No module named 'matplotlib'")
        return real_import(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", no_matplotlib)
    with pytest.warns(UserWarning, match="no pictures without matplotlib"):
        events = train(Samples(console=False), phase=validated, limit_val_batches=1).events
    assert events.tags["audio"]
    assert not events.tags["images"]


def test_the_phase_keeps_as_many_sessions_as_are_shown(train, validated):
    train(Samples(n=5, console=False), phase=validated, limit_val_batches=1, version="five")
    assert validated.observations.examples_wanted == 5


def test_table_groups_ratios_and_escapes(make_record):
    question = {"task": "qa", "instruction": "a|b?", "reference": "<b>", "hypothesis": ""}
    table = answers_table([make_record(ratio=4), make_record(ratio=4, **question), make_record(ratio=2)])
    rows = table.splitlines()[2:]
    assert [row.split(" | ")[2] for row in rows] == ["2x", "4x", "4x"]
    assert rows[0].endswith("| 25.0 % WER |")
    assert rows[2] == "| qa | a&#124;b? | 4x | &lt;b> | (empty) | wrong |"


def test_console_shows_one_question_at_every_ratio(make_record):
    records = [make_record(ratio=4), make_record(ratio=2, hypothesis="one two three four"), make_record(task="qa")]
    text = console_text(records, step=7)
    assert text.splitlines()[0] == "validation at step 7, dev-0 (2.0 s): transcribe the speech"
    assert [line.split()[:2] for line in text.splitlines()[2:]] == [["2x", "0.0"], ["4x", "25.0"]]


def test_log_mel_finds_a_tone():
    times = torch.arange(48_000) / 16_000
    high, low = (log_mel(torch.sin(2 * torch.pi * hertz * times)).mean(dim=1).argmax() for hertz in (4000, 300))
    assert high > low
    assert log_mel(torch.zeros(10)).shape[0] == 80  # shorter than one window
    assert log_mel(torch.randn(16_000 * 30)).shape == (80, 2000)  # averaged, not cut


def test_picture_shows_borders_and_ssts():
    mel = log_mel(torch.randn(32_000))
    plain = session_picture(mel, 2.0, [2.0], {2: []})
    with_border = session_picture(mel, 2.0, [1.0, 2.0], {2: []})
    with_ssts = session_picture(mel, 2.0, [1.0, 2.0], {2: [0.5, 1.5]})
    assert plain.dtype.name == "uint8" and plain.shape[2] == 3
    assert (plain != with_border).any() and (with_border != with_ssts).any()
    assert session_picture(torch.full((80, 10), -100.0), 2.0, [2.0], {}).shape[2] == 3  # silence, nothing compressed


def test_bad_n_is_refused():
    with pytest.raises(ValueError, match="Samples.n: got -1"):
        Samples(n=-1)
