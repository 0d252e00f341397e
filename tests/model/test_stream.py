"""A live source's frames are the whole's, whatever the sizes of the pieces, and it holds no more than a window."""

import random

import pytest
import torch

from experiments.random_models import HOP, audio, encoder_folder, llm_folder
from speech_xl.extensions.ctc import PosteriorAdapter
from speech_xl.extensions.time_code import TimeCode
from speech_xl.extensions.voice_adapter import VoiceAdapter
from speech_xl.model import (
    LLM,
    AcousticAdapter,
    DualAdapter,
    HFEncoder,
    SemanticAdapter,
    SpeechLLM,
)
from speech_xl.model.stream import FrameStream

ADAPTERS = {
    "semantic": lambda: SemanticAdapter(stride=4),
    "semantic 1": lambda: SemanticAdapter(stride=1),
    "posterior": lambda: PosteriorAdapter(stride=2),
    "dual": lambda: DualAdapter(SemanticAdapter(stride=2), AcousticAdapter([0, 1], 2, segment=6, width=8, heads=2)),
    "voice": lambda: VoiceAdapter([0, 1], stride=4),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("parts")
    kinds = {kind: encoder_folder(root / kind, kind) for kind in ("whisper", "wavlm")}
    return kinds | {"llm": llm_folder(root / "llm")}


def backbone(folders, kind, adapter, overlap):
    torch.manual_seed(5)
    window = None if kind == "whisper" else 0.5
    encoder = HFEncoder(folders[kind], window_seconds=window, overlap_seconds=overlap)
    model = SpeechLLM(encoder, ADAPTERS[adapter](), LLM(folders["llm"]), frame_code=TimeCode())
    model.build()
    if adapter == "dual":
        torch.nn.init.constant_(model.adapter.acoustic.norm.weight, 0.1)
    return model.eval()


def pieces(sound, seed):
    """Random cuts, single samples and empty pieces among them."""
    rng = random.Random(seed)
    while len(sound):
        size = rng.choice([0, 1, rng.randint(1, 400), rng.randint(1, 3000), rng.randint(1, 20_000)])
        yield sound[:size]
        sound = sound[size:]


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize(("kind", "overlap"), [("whisper", 0.0), ("whisper", 0.1), ("wavlm", 0.0), ("wavlm", 0.06)])
@torch.no_grad()
def test_any_pieces_give_the_frames_of_the_whole(folders, kind, overlap, adapter):
    model = backbone(folders, kind, adapter, overlap)
    for samples in (1, HOP, 8_000, 8_001, 3 * 8_000 + 7 * HOP + 5, 37_000):
        sound = audio(samples=samples, seed=samples)
        whole = model.adapt(model.encoder.encode([sound])).frames[0]
        for seed in range(3):
            stream = FrameStream(model)
            parts = [stream.push(piece) for piece in pieces(sound, seed)] + [stream.flush()]
            torch.testing.assert_close(torch.cat(parts), whole, atol=1e-5, rtol=1e-4)
            if samples > 30_000:
                assert sum(len(part) > 0 for part in parts[:-1]) >= 2, "frames come while the audio runs"


@torch.no_grad()
def test_it_holds_a_window_whatever_was_heard(folders):
    model = backbone(folders, "whisper", "dual", 0.1)
    stream, most = FrameStream(model), 0
    for _ in range(40):
        stream.push(audio(samples=3_000))
        most = max(most, len(stream.audio))
        assert stream.frames is None or stream.frames.shape[1] <= model.encoder.window / HOP + 3 * model.adapter.grain
    assert most <= model.encoder.window + 3_000


@torch.no_grad()
def test_nothing_heard_gives_no_frames(folders):
    model = backbone(folders, "whisper", "semantic", 0.0)
    stream = FrameStream(model)
    assert len(stream.push(torch.zeros(0))) == len(stream.flush()) == 0
