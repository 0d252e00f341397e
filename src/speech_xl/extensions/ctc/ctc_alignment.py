"""CTCAlignment: a phase before stage 1 that trains the adapter by CTC, without the LLM. docs/extensions/ctc.md."""

from typing import Any

import torch

from speech_xl.data.batch import SpeechBatch
from speech_xl.data.datamodule import SpeechDataModule
from speech_xl.evaluation.prediction import Prediction
from speech_xl.extensions.ctc.token_ctc import TokenCTC
from speech_xl.extensions.ctc.token_scores import greedy_text
from speech_xl.model.prompt import IGNORE, Suffix
from speech_xl.model.speech import OnePass, Ratios, Speech
from speech_xl.phases.phase import Phase

NAME = "greedy CTC"  # in place of a compressor's
COSTS: dict[str, Any] = {"finished": True, "kept_kv_tokens": 0, "kept_kv_bytes": 0}  # of an LLM that isn't run


class CTCAlignment(Phase):
    """Trains an adapter that scores tokens by `TokenCTC`, at a third to a tenth of the time a step.

    Validation and test score the text of the likeliest CTC path through the adapter's own scores. So `data.tasks` and
    `data.eval_tasks` must be transcripts (asr) alone; with others ValueError is raised.

    Everything else as in `Phase`; to train it, `extensions` must have a TokenCTC.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.backbone.adapter.scores_tokens:
            raise ValueError(
                f"model.adapter: CTCAlignment trains an adapter that scores tokens, and "
                f"{type(self.backbone.adapter).__name__} doesn't; take PosteriorAdapter, or the phase "
                "SemanticAlignment; where this is stage 0, let stage 1 begin without it, and without TokenCTC "
                "(--init_from null --model.extensions null), as the overlays of models do"
            )

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit" and TokenCTC.__name__ not in self.extensions:  # in use it has no auxiliary losses
            raise ValueError("model.extensions: CTCAlignment trains by TokenCTC alone, and it isn't there; add it")
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, SpeechDataModule):
            for key, tasks in (("tasks", data.mixture.weights), ("eval_tasks", data.evaluation.tasks)):
                if other := sorted(set(tasks) - {"asr"}):
                    raise ValueError(
                        f"data.{key}: CTCAlignment spells transcripts alone, and there is {', '.join(other)}; leave asr"
                    )

    def answered(self, speech: Speech, ratios: Ratios, suffixes: list[list[Suffix]], weights: list[float]) -> OnePass:
        """No loss of the LLM's, which isn't run; the label tokens are counted all the same."""
        labels = sum(label != IGNORE for row in suffixes for suffix in row for label in suffix.labels)
        return OnePass(speech.frames.new_zeros(()), float(labels), labels, tokens=0, kept_kv_tokens=0)

    @torch.no_grad()
    def predict(self, batch: SpeechBatch) -> list[Prediction]:
        """A prediction per turn, of the text that the adapter's scores spell."""
        speech, tokenizer = self.speech(batch), self.backbone.llm.prompt.tokenizer
        assert speech.scores is not None
        lengths = speech.lengths.tolist()
        texts = [greedy_text(tokenizer, row[:n]) for row, n in zip(speech.scores, lengths, strict=True)]
        return [
            Prediction.of(cut, turn, 1, text, compressor=NAME, total_kv_tokens=length, **COSTS)
            for cut, turns, text, length in zip(batch.cuts, batch.turns, texts, lengths, strict=True)
            for turn in turns
        ]

    def predict_step(self, batch: SpeechBatch, batch_index: int) -> None:
        """As in validation, to the predictions file."""
        assert self.evaluation is not None and self.evaluation.writer is not None
        for prediction in self.predict(batch):
            self.evaluation.writer.write(prediction)
