"""run_comparison: trained stages and compressors asked about the same sessions; table, CSV, JSON and picture."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

import torch
from lhotse.cut import Cut
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, ConfigTypeError
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from speech_xl.data.audio import load_audio
from speech_xl.data.frame_cache import FrameCache
from speech_xl.evaluation.comparison import Answering, Comparison
from speech_xl.evaluation.compressors import Compressor, MeanPooled, Summarization, Uncompressed
from speech_xl.evaluation.compressors.summarization import APPENDED
from speech_xl.evaluation.evaluator import Evaluator
from speech_xl.evaluation.pictures import picture
from speech_xl.evaluation.prediction import Prediction
from speech_xl.evaluation.prediction_file import (
    PredictionWriter,
    asked_of,
    digest_of,
    prediction_path,
    read_predictions,
)
from speech_xl.evaluation.record import commit_of_tree, write_record
from speech_xl.evaluation.rows import (
    FULL_KV,
    WHISPER,
    Row,
    accuracy_delta,
    differences,
    rounded,
    row_of,
    seeds_of,
    wer_delta,
)
from speech_xl.evaluation.summaries import FIGURES, best_training_free, chosen_summary, summary_of
from speech_xl.evaluation.tables import method_table, write_csv
from speech_xl.evaluation.whisper import settings_of, write_whisper
from speech_xl.model import SpeechLLM
from speech_xl.model.decoding_rules import DecodingRules
from speech_xl.model.layout import interval_frames
from speech_xl.model.speech import Speech
from speech_xl.phases import MeanPooling
from speech_xl.phases.weights import weights_tag
from speech_xl.run.arguments import device_name, device_or_default
from speech_xl.run.configs import ConfigError
from speech_xl.run.lineage import stale_because
from speech_xl.run.run_folder import WEIGHTS
from speech_xl.run.trained_stage import TrainedStage
from speech_xl.storage.files import write_text

Found = dict[tuple[str, int], list[list[Prediction]]]  # by row and ratio, of each stage of the row


def run_comparison(
    comparison: Comparison,
    folders: Mapping[str, Path],
    out: Path,
    *,
    command: str | None = None,
    device: str | None = None,
    remarks: Sequence[str] = (),
) -> Path:
    """Carry out a comparison and write NAME.json, NAME.csv, NAME.md and NAME.png into `out`; the path of the JSON.

    Answers are kept in ``out/predictions`` as they come, so a comparison that was broken off goes on, and one whose
    stages were trained again asks anew.

    folders: of the trained stages, by name. command: that was given, for the record. device: None: a GPU if any.
    remarks: what the table and the record must say about the stages; stale ones are remarked upon here.
    Methods that aren't installed are left out with a remark where `methods` doesn't name them.
    Raises ImportError where it does, ConfigError where a stage or a key of its data is missing.
    """
    comparison, left_out = comparison.installed()
    commit = commit_of_tree()
    try:
        device = device_name(device_or_default(device))
    except ArgumentTypeError as error:
        raise ConfigError(f"--device: {error}") from error
    stages = {name: TrainedStage.of(folders[name]) for name in comparison.needed}
    asking = _Asking(comparison, stages, Path(out) / "predictions" / comparison.name, device)
    found, about = asking.predictions()
    rows = rows_of(comparison, found, about)
    if comparison.whisper:
        rows.append(row_of(WHISPER, 1, asking.whisper(comparison.whisper), {"weights": Path(comparison.whisper).name}))
    rows = [rounded(row) for row in rows]
    extra: dict[str, Any] = {}
    summary = summary_of(rows)
    if comparison.summary:
        summary = chosen_summary(rows, comparison.summary, comparison.task, comparison.split)
        extra["unit"] = f"{FIGURES[comparison.task][1]}, mean over seeds"
    if best := best_training_free(rows, comparison.task):
        extra["best_training_free"] = best
    count, corpus = len(asking.reference.cuts), asking.reference.corpus
    title = f"{count} {comparison.split} sessions of {corpus}"
    write_csv(rows, Path(out) / f"{comparison.name}.csv")
    picture(rows, Path(out) / f"{comparison.name}.png")
    remarks = [
        *remarks,
        *left_out,
        *(line for name in comparison.needed for line in stale_because(folders[name] / WEIGHTS)),
    ]
    warned = [f"**Note:** {line}" for line in remarks]
    free = "; ".join(f"{ratio} {found['method']}" for ratio, found in best.items())
    named = [f"Best training-free method: {free}."] if best else []
    table = method_table(rows, comparison.differs_from)
    page = [f"# {comparison.name}", f"{title}.", *warned, table, *named, EXPLAINED]
    write_text(Path(out) / f"{comparison.name}.md", "\n\n".join(page) + "\n")
    if remarks:
        extra["remarks"] = remarks
    command = command or f"python experiments/run.py compare --only {comparison.name}"
    return write_record(comparison.name, summary, command, title, count, commit=commit, folder=out, rows=rows, **extra)


EXPLAINED = (
    "In brackets: 95 % intervals, percentile bootstrap over sessions; of differences, paired by session. WER cut: WER "
    "with every hypothesis cut at 1.2 times the reference's words. Kept and peak KV: of the audio, means over "
    "sessions, the prompt's prefix not counted."
)


def rows_of(comparison: Comparison, found: Found, about: Mapping[str, Row]) -> list[Row]:
    """The table's rows, with what each differs from the baseline at its ratio."""
    rows = []
    for (name, ratio), seeds in found.items():
        row = row_of(name, ratio, list(chain.from_iterable(seeds)), about[name]) | seeds_of(seeds)
        others = found.get((comparison.differs_from, ratio))
        if others and name != comparison.differs_from:  # paired, so that sessions which are hard for all don't blur it
            row |= differences(seeds, others)
        if whole := found.get((FULL_KV, 1)):
            own, others = (list(chain.from_iterable(some)) for some in (seeds, whole))
            row |= accuracy_delta(own, others, "more_right_than_full_kv")
            row |= wer_delta(own, others, "more_errors_than_full_kv")
        rows.append(row)
    return rows


