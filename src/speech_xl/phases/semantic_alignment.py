"""Phase 1, semantic alignment: the adapter learns to speak the LLM's language by transcribing (ASR)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import ctc_loss

from speech_xl.data.batch import SpeechBatch
from speech_xl.model.speech_llm import Speech
from speech_xl.phases.phase import Phase


class SemanticAlignment(Phase):
    """ASR without compression.

    Args:
        ctc_weight: weight of an auxiliary CTC loss on the speech frames, in the LLM's own tokens (ours, not the paper's).
            Worth having where the encoder or the LLM starts from random weights: it shows the frames which token stands
            where before attention has found out. 0 leaves it away. Add ``ctc_head.*`` to `trainable`.

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
            llm = self.backbone.llm
            self.blank = llm.embedding.num_embeddings  # CTC's blank comes after the LLM's tokens
            # Speech frames are as small as text embeddings; without the norm the head would hardly see them.
            self.ctc_head = nn.Sequential(nn.LayerNorm(llm.width), nn.Linear(llm.width, self.blank + 1))
        super().configure_model()

    def extra_loss(self, batch: SpeechBatch, speech: Speech) -> Tensor | float:
        if not self.ctc_weight:
            return 0.0
        tokenizer = self.backbone.llm.prompt.tokenizer
        targets = [
            torch.tensor(tokenizer(turns[0].answer, add_special_tokens=False)["input_ids"]) for turns in batch.turns
        ]
        loss = ctc_loss(
            self.ctc_head(speech.frames).float().log_softmax(-1).transpose(0, 1),
            torch.cat(targets).to(speech.frames.device),
            speech.lengths,
            torch.tensor([len(t) for t in targets], device=speech.frames.device),
            blank=self.blank,
            reduction="sum",
            zero_infinity=True,  # a text with more tokens than frames has no alignment
        )
        loss = loss / max(1, sum(len(t) for t in targets))
        self.log("train/ctc", loss.detach(), batch_size=len(batch))
        return self.ctc_weight * loss
