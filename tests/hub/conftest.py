"""Tiny finished stages with random weights, to be given away."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from experiments.random_models import encoder_folder, llm_folder
from speech_xl.model import Lora, SSTs
from speech_xl.phases import SSTCompression
from speech_xl.phases.weights import save_weights
from speech_xl.run.lineage import Lineage, prompt_of, sources_of
from speech_xl.run.run_folder import CONFIG, WEIGHTS
from tests.phases.parts import phase

LORA = {"r": 4, "alpha": 8, "dropout": 0.0, "target_modules": ["q_proj", "v_proj", "up_proj"]}


def run_folder(root: Path, *, lora: bool = False, tied: bool = False, dtype: str = "float32") -> Path:
    """The folder of a stage that is finished, with the base models of its encoder and LLM beside it.

    With LoRA the LLM is a base model; without, all of it was trained.
    """
    folders = {"encoder": encoder_folder(root / "encoder"), "llm": llm_folder(root / "llm", tie_word_embeddings=tied)}
    trainable = {"sst.*": 1e-3, "adapter.*": 1e-3, **({"llm.*lora_*": 1e-3} if lora else {"llm.*": 1e-3})}
    model = phase(SSTCompression, folders, trainable, lora=Lora(**LORA) if lora else None, sst=SSTs())
    model.configure_model()
    backbone = model.backbone
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if name not in model.untouched:  # as training would have left it
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    state = {name: value for name, value in backbone.state_dict().items() if name not in model.untouched}
    settings = {"model": "SSTCompression", "model.adapter.stride": 4, "data.partition": "FixedWindows"}
    lineage = Lineage(
        run="tiny-run",
        stage="three",
        precision="32-true",
        seed=7,
        settings=settings,
        prompt=prompt_of(backbone),
        sources=sources_of(backbone, model.untouched),
    )
    folder = root / "runs" / "mine" / "three"
    notes = {"stage": "three", "untouched_pretrained": json.dumps(sorted(model.untouched))}
    save_weights(state, folder / WEIGHTS, lineage=json.dumps(lineage.plain()), **notes)
    llm = {"name": folders["llm"], "dtype": dtype, "lora": LORA if lora else None}
    config = {
        "stage": "three",
        "model": {
            "class_path": "SSTCompression",
            "init_args": {
                "encoder": {"class_path": "HFEncoder", "init_args": {"name": folders["encoder"]}},
                "adapter": {"class_path": "SemanticAdapter", "init_args": {"stride": 4}},
                "llm": {"class_path": "LLM", "init_args": llm},
                "sst": {"class_path": "SSTs", "init_args": {}},
                "trainable": trainable,
                "eval_ratios": [2, 4],
            },
        },
        "data": {
            "corpus": {"class_path": "SpokenDigits", "init_args": {"folder": str(root / "secret")}},
            "partition": {"class_path": "FixedWindows", "init_args": {"seconds": 0.5}},
        },
    }
    (folder / CONFIG).parent.mkdir(parents=True)
    (folder / CONFIG).write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(scope="session")
def lora_run(tmp_path_factory):
    """A stage whose encoder and LLM are base models: adapter, SSTs and LoRA were trained."""
    return run_folder(tmp_path_factory.mktemp("lora"), lora=True)


@pytest.fixture(scope="session")
def full_run(tmp_path_factory):
    """A stage of which all but the encoder was trained; the LLM's head is tied to its embeddings."""
    return run_folder(tmp_path_factory.mktemp("full"), tied=True)
