"""Phase 1, semantic alignment: the adapter learns to speak the LLM's language by transcribing (ASR)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import ctc_loss
from torch.nn.utils.rnn import pad_sequence

from speech_xl.data.batch import SpeechBatch
from speech_xl.model.speech_llm import Speech
from speech_xl.phases.phase import Phase

BLANK = 256  # CTC's blank comes after the 256 bytes
NOISE = 0.5  # of a rehearsed frame, relative to the embeddings' RMS
SUBFRAMES = 4  # CTC steps a speech frame: letters come faster than 12.5 a second


class SemanticAlignment(Phase):
    """ASR without compression.

    Args:
        ctc_weight: weight of an auxiliary CTC loss (ours, not the paper's): a linear head spells the answer in UTF-8
            bytes from the speech frames, four CTC steps a frame. Worth having where the encoder starts from random
            weights: it shows the frames what was said long before attention has found out where to look. 0 leaves it
            away. Add ``ctc_head.*`` to `trainable`.
        rehearsal_weight: weight of the same ASR loss on texts in place of speech: each token of the answer stands for a
            few frames as its own noisy embedding (ours; upsampled text after Maestro, arXiv 2204.03409). Worth having
            where the LLM starts from random weights: it learns to read frames aloud in order before the encoder can
            hear, and then asks the adapter for embeddings. 0 leaves it away.

    Everything else as in `Phase`.
    """

    def __init__(self, *args: Any, ctc_weight: float = 0.0, rehearsal_weight: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, weight in (("ctc_weight", ctc_weight), ("rehearsal_weight", rehearsal_weight)):
            if weight < 0:
                raise ValueError(f"model.{name}={weight}: must not be negative")
        self.ctc_weight, self.rehearsal_weight = ctc_weight, rehearsal_weight

    def configure_model(self) -> None:
        if self.ctc_weight and not self.groups:
            self.backbone.build()
            width = self.backbone.llm.width
            # Speech frames are as small as text embeddings; without the norm the head would hardly see them.
            self.ctc_head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, SUBFRAMES * (BLANK + 1)))
        super().configure_model()

    def extra_loss(self, batch: SpeechBatch, speech: Speech) -> Tensor | float:
        loss: Tensor | float = 0.0
        if self.ctc_weight:
            loss = loss + self.ctc_weight * self.ctc(batch, speech)
        if self.rehearsal_weight:
            loss = loss + self.rehearsal_weight * self.rehearsal(batch)
        return loss

    def rehearsal(self, batch: SpeechBatch) -> Tensor:
        """Mean ASR loss with each answer's own token embeddings, noisy and a few frames long, as its speech."""
        llm = self.backbone.llm
        scale = llm.embedding.weight.detach().float().square().mean().sqrt()
        rows = []
        for turns in batch.turns:
            ids = torch.tensor(llm.prompt.tokenizer(turns[0].answer, add_special_tokens=False)["input_ids"])
            ids = ids.repeat_interleave(torch.randint(2, 7, ids.shape)).to(self.device)
            frames = llm.embedding(ids)
            rows.append(frames + NOISE * scale * torch.randn_like(frames))
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        speech = Speech(pad_sequence(rows, batch_first=True), lengths, [[len(row)] for row in rows])
        suffixes = [llm.prompt.training([(turns[0].instruction, turns[0].answer)]) for turns in batch.turns]
        out = self.backbone(speech, [[None]] * len(rows), suffixes)
        loss = out.loss_sum / max(1, out.label_tokens)
        self.log("train/rehearsal", loss.detach(), batch_size=len(batch))
        return loss

    def ctc(self, batch: SpeechBatch, speech: Speech) -> Tensor:
        """CTC loss a byte."""
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
        return loss
