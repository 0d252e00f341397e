"""TokenCTC: an auxiliary loss that aligns speech frames with the LLM's tokens. docs/extensions/ctc.md."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, ctc_loss
from torch.nn.utils.rnn import pad_sequence

from speech_xl.checks import number, whole
from speech_xl.data.batch import SpeechBatch
from speech_xl.extensions.ctc.flat_start import Spoken, flat_labels
from speech_xl.extensions.ctc.token_scores import TokenScores
from speech_xl.extensions.timestamps.marks import without_time_marks
from speech_xl.model import SpeechLLM
from speech_xl.model.prompt import IGNORE
from speech_xl.model.speech import Speech
from speech_xl.phases.extension import AuxiliaryLoss, PhaseExtension


class TokenCTC(PhaseExtension):
    """CTC whose classifier is the LLM's own embedding table, over the tokens that occur in the batch.

    It draws a frame towards the embedding of the token that is spoken there, which is what a pretrained LLM knows how
    to read. An adapter that scores tokens itself is trained by its scores over all tokens; for any other this has a
    blank and a scale to train: add ``extensions.TokenCTC.*`` to `trainable`. The first turn of a sample is its
    transcript, so tasks must be ``{asr: 1.0}``.

    weight      of the loss, a mean over label tokens
    flat_steps  for so many optimizer steps, before it may align as it likes, the loss is a cross entropy against tokens
                laid evenly over their supervision's time
    """

    def __init__(self, weight: float = 1.0, flat_steps: int = 0) -> None:
        super().__init__()
        self.weight = number("TokenCTC.weight", weight, least=0)
        self.flat_steps = whole("TokenCTC.flat_steps", flat_steps)

    def build(self, backbone: SpeechLLM) -> None:
        if not backbone.adapter.scores_tokens:
            self.scores = TokenScores(backbone.llm.width)

    def loss(self, backbone: SpeechLLM, batch: SpeechBatch, speech: Speech, step: int) -> AuxiliaryLoss:
        text_ids = backbone.llm.prompt.text_ids
        targets = [torch.tensor(text_ids(text)).to(backbone.device) for text in spoken_words(batch)]
        if speech.scores is not None:
            logits, tokens = speech.scores, torch.arange(speech.scores.shape[2] - 1, device=backbone.device)
        else:
            tokens = torch.unique(torch.cat(targets))
            logits = self.scores(speech.frames, backbone.llm.embedding.weight[tokens])
        if step < self.flat_steps:
            labels = label_frames(backbone, batch, speech, tokens)
            mean = cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORE)
        else:
            mean = mean_ctc(logits, speech.lengths, [torch.searchsorted(tokens, t) for t in targets], len(tokens))
        return AuxiliaryLoss(self.weight * mean, {"token_ctc": mean.detach()}, len(batch))


def spoken_words(batch: SpeechBatch) -> list[str]:
    """Each row's transcript without its timestamps, which make no sound."""
    return [without_time_marks(turns[0].answer) for turns in batch.turns]


def label_frames(backbone: SpeechLLM, batch: SpeechBatch, speech: Speech, tokens: Tensor) -> Tensor:
    """Place in `tokens` of the token of every frame, their number in silence: int64 [B, N], `IGNORE` in padding."""
    rate, prompt = backbone.frame_rate, backbone.llm.prompt
    place = {token: number for number, token in enumerate(tokens.tolist())}
    rows = []
    for cut, length in zip(batch.cuts, speech.lengths.tolist(), strict=True):
        spoken = []
        for supervision in cut.supervisions:
            # A text's tokens may differ where it is tokenized alone; those the batch lacks are left out.
            ids = [i for i in prompt.text_ids(supervision.text or "") if i in place]
            sizes = [len(str(prompt.tokenizer.decode([i]))) for i in ids]
            spoken.append(Spoken(supervision.start * rate, supervision.end * rate, [place[i] for i in ids], sizes))
        rows.append(flat_labels(spoken, length, len(tokens)))
    return pad_sequence(rows, batch_first=True, padding_value=IGNORE).to(backbone.device)


def mean_ctc(logits: Tensor, lengths: Tensor, targets: list[Tensor], blank: int) -> Tensor:
    """CTC loss a target symbol, of logits [B, N, V] with lengths int64 [B]. A target with more symbols than steps has
    no alignment and counts as 0."""
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
