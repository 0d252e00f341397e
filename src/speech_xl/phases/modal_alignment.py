"""Phase 2, modal alignment: captions and questions beside transcription, still without compression."""

from typing import Any

import torch
from torch import Tensor

from speech_xl.checks import number
from speech_xl.data.batch import SpeechBatch
from speech_xl.extensions.contrastive import heard_answers, mean_frames
from speech_xl.model.speech import Speech
from speech_xl.phases.phase import Phase


class ModalAlignment(Phase):
    """Captions and Q&A on whole sessions; which tasks, in which shares, is the data module's `tasks`.

    Args:
        heard_weight: weight of an auxiliary loss (ours): the mean of a session's frames lies nearer to the embedding of
            the answer to a question than to those of the other answers in the batch. For questions about a whole
            session with few answers, such as who speaks and how; what was said at one place no mean can tell. 0 leaves
            it away.

    Everything else as in `Phase`: tasks are text, and what trains is `trainable`.
    """

    def __init__(self, *args: Any, heard_weight: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heard_weight = number("model.heard_weight", heard_weight, least=0)

    def extra_loss(self, batch: SpeechBatch, speech: Speech) -> Tensor | float:
        if not self.heard_weight:
            return 0.0
        asked = [
            (row, t.instruction, t.answer) for row, turns in enumerate(batch.turns) for t in turns if t.task == "qa"
        ]
        heard = heard_answers(mean_frames(speech.frames, speech.lengths), asked, self.embed)
        if heard.answers:
            self.log("train/heard", heard.loss.detach(), prog_bar=True, batch_size=heard.answers)
            self.log("train/heard_right", heard.right / heard.answers, batch_size=heard.answers)
        return self.heard_weight * heard.loss

    def embed(self, text: str) -> Tensor:
        """The mean of a text's token embeddings [D]."""
        llm = self.backbone.llm
        ids = llm.prompt.text_ids(text)
        return llm.embedding.weight[torch.tensor(ids, device=self.device)].mean(0)
