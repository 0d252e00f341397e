"""Runs of experiments/run.py as processes, on a corpus of 14 short sessions, with what they note of themselves."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments.measurements.record import ROOT

Event = dict[str, Any]
LONGEST = 1200  # seconds that a run may take before it counts as one without end; a busy machine is slow
DROPOUT = 0.2  # of the adapter: a run that isn't continued exactly draws other masks, and ends with other weights
# Excerpts of sessions that grow, as stage 1 trains on.
EXCERPTS = {"min_seconds": 2, "max_seconds": 20, "per_session": 2, "length_curriculum_epochs": 1}
EVERY_STEP = ("--checkpoint.every_minutes", "0")  # last.ckpt after each step
NO_VALIDATION = ("--trainer.limit_val_batches", "0")


def flat_start(steps: int) -> dict[str, Any]:
    """Of a phase, stage 1's auxiliary loss with so many steps of a flat start."""
    return {"extensions": [{"class_path": "TokenCTC", "init_args": {"weight": 10.0, "flat_steps": steps}}]}


def environment() -> dict[str, str]:
    """What a drilled process sees: this clone first on its path, one thread, no network."""
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        "PYTHONWARNINGS": "default::UserWarning",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }


@dataclass(frozen=True)
class Finished:
    """A process that has ended: its exit status (-9 where it was stopped for its time), output and seconds."""

    status: int
    output: str
    seconds: float

    @property
    def message(self) -> str:
        """Its error message, or the last lines that it wrote."""
        _, mark, message = self.output.rpartition("error: ")
        return (mark + message).strip()[:600] if mark else tail(self.output)

    @property
    def refused(self) -> bool:
        """Whether it ended as a command does that a user can mend: status 2, a message, no traceback."""
        return self.status == 2 and "error: " in self.output and "Traceback (most recent" not in self.output


def tail(text: str, lines: int = 3) -> str:
    """The last lines that aren't blank."""
    return "\n".join([line.strip() for line in text.splitlines() if line.strip()][-lines:])[-600:]


@dataclass
class Setup:
    """A run of a stage: the three stages of experiments/ with an overlay that makes them small.

    place    folder of the drill: corpus, caches, runs and logs
    name     of the run, its variant
    stage    stage1, stage2 or stage3
    steps    optimizer steps
    validate steps between validations
    workers  processes that load data
    data, model, trainer, top  what else the overlay sets, over the small defaults
    callbacks  further ones, beside the watcher
    """

    place: Path
    name: str
    stage: str = "stage2"
    steps: int = 12
    validate: int = 4
    workers: int = 0
    data: Mapping[str, Any] | None = None
    model: Mapping[str, Any] | None = None
    trainer: Mapping[str, Any] | None = None
    top: Mapping[str, Any] | None = None
    callbacks: Sequence[Mapping[str, Any]] = ()
    root: Path | None = None  # of the corpus, where it isn't the one that all drills share

    @property
    def folder(self) -> Path:
        """The run folder of the stage."""
        return self.place / "runs" / self.name / self.stage

    @property
    def log(self) -> Path:
        """Where the run notes its events."""
        return self.place / f"{self.name}.jsonl"

    def overlay(self) -> Path:
        """Write the overlay's config; the path."""
        corpus = {
            "root": str(self.root or self.place / "embedded"),
            "train_hours": 0.06,
            "dev_sessions": 3,
            "test_sessions": 3,
            "min_seconds": 10.0,
            "max_seconds": 24.0,
        }
        watcher = {"class_path": "experiments.drills.callbacks.Watcher", "init_args": {"path": str(self.log)}}
        config = {
            "data": {
                "corpus": {"class_path": "EmbeddedSpeech", "init_args": corpus},
                "cache_dir": str(self.place / "frames"),
                "num_workers": self.workers,
                "max_duration": 40,
                "limit_dev": 2,
                **(self.data or {}),
            },
            "trainer": {
                "accelerator": "cpu",
                "precision": "32-true",
                "max_steps": self.steps,
                "val_check_interval": self.validate,
                "log_every_n_steps": 1,
                "callbacks": [{"class_path": "MemoryMonitor"}, watcher, *self.callbacks],
                **(self.trainer or {}),
            },
            "model": {"init_args": {"max_tokens_per_second": 0.5, "warmup_steps": 2, **(self.model or {})}},
            **(self.top or {}),
        }
        self.place.mkdir(parents=True, exist_ok=True)
        path = self.place / f"{self.name}.yaml"
        path.write_text(yaml.safe_dump(config))
        return path

    def command(self, *flags: str, subcommand: str = "fit", init: str | None = "null") -> list[str]:
        """The command line. init: the weights to start from; None: as the stage says."""
        start = [] if init is None else ["--init_from", init]
        script = [sys.executable, "experiments/run.py", subcommand, "-c", f"{self.stage}.yaml"]
        where = ["-c", str(self.overlay()), "--runs", str(self.place / "runs"), "--variant", self.name]
        return [*script, *where, *start, *flags]

    def run(self, *flags: str, seconds: float = LONGEST, **options: Any) -> Finished:
        """Run the command to its end; `options` as of `command`."""
        return run(self.command(*flags, **options), seconds)

    def start(self, *flags: str, **options: Any) -> subprocess.Popen[str]:
        """Start the command, in a process group of its own; its output goes to NAME.out."""
        with (self.place / f"{self.name}.out").open("w") as out:
            return subprocess.Popen(
                self.command(*flags, **options),
                cwd=ROOT,
                env=environment(),
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def output(self) -> str:
        """What a process begun with `start` wrote."""
        return (self.place / f"{self.name}.out").read_text(errors="replace")

    def events(self, kind: str | None = None, rank: int = 0) -> list[Event]:
        """What the run has noted so far, of one kind or all."""
        path = self.log if rank == 0 else self.log.with_suffix(f".rank{rank}.jsonl")
        if not path.is_file():
            return []
        # The last line may be half written.
        found = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
        return [event for event in found if kind in (None, event["event"])]

    def clear(self) -> None:
        """Take away what an earlier run of this name left."""
        subprocess.run(["rm", "-rf", str(self.place / "runs" / self.name)], check=True)
        for path in (self.log, self.log.with_suffix(".rank1.jsonl")):
            path.unlink(missing_ok=True)


def run(command: Sequence[str], seconds: float = LONGEST) -> Finished:
    """Run a command in this clone; it is stopped after `seconds`."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        late = ""
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            late = f"\nstopped after {seconds:.0f} s"
        end_group(process)
        process.wait()
        out.seek(0)
        return Finished(process.returncode, out.read() + late, time.monotonic() - began)


def end_group(process: subprocess.Popen[Any]) -> None:
    """End whatever is left of a process that was started in a group of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
