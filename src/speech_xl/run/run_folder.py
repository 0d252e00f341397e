"""RunFolder: where a stage's run keeps what it writes, who may write there, and how an earlier run is set aside."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from speech_xl.storage.files import check_writable

WEIGHTS = "weights.safetensors"
CONFIG = Path("tensorboard") / "config.yaml"  # what Lightning saves beside the curves
LAST = Path("checkpoints") / "last.ckpt"
MADE = "made.json"  # what a stage that isn't trained was made by, and with


class RunFolderError(RuntimeError):
    """A run folder can't be used by this command; the message says why and what to do."""


@dataclass(frozen=True)
class RunFolder:
    """``RUNS/VARIANT/STAGE``. A stage is finished once its weights stand there, one that is made (`makers.py`) once the
    record of its making does; nothing else says so."""

    path: Path

    @property
    def weights(self) -> Path:
        return self.path / WEIGHTS

    @property
    def config(self) -> Path:
        return self.path / CONFIG

    @property
    def last(self) -> Path:
        return self.path / LAST

    @property
    def made(self) -> Path:
        return self.path / MADE

    @property
    def finished(self) -> bool:
        return self.weights.is_file() or self.made.is_file()

    def holds(self, file: Path) -> bool:
        """Whether a file lies in this folder."""
        return file.resolve().is_relative_to(self.path.resolve())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; the system lets go of it when the process ends, however it ends.

        The lock lies beside the folder, which may be set aside while it is held. Raises RunFolderError where another
        process holds it. Windows has no such locks: there, don't start two runs in one folder.
        """
        try:
            import fcntl
        except ImportError:
            yield
            return
        check_writable(self.path.parent, "--runs and --variant")
        path = self.path.with_name(f".{self.path.name}.lock")
        # Not truncated on opening: what stands there is the holder's name.
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+") as file:
            try:
                # A record lock: loader workers, which outlive a killed run a while, don't inherit it as they do flock.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):  # systems differ in what they say of a lock that is held
                raise RunFolderError(
                    f"{self.path}: another process is running in this folder ({file.read().strip() or 'unknown'}). "
                    "Wait for it, stop it, or write to a folder of its own with --variant NAME"
                ) from None
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}: {' '.join(sys.argv)[:200]}\n")
            file.flush()
            yield

    def set_aside(self) -> Path | None:
        """Move all that an earlier run left, in one rename, so that no kill can mix two runs; None where there is
        nothing. The lock must be held."""
        if not self.path.is_dir() or not any(self.path.iterdir()):
            return None
        place = self._earlier()
        self.path.rename(place)
        return place

    def remove_drafts(self) -> None:
        """Take away what a killed run left of files it was writing. The lock must be held."""
        for place in (self.path, self.last.parent):
            for draft in place.glob(".*.part"):
                draft.unlink(missing_ok=True)

    def set_weights_aside(self) -> Path | None:
        """Move the weights alone, with a copy of their configuration: the run goes on, and is unfinished until it ends
        again. None where there are no weights."""
        if not self.finished:
            return None
        place = self._earlier()
        (place / CONFIG).parent.mkdir(parents=True)
        if self.config.is_file():
            shutil.copy(self.config, place / CONFIG)
        self.weights.rename(place / WEIGHTS)
        return place

    def _earlier(self) -> Path:
        """``STAGE-earlier-N``, the first that isn't there yet."""
        number = 1
        while (place := self.path.with_name(f"{self.path.name}-earlier-{number}")).exists():
            number += 1
        return place
