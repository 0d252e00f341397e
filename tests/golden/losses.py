"""Trains the three tiny stages for 20 steps each and gives their losses: `python -m tests.golden.losses FOLDER`.

The stages are experiments/stage1.yaml to stage3.yaml as shipped, each under the overlay of its name in this folder.
Each starts from the weights of the one before. The corpus is EmbeddedSpeech with three minutes of training sessions.
espeak-ng makes its audio with fixed seeds, so that it comes out equal in every sample, as `digest` shows.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import soundfile
import torch

from experiments.plot_run import read_runs
from experiments.run import main

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STAGES = ("stage1", "stage2", "stage3")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}


def command(stage: str, folder: Path) -> list[str]:
    """The arguments of experiments/run.py that train one stage of the golden run in `folder`."""
    own = ["--data.corpus.init_args.root", str(folder / "corpus"), "--data.cache_dir", str(folder / "cache")]
    overlay = HERE / f"{stage}.yaml"
    return ["fit", "-c", f"{stage}.yaml", "-c", str(overlay), "--runs", str(folder), "--variant", "runs", *own]


def digest(folder: Path) -> str:
    """SHA-256 of the samples of the corpus, in the order of its files' names."""
    found = hashlib.sha256()
    for path in sorted((folder / "corpus").rglob("*.flac")):
        found.update(soundfile.read(path, dtype="int16")[0].tobytes())
    return found.hexdigest()


def train(folder: Path) -> dict[str, Any]:
    """Train the three stages on one thread: their losses by stage, and the digest of the corpus."""
    torch.set_num_threads(1)
    for stage in STAGES:
        main(command(stage, folder), ROOT / "experiments")
    curves = {name.split("/")[-2]: found for name, found in read_runs([folder / "runs"]).items()}
    return {"losses": {stage: curves[stage]["train/loss"][1] for stage in STAGES}, "audio_sha256": digest(folder)}


def train_apart(folder: Path) -> dict[str, Any]:
    """The same in a process of its own, which nothing that ran before in this one can change."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.golden.losses", str(folder)],
        cwd=ROOT,  # the stages name their models by paths in the repository
        env={**os.environ, **ONE_THREAD, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"training the golden stages ended with status {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        found = train(Path(sys.argv[1]))
    print(json.dumps(found))
