"""Pretrains the tiny speech encoder on words: `python -m experiments.tiny_models.tiny_encoder OUT_DIR`.

Speech-XL starts from a pretrained speech encoder. So does the default: this one has heard the embedded corpus's train
voices say train sentences (another seed's, so other sessions than the stages train on), and has learned by CTC which
words they said. It has never met the LLM. What comes out is an ordinary Hugging Face folder.
"""

from __future__ import annotations

import argparse
import copy
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jiwer import wer
from lhotse import CutSet
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm
from transformers import AutoConfig, AutoModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from data_recipes.embedded import EmbeddedSpeech
from data_recipes.grammar import vocabulary
from experiments.tiny_models.pretraining import descend, learning_rate, write_weights
from speech_xl import SAMPLE_RATE
from speech_xl.data.audio import load_audio
from speech_xl.extensions.ctc.flat_start import Spoken, flat_labels
from speech_xl.extensions.ctc.token_ctc import mean_ctc
from speech_xl.model import HFEncoder, SemanticAdapter
from speech_xl.model.prompt import IGNORE
from speech_xl.run.precision import BF16, best_precision

WIDTH = 256  # of the frames that the head reads; thrown away with it
FLAT = 0.12  # share of the training that begins with words laid evenly over their utterances


@dataclass(frozen=True)
class Line:
    """One utterance: its first sample and the one after its last, and what is said."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Session:
    """int16 samples [S] and the utterances in order."""

    samples: Tensor
    lines: list[Line]


class Hearing(nn.Module):
    """Encoder and adapter as in the stages, and a head of words and a blank, which comes last."""

    def __init__(self, encoder: HFEncoder, adapter: SemanticAdapter, words: Sequence[str]) -> None:
        super().__init__()
        self.encoder, self.adapter = encoder, adapter
        self.words = {word: number for number, word in enumerate(words)}
        adapter.build(encoder.width, WIDTH, 1.0)
        self.head = nn.Linear(WIDTH, len(words) + 1)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Mel spectra [B, M, 2 F] of audio with `lengths` encoder frames [B] -> scores [B, N, words + 1], lengths."""
        model = with_window(self.encoder.model, features.shape[-1] // 2)
        frames = model(features).last_hidden_state[:, None]
        adapted = self.adapter(frames, lengths, frames.new_empty(0, WIDTH))  # reads no embeddings
        return self.head(adapted.frames).float(), adapted.lengths

    def ctc(self, scores: Tensor, lengths: Tensor, clips: Sequence[Session]) -> Tensor:
        """CTC loss a word."""
        texts = [[self.words[word] for line in clip.lines for word in line.text.split()] for clip in clips]
        return mean_ctc(scores, lengths, [torch.tensor(words) for words in texts], len(self.words))

    def flat(self, scores: Tensor, lengths: Tensor, clips: Sequence[Session]) -> Tensor:
        """Cross entropy a frame against words laid evenly over their utterances by their letters."""
        frame = self.encoder.hop * self.adapter.stride  # samples
        rows = []
        for clip, length in zip(clips, lengths.tolist(), strict=True):
            words = [line.text.split() for line in clip.lines]
            spoken = [
                Spoken(
                    line.start / frame, line.end / frame, [self.words[w] for w in texts], [len(w) + 1 for w in texts]
                )
                for line, texts in zip(clip.lines, words, strict=True)
            ]
            rows.append(flat_labels(spoken, length, len(self.words)))
        labels = pad_sequence(rows, batch_first=True, padding_value=IGNORE)
        return cross_entropy(scores[:, : labels.shape[1]].flatten(0, 1), labels.flatten(), ignore_index=IGNORE)

    def read(self, scores: Tensor, lengths: Tensor) -> list[str]:
        """The likeliest word of every frame, doubles and blanks left out."""
        known = list(self.words)
        texts = []
        for row, length in zip(scores.argmax(-1), lengths.tolist(), strict=True):
            path = torch.unique_consecutive(row[:length]).tolist()
            texts.append(" ".join(known[n] for n in path if n < len(known)))
        return texts


def with_window(model: WhisperEncoder, frames: int) -> WhisperEncoder:
    """The same layers for windows of `frames`; positions are sinusoids, so a shorter window's are the first ones."""
    config = copy.copy(model.config)
    if config.max_source_positions == frames:
        return model
    config.max_source_positions = frames
    other = WhisperEncoder(config)
    for name in ("conv1", "conv2", "layers", "layer_norm"):
        setattr(other, name, getattr(model, name))
    return other


def clips_of(cuts: CutSet) -> list[Session]:
    """Sessions into memory: 2 bytes a sample, 115 MB an hour."""
    found = []
    for cut in tqdm(cuts, desc="loading", unit="session", mininterval=5):
        supervisions = sorted(cut.supervisions, key=lambda s: s.start)
        lines = [Line(round(s.start * SAMPLE_RATE), round(s.end * SAMPLE_RATE), s.text) for s in supervisions]
        found.append(Session((load_audio(cut) * 32767).round().short(), lines))
    return found


def draw_clip(session: Session, seconds: float, rng: random.Random) -> Session | None:
    """A run of utterances that fits into `seconds`, with the pauses around it; None where the first doesn't fit."""
    lines, room = session.lines, round(seconds * SAMPLE_RATE)
    first = rng.randrange(len(lines))
    start = lines[first - 1].end if first else 0
    last = first
    while last + 1 < len(lines) and lines[last + 1].end - start <= room:
        last += 1
    if lines[last].end - start > room:
        return None
    end = lines[last + 1].start if last + 1 < len(lines) else len(session.samples)
    there = [Line(line.start - start, line.end - start, line.text) for line in lines[first : last + 1]]
    return Session(session.samples[start : min(end, start + room)], there)


def draw_clips(sessions: Sequence[Session], count: int, seconds: float, rng: random.Random) -> list[Session]:
    """`count` clips of random sessions."""
    found: list[Session] = []
    while len(found) < count:
        clip = draw_clip(rng.choice(sessions), seconds, rng)
        found += [clip] if clip else []
    return found


def window_seconds(gone: float, longest: float) -> float:
    """A quarter of the encoder's window at first, then a half, and from 55 % of the training on the whole.

    What sounds like what is found out sooner in short clips. gone: the share of the training, 0..1.
    """
    return longest * (0.25 if gone < 0.25 else 0.5 if gone < 0.55 else 1.0)


def mel(
    encoder: HFEncoder, batch: Sequence[Session], seconds: float, rng: random.Random | None = None, masks: bool = False
) -> tuple[Tensor, Tensor]:
    """Mel spectra [B, M, 2 F] of a window of `seconds`, and each clip's encoder frames [B].

    With `rng`: other levels and hiss, and with `masks` some of the spectrum hidden.
    """
    audio = [clip.samples.float() / 32767 for clip in batch]
    if rng is not None:
        audio = [a * 10 ** rng.uniform(-0.4, 0.3) + 10 ** rng.uniform(-4.5, -2.5) * torch.randn(len(a)) for a in audio]
    arrays = [a.numpy() for a in audio]
    length = {"padding": "max_length", "max_length": round(seconds * SAMPLE_RATE)}
    inputs = encoder.extractor(arrays, sampling_rate=SAMPLE_RATE, return_tensors="pt", **length)
    features = inputs["input_features"]
    if rng is not None and masks:  # SpecAugment (arXiv 1904.08779)
        for row in features:
            for axis, longest in ((0, 12), (0, 12), (1, 15), (1, 15), (1, 15)):
                width = rng.randint(0, longest)
                row.narrow(axis, rng.randint(0, row.shape[axis] - width), width).fill_(row.mean())
    return features, torch.tensor([encoder.frames_of(len(a)) for a in audio])


@torch.no_grad()
def word_errors(model: Hearing, clips: Sequence[Session], size: int = 8) -> float:
    """WER on `clips` that fit the encoder's window."""
    hypotheses: list[str] = []
    for start in range(0, len(clips), size):
        features, lengths = mel(model.encoder, clips[start : start + size], model.encoder.window / SAMPLE_RATE)
        hypotheses += model.read(*model(features, lengths))
    return float(wer([" ".join(line.text for line in clip.lines) for clip in clips], hypotheses))


def write(encoder: HFEncoder, folder: Path) -> None:
    """model.safetensors in float16, the whole Whisper model as transformers looks for it: its decoder is untrained."""
    whole = AutoModel.from_config(AutoConfig.from_pretrained(folder))
    state = {n: w for n, w in whole.state_dict().items() if n.startswith("decoder.")}
    state |= {f"encoder.{n}": w for n, w in encoder.model.state_dict().items()}
    write_weights(state, folder)


def pretrain(
    folder: Path,
    hours: float,
    steps: int,
    seconds: float,
    highest: float,
    seed: int,
    minutes: float = math.inf,
    go_on: bool = False,
) -> Hearing:
    """Train from random weights, or with `go_on` from the folder's, under a new head and in whole windows at once.

    seconds: of audio windows a step; minutes: at most, whatever the steps.
    """
    torch.manual_seed(seed)
    rng = random.Random(f"tiny-encoder-{seed}")
    encoder = HFEncoder(str(folder), pretrained=go_on)
    encoder.build([-1])
    corpus = EmbeddedSpeech(train_hours=hours, seed=seed + 1)
    corpus.prepare()
    train, dev = clips_of(corpus.cuts("train")), clips_of(corpus.cuts("dev"))
    longest = encoder.window / SAMPLE_RATE
    unseen = draw_clips(dev, 100, longest, random.Random("dev"))
    model = Hearing(encoder, SemanticAdapter(stride=2), vocabulary())
    optimizer = torch.optim.AdamW(model.parameters(), lr=highest, betas=(0.9, 0.98), weight_decay=0.01)
    fast = best_precision("cpu") == BF16
    flat = FLAT / 4 if go_on else FLAT  # a new head alone has less to find out
    level, errors, started = 5.5, 1.0, time.monotonic()
    with tqdm(range(steps), desc="hearing", unit="step", mininterval=5) as bar:
        for step in bar:
            gone = max(step / steps, (time.monotonic() - started) / 60 / minutes)
            if gone >= 1:
                break
            window = longest if go_on else window_seconds(gone, longest)
            clips = draw_clips(train, round(seconds / window), window, rng)
            features, lengths = mel(encoder, clips, window, rng, masks=go_on or gone > 0.3)
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                scores, lengths = model(features, lengths)
            loss = (model.flat if gone < flat else model.ctc)(scores, lengths, clips)
            descend(loss, optimizer, learning_rate(step, gone, highest))
            level += 0.03 * (loss.item() - level)
            if (step + 1) % 500 == 0:
                write(encoder, folder)
                errors = word_errors(model, unseen)
            bar.set_postfix(loss=f"{level:.3f}", window=f"{window:.0f} s", dev_wer=f"{errors:.3f}", refresh=False)
    write(encoder, folder)
    print(f"WER on {len(unseen)} clips of the dev split: {word_errors(model, unseen):.4f}")
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="config.json and the feature extractor lie here")
    parser.add_argument("--hours", type=float, default=12.0, help="hours of speech, made first (%(default)s)")
    parser.add_argument("--steps", type=int, default=4000, help="optimizer steps (%(default)s)")
    parser.add_argument("--seconds", type=float, default=80.0, help="of audio windows a step (%(default)s)")
    parser.add_argument("--lr", type=float, default=1.5e-3, help="highest learning rate (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other sessions and weights (%(default)s)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="end by then, whatever the steps (%(default)s)")
    parser.add_argument("--go-on", action="store_true", help="train the weights further that are in the folder")
    given = parser.parse_args()
    pretrain(given.folder, given.hours, given.steps, given.seconds, given.lr, given.seed, given.minutes, given.go_on)
    print(f"written: {given.folder / 'model.safetensors'}")


if __name__ == "__main__":
    main()
