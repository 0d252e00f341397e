"""Tiny random models that listen, in memory and as the folder of a finished stage."""

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
import yaml

from experiments.random_models import encoder_folder, llm_folder
from speech_xl.commands.main import main
from speech_xl.data.transcript import PLAIN, Transcript
from speech_xl.inference import ListeningModel, load_stage
from speech_xl.model import LLM, HFEncoder, SemanticAdapter, SpeechLLM, SSTs
from speech_xl.model.decoding_rules import DecodingRules
from speech_xl.phases.weights import save_weights
from speech_xl.run.command import CONFIG, WEIGHTS

INTERVAL = 0.48  # seconds: 12 frames


class TinyModel(ListeningModel):
    """A listening model around a backbone."""

    def __init__(self, backbone: SpeechLLM, transcript: Transcript = PLAIN) -> None:
        self.backbone, self.transcript, self.interval_seconds = backbone, transcript, INTERVAL
        self.default_ratio, self.name = 1 if backbone.sst is None else 4, "tiny"


@cache
def parts() -> tuple[str, str]:
    """Folders of an encoder whose window is half a second, and of an LLM."""
    root = Path(mkdtemp(prefix="tiny-"))
    return encoder_folder(root / "encoder"), llm_folder(root / "llm", "llama3")


def tiny_backbone(sst: bool = True, positions: Any = "compact", seed: int = 5, llm: str | None = None) -> SpeechLLM:
    encoder, own = parts()
    torch.manual_seed(seed)
    model = SpeechLLM(HFEncoder(encoder, overlap_seconds=0.1), SemanticAdapter(stride=2), LLM(llm or own))
    model.build()
    if sst:
        model.add_sst(SSTs("lora", rank=2, positions=positions))
        with torch.no_grad():
            for parameter in model.sst.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape))
    return model.eval().requires_grad_(False)


def tiny_model(**options: Any) -> TinyModel:
    transcript = options.pop("transcript", PLAIN)
    model = tiny_backbone(**options)
    model.decoding = DecodingRules(8.0, transcript)
    return TinyModel(model, transcript)


def stage_folder(folder: Path, sst: bool = True) -> Path:
    """The folder of a finished stage: all weights but the encoder's are in it."""
    encoder, llm = parts()
    state = tiny_backbone(sst).state_dict()
    left = sorted(name for name in state if name.startswith("encoder."))
    (folder / CONFIG).parent.mkdir(parents=True, exist_ok=True)
    model = {
        "class_path": "SSTCompression" if sst else "SemanticAlignment",
        "init_args": {
            "encoder": {"class_path": "HFEncoder", "init_args": {"name": encoder, "overlap_seconds": 0.1}},
            "adapter": {"class_path": "SemanticAdapter", "init_args": {"stride": 2}},
            "llm": {"class_path": "LLM", "init_args": {"name": llm}},
            "max_tokens_per_second": 8.0,
        },
    }
    if sst:
        projections = {"projections": "lora", "rank": 2, "positions": "compact"}
        model["init_args"]["sst"] = {"class_path": "SSTs", "init_args": projections}
    data = {"partition": {"class_path": "FixedWindows", "init_args": {"seconds": INTERVAL}}}
    (folder / CONFIG).write_text(yaml.safe_dump({"stage": "tiny", "model": model, "data": data}))
    kept = {name: value for name, value in state.items() if name not in left}
    save_weights(kept, folder / WEIGHTS, stage="tiny", untouched_pretrained=json.dumps(left))
    return folder


def listen(words: list[str]) -> None:
    """`speech-xl listen`; its first word is the model's folder."""
    main(["listen", "--model", *words])


def load_model(folder: Path, **options: Any) -> SpeechLLM:
    """A stage's backbone."""
    return load_stage(folder, **options).backbone
