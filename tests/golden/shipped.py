"""The shipped stage and recorded encoder frames of read speech: its transcripts."""

from pathlib import Path

import torch
from torch import Tensor

from experiments.random_models import encoder_folder
from speech_xl.model import Listener
from speech_xl.run.trained_stage import TrainedStage

HERE = Path(__file__).parent
STAGE = HERE.parents[1] / "experiments" / "trained" / "read_speech"
FRAMES = HERE / "shipped_frames.safetensors"
TRANSCRIPT = HERE / "shipped_transcript.json"
RATIOS = (1, 4, 8)


def without_whisper(folder: Path) -> TrainedStage:
    """The shipped stage, with a small random encoder of Whisper-base's width, rate and window, made in `folder`.

    Whisper's weights aren't part of the stage. Adapter, SSTs and LLM have their own weights; the encoder isn't used.
    """
    encoder = encoder_folder(folder / "encoder", d_model=512, max_source_positions=1500)
    return TrainedStage.of(STAGE, force=True, bases={"encoder": encoder})


def transcripts(stage: TrainedStage, frames: Tensor) -> dict[str, str]:
    """Ratio -> the stage's greedy transcript of encoder frames [L, F, D_enc], as a memory is asked for it."""
    torch.set_num_threads(1)
    model = stage.model()
    with torch.no_grad():
        adapted = model.adapt([frames.float()]).frames[0]
    found = {}
    for ratio in RATIOS:
        listener = Listener(model, ratio, stage.interval_seconds)
        listener.push_frames(adapted)
        listener.flush()
        limit = model.decoding.limit("asr", listener.seconds)
        found[str(ratio)] = listener.ask(stage.transcript.instruction, limit).text
    return found
