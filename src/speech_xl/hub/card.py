"""The model card of an exported stage: what it is, how it is used, what it was trained on, results, limits, licences.

All of it comes from the run's folder and from what whoever exports it says; what nobody knows is called unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from speech_xl.evaluation.rows import FULL_KV, SSTS
from speech_xl.evaluation.tables import markdown, percent
from speech_xl.hub.model import SpeechXL
from speech_xl.hub.results import METRICS, Results, found_results
from speech_xl.model.context import context_of
from speech_xl.model.positions import Scheme
from speech_xl.run.hub_form import HUB_NAME, ROLES
from speech_xl.run.trained_stage import TrainedStage

LIBRARY = "speech-xl-suite"
TASK = "audio-text-to-text"
UNKNOWN = "unknown"
FORMS = {
    "whole": "This folder holds all weights.",
    "merged": "This folder holds all weights; LoRA's deltas were added to the LLM's.",
    "apart": "This folder holds what was trained; the rest is fetched from the base models and checked against the "
    "fingerprints in `config.json`.",
}
POSITIONS: dict[Scheme, str] = {
    "original": "Audio of which the frames don't fit the LLM's context is beyond what it was made for",
    "interpolated": "Audio of which the frames don't fit the LLM's context is beyond what it was made for",
    "shared": "Audio of which the frames don't fit the LLM's context is beyond what it was made for",
    "compact": "Audio of which the kept SSTs don't fit the LLM's context is beyond what it was made for",
}


@dataclass(frozen=True)
class Facts:
    """What a run doesn't know and whoever gives its weights away does: None and empty where it is unknown.

    license    of the weights, as the hub names it, such as apache-2.0
    languages  that it was trained on, as ISO 639 codes
    datasets   that it was trained on, as the hub names them
    bases      role (encoder, llm) -> the pretrained model's name on the hub, where the run knows only a folder
    """

    license: str | None = None
    languages: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    bases: Mapping[str, str] = field(default_factory=dict)


def card_text(model: SpeechXL, stage: TrainedStage, form: str, facts: Facts, name: str) -> str:
    """Metadata and text of the card, for README.md.

    stage: the run's. form: whole, merged or apart. name: of the model.
    """
    corpora = corpora_of(stage.config)
    own = FULL_KV if model.backbone.sst is None else SSTS
    results = found_results(stage.folder, corpora[0] if corpora else UNKNOWN, own)
    parts = [
        f"# {name}",
        _what(model, form, facts),
        _use(name, model),
        _data(model, corpora, facts),
        _ratios(model),
        _results(results),
        _limits(model),
        _licences(model, facts),
    ]
    return f"---\n{metadata(model, facts, results, name).to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n"


def metadata(model: SpeechXL, facts: Facts, results: list[Results], name: str) -> ModelCardData:
    """The card's YAML: what the hub filters and shows."""
    found = [
        EvalResult(
            task_type="automatic-speech-recognition" if metric == "wer" else TASK,
            dataset_type=one.corpus.lower(),
            dataset_name=one.corpus,
            dataset_split=one.split,
            metric_type="accuracy" if metric == "qa" else metric,
            metric_name=f"{METRICS[metric]} at {ratio}x, %",
            metric_value=round(100 * rate["value"], 2),
        )
        for one in results
        for ratio, metric, rate in one.rates()
        if rate["value"] is not None
    ]
    bases = list(base_names(model, facts).values())
    return ModelCardData(
        library_name=LIBRARY,
        license=facts.license or UNKNOWN,
        base_model=bases or None,
        language=list(facts.languages) or None,
        datasets=list(facts.datasets) or None,
        metrics=sorted({one.metric_type for one in found}) or None,
        pipeline_tag=TASK,
        tags=["speech-xl", "speech-summarization-tokens", "long-form-audio", "kv-cache-compression"],
        model_name=name if found else None,
        eval_results=found or None,
    )


def base_names(model: SpeechXL, facts: Facts) -> dict[str, str]:
    """Role -> the name on the hub of what it was trained from; a folder's name means nothing to others."""
    found = {}
    for role in ROLES:
        own = facts.bases.get(role) or getattr(model.backbone, role).name
        if HUB_NAME.fullmatch(own) and "/" in own and not Path(own).is_dir():
            found[role] = own
    return found


def _what(model: SpeechXL, form: str, facts: Facts) -> str:
    backbone, named = model.backbone, base_names(model, facts)
    encoder = named.get("encoder") or model.config.audio_config.model_type
    llm = named.get("llm") or model.config.text_config.model_type
    size = sum(parameter.numel() for parameter in backbone.llm.parameters()) / 1e6
    adapter = type(backbone.adapter).__name__
    what = f"A speech encoder ({encoder}), a {adapter} and an LLM ({llm}, {size:,.1f} M parameters)"
    kept = (
        " that keep long audio as Speech Summarization Tokens: after each interval its speech frames' KV is dropped."
        if backbone.sst is not None
        else ". It has no Speech Summarization Tokens, so all speech frames stay in the KV cache."
    )
    method = "The method is Speech-XL ([arXiv 2602.05373](https://arxiv.org/abs/2602.05373))."
    return f"{what}{kept} {method} {FORMS[form]}"


