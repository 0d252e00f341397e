"""What the phases' tests build with: batches of noise, a data module that hands them out, and short fits."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import soundfile
import torch
from lhotse import Recording
from torch.utils.data import DataLoader

from experiments.random_models import audio
from speech_xl.data.batch import SpeechBatch
from speech_xl.data.tasks import Turn
from speech_xl.model import LLM, HFEncoder, SemanticAdapter
from speech_xl.phases import Phase


def batch(folder: Path, *rows: tuple[str, float, list[tuple[str, str]]]) -> SpeechBatch:
    """Rows of (id, seconds, turns) as noise with intervals of 0.24 s; the recording lies in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    cuts, sounds, ends, turns = [], [], [], []
    for id, seconds, said in rows:
        sound = audio(seconds, seed=sum(id.encode()))
        if not (folder / f"{id}.wav").exists():
            soundfile.write(folder / f"{id}.wav", sound.numpy(), 16_000, subtype="FLOAT")
        cut = Recording.from_file(folder / f"{id}.wav", recording_id=id).to_cut()
        cuts.append(cut)
        sounds.append(sound)
        ends.append([*np.arange(0.24, cut.duration - 1e-6, 0.24).tolist(), cut.duration])
        turns.append([Turn("asr", instruction, answer) for instruction, answer in said])
    return SpeechBatch([row[0] for row in rows], cuts, sounds, [None] * len(rows), ends, turns)


class Given(pl.LightningDataModule):
    """Hands out these batches, in this order."""

    def __init__(self, batches: list[SpeechBatch], cache_dir: Path) -> None:
        super().__init__()
        self.batches, self.cache_dir = batches, str(cache_dir)

    def train_dataloader(self) -> Any:
        return DataLoader(self.batches, batch_size=None, collate_fn=lambda one: one)  # pyright: ignore


def sgd(groups: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=0.0)  # every group brings its own


def phase(
    kind: type[Phase], folders: dict[str, str], trainable: dict[str, float], lora: Any = None, **options: Any
) -> Any:
    """A phase over the folders' tiny models, with plain SGD at a constant rate; the same weights every time."""
    torch.manual_seed(7)
    options = {"optimizer": sgd, "scheduler": "constant", "warmup_steps": 0} | options
    made = kind(
        encoder=options.pop("encoder", None) or HFEncoder(folders["encoder"]),
        adapter=options.pop("adapter", None) or SemanticAdapter(stride=4),
        llm=options.pop("llm", None) or LLM(folders["llm"], lora=lora),
        trainable=trainable,
        **options,
    )
    return made


def fit(model: Phase, data: Given, steps: int = 1, **options: Any) -> pl.Trainer:
    """Train for `steps` optimizer steps on the CPU without files; 0 only builds the model (or loads `ckpt_path`)."""
    torch.manual_seed(8)
    if isinstance(data, Given):
        model.frames.keep_in(data.cache_dir)
    ckpt_path = options.pop("ckpt_path", None)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=options.pop("devices", 1),
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        **options,
    )
    trainer.fit(model, datamodule=data, ckpt_path=ckpt_path)
    return trainer


def weights(model: torch.nn.Module, prefix: str = "") -> dict[str, torch.Tensor]:
    """Copies of the parameters whose names begin with `prefix`."""
    return {n: p.detach().clone() for n, p in model.named_parameters() if n.startswith(prefix)}
