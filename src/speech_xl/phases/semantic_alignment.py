"""Phase 1, semantic alignment: the adapter learns to speak the LLM's language by transcribing (ASR)."""

from typing import Any

import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, ctc_loss
from torch.nn.utils.rnn import pad_sequence

from speech_xl.checks import number, whole
from speech_xl.data.batch import SpeechBatch
from speech_xl.evaluation.prediction import Prediction
from speech_xl.extensions.ctc.flat_start import Spoken, flat_labels
from speech_xl.extensions.timestamps.marks import without_time_marks
from speech_xl.model.adapter import TokenScores
from speech_xl.model.prompt import IGNORE, Suffix
from speech_xl.model.speech import OnePass, Ratios, Speech
from speech_xl.phases.phase import Phase

BLANK = 256  # CTC's blank comes after the 256 bytes
NOT_RUN = 100.0  # errors, far beyond what any LLM that is run makes of all its words
SUBFRAMES = 4  # CTC steps a speech frame: letters come faster than 12.5 a second


class SemanticAlignment(Phase):
    """ASR without compression.

    Args:
        ctc_weight: weight of an auxiliary CTC loss (ours, not the paper's): a linear head spells the answer in UTF-8
            bytes from the speech frames, four CTC steps a frame. Worth having where the encoder starts from random
            weights: it shows the frames what was said long before attention has found out where to look. 0 leaves it
            away. Add ``ctc_head.*`` to `trainable`.
        embedding_ctc_weight: weight of a CTC loss whose classifier is the LLM's own embedding table, over the tokens
            that occur in the batch (ours): it draws a frame towards the embedding of the token that is spoken there,
            which is what a pretrained LLM knows how to read. Add ``token_ctc.*`` to `trainable`. With an adapter that
            scores tokens itself, its scores over all tokens are taken and nothing is added. 0 leaves it away.
        flat_steps: for so many optimizer steps, before it may align as it likes, that CTC loss is a cross entropy
            against tokens laid evenly over their supervision's time.
        llm_from: optimizer step from which the LLM is run. Before, the losses above train the adapter alone, at a
            third of the time a step, and an adapter that scores tokens is validated by what it spells itself;
            `val/errors` is then 100 more, so that no such checkpoint is better than one whose LLM was run.

    Everything else as in `Phase`.
    """

    def __init__(
        self,
        *args: Any,
        ctc_weight: float = 0.0,
        embedding_ctc_weight: float = 0.0,
        flat_steps: int = 0,
        llm_from: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        number("model.ctc_weight", ctc_weight, least=0)
        number("model.embedding_ctc_weight", embedding_ctc_weight, least=0)
        whole("model.flat_steps", flat_steps)
        whole("model.llm_from", llm_from)
        if flat_steps and not embedding_ctc_weight:
            raise ValueError(f"model.flat_steps={flat_steps}: a flat start is for embedding_ctc_weight, which is 0")
        if llm_from and not (ctc_weight or embedding_ctc_weight):
            raise ValueError(f"model.llm_from={llm_from}: nothing to train by before; give embedding_ctc_weight")
        self.ctc_weight, self.embedding_ctc_weight = ctc_weight, embedding_ctc_weight
        self.flat_steps, self.llm_from = flat_steps, llm_from

    def configure_model(self) -> None:
        if not self.groups:
            self.backbone.build()
            width = self.backbone.llm.width
            if self.ctc_weight:
                # Speech frames are as small as text embeddings; without the norm the head would hardly see them.
                self.ctc_head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, SUBFRAMES * (BLANK + 1)))
            if self.embedding_ctc_weight and not self.backbone.adapter.scores_tokens:
                self.token_ctc = TokenScores(width)
        super().configure_model()
        for name, key in (("ctc_head", "ctc_weight"), ("token_ctc", "embedding_ctc_weight")):
            head = getattr(self, name, None)
            if head is not None and not any(p.requires_grad for p in head.parameters()):
                raise ValueError(
                    f"model.{key}={getattr(self, key)}: its head is random and nothing trains it; add "
                    f'"{name}.*" to model.trainable, or set model.{key} to 0 (and flat_steps)'
                )

    def answered(self, speech: Speech, ratios: Ratios, suffixes: list[Suffix], weights: list[float]) -> OnePass:
        if self.global_step >= self.llm_from:
            return super().answered(speech, ratios, suffixes, weights)
        labels = sum(label != IGNORE for suffix in suffixes for label in suffix.labels)
        return OnePass(speech.frames.new_zeros(()), float(labels), labels, tokens=0, kept_kv_tokens=0)

    @property
    def alone(self) -> bool:
        """Whether training hasn't run the LLM yet, and the adapter is validated without it."""
        fitting = self.trainer.state.fn == TrainerFn.FITTING
        return fitting and 0 < self.llm_from >= self.global_step and self.backbone.adapter.scores_tokens

    @property
    def handicap(self) -> float:
        return NOT_RUN if self.alone else 0.0

    def predict(self, batch: SpeechBatch) -> list[Prediction]:
        """What the LLM answers; while training hasn't run it yet, what the adapter spells by itself."""
        if not self.alone:
            return super().predict(batch)
        speech = self.speech(batch)
        assert speech.scores is not None
        lengths = speech.lengths.tolist()
        spelled = [
            self.backbone.spelling.greedy_text(scores[:n]) for scores, n in zip(speech.scores, lengths, strict=True)
        ]
        none = {"finished": True, "kept_kv_tokens": 0, "kept_kv_bytes": 0}  # the LLM has heard nothing
        return [
            Prediction.of(cut, turn, 1, text, total_kv_tokens=frames, **none)
            for cut, turns, text, frames in zip(batch.cuts, batch.turns, spelled, lengths, strict=True)
            for turn in turns
        ]

    def extra_loss(self, batch: SpeechBatch, speech: Speech) -> Tensor | float:
        losses = (
            ("ctc", self.ctc_weight, lambda: self.ctc(batch, speech)),
            ("embedding_ctc", self.embedding_ctc_weight, lambda: self.embedding_ctc(batch, speech)),
        )
        total: Tensor | float = 0.0
        for name, weight, compute in losses:
            if weight:
                loss = compute()
                self.log(f"train/{name}", loss.detach(), prog_bar=self.llm_from > 0, batch_size=len(batch))
                total = total + weight * loss
        return total

    def answer_ids(self, batch: SpeechBatch) -> list[Tensor]:
        """Each row's transcript in the LLM's tokens; with an adapter that scores some alone, as places among these."""
        return [torch.tensor(self.backbone.spelling(text)).to(self.device) for text in spoken_words(batch)]

    def ctc(self, batch: SpeechBatch, speech: Speech) -> Tensor:
        """CTC loss a byte."""
        targets = [torch.tensor(list(text.encode()), device=self.device) for text in spoken_words(batch)]
        logits = self.ctc_head(speech.frames).float().unflatten(2, (SUBFRAMES, BLANK + 1)).flatten(1, 2)
        return mean_ctc(logits, speech.lengths * SUBFRAMES, targets, BLANK)

    def embedding_ctc(self, batch: SpeechBatch, speech: Speech) -> Tensor:
        """CTC loss a token; in the first `flat_steps` a cross entropy a frame."""
        targets = self.answer_ids(batch)
        if speech.scores is not None:
            logits, tokens = speech.scores, torch.arange(speech.scores.shape[2] - 1, device=self.device)
        else:
            tokens = torch.unique(torch.cat(targets))
            logits = self.token_ctc(speech.frames, self.backbone.llm.embedding.weight[tokens])
        if self.global_step < self.flat_steps:
            labels = self.flat_labels(batch, speech, tokens)
            return cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORE)
        return mean_ctc(logits, speech.lengths, [torch.searchsorted(tokens, t) for t in targets], len(tokens))

    def flat_labels(self, batch: SpeechBatch, speech: Speech, tokens: Tensor) -> Tensor:
        """Place in `tokens` of the token of every frame, their number in silence: int64 [B, N], `IGNORE` in padding."""
        rate = self.backbone.frame_rate
        place = {token: number for number, token in enumerate(tokens.tolist())}
        rows = []
        for cut, length in zip(batch.cuts, speech.lengths.tolist(), strict=True):
            spoken = []
            for said in cut.supervisions:
                # A text's tokens may differ where it is tokenized alone; those the batch lacks are left out.
                ids = [i for i in self.backbone.spelling(said.text or "") if i in place]
                sizes = [len(self.backbone.spelling.text_of([i])) for i in ids]
                spoken.append(Spoken(said.start * rate, said.end * rate, [place[i] for i in ids], sizes))
            rows.append(flat_labels(spoken, length, len(tokens)))
        return pad_sequence(rows, batch_first=True, padding_value=IGNORE).to(self.device)


def spoken_words(batch: SpeechBatch) -> list[str]:
    """Each row's transcript without its time marks, which make no sound."""
    return [without_time_marks(turns[0].answer) for turns in batch.turns]


def mean_ctc(logits: Tensor, lengths: Tensor, targets: list[Tensor], blank: int) -> Tensor:
    """CTC loss a target symbol. A target with more symbols than steps has no alignment and counts as 0."""
    loss = ctc_loss(
        logits.float().log_softmax(-1).transpose(0, 1),
        torch.cat(targets),
        lengths,
        torch.tensor([len(t) for t in targets], device=logits.device),
        blank=blank,
        reduction="sum",
        zero_infinity=True,
    )
    return loss / max(1, sum(len(t) for t in targets))
