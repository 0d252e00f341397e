"""Samples: after a validation, answers beside references, the audio and a picture of a few sessions in TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_warn

from speech_xl import SAMPLE_RATE
from speech_xl.callbacks.pictures import log_mel, session_picture
from speech_xl.callbacks.scalars import tensorboard_writers
from speech_xl.checks import whole
from speech_xl.data.audio import load_audio
from speech_xl.evaluation.metrics import is_correct, unit_of, word_errors
from speech_xl.evaluation.prediction import Prediction
from speech_xl.phases.observations import Example, observations


class Samples(pl.Callback):
    """Writes under `samples/<cut id>`: a table of every answer at every ratio (`answers`), the audio (`audio`, 16 kHz)
    and a picture (`picture`): log-mel spectrogram, interval borders, where the SSTs of each ratio stand.

    The audio is written once a run, and so is the picture unless borders or SSTs change. One session is printed too.

    Args:
        n: At most so many sessions, the first of validation.
        audio: Write the audio.
        picture: Write the picture; needs matplotlib.
        console: Print one session's answers after each validation.
    """

    def __init__(self, n: int = 3, audio: bool = True, picture: bool = True, console: bool = True) -> None:
        whole("Samples.n", n)
        self.n = n
        self.audio = audio
        self.picture = picture
        self.console = console
        self._heard: set[str] = set()  # cut ids whose audio is written
        self._drawn: dict[str, Any] = {}  # cut id: what its last picture showed

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        observations(pl_module).want_examples(self.n)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero or not self.n:
            return
        predictions, examples = observations(pl_module).predictions, observations(pl_module).examples
        ids = list(
            dict.fromkeys([example.cut.id for example in examples] + [prediction.cut_id for prediction in predictions])
        )
        for writer in tensorboard_writers(trainer):
            for cut_id in ids[: self.n]:
                answers = [prediction for prediction in predictions if prediction.cut_id == cut_id]
                if answers:
                    writer.add_text(
                        f"samples/{cut_id}/answers", answers_table(answers), global_step=trainer.global_step
                    )
            for example in examples[: self.n]:
                self._write_example(writer, example, trainer.global_step)
            writer.flush()
        # Only now: with several TensorBoard loggers each gets the audio and the picture.
        for example in examples[: self.n]:
            self._heard.add(example.cut.id)
            self._drawn[example.cut.id] = _shown(example)
        if self.console and ids:
            self._print(trainer, [prediction for prediction in predictions if prediction.cut_id == ids[0]])

    def _write_example(self, writer: Any, example: Example, step: int) -> None:
        cut_id = example.cut.id
        wants_audio = self.audio and cut_id not in self._heard
        wants_picture = self.picture and self._drawn.get(cut_id) != _shown(example)
        if not wants_audio and not wants_picture:
            return
        samples = load_audio(example.cut)
        if wants_audio:
            writer.add_audio(f"samples/{cut_id}/audio", samples[None], global_step=step, sample_rate=SAMPLE_RATE)
        if wants_picture:
            try:
                mel = log_mel(samples)
                image = session_picture(mel, example.cut.duration, example.interval_ends, example.sst_times)
            except ImportError as error:
                rank_zero_warn(f"Samples: no pictures without matplotlib ({error}); install it, or set picture: false.")
                self.picture = False
                return
            writer.add_image(f"samples/{cut_id}/picture", image, global_step=step, dataformats="HWC")

    def _print(self, trainer: pl.Trainer, predictions: Sequence[Prediction]) -> None:
        if not predictions:
            return
        text = console_text(predictions, trainer.global_step)
        bar = trainer.progress_bar_callback
        if bar is None or getattr(bar, "is_disabled", False):
            print(text)
        else:
            bar.print(text)  # above the bar, without breaking it


def answers_table(predictions: Sequence[Prediction]) -> str:
    """Markdown: one row an answer, the ratios of one instruction below each other, in full length."""
    first_seen = {
        key: index for index, key in enumerate(dict.fromkeys(_question(prediction) for prediction in predictions))
    }
    ordered = sorted(predictions, key=lambda prediction: (first_seen[_question(prediction)], prediction.ratio))
    lines = ["| task | instruction | ratio | reference | hypothesis | score |", "| --- | --- | --- | --- | --- | --- |"]
    for prediction in ordered:
        question = [prediction.task, prediction.instruction, f"{prediction.ratio}x"]
        cells = [_cell(cell) for cell in [*question, prediction.reference, prediction.hypothesis]]
        lines.append("| " + " | ".join([*cells, answer_score(prediction)]) + " |")
    return "\n".join(lines)


def console_text(predictions: Sequence[Prediction], step: int) -> str:
    """The first question of a session at every ratio, a line each."""
    asked = [prediction for prediction in predictions if _question(prediction) == _question(predictions[0])]
    lines = [
        f"validation at step {step}, {asked[0].cut_id} ({asked[0].duration:.1f} s): {asked[0].instruction}",
        f"  reference        {asked[0].reference}",
    ]
    for prediction in sorted(asked, key=lambda prediction: prediction.ratio):
        ratio = f"{prediction.ratio}x"
        lines.append(f"  {ratio:>4} {answer_score(prediction):>10}  {prediction.hypothesis}")
    return "\n".join(lines)


def answer_score(prediction: Prediction) -> str:
    """WER of a transcript, right or wrong for an answer, nothing for other tasks."""
    if prediction.task == "asr":
        errors, words = word_errors(prediction)
        rate = "WER" if unit_of(prediction) == "word" else "CER"
        return f"{100 * errors / words:.1f} % {rate}" if words else f"{errors} errors"
    if prediction.task == "qa":
        return "right" if is_correct(prediction.reference, prediction.hypothesis, **prediction.reading) else "wrong"
    return ""


def _question(prediction: Prediction) -> tuple[str, str, int]:
    return prediction.task, prediction.instruction, prediction.occurrence


def _shown(example: Example) -> Any:
    return list(example.interval_ends), {ratio: list(times) for ratio, times in example.sst_times.items()}


def _cell(text: str) -> str:
    """Text that can't break a markdown table or be taken for HTML by TensorBoard."""
    text = str(text).replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;")
    return " ".join(text.split()) or "(empty)"
