"""Every number that a constructor takes is refused, by its key, where it is out of range or no number at all."""

import math

import pytest
from transformers import SchedulerType, get_scheduler

from data_recipes.corpora import EmbeddedSpeech, MiniLibriSpeech, SpokenDigits, VoiceAttributes
from speech_xl.callbacks.memory_monitor import MemoryMonitor
from speech_xl.callbacks.progress_lines import ProgressLines
from speech_xl.callbacks.samples import Samples
from speech_xl.callbacks.throughput import Throughput
from speech_xl.data.dataset import EvaluationTurns, Excerpt
from speech_xl.data.loaders import TrainSampling
from speech_xl.data.partition import FixedWindows, PauseWindows
from speech_xl.data.tasks import TaskMixture
from speech_xl.extensions.answer_noise import AnswerNoise
from speech_xl.extensions.contrastive import ContrastiveAnswers
from speech_xl.extensions.ctc import TokenCTC
from speech_xl.extensions.time_code import TimeCode
from speech_xl.extensions.timestamps.transcript import Timestamps
from speech_xl.extensions.voice_adapter import VoiceAdapter
from speech_xl.model import AcousticAdapter, SemanticAdapter, SSTs
from speech_xl.model.encoder import HFEncoder
from speech_xl.model.llm import LLM, Lora
from speech_xl.phases import SemanticAlignment, SSTCompression
from speech_xl.phases.phase import SCHEDULES

NO_NUMBERS = [math.nan, math.inf, -math.inf, "4", True, [1], 10**400]


def phase(kind=SemanticAlignment, **options):
    given = {"encoder": "none", "adapter": SemanticAdapter(), "llm": "none", "trainable": {"adapter.*": 1e-3}}
    return kind(**(given | options))


def sampling(**options):
    given = {"seed": 0, "max_duration": 1.0, "quadratic_duration": None, "num_buckets": 1, "excerpt": None}
    return TrainSampling(**(given | options))