def changed(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's data with other values at dotted keys. Raises ConfigError for a key that it hasn't got."""
    config = OmegaConf.create(dict(data))
    OmegaConf.set_struct(config, True)
    for key, value in changes.items():
        try:
            OmegaConf.update(config, key, value, force_add=False)
        except (ConfigAttributeError, ConfigKeyError, ConfigTypeError, ValueError):
            raise ConfigError(f"data.{key}: the stage's data has no key {key}; take one of its config.yaml") from None
    return cast(dict[str, Any], OmegaConf.to_container(config))


def own_compressor(stage: TrainedStage, model: SpeechLLM) -> Compressor:
    """How a stage keeps less by itself: what it was trained for."""
    if stage.model_config["class_path"].rpartition(".")[2] == MeanPooling.__name__:
        return MeanPooled(trained=True)
    if model.sst is None:
        return Uncompressed()
    return Summarization() if model.placement == "interleaved" else Summarization(APPENDED)


class Sessions:
    """The sessions that are asked about and their turns: a stage's data, but for what the comparison changes."""

    def __init__(self, comparison: Comparison, stage: TrainedStage) -> None:
        own = changed(stage.config["data"], comparison.data)
        asked = {"eval_questions": comparison.questions, "eval_tasks": list(comparison.tasks)}
        self.data = stage.data(own | asked | {f"limit_{comparison.split}": comparison.sessions})
        self.cuts: list[Cut] = list(self.data.cuts(comparison.split))
        self.corpus, self.turns = self.data.corpus.name, self.data.evaluation
        self.decoding = DecodingRules(stage.tokens_per_second, self.data.transcript)
        heard = {key: own.get(key) for key in ("corpus", "transforms", "transcript", "partition")}
        self.about = {
            "asked": asked_of(self.cuts, self.turns),
            "data": digest_of(heard),
            "max_tokens_per_second": stage.tokens_per_second,
        }

    def speech(self, model: SpeechLLM, cache: FrameCache, cuts: Sequence[Cut]) -> Speech:
        """Sessions as the model's LLM hears them, from encoder frames that are computed once."""
        rows = [self._row(model, cache, cut) for cut in cuts]
        frames = pad_sequence([row.frames[0] for row in rows], batch_first=True)
        return Speech(frames, torch.cat([row.lengths for row in rows]), [row.intervals[0] for row in rows])

    def _row(self, model: SpeechLLM, cache: FrameCache, cut: Cut) -> Speech:
        frames = cache.load_or_store(cut, lambda one: model.encoder.encode([load_audio(one).to(model.device)])[0])
        adapted = model.adapt([frames])
        intervals = interval_frames(self.data.partition(cut), int(adapted.lengths[0]), model.frame_rate)
        return Speech(adapted.frames, adapted.lengths, [intervals])


@dataclass
class _Asking:
    """A comparison's stages being asked, one model in memory at a time.

    Compressors of the registry all hear the sessions as the reference does (the first stage with SSTs, else the first
    of all) and answer by its rules, so that nothing but the compressor differs. Rows of own stages hear their own data.
    """

    comparison: Comparison
    stages: Mapping[str, TrainedStage]
    folder: Path
    device: str

    def __post_init__(self) -> None:
        name = [*self.comparison.sst, *self.comparison.needed][0]
        self.reference = Sessions(self.comparison, self.stages[name])

    def predictions(self) -> tuple[Found, dict[str, Row]]:
        """Everybody's predictions in the table's order, and what else the rows say, by the row's name."""
        answered: dict[Answering, dict[int, list[Prediction]]] = {}
        about: dict[str, Row] = {}
        for name in self.comparison.needed:
            stage = self.stages[name]
            model = stage.model(self.device)
            trained = sum(p.numel() for n, p in model.named_parameters() if n.startswith("sst."))
            for one in (one for one in self.comparison.answering if one.stage == name):
                compressor = own_compressor(stage, model) if one.method is None else one.method.make()
                answered[one] = self._answers(one, stage, model, compressor)
                about[one.row] = {
                    "own": one.method is None,
                    "weights": name if one.method is None else one.method.weights,
                    "stages": [other.stage for other in self.comparison.answering if other.row == one.row],
                    "trained_parameters": trained if compressor.trained else 0,
                    "needs_question": compressor.needs_question,
                    "streams": compressor.streams,
                }
        found: Found = {}
        for one in self.comparison.answering:
            for ratio, predictions in answered[one].items():
                found.setdefault((one.row, ratio), []).append(predictions)
        for row, said in about.items():
            every = chain.from_iterable(chain(*seeds) for (name, _), seeds in found.items() if name == row)
            said["device"] = ", ".join(sorted({prediction.device or "cpu" for prediction in every}))
        return found, about

    def _answers(
        self, one: Answering, stage: TrainedStage, model: SpeechLLM, compressor: Compressor
    ) -> dict[int, list[Prediction]]:
        """One stage's predictions for one row, by ratio; those that are written already are read."""
        own = one.method is None
        sessions = Sessions(self.comparison, stage) if own else self.reference
        with_ssts = one.method is None or one.method.weights == "sst"  # at 1x: how these weights do uncompressed
        ratios = [ratio for ratio in sorted(set(self.comparison.ratios)) if ratio > 1 or with_ssts]
        evaluator = Evaluator(
            model,
            compressor,
            ratios if compressor.compresses else [1],
            self.comparison.split,
            self.comparison.tasks,
            sessions.decoding,
        )
        tag = weights_tag(stage.weights)
        settings = {"weights": tag, "row": one.row, "split": self.comparison.split} | sessions.about
        path = prediction_path(self.folder, f"{one.row}_{one.stage}", tag, settings)
        cache = FrameCache.of(model.encoder, sessions.data.cache_dir)
        at_once = self.comparison.together if compressor.takes_rows else 1
        with PredictionWriter(path, settings) as writer, torch.no_grad():
            for first in tqdm(range(0, len(sessions.cuts), at_once), desc=f"{one.row}, {one.stage}", unit="batch"):
                cuts = sessions.cuts[first : first + at_once]
                turns = [sessions.turns(cut) for cut in cuts]
                evaluator.write(writer, cuts, turns, lambda cuts=cuts: sessions.speech(model, cache, cuts))
        found = read_predictions(path)
        return {ratio: [one for one in found if one.ratio == ratio] for ratio in evaluator.ratios}

    def whisper(self, name: str) -> list[Prediction]:
        """Whisper's own transcripts of the reference's sessions."""
        settings = settings_of(name) | {"split": self.comparison.split} | self.reference.about
        path = prediction_path(self.folder, "whisper", Path(name).name, settings)
        with PredictionWriter(path, settings) as writer:
            write_whisper(name, self.reference.cuts, self.reference.turns, self.comparison.split, writer)
        return read_predictions(path)
