"""Fewer frames for the LLM: chosen, averaged or merged before it hears them."""

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from speech_xl.evaluation.compressors.compressor import Compressor, budget, uncompressed
from speech_xl.model import SpeechLLM
from speech_xl.model.kv_memory import KVMemory
from speech_xl.model.pooling import mean_pool, shorten
from speech_xl.model.speech import Speech


class IntervalFrames(Compressor):
    """Each interval by itself: `change` takes its frames [n, D] to [ceil(n / ratio), D]."""

    takes_rows = True

    def change(self, frames: Tensor, ratio: int) -> Tensor:
        raise NotImplementedError

    def prefill(self, model: SpeechLLM, speech: Speech, ratio: int, instruction: str = "") -> KVMemory:
        ratios = speech.throughout(ratio)
        return uncompressed(model, shorten(speech, ratios, self.change))


class UniformStride(IntervalFrames):
    """The middle frame of every group of `ratio`."""

    name = "uniform stride"

    def change(self, frames: Tensor, ratio: int) -> Tensor:
        starts = torch.arange(0, len(frames), ratio, device=frames.device)
        ends = (starts + ratio).clamp(max=len(frames))
        return frames[(starts + ends) // 2]


class RandomFrames(IntervalFrames):
    """Frames drawn at random, in their order; the same for the same `seed`, interval length and ratio."""

    name = "random"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def change(self, frames: Tensor, ratio: int) -> Tensor:
        draw = torch.randperm(len(frames), generator=torch.Generator().manual_seed(self.seed))
        return frames[draw[: -(-len(frames) // ratio)].sort().values.to(frames.device)]


class MeanPooled(IntervalFrames):
    """Means of groups of `ratio` frames, for a model that was trained on them (`phases.MeanPooling`) or wasn't."""

    def __init__(self, trained: bool = False) -> None:
        self.trained, self.name = trained, "mean pooling, trained" if trained else "mean pooling"

    def change(self, frames: Tensor, ratio: int) -> Tensor:
        return mean_pool(frames, ratio)


class SimilarFrames(IntervalFrames):
    """Neighbours that are most alike become their mean, one pair after another (after A-ToMe, arXiv 2306.16009)."""

    name = "similarity merging"

    def change(self, frames: Tensor, ratio: int) -> Tensor:
        sums, counts = list(frames), [1] * len(frames)
        while len(sums) > -(-len(frames) // ratio):
            means = torch.stack([total / count for total, count in zip(sums, counts, strict=True)])
            at = int(cosine_similarity(means[:-1], means[1:], dim=1).argmax())
            sums[at : at + 2] = [sums[at] + sums[at + 1]]
            counts[at : at + 2] = [counts[at] + counts[at + 1]]
        return torch.stack([total / count for total, count in zip(sums, counts, strict=True)])


class Truncation(Compressor):
    """The first frames, as many as may be kept; the rest of the session is not heard."""

    name = "truncation"

    def prefill(self, model: SpeechLLM, speech: Speech, ratio: int, instruction: str = "") -> KVMemory:
        left = kept = budget(speech.intervals[0], ratio)
        intervals = []
        for length in speech.intervals[0]:
            if left:
                intervals.append(min(length, left))
                left -= intervals[-1]
        return uncompressed(model, Speech(speech.frames[:, :kept], torch.tensor([kept]), [intervals]))
