"""A trial: a sound little corpus with a stage over it, which a case corrupts before it is run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from experiments.drills.tones import session
from experiments.random_models import encoder_folder, llm_folder

SPLITS = ("train", "dev", "test")
STAGE = "one"


class Trial:
    """Eight sessions of tones, a config that trains three steps on them, and a command; cases change any of it.

    train, dev, test  the splits' cuts, as their manifests will hold them
    config            the stage's config
    config_text       written in place of `config`, where it is given
    flags, command    of the command line
    late              changes made to files after the manifests are written
    memory_bytes      how much the run may take beyond what the process has; None: as much as there is
    """

    def __init__(self, folder: Path, models: Path) -> None:
        self.folder, self.models, self.audio = folder, models, folder / "audio"
        self.train = [session(self.audio, f"train{n}") for n in range(4)]
        self.dev = [session(self.audio, f"dev{n}") for n in range(2)]
        self.test = [session(self.audio, f"test{n}") for n in range(2)]
        self.config = stage_config(models, folder)
        self.config_text: str | bytes | None = None
        self.command = "fit"
        self.flags: list[str] = []
        self.late: list[Callable[[Trial], object]] = []
        self.memory_bytes: int | None = None

    @property
    def cut(self) -> dict[str, Any]:
        """The training session that cases corrupt, named train1."""
        return self.train[1]

    @cut.setter
    def cut(self, cut: dict[str, Any]) -> None:
        self.train[1] = cut

    @property
    def supervisions(self) -> list[dict[str, Any]]:
        """Those of the corrupted session."""
        return self.cut["supervisions"]

    @property
    def file(self) -> Path:
        """The corrupted session's audio."""
        return Path(self.cut["recording"]["sources"][0]["source"])

    @file.setter
    def file(self, path: Path) -> None:
        self.cut["recording"]["sources"][0]["source"] = str(path)

    @property
    def config_file(self) -> Path:
        return self.folder / f"{STAGE}.yaml"

    @property
    def losses_file(self) -> Path:
        """Where a run of this trial notes the loss of each step."""
        return self.folder / "losses.txt"

    @property
    def argv(self) -> list[str]:
        """What experiments/run.py is called with."""
        return [self.command, "-c", str(self.config_file), "--runs", str(self.folder / "runs"), *self.flags]

    def manifest(self, split: str) -> Path:
        return self.folder / f"cuts_{split}.jsonl"

    def write(self) -> None:
        """Write manifests and config to the folder."""
        for split in SPLITS:
            lines = [json.dumps(cut) + "\n" for cut in getattr(self, split)]
            self.manifest(split).write_text("".join(lines))
        for change in self.late:
            change(self)
        text = yaml.safe_dump(self.config) if self.config_text is None else self.config_text
        self.config_file.write_bytes(text if isinstance(text, bytes) else text.encode())


Corrupt = Callable[[Trial], object]  # what is wrong with a case: done to a sound trial before it is run


def make_models(folder: Path) -> Path:
    """Random models of two layers that the trials train on: an encoder and an LLM of 512 positions, in `folder`."""
    if not (folder / "llm").is_dir():
        encoder_folder(folder / "encoder")
        llm_folder(folder / "llm")
    return folder


def stage_config(models: Path, folder: Path) -> dict[str, Any]:
    """A stage of three steps over the manifests in `folder`."""
    manifests = {split: str(folder / f"cuts_{split}.jsonl") for split in SPLITS}
    losses = {"path": str(folder / "losses.txt")}
    return {
        "stage": STAGE,
        "init_from": None,
        "model": {
            "class_path": "SemanticAlignment",
            "init_args": {
                "encoder": {"class_path": "HFEncoder", "init_args": {"name": str(models / "encoder")}},
                "adapter": {"class_path": "SemanticAdapter", "init_args": {"stride": 4}},
                "llm": {"class_path": "LLM", "init_args": {"name": str(models / "llm")}},
                "trainable": {"adapter.*": 1e-3},
                "warmup_steps": 0,
                "max_tokens_per_second": 1.0,
            },
        },
        "data": {
            "corpus": {"class_path": "ManifestCorpus", "init_args": manifests},
            "partition": {"class_path": "FixedWindows", "init_args": {"seconds": 0.4}},
            "cache_dir": str(folder / "cache"),
            "max_duration": 3.0,
            "num_workers": 0,
        },
        "trainer": {
            "accelerator": "cpu",
            "precision": "32-true",
            "max_steps": 3,
            "max_epochs": -1,
            "check_val_every_n_epoch": None,
            "val_check_interval": 3,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 1,
            "enable_model_summary": False,
            "callbacks": [{"class_path": "experiments.drills.callbacks.Losses", "init_args": losses}],
        },
    }


def with_ssts(config: dict[str, Any], ratios: list[Any]) -> None:
    """Turn a stage's config into one that trains SSTs at these ratios."""
    config["model"]["class_path"] = "SSTCompression"
    config["model"]["init_args"] |= {
        "sst": {"projections": "full"},
        "trainable": {"sst.*": 1e-3},
        "eval_ratios": [1, 2],
        "ratios": ratios,
    }
