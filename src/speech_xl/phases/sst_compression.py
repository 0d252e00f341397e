"""Phase 3, SST compression: every interval's content moves into the KV of its Speech Summarization Tokens."""

from typing import Any, Literal

from speech_xl.data.batch import SpeechBatch
from speech_xl.model import SSTs
from speech_xl.model.ratios import check_ratios, draw_ratios, to_ratio
from speech_xl.model.speech_llm import Ratios, Speech
from speech_xl.phases.phase import Phase


class SSTCompression(Phase):
    """Training in one pass with frames hidden outside their interval; ratios drawn anew for every interval.

    Args:
        sst: the SSTs' projections, full or lora.
        ratios: the ratio set before a curriculum sets its own; 1 leaves an interval uncompressed.
        ratio_per: draw one ratio per interval (the default; Activation Beacon measured 2.8 points less per sample) or
            per sample.

    Everything else as in `Phase`.
    """

    def __init__(
        self,
        *args: Any,
        sst: SSTs,
        ratios: list[int] | None = None,
        ratio_per: Literal["interval", "sample"] = "interval",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.sst_plan = [sst]  # in a list, so that it isn't registered outside the backbone
        self.ratios = check_ratios([2] if ratios is None else ratios, "model.ratios")
        self.ratio_per: Literal["interval", "sample"] = ratio_per

    def make_sst(self) -> None:
        self.backbone.add_sst(self.sst_plan[0])

    def draw_ratios(self, batch: SpeechBatch, speech: Speech) -> Ratios:
        return [
            [to_ratio(r) for r in draw_ratios(self.ratios, len(row), self.seed, batch.epoch, name, self.ratio_per)]
            for name, row in zip(batch.ids, speech.intervals, strict=True)
        ]
