"""The trained stages that come along load without a file missing, and listen."""

import json
import shutil
import subprocess

import pytest
import torch

from experiments.random_models import encoder_folder
from speech_xl import SpeechXL
from speech_xl.run.lineage import LineageError
from speech_xl.run.trained_stage import TrainedStage
from speech_xl.storage.hub_folder import CONFIG, WEIGHTS, is_hub_folder
from tests.run.test_configs import EXPERIMENTS

TRAINED = sorted(path.parent for path in (EXPERIMENTS / "trained").rglob(CONFIG) if is_hub_folder(path.parent))


@pytest.mark.skipif(not (EXPERIMENTS.parent / ".git").exists(), reason="not a git checkout")
def test_their_files_are_tracked():
    told = subprocess.run(
        ["git", "ls-files", "experiments/trained"], cwd=EXPERIMENTS.parent, capture_output=True, text=True
    )
    tracked = set(told.stdout.split())
    wanted = (WEIGHTS, CONFIG, "processor_config.json", "tokenizer.json", "tokenizer_config.json", "README.md")
    assert TRAINED
    assert all(f"experiments/trained/{folder.name}/{name}" in tracked for folder in TRAINED for name in wanted)


@pytest.mark.parametrize("folder", TRAINED, ids=lambda folder: folder.name)
def test_a_trained_stage_listens(folder, tmp_path):
    """With an encoder of random weights in Whisper-base's place, of which the folder holds nothing."""
    shutil.copytree(folder, tmp_path / "stage")
    config = json.loads((folder / CONFIG).read_text())
    assert config["base_models"]["encoder"]["name"] == "openai/whisper-base"
    config["encoder"]["init_args"]["overlap_seconds"] = 0.1
    (tmp_path / "stage" / CONFIG).write_text(json.dumps(config))
    bases = {"encoder": encoder_folder(tmp_path / "encoder", d_model=512)}
    with pytest.raises(LineageError, match=r"model\.encoder\.overlap_seconds: trained with 1\.0, here 0\.1"):
        TrainedStage.of(tmp_path / "stage", bases=bases).model()
    with pytest.raises(LineageError, match=r"model\.encoder: trained with weights [0-9a-f]{16}, here"):
        TrainedStage.of(
            folder, bases={"encoder": encoder_folder(tmp_path / "wide", d_model=512, max_source_positions=1500)}
        ).model()
    model = SpeechXL.from_pretrained(tmp_path / "stage", force=True, **bases)
    memory = model.listen(torch.randn(5 * 16_000) * 0.01, rate=16_000)
    assert isinstance(memory.ask(model.transcript.instruction, 4).text, str)
    frames = 5 * model.backbone.frame_rate
    assert memory.seconds == 5.0 and memory.ratio == 4
    assert 0 < memory.kept_kv_tokens - len(model.backbone.llm.prompt.prefix) < frames / 2
