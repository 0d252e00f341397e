"""Fewer frames for the LLM: chosen, averaged or merged before it hears them."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from speech_xl.evaluation.compressors.compressor import Compressor, budget, uncompressed
from speech_xl.model import SpeechLLM
from speech_xl.model.kv_memory import KVMemory
from speech_xl.model.pooling import even_sizes, group_means, shorten
from speech_xl.model.speech import Speech


class IntervalFrames(Compressor):
    """Each interval by itself: `change` takes its frames [n, D] to [ceil(n / ratio), D]."""

    takes_rows = True

    def change(self, frames: Tensor, ratio: int) -> Tensor:
        raise NotImplementedError

    def shortened(self, model: SpeechLLM, speech: Speech, ratios: Sequence[Sequence[int]]) -> Speech:
        """What the LLM is given of `speech`, at a ratio for each interval of each row."""
        return shorten(speech, ratios, self.change)

    def prefill(self, model: SpeechLLM, speech: Speech, ratio: int, instruction: str = "") -> KVMemory:
        return uncompressed(model, self.shortened(model, speech, speech.throughout(ratio)))


class FrameGroups(IntervalFrames):
    """Means of neighbours: `sizes` says how many frames [n, D] each of the ``ceil(n / ratio)`` means is of.

    A mean has the frame code that an SST of the same frames would have."""

    def sizes(self, frames: Tensor, ratio: int) -> Sequence[int]:
        raise NotImplementedError

    def shortened(self, model: SpeechLLM, speech: Speech, ratios: Sequence[Sequence[int]]) -> Speech:
        code = model.frame_code
        return shorten(speech, ratios, lambda frames, ratio: group_means(frames, self.sizes(frames, ratio), code))


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


class MeanPooled(FrameGroups):
    """Means of groups of `ratio` frames, for a model that was trained on them (`phases.MeanPooling`) or wasn't."""

    def __init__(self, trained: bool = False) -> None:
        self.trained, self.name = trained, "mean pooling, trained" if trained else "mean pooling"

    def sizes(self, frames: Tensor, ratio: int) -> list[int]:
        return even_sizes(len(frames), ratio)


class SimilarFrames(FrameGroups):
    """Neighbours that are most alike become their mean, one pair after another (after A-ToMe, arXiv 2306.16009)."""

    name = "similarity merging"

    def sizes(self, frames: Tensor, ratio: int) -> list[int]:
        sums, counts = list(frames), [1] * len(frames)
        while len(sums) > -(-len(frames) // ratio):
            means = torch.stack([total / count for total, count in zip(sums, counts, strict=True)])
            at = int(cosine_similarity(means[:-1], means[1:], dim=1).argmax())
            sums[at : at + 2] = [sums[at] + sums[at + 1]]
            counts[at : at + 2] = [counts[at] + counts[at + 1]]
        return counts


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
