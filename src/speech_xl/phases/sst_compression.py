"""Phase 3, SST compression: every interval's content moves into the KV of its Speech Summarization Tokens."""

from typing import Any

from speech_xl.data.batch import SpeechBatch
from speech_xl.evaluation.compressors import Compressor, Summarization
from speech_xl.evaluation.compressors.summarization import APPENDED
from speech_xl.model import SSTs
from speech_xl.model.ratios import to_ratio
from speech_xl.model.speech import Ratios, Speech
from speech_xl.phases.ratio_drawing import RatioPhase


class SSTCompression(RatioPhase):
    """Training in one pass with frames hidden outside their interval.

    Args:
        sst: the SSTs' projections, positions and placement; or `paper`, for SSTs as in Speech-XL.

    Everything else as in `RatioPhase`.
    """

    def __init__(self, *args: Any, sst: SSTs | str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sst_plan = [
            sst if isinstance(sst, SSTs) else SSTs.named(sst)
        ]  # in a list, so that it isn't registered outside the backbone

    @property
    def compressor(self) -> Compressor:
        return Summarization() if self.sst_plan[0].placement == "interleaved" else Summarization(APPENDED)

    def make_sst(self) -> None:
        self.backbone.add_sst(self.sst_plan[0])

    def compressed(self, batch: SpeechBatch, speech: Speech) -> tuple[Speech, Ratios]:
        return speech, [[to_ratio(ratio) for ratio in row] for row in self.drawn(batch, speech)]
