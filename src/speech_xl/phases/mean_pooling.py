"""A baseline for phase 3: frames are averaged before the LLM, which learns to read the means. No SSTs."""

from typing import Any

from speech_xl.data.batch import SpeechBatch
from speech_xl.evaluation.compressors import MeanPooled
from speech_xl.model.speech import Ratios, Speech
from speech_xl.phases.ratio_drawing import RatioPhase


class MeanPooling(RatioPhase):
    """As `SSTCompression`, with ``ceil(frames / ratio)`` means an interval where that has SSTs: as much is kept.

    Args:
        trainable: as in `Phase`; patterns of SSTs are left out, so that stage 3's config will do.
    """

    def __init__(self, *args: Any, trainable: dict[str, float], **kwargs: Any) -> None:
        rates = {name: rate for name, rate in trainable.items() if not name.startswith("sst.")}
        super().__init__(*args, trainable=rates, **kwargs)

    def compressed(self, batch: SpeechBatch, speech: Speech) -> tuple[Speech, Ratios]:
        pooled = self.compressor.shortened(self.backbone, speech, self.drawn(batch, speech))
        return pooled, [[None] * len(row) for row in pooled.intervals]

    @property
    def compressor(self) -> MeanPooled:
        return MeanPooled(trained=True)