def _use(name: str, model: SpeechXL) -> str:
    ratio = model.default_ratio
    lines = [
        "from speech_xl import SpeechXL",
        "",
        f'model = SpeechXL.from_pretrained("{name}")',
        f'memory = model.listen("talk.m4a", ratio={ratio})',
        f'print(memory.ask("{model.transcript.instruction}").text)',
    ]
    return "## Use\n\n```python\n" + "\n".join(lines) + "\n```\n\nIt needs the Python package `speech-xl-suite`."


def _data(model: SpeechXL, corpora: list[str], facts: Facts) -> str:
    lineage = model.config.lineage or {}
    rows = [
        ("stage", f"{model.config.stage}, by {str(model.config.phase).rpartition('.')[2]}"),
        ("corpus", ", ".join(corpora) or UNKNOWN),
        ("data sets on the hub", ", ".join(facts.datasets) or UNKNOWN),
        ("languages", ", ".join(facts.languages) or UNKNOWN),
        ("intervals", f"{model.interval_seconds:g} s"),
        ("transcripts", type(model.transcript).__name__),
        ("run", lineage.get("run", UNKNOWN)),
        (
            "number format and seed of the training",
            f"{lineage.get('precision', UNKNOWN)}, {lineage.get('seed', UNKNOWN)}",
        ),
        ("made with", f"Speech-XL Suite {lineage.get('version', UNKNOWN)}"),
    ]
    return "## Training\n\n" + markdown([("", ""), *((key, str(value)) for key, value in rows)])


def _ratios(model: SpeechXL) -> str:
    if model.backbone.sst is None:
        return "## Ratios\n\nThe model keeps every frame (ratio 1)."
    asked = ", ".join(f"{ratio}x" for ratio in model.config.eval_ratios or []) or UNKNOWN
    frames = f"{model.backbone.frame_rate:g} speech frames a second"
    return (
        f"## Ratios\n\nOne SST stands for `ratio` speech frames, of {frames}. Evaluated in training at: {asked}. "
        f"Without a ratio it listens at {model.default_ratio}x."
    )


def _results(results: list[Results]) -> str:
    if not results:
        return "## Results\n\nUnknown: the run's folder has no test results."
    parts = ["## Results"]
    for one in results:
        names = list(dict.fromkeys(metric for _, metric, _ in one.rates()))
        rows = [["ratio", *(METRICS[name] for name in names), "kept KV a second of audio"]]
        for ratio in one.ratios:
            rates = {metric: rate for at, metric, rate in one.rates() if at == ratio}
            cells = [
                percent(*(rates[name][key] for key in ("value", "low", "high"))) for name in names if name in rates
            ]
            rows.append([f"{ratio}x", *cells, one.kept(ratio)])
        parts += [
            f"{one.corpus}, split {one.split}: {one.sessions} sessions, {one.items} answers ({one.file}).",
            markdown(rows),
        ]
    first = results[0].scores
    return "\n\n".join([*parts, f"In brackets: {first['interval']}. Normaliser: {first['normaliser']}."])


def _limits(model: SpeechXL) -> str:
    positions = model.backbone.positions
    context = context_of(model.backbone.llm.model.config)
    tokens = f"{context:,} tokens" if context else "unknown"
    lines = [
        "Nothing is known about audio that is unlike its training's: other languages, rooms, noise, music.",
        f"{POSITIONS[positions]} (context: {tokens}).",
        "Answers are greedy, and can be wrong or made up, as those of any language model.",
    ]
    return "## Limits\n\n" + "\n".join(f"* {line}" for line in lines)


def _licences(model: SpeechXL, facts: Facts) -> str:
    named = base_names(model, facts)
    lines = [f"* These weights: {facts.license or UNKNOWN}."]
    for role, what in (("encoder", "speech encoder"), ("llm", "LLM")):
        said = (
            f"as its own card says, [{named[role]}](https://huggingface.co/{named[role]})" if role in named else UNKNOWN
        )
        lines.append(f"* The {what} it was trained from: {said}.")
    lines.append(f"* The data it was trained on: {'as their own cards say' if facts.datasets else UNKNOWN}.")
    lines.append("* The software, Speech-XL Suite: Apache-2.0.")
    return "## Licences\n\n" + "\n".join(lines)


def corpora_of(config: Mapping[str, Any]) -> list[str]:
    """The classes of the corpora in a stage's configuration, the outermost first; no paths."""
    return list(_corpora(config.get("data", {}).get("corpus") if isinstance(config.get("data"), dict) else None))


def _corpora(given: Any) -> Iterator[str]:
    if isinstance(given, str):
        yield given.rpartition(".")[2]
    elif isinstance(given, Mapping) and isinstance(given.get("class_path"), str):
        yield given["class_path"].rpartition(".")[2]
        for value in (given.get("init_args") or {}).values():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, Mapping) and "class_path" in one:
                    yield from _corpora(one)
