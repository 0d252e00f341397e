"""Item: what a benchmark asks about one session, with its truth. Coverage: how much of a benchmark is here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from lhotse.cut import Cut

from speech_xl.checks import whole
from speech_xl.data.cut_checks import check_text

KEY = "items"  # in `cut.custom`, which lhotse writes and copies as plain JSON


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item of a benchmark.

    benchmark   its name, such as "longspeech"
    id          names the item in its benchmark, such as "ASR/LongSpeech_p1/wavs/part_00/000901.wav"
    task        the benchmark's own name of the task, such as "speaker_count"
    prompt      the whole text that follows the audio, as published; None: the model's own transcription instruction
    answer      the truth, as published
    choices     label -> text, such as {"A": "Fog"}; empty where the answer is free
    language    code of the answer's language; None where it isn't known
    max_tokens  the most tokens of an answer; without a prompt, the model's own limit of transcripts holds
    about       further plain values that a scorer needs
    """

    benchmark: str
    id: str
    task: str
    prompt: str | None
    answer: str
    max_tokens: int
    choices: Mapping[str, str] = field(default_factory=dict, hash=False)
    language: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in ("benchmark", "id", "task"):
            check_text(f"item {self.id!r}: {name}", getattr(self, name))
        check_text(f"item {self.id}: answer", self.answer, blank=True)
        if self.prompt is not None:
            check_text(f"item {self.id}: prompt", self.prompt)
        for name in ("choices", "about"):
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"item {self.id}: {name}: got {getattr(self, name)!r:.80}; give a mapping")
        for label, text in self.choices.items():
            check_text(f"item {self.id}: choices: {label}", text)
        whole(f"item {self.id}: max_tokens", self.max_tokens, least=1)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Item:
        """From plain data. Raises ValueError for a key that is missing or unknown."""
        known = {one.name for one in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"item {values.get('id')}: unknown key {unknown[0]!r}; an item has {', '.join(known)}")
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"item {values.get('id')}: {error}") from None


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How much of a benchmark's split is here. Counts are items by task.

    published  as its publishers count them; without tasks where that isn't known
    here       that can be asked
    missing    that can't: task -> reason, such as "audio file missing" -> items
    filtered   that the benchmark's own rules leave out: task -> rule -> items
    limit      the most items a task that the user asked for; None: all
    """

    published: Mapping[str, int] = field(default_factory=dict)
    here: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    filtered: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    limit: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def items_of(cut: Cut) -> list[Item]:
    """The benchmark items of a cut, in their order; none of most cuts. Raises ValueError with the cut's id."""
    custom = getattr(cut, "custom", None) or {}
    try:
        return [Item.from_json(one) for one in custom.get(KEY) or []]
    except (ValueError, TypeError) as error:
        raise ValueError(f"cut {cut.id}: {error}") from error