# constructor, key and values that are numbers and out of its range
CASES = [
    (FixedWindows, "seconds", [0, -1, 0.01, None]),
    (PauseWindows, "max_seconds", [0, -1, 0.01, None]),
    (Timestamps, "step_seconds", [0, -1, 1e-9, None]),
    (Timestamps, "max_gap_seconds", [0, -1]),
    (sampling, "seed", [-1, 0.5, None]),
    (sampling, "max_duration", [0, -1, None]),
    (sampling, "quadratic_duration", [0, -1]),
    (sampling, "num_buckets", [0, -1, 1.5, None]),
    (lambda **given: TaskMixture({"asr": 1.0, **given}), "qa", [-1, None]),
    (lambda turns: TaskMixture({"asr": 1.0}, turns), "turns", [0, -1, 1.5, None]),
    (lambda eval_questions: EvaluationTurns(["qa"], eval_questions), "eval_questions", [0, -1, 1.5, None]),
    (lambda min_seconds: Excerpt(min_seconds, 5.0), "min_seconds", [0, -1, None]),
    (lambda max_seconds: Excerpt(1.0, max_seconds), "max_seconds", [0, 0.5, None]),
    (lambda per_session: Excerpt(1.0, 2.0, per_session=per_session), "per_session", [0, -1, 1.5, None]),
    (
        lambda length_curriculum_epochs: Excerpt(1.0, 2.0, length_curriculum_epochs=length_curriculum_epochs),
        "length_curriculum_epochs",
        [-1, 1.5, None],
    ),
    (AnswerNoise, "share", [-0.1, 1, 2, None]),
    (phase, "warmup_steps", [-5, 1.5, None]),
    (phase, "max_tokens_per_second", [0, -8.0, None]),
    (phase, "seed", [-1, 1.5, None]),
    (lambda qa: phase(task_weights={"qa": qa}), "qa", [0, -1, None]),
    (lambda **given: phase(trainable={"adapter.*": given["adapter"]}), "adapter", [-1.0, None]),
    (TokenCTC, "weight", [-1, None]),
    (TokenCTC, "flat_steps", [-1, 1.5, None]),
    (ContrastiveAnswers, "weight", [-1, None]),
    (lambda ratios: phase(SSTCompression, sst=SSTs(), ratios=[ratios]), "ratios", [0, -1, 1.5, None]),
    (lambda eval_ratios: phase(SSTCompression, sst=SSTs(), eval_ratios=[eval_ratios]), "eval_ratios", [0, 1.5]),
    (SemanticAdapter, "stride", [0, -1, 1.5, None]),
    (SemanticAdapter, "hidden", [0, -1, 1.5]),
    (SemanticAdapter, "dropout", [-0.1, 1, 2, None]),
    (TimeCode, "scale", [0, -1, None]),
    (SemanticAdapter, "channel_dropout", [-0.1, 1, None]),
    (SemanticAdapter, "time_mask", [-0.1, 1, None]),
    (lambda stride: VoiceAdapter([1], stride), "stride", [0, -1, 1.5, None]),
    (lambda segment: AcousticAdapter([1], segment=segment), "segment", [0, -4, 1.5, None]),
    (lambda heads: AcousticAdapter([1], heads=heads), "heads", [0, 3, None]),
    (lambda depth: AcousticAdapter([1], depth=depth), "depth", [0, None]),
    (SSTs, "rank", [0, -1, 1.5, None]),
    (lambda window_seconds: HFEncoder("none", window_seconds=window_seconds), "window_seconds", [0, -1]),
    (lambda overlap_seconds: HFEncoder("none", overlap_seconds=overlap_seconds), "overlap_seconds", [-1, None]),
    (lambda r: LLM("none", lora=Lora(r=r)), "r", [0, -1, 1.5, None]),
    (Lora, "alpha", [0, -1, None]),
    (Lora, "dropout", [-0.1, 1, None]),
    (Throughput, "window", [0, 1.5, None]),
    (Throughput, "peak_flops", [0, -1]),
    (MemoryMonitor, "every_n_steps", [0, 1.5, None]),
    (Samples, "n", [-1, 1.5, None]),
    (ProgressLines, "every_seconds", [-1, None]),
    (EmbeddedSpeech, "train_hours", [0, -1, None]),
    (EmbeddedSpeech, "dev_sessions", [0, 1.5, None]),
    (EmbeddedSpeech, "max_seconds", [1.0, None]),
    (EmbeddedSpeech, "jobs", [0, None]),
    (SpokenDigits, "train_sessions", [0, 1.5, None]),
    (SpokenDigits, "min_digits", [1, 100, None]),
    (SpokenDigits, "max_digits", [3, 100, None]),
    (SpokenDigits, "longest_pause", [0, None]),
    (MiniLibriSpeech, "max_seconds", [0, -1]),
    (MiniLibriSpeech, "mixed", [-0.1, 1.1, None]),
    (lambda **given: VoiceAttributes(emodb_dir="x", **given), "max_utterances", [0, 1.5, None]),
    (lambda pauses: VoiceAttributes(emodb_dir="x", pauses=(0.1, pauses)), "pauses", [-1, 0.05, None]),
]


@pytest.mark.parametrize(("make", "key", "out_of_range"), CASES)
def test_no_constructor_takes_a_number_out_of_range(make, key, out_of_range):
    for value in [*NO_NUMBERS, *out_of_range]:
        with pytest.raises(ValueError, match=rf"\b{key}\b.*(got|=|multiple)"):
            make(**{key: value})


def test_nothing_to_train_is_refused():
    with pytest.raises(ValueError, match=r"model\.trainable: got \{\}, which trains nothing"):
        phase(trainable={})


def test_a_ratio_is_refused_where_a_phase_does_not_compress():
    with pytest.raises(ValueError, match=r"model\.eval_ratios: got \[1, 4\], and SemanticAlignment doesn't compress"):
        phase(eval_ratios=[1, 4])
    phase(eval_ratios=[1])


def test_schedulers_are_those_that_need_no_arguments(one_parameter):
    """A name that isn't known is told with those that are, before a model is built."""
    with pytest.raises(ValueError, match=r"model\.scheduler: got 'swing'; choose one of linear, cosine"):
        phase(scheduler="swing")
    for kind in SchedulerType:
        try:
            schedule = get_scheduler(kind, one_parameter, num_warmup_steps=2, num_training_steps=10)
        except (TypeError, ValueError):
            assert kind.value not in SCHEDULES
        else:
            assert (kind.value in SCHEDULES) == (type(schedule).__name__ == "LambdaLR"), kind


@pytest.fixture
def one_parameter():
    import torch

    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
