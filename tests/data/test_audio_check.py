"""All audio files are looked at before training: missing, empty and shortened ones are told, with how many they are."""

import lightning.pytorch as pl
import numpy as np
import pytest
import soundfile
from lhotse import CutSet

from speech_xl.data import audio_check
from speech_xl.data.audio import AudioError
from speech_xl.data.audio_check import audio_files, check_audio_files
from speech_xl.data.datamodule import SpeechDataModule
from speech_xl.data.manifests import ManifestCorpus
from tests.data.test_manifests import cut


@pytest.fixture
def cuts(tmp_path):
    return [cut(tmp_path, f"a-{n}") for n in range(6)]


def test_whole_files_are_fine(cuts):
    check_audio_files(cuts, "train")
    check_audio_files([one.resample(8000) for one in cuts], "train")
    check_audio_files([one.perturb_speed(1.1) for one in cuts], "train")
    assert len(audio_files([*cuts, *cuts])) == 6


def test_missing_and_wrong_files_are_counted_and_the_first_are_named(tmp_path, cuts):
    (tmp_path / "a-1.wav").unlink()
    (tmp_path / "a-2.wav").write_bytes(b"")
    (tmp_path / "a-3.wav").unlink()
    (tmp_path / "a-3.wav").mkdir()
    soundfile.write(tmp_path / "a-4.wav", np.zeros(8000, np.float32), 16000)
    with pytest.raises(AudioError) as raised:
        check_audio_files(cuts, "dev")
    said = str(raised.value)
    assert said.startswith("4 of the 6 audio files of dev can't be used: ")
    assert "a-1.wav (session a-1) is missing; " in said and "a-2.wav (session a-2) is empty" in said
    assert "a-3.wav (session a-3) is a folder; and 1 more. Restore them" in said
    with pytest.raises(AudioError, match=r"a-4\.wav \(session a-4\) has 0\.50 s and its manifest says 1\.00 s"):
        check_audio_files(cuts[4:], "dev")
    check_audio_files([cuts[4].perturb_speed(1.1)], "dev")  # whose manifest no longer says how long the file is


def test_a_few_milliseconds_are_rounding(tmp_path, cuts):
    soundfile.write(tmp_path / "a-0.wav", np.zeros(15_900, np.float32), 16000)
    check_audio_files(cuts[:1], "train")


def test_of_many_files_some_headers_are_read_and_it_is_said(cuts, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(audio_check, "MOST_HEADERS", 3)
    said = []
    monkeypatch.setattr(audio_check, "rank_zero_info", said.append)
    soundfile.write(tmp_path / "a-1.wav", np.zeros(8000, np.float32), 16000)  # every second header is read
    check_audio_files(cuts, "train")
    assert said == ["data: all 6 audio files of train are looked for, and every 2th's length is read"]
    (tmp_path / "a-1.wav").unlink()
    with pytest.raises(AudioError, match="1 of the 6 audio files"):
        check_audio_files(cuts, "train")


def test_the_last_file_is_told_before_the_first_is_trained_on(tmp_path, cuts):
    path = tmp_path / "cuts.jsonl"
    CutSet.from_cuts(cuts).to_file(path)
    (tmp_path / "a-5.wav").unlink()
    data = SpeechDataModule(ManifestCorpus(str(path), str(path), str(path)), cache_dir=str(tmp_path))

    class Untrained(pl.LightningModule):
        def training_step(self, batch, number):
            raise AssertionError("a batch was made")

        def configure_optimizers(self):
            return None

    trainer = pl.Trainer(accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False)
    with pytest.raises(AudioError, match=r"1 of the 6 audio files of train .*a-5\.wav"):
        trainer.fit(Untrained(), datamodule=data)
