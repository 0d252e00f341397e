"""A toy phase, a tiny Trainer and a reader of its TensorBoard events, for the callbacks' tests."""

import dataclasses
from types import SimpleNamespace

import lightning.pytorch as pl
import numpy as np
import pytest
import soundfile
import torch
from lhotse import Recording
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from speech_xl.phases.observations import Observations
from tests.predictions import make_prediction

KV_BYTES_PER_TOKEN = 32


@dataclasses.dataclass
class ToyStats:
    """The figures a phase gives of its last step."""

    audio_seconds: float = 8.0
    llm_tokens: int = 100
    label_tokens: int = 10
    model_flops: float = 1e9
    kept_kv_tokens: int = 25
    total_kv_tokens: int = 100
    kv_bytes_per_token: int = KV_BYTES_PER_TOKEN


class ToyPhase(pl.LightningModule):
    """One weight, one number a batch; remembers the ratios in force in every training step."""

    def __init__(self, records=(), examples=(), compresses=True):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        if compresses:
            self.ratios, self.draw_from = (99,), self._draw_from
        self.seen = []
        self.kept = iter(())
        self.records, self.examples = list(records), list(examples)
        self.observations = Observations()

    def _draw_from(self, ratios):
        self.ratios = tuple(ratios)

    def training_step(self, batch, batch_idx):
        self.seen.append((self.trainer.global_step, getattr(self, "ratios", None)))
        self.observations.step = ToyStats(kept_kv_tokens=next(self.kept, 25))
        return self.layer(batch).mean()

    def on_validation_epoch_start(self):
        self.observations.begin_validation()

    def validation_step(self, batch, batch_idx):
        if batch_idx == 0:
            self.observations.predictions, self.observations.examples = list(self.records), list(self.examples)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Events:
    """What a run wrote to TensorBoard, read back."""

    def __init__(self, folder):
        guidance = {"scalars": 0, "tensors": 0, "images": 0, "audio": 0}  # 0: keep all
        self.accumulator = EventAccumulator(str(folder), size_guidance=guidance)
        self.accumulator.Reload()
        self.tags = self.accumulator.Tags()

    def scalars(self, tag):
        return [(event.step, event.value) for event in self.accumulator.Scalars(tag)]

    def texts(self, tag):
        events = self.accumulator.Tensors(f"{tag}/text_summary")
        return [(event.step, event.tensor_proto.string_val[0].decode()) for event in events]


@pytest.fixture
def toy_phase():
    return ToyPhase


@pytest.fixture
def train(tmp_path):
    """Runs a tiny fit on the CPU with the callbacks; returns trainer, phase and its events."""

    def run(*callbacks, phase=None, batches=4, epochs=1, ckpt_path=None, version="run", **trainer_options):
        phase = phase or ToyPhase()
        options = {"limit_val_batches": 0, "num_sanity_val_steps": 0} | trainer_options
        logger = TensorBoardLogger(tmp_path, name="", version=version)
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            logger=logger,
            callbacks=list(callbacks),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
            **options,
        )
        loader = torch.utils.data.DataLoader(torch.ones(batches, 1), batch_size=1)
        trainer.fit(phase, loader, loader, ckpt_path=ckpt_path)
        logger.experiment.flush()
        return SimpleNamespace(trainer=trainer, phase=phase, events=Events(logger.log_dir))

    return run


@pytest.fixture
def make_cut(tmp_path):
    """A cut of a tone on disk."""

    def make(cut_id, seconds=2.0, rate=16_000, channels=1):
        times = np.arange(int(seconds * rate)) / rate
        tone = (0.1 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
        path = tmp_path / f"{cut_id}.wav"
        soundfile.write(path, np.stack([tone] * channels, axis=1), rate)
        cut = Recording.from_file(path, recording_id=cut_id).to_cut()
        cut.id = cut_id
        return cut

    return make


@pytest.fixture
def make_record():
    """A record of one generated answer, as the validation loop keeps it."""

    def make(cut_id="dev-0", ratio=2, **changes):
        return make_prediction(cut_id, ratio, **({"duration": 2.0, "kept_kv_bytes": 50 * KV_BYTES_PER_TOKEN} | changes))

    return make
