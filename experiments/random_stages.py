"""The folder of a finished stage with tiny random weights, as a training run leaves it: to be loaded and given away."""

import json
from pathlib import Path
from typing import Any

import torch
import yaml

from experiments.random_models import encoder_folder, llm_folder
from speech_xl.model import LLM, HFEncoder, Lora, SemanticAdapter, SSTs
from speech_xl.phases import SemanticAlignment, SSTCompression
from speech_xl.phases.weights import save_weights
from speech_xl.run.lineage import Lineage, prompt_of, sources_of
from speech_xl.run.run_folder import CONFIG, WEIGHTS

LORA = {"r": 4, "alpha": 8, "dropout": 0.0, "target_modules": ["q_proj", "v_proj", "up_proj"]}
INTERVAL = 0.5  # seconds


def run_folder(
    root: Path,
    *,
    encoder: str = "whisper",
    llm: str = "qwen2",
    lora: bool = False,
    tied: bool = False,
    dtype: str = "float32",
    sst: dict[str, Any] | None = None,
    compresses: bool = True,
) -> Path:
    """Make it in `root`, with the pretrained models of its encoder and LLM in ``root/encoder`` and ``root/llm``.

    encoder, llm  kinds, as of `encoder_folder` and `llm_folder`
    lora          the LLM is a pretrained model with LoRA; else all of it was trained
    tied          the LLM's head is its embeddings
    dtype         number format of the LLM
    sst           arguments of its SSTs
    compresses    whether it has any
    """
    folders = {
        "encoder": encoder_folder(root / "encoder", encoder),
        "llm": llm_folder(root / "llm", llm, tie_word_embeddings=tied),
    }
    trainable = {"adapter.*": 1e-3, **({"llm.*lora_*": 1e-3} if lora else {"llm.*": 1e-3})}
    trainable |= {"sst.*": 1e-3} if compresses else {}
    torch.manual_seed(7)
    made = LLM(folders["llm"], dtype=dtype, lora=Lora(**LORA) if lora else None)  # pyright: ignore[reportArgumentType]
    parts: Any = {"encoder": HFEncoder(folders["encoder"]), "adapter": SemanticAdapter(stride=4), "llm": made}
    phase = (
        SSTCompression(**parts, trainable=trainable, sst=SSTs(**(sst or {})))
        if compresses
        else SemanticAlignment(**parts, trainable=trainable)
    )
    phase.configure_model()
    backbone, generator = phase.backbone, torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if name not in phase.untouched:  # as training would have left it
                parameter.add_((torch.randn(parameter.shape, generator=generator) * 0.1).to(parameter))
    name = type(phase).__name__
    lineage = Lineage(
        run="tiny-run",
        stage="three",
        precision="32-true",
        seed=7,
        settings={"model": name, "model.adapter.stride": 4, "data.partition": "FixedWindows"},
        prompt=prompt_of(backbone),
        sources=sources_of(backbone, phase.untouched),
    )
    folder = root / "runs" / "mine" / "three"
    state = {name: value for name, value in backbone.state_dict().items() if name not in phase.untouched}
    notes = {"stage": "three", "untouched_pretrained": json.dumps(sorted(phase.untouched))}
    save_weights(state, folder / WEIGHTS, lineage=json.dumps(lineage.plain()), **notes)
    arguments: dict[str, Any] = {
        "encoder": {"class_path": "HFEncoder", "init_args": {"name": folders["encoder"]}},
        "adapter": {"class_path": "SemanticAdapter", "init_args": {"stride": 4}},
        "llm": {
            "class_path": "LLM",
            "init_args": {"name": folders["llm"], "dtype": dtype, "lora": LORA if lora else None},
        },
        "trainable": trainable,
    }
    if compresses:
        arguments |= {"sst": {"class_path": "SSTs", "init_args": sst or {}}, "eval_ratios": [2, 4]}
    config = {
        "stage": "three",
        "model": {"class_path": name, "init_args": arguments},
        "data": {
            "corpus": {"class_path": "SpokenDigits", "init_args": {"folder": str(root / "secret")}},
            "partition": {"class_path": "FixedWindows", "init_args": {"seconds": INTERVAL}},
        },
    }
    (folder / CONFIG).parent.mkdir(parents=True)
    (folder / CONFIG).write_text(yaml.safe_dump(config))
    return folder
