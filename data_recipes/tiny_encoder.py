"""Pretrains the tiny speech encoder on spelling: `python -m data_recipes.tiny_encoder experiments/models/tiny/encoder`.

Speech-XL starts from a pretrained speech encoder. So does the default: this one has heard the embedded corpus's train
voices say train sentences (another seed's, so other sessions than the stages train on), and has learned by CTC to spell
what they said in bytes and in words. It has never met the LLM. What comes out is an ordinary Hugging Face folder.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jiwer import wer
from lhotse import CutSet
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm
from transformers import AutoConfig, AutoModel

from data_recipes.embedded import EmbeddedSpeech
from data_recipes.grammar import vocabulary
from data_recipes.tiny_llm import learning_rate
from speech_xl import SAMPLE_RATE
from speech_xl.data.audio import load_audio
from speech_xl.model import HFEncoder, SemanticAdapter
from speech_xl.precision import BF16, best_precision
from speech_xl.phases.semantic_alignment import BLANK, SUBFRAMES, mean_ctc

WIDTH = 256  # of the frames that the heads read; thrown away with them


@dataclass(frozen=True)
class Clip:
    """A run of whole utterances that fits the encoder's window: int16 samples [S] and what is said."""

    samples: Tensor
    text: str


class Spelling(nn.Module):
    """Encoder and adapter as in the stages, with a head of bytes (four steps a frame) and one of words."""

    def __init__(self, encoder: HFEncoder, adapter: SemanticAdapter, words: Sequence[str]) -> None:
        super().__init__()
        self.encoder, self.adapter = encoder, adapter
        self.words = {word: number for number, word in enumerate(words)}
        adapter.build(encoder.width, WIDTH, 1.0)
        self.bytes_head = nn.Linear(WIDTH, SUBFRAMES * (BLANK + 1))
        self.words_head = nn.Linear(WIDTH, len(words) + 1)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Mel spectra [B, M, 2 F] of audio with `lengths` encoder frames [B] -> speech frames [B, N, D], lengths."""
        return self.adapter(self.encoder.model(features).last_hidden_state[:, None], lengths)

    def loss(self, frames: Tensor, lengths: Tensor, texts: Sequence[str]) -> Tensor:
        """CTC a byte plus CTC a word."""
        spelled = self.bytes_head(frames).float().unflatten(2, (SUBFRAMES, BLANK + 1)).flatten(1, 2)
        in_bytes = mean_ctc(spelled, lengths * SUBFRAMES, [torch.tensor(list(t.encode())) for t in texts], BLANK)
        targets = [torch.tensor([self.words[word] for word in t.split()]) for t in texts]
        return in_bytes + mean_ctc(self.words_head(frames).float(), lengths, targets, len(self.words))

    def read(self, frames: Tensor, lengths: Tensor) -> list[str]:
        """The likeliest word of every frame, doubles and blanks left out."""
        known = list(self.words)
        texts = []
        for row, length in zip(self.words_head(frames).argmax(-1), lengths.tolist(), strict=True):
            path = torch.unique_consecutive(row[:length]).tolist()
            texts.append(" ".join(known[n] for n in path if n < len(known)))
        return texts


def clips(cuts: CutSet, seconds: float, rng: random.Random) -> list[Clip]:
    """Sessions cut, between utterances, into runs of up to `seconds`, the pauses around them included."""
    found = []
    for cut in tqdm(cuts, desc="loading", unit="session", mininterval=5):
        audio = load_audio(cut)
        said = sorted(cut.supervisions, key=lambda s: s.start)
        first = 0
        while first < len(said):
            longest = rng.uniform(0.3, 1.0) * seconds
            start = said[first - 1].end if first else 0.0
            last = first
            while last + 1 < len(said) and said[last + 1].end - start < longest:
                last += 1
            end = said[last + 1].start if last + 1 < len(said) else cut.duration
            end = min(end, start + seconds)
            piece = audio[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
            if said[last].end <= end:
                found.append(Clip((piece * 32767).round().short(), " ".join(s.text for s in said[first : last + 1])))
            first = last + 1
    return found


def batches(found: list[Clip], size: int, rng: random.Random) -> Iterator[list[Clip]]:
    """All clips in a new order every time, `size` at a time, for ever."""
    while True:
        order = rng.sample(found, len(found))
        yield from (order[i : i + size] for i in range(0, len(order) - size + 1, size))


def mel(encoder: HFEncoder, batch: Sequence[Clip], rng: random.Random | None) -> tuple[Tensor, Tensor]:
    """Mel spectra [B, M, 2 F], and each clip's encoder frames [B]. With `rng`: other levels, hiss, masks."""
    audio = [clip.samples.float() / 32767 for clip in batch]
    if rng is not None:
        audio = [a * 10 ** rng.uniform(-0.4, 0.3) + 10 ** rng.uniform(-4.5, -2.5) * torch.randn(len(a)) for a in audio]
    arrays = [a.numpy() for a in audio]
    inputs = encoder.extractor(
        arrays, sampling_rate=SAMPLE_RATE, return_tensors="pt", padding="max_length", max_length=encoder.window
    )
    features = inputs["input_features"]
    if rng is not None:  # SpecAugment (arXiv 1904.08779)
        for row in features:
            for axis, longest in ((0, 12), (0, 12), (1, 15), (1, 15), (1, 15)):
                length = rng.randint(0, longest)
                start = rng.randint(0, row.shape[axis] - length)
                row.narrow(axis, start, length).fill_(row.mean())
    return features, torch.tensor([encoder.frames_of(len(a)) for a in audio])


