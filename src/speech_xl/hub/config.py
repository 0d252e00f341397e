"""SpeechXLConfig: all of a model but its numbers, as config.json holds it."""

from __future__ import annotations

from typing import Any

from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig

from speech_xl.hub.registration import register_model
from speech_xl.storage.hub_folder import CODE, CONFIG, MODEL_TYPE, check_values

# Keys that transformers knows of any config, under other names than it keeps them, or hands on to it.
KNOWN = {"torch_dtype", "attn_implementation", "experts_implementation", "name_or_path", "model_type", CODE}
FORGOTTEN = ("_name_or_path", "_commit_hash")  # of an inner config: where somebody's copy of it lay


class SpeechXLConfig(PreTrainedConfig):
    """Configuration of a `SpeechXL`.

    text_config            the LLM's own, audio_config the speech encoder's
    stage, phase           name of the training stage, and the class that trained it
    encoder, llm           class_path and init_args: how they are run (windows, LoRA, number format)
    adapter, frame_code, sst
                           class_path and init_args; null: none
    partition, transcript  the intervals it was trained with, and how it writes transcripts; null: defaults
    max_tokens_per_second  tokens that a transcript may have for a second of audio
    eval_ratios            ratios it was evaluated at
    interval_seconds       length of the intervals that it listens in
    default_ratio          frames that one SST stands for, where nobody says; 1: all frames are kept
    base_models            role (encoder, llm) -> name and revision of pretrained weights that the folder
                           doesn't hold; empty: it holds all
    weights_dtype          number format of the weights' file, for tensors that lose nothing by it; null: as in memory
    lineage                what the weights come from and what they were trained with

    Classes are of this package alone. ValueError names a key that nothing knows, a value that can't be used, and a
    config that asks for code of its own (auto_map).
    """

    model_type = MODEL_TYPE
    sub_configs = {"text_config": AutoConfig, "audio_config": AutoConfig}  # pyright: ignore[reportAssignmentType]

    def __init__(
        self,
        text_config: PreTrainedConfig | dict[str, Any] | None = None,
        audio_config: PreTrainedConfig | dict[str, Any] | None = None,
        stage: str | None = None,
        phase: str | None = None,
        encoder: dict[str, Any] | None = None,
        llm: dict[str, Any] | None = None,
        adapter: dict[str, Any] | None = None,
        frame_code: dict[str, Any] | None = None,
        sst: dict[str, Any] | None = None,
        partition: dict[str, Any] | None = None,
        transcript: dict[str, Any] | None = None,
        max_tokens_per_second: float | None = None,
        eval_ratios: list[int] | None = None,
        interval_seconds: float = 4.0,
        default_ratio: int = 1,
        base_models: dict[str, dict[str, Any]] | None = None,
        weights_dtype: str | None = None,
        lineage: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if kwargs.get(CODE):
            raise ValueError(f"config.json: {CODE}: asks for code that comes with the model, and none is run")
        check_keys(kwargs)
        values: dict[str, Any] = {"interval_seconds": interval_seconds, "default_ratio": default_ratio}
        values |= {"max_tokens_per_second": max_tokens_per_second, "eval_ratios": eval_ratios}
        try:
            check_values({**values, "weights_dtype": weights_dtype})
        except ValueError as error:
            raise ValueError(f"{CONFIG}: {error}") from error
        self.text_config, self.audio_config = _inner(text_config, "text"), _inner(audio_config, "audio")
        self.stage, self.phase = stage, phase
        self.encoder, self.llm, self.adapter, self.frame_code, self.sst = encoder, llm, adapter, frame_code, sst
        self.partition, self.transcript = partition, transcript
        self.max_tokens_per_second, self.eval_ratios = max_tokens_per_second, eval_ratios
        self.interval_seconds, self.default_ratio = interval_seconds, default_ratio
        self.base_models, self.weights_dtype, self.lineage = base_models or {}, weights_dtype, lineage
        super().__init__(**kwargs)
        if self.text_config is not None:  # of a model: whoever has it may ask an Auto class for the model next
            register_model()


def check_keys(given: dict[str, Any]) -> None:
    """Raises ValueError where transformers knows a key of no config."""
    known = KNOWN | set(dir(PreTrainedConfig()))
    if unknown := sorted(key for key in given if key not in known and not key.startswith("_")):
        raise ValueError(
            f"{CONFIG}: {unknown[0]}: got {given[unknown[0]]!r:.80}; nothing knows this key: take it out, or mend its "
            "spelling"
        )


def _inner(given: PreTrainedConfig | dict[str, Any] | None, name: str) -> PreTrainedConfig | None:
    """A part's config. Raises ValueError where transformers doesn't know its type by itself."""
    if not isinstance(given, dict):
        return given
    kind = str(given.get("model_type"))
    if given.get(CODE) or kind not in CONFIG_MAPPING:
        raise ValueError(
            f"config.json: {name}_config: model_type {kind!r} is none that this release of transformers has by itself, "
            "and no code that comes with a model is run. Install a newer transformers, or take another model"
        )
    known = {key: value for key, value in given.items() if key not in (*FORGOTTEN, "model_type")}
    return CONFIG_MAPPING[kind](**known)


AutoConfig.register(MODEL_TYPE, SpeechXLConfig, exist_ok=True)
