"""Phase 1, semantic alignment: the adapter learns to speak the LLM's language by transcribing (ASR)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import ctc_loss

from speech_xl.data.batch import SpeechBatch
from speech_xl.model.speech_llm import Speech
from speech_xl.phases.phase import Phase

BLANK = 256  # CTC's blank comes after the 256 bytes
SUBFRAMES = 4  # CTC steps a speech frame: letters come faster than 12.5 a second


class SemanticAlignment(Phase):
    """ASR without compression.

    Args:
        ctc_weight: weight of an auxiliary CTC loss (ours, not the paper's): a linear head spells the answer in UTF-8
            bytes from the speech frames, four CTC steps a frame. Worth having where the encoder starts from random
            weights: it shows the frames what was said long before attention has found out where to look. 0 leaves it
            away. Add ``ctc_head.*`` to `trainable`.

    Everything else as in `Phase`.
    """

    def __init__(self, *args: Any, ctc_weight: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if ctc_weight < 0:
            raise ValueError(f"model.ctc_weight={ctc_weight}: must not be negative")
        self.ctc_weight = ctc_weight

    def configure_model(self) -> None:
        if self.ctc_weight and not self.groups:
            self.backbone.build()
            width = self.backbone.llm.width
            # Speech frames are as small as text embeddings; without the norm the head would hardly see them.
            self.ctc_head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, SUBFRAMES * (BLANK + 1)))
        super().configure_model()

    def extra_loss(self, batch: SpeechBatch, speech: Speech) -> Tensor | float:
        if not self.ctc_weight:
            return 0.0
        targets = [torch.tensor(list(turns[0].answer.encode())) for turns in batch.turns]
        logits = self.ctc_head(speech.frames).float().unflatten(2, (SUBFRAMES, BLANK + 1)).flatten(1, 2)
        loss = ctc_loss(
            logits.log_softmax(-1).transpose(0, 1),
            torch.cat(targets).to(logits.device),
            speech.lengths * SUBFRAMES,
            torch.tensor([len(t) for t in targets], device=logits.device),
            blank=BLANK,
            reduction="sum",
            zero_infinity=True,  # a text with more bytes than CTC steps has no alignment
        )
        loss = loss / max(1, sum(len(t) for t in targets))
        self.log("train/ctc", loss.detach(), batch_size=len(batch))
        return self.ctc_weight * loss
