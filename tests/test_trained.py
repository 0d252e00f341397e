"""The trained stages that come along load without a file missing, and listen."""

import shutil
import subprocess

import pytest
import torch
import yaml

from experiments.random_models import encoder_folder
from speech_xl.listen import Listener
from speech_xl.run.command import WEIGHTS
from speech_xl.run.lineage import LineageError
from speech_xl.run.trained_stage import EXPORTED, TrainedStage
from tests.run.test_configs import EXPERIMENTS

TRAINED = sorted(path.parent for path in (EXPERIMENTS / "trained").rglob(EXPORTED))


@pytest.mark.skipif(not (EXPERIMENTS.parent / ".git").exists(), reason="not a git checkout")
def test_their_weights_are_tracked():
    told = subprocess.run(
        ["git", "ls-files", "experiments/trained"], cwd=EXPERIMENTS.parent, capture_output=True, text=True
    )
    tracked = told.stdout.split()
    assert TRAINED and all(f"experiments/trained/{folder.name}/{WEIGHTS}" in tracked for folder in TRAINED)


@pytest.mark.parametrize("folder", TRAINED, ids=lambda folder: folder.name)
def test_a_trained_stage_listens(folder, tmp_path):
    """With an encoder of random weights in Whisper-base's place, of which the folder holds nothing."""
    shutil.copytree(folder, tmp_path / "stage")
    config = yaml.safe_load((folder / EXPORTED).read_text())
    encoder = config["model"]["init_args"]["encoder"]["init_args"]
    assert encoder["name"] == "openai/whisper-base"
    encoder |= {"name": encoder_folder(tmp_path / "encoder", d_model=512), "overlap_seconds": 0.1}
    (tmp_path / "stage" / EXPORTED).write_text(yaml.safe_dump(config))
    with pytest.raises(LineageError, match=r"model\.encoder\.overlap_seconds: trained with 1\.0, here 0\.1"):
        TrainedStage.of(tmp_path / "stage").model()
    stage = TrainedStage.of(tmp_path / "stage", force=True)
    model = stage.model()
    listener = Listener(model, ratio=4, interval_seconds=stage.interval_seconds)
    listener.push(torch.randn(5 * 16_000) * 0.01)
    assert isinstance(listener.ask(stage.transcript.instruction, limit=4).text, str)
    assert listener.seconds == 5.0 and 0 < listener.kept < 5 * model.frame_rate