@torch.no_grad()
def dev_wer(model: Spelling, found: list[Clip], size: int = 8) -> float:
    """WER of the words head on clips of the dev split: other voices, other sentences."""
    heard: list[str] = []
    for start in range(0, len(found), size):
        features, lengths = mel(model.encoder, found[start : start + size], None)
        heard += model.read(*model(features, lengths))
    return float(wer([clip.text for clip in found], heard))


def write(encoder: HFEncoder, folder: Path) -> None:
    """model.safetensors in float16, the whole Whisper model as transformers looks for it: its decoder is untrained."""
    whole = AutoModel.from_config(AutoConfig.from_pretrained(folder))
    state = {n: w for n, w in whole.state_dict().items() if n.startswith("decoder.")}
    state |= {f"encoder.{n}": w for n, w in encoder.model.state_dict().items()}
    state = {n: w.detach().half().contiguous() for n, w in state.items()}
    draft = folder / "model.part"
    save_file(state, draft, metadata={"format": "pt"})
    draft.replace(folder / "model.safetensors")


def pretrain(folder: Path, hours: float, steps: int, size: int, highest: float, seed: int, minutes: float) -> Spelling:
    """Train from random weights. size: clips of a step; minutes: stop there, whatever the steps."""
    torch.manual_seed(seed)
    rng = random.Random(f"tiny-encoder-{seed}")
    encoder = HFEncoder(str(folder), pretrained=False)
    encoder.build([-1])
    corpus = EmbeddedSpeech(train_hours=hours, seed=seed + 1)
    corpus.prepare()
    seconds = encoder.window / SAMPLE_RATE
    train, dev = (clips(corpus.cuts(split), seconds, rng) for split in ("train", "dev"))
    model = Spelling(encoder, SemanticAdapter(stride=2), vocabulary())
    optimizer = torch.optim.AdamW(model.parameters(), lr=highest, betas=(0.9, 0.98), weight_decay=0.01)
    level, started = 10.0, time.monotonic()
    fast = best_precision("cpu")
    stream = batches(train, size, rng)
    with tqdm(range(steps), desc="spelling", unit="step", mininterval=5) as bar:
        for step in bar:
            gone = max(step / steps, (time.monotonic() - started) / 60 / minutes)
            if gone >= 1:
                break
            batch = next(stream)
            features, lengths = mel(encoder, batch, rng)
            with torch.autocast("cpu", torch.bfloat16, enabled=fast == BF16):
                frames, lengths = model(features, lengths)
            loss = model.loss(frames.float(), lengths, [clip.text for clip in batch])
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, gone, highest)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            level += 0.03 * (loss.item() - level)
            bar.set_postfix(loss=f"{level:.3f}", refresh=False)
            if (step + 1) % 250 == 0:
                write(encoder, folder)
                print(f"step {step + 1} {(time.monotonic() - started) / 60:.1f} min loss {level:.3f} dev {dev_wer(model, dev[:100]):.3f}", flush=True)
    write(encoder, folder)
    print(f"dev WER of the words head: {dev_wer(model, dev):.4f}, {len(dev)} clips")
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="config.json and the feature extractor lie here")
    parser.add_argument("--hours", type=float, default=12.0, help="hours of speech, made first (%(default)s)")
    parser.add_argument("--steps", type=int, default=4000, help="optimizer steps (%(default)s)")
    parser.add_argument("--clips", type=int, default=6, help="clips a step (%(default)s)")
    parser.add_argument("--lr", type=float, default=1.5e-3, help="highest learning rate (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other sessions and weights (%(default)s)")
    parser.add_argument("--minutes", type=float, default=1e9)
    given = parser.parse_args()
    pretrain(given.folder, given.hours, given.steps, given.clips, given.lr, given.seed, given.minutes)
    print(f"written: {given.folder / 'model.safetensors'}")


if __name__ == "__main__":
    main()
