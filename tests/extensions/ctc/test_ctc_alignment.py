"""CTCAlignment: the adapter learns to spell, the LLM isn't run, and validation scores what the adapter spells."""

from types import SimpleNamespace

import pytest
import torch

from speech_xl.data.datamodule import SpeechDataModule
from speech_xl.evaluation.prediction_file import PredictionWriter, read_predictions
from speech_xl.extensions.ctc import CTCAlignment, PosteriorAdapter, TokenCTC
from speech_xl.model import SemanticAdapter, SpeechLLM
from speech_xl.phases.evaluation_loops import Evaluation
from tests.data.conftest import TinyCorpus
from tests.phases.parts import Given, batch, fit, phase

ROW = ("one", 0.7, [("say", "ada")])


class Validated(Given):
    """Validates on what it trains on."""

    def val_dataloader(self):
        return self.train_dataloader()


def test_the_adapter_learns_to_spell_and_the_llm_is_not_run(folders, tmp_path, monkeypatch):
    ran = []
    for name in ("forward", "generate"):
        monkeypatch.setattr(SpeechLLM, name, lambda *given, name=name: ran.append(name))
    options = {"adapter": PosteriorAdapter(stride=4), "extensions": [TokenCTC(100.0)], "optimizer": torch.optim.Adam}
    model = phase(CTCAlignment, folders, {"adapter.*": 3e-3}, **options)
    every = {"gradient_clip_val": 1.0, "val_check_interval": 40, "check_val_every_n_epoch": None}
    metrics = fit(model, Validated([batch(tmp_path, ROW)], tmp_path), 40, **every).callback_metrics
    assert not ran and "train/loss" not in metrics and metrics["train/token_ctc"] < 1
    assert metrics["val/wer_1x"] == metrics["val/errors"] == 0
    with PredictionWriter(tmp_path / "predictions.jsonl") as writer:
        model.evaluate_by(Evaluation(writer=writer))
        model.predict_step(batch(tmp_path, ROW), 0)
    (prediction,) = read_predictions(tmp_path / "predictions.jsonl")
    assert (prediction.hypothesis, prediction.compressor, prediction.kept_kv_bytes) == (
        "ada",
        "greedy CTC",
        0,
    ) and not ran
    step = model.observations.step
    assert step.llm_tokens == 0 and step.audio_seconds == pytest.approx(0.7)


@pytest.mark.parametrize(
    "tasks", [{"tasks": {"asr": 1.0, "qa": 1.0}, "eval_tasks": ["asr"]}, {"eval_tasks": ["asr", "qa"]}]
)
def test_other_tasks_than_transcripts_are_refused(folders, tmp_path, tasks):
    model = phase(
        CTCAlignment, folders, {"adapter.*": 1.0}, adapter=PosteriorAdapter(stride=4), extensions=[TokenCTC()]
    )
    trainer = SimpleNamespace(
        datamodule=SpeechDataModule(TinyCorpus(tmp_path), max_duration=20.0, num_workers=0, **tasks)
    )
    model.trainer = trainer
    with pytest.raises(ValueError, match=rf"data\.{list(tasks)[0]}: CTCAlignment spells transcripts alone, .* qa"):
        model.setup("fit")


def test_what_cannot_train_it_is_refused(folders):
    model = phase(CTCAlignment, folders, {"adapter.*": 1.0}, adapter=PosteriorAdapter(stride=4))
    model.trainer = SimpleNamespace(datamodule=None)
    with pytest.raises(ValueError, match=r"model\.extensions: CTCAlignment trains by TokenCTC alone"):
        model.setup("fit")
    model.setup("predict")  # word times are told by a stage in use, which has no auxiliary losses
    with pytest.raises(ValueError, match=r"model\.adapter: .*scores tokens, and SemanticAdapter doesn't"):
        phase(CTCAlignment, folders, {"adapter.*": 1.0}, adapter=SemanticAdapter(), extensions=[TokenCTC()])
