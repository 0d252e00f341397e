"""Prediction: one generated answer with its reference and its costs; what every key of a predictions file means."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from lhotse.cut import Cut

from speech_xl.data.tasks import Turn

UNKNOWN_STEP = 0.0  # of `timestamps`, in files older than that key
# Written beside the fields for whoever reads the lines; scoring counts again from the texts.
DERIVED = frozenset(
    {
        *("reference_normalised", "hypothesis_normalised", "unit", "correct"),
        *("errors", "errors_cut", "words", "character_errors", "characters"),
    }
)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One answer about one session at one compression ratio. Keys with None are unknown or were not measured.

    What was asked:
        cut_id            the session
        split             of the corpus, such as "test"; "" in older files
        task              "asr", "caption" or "qa"
        kind              sort of question, such as "count"; "" where there are no sorts
        instruction       the prompt after the audio
        occurrence        which of the session's turns with this instruction it is, from 1
        ratio             speech frames per KV token that is kept; 1 is uncompressed
        compressor        how the KV memory was made, by its name in tables; "" in older files
        item              of a benchmark, as `speech_xl.data.items.Item` has it; None of other corpora

    The texts:
        reference         the truth, as the corpus has it
        hypothesis        the answer, as it was generated
        finished          False where the token limit ended the answer, or its timestamps end before the audio does
        reached_seconds   the last time that the tokenizer can write, where the audio goes on after it
        failed            why there is no answer, which is empty then; None where there is one
        language          of the speech, or of an item's answer; None where nothing says it
        timestamps        step in seconds of the timestamps in the reference; None: it has none; 0: an older file, in
                          which whatever looks like a timestamp is taken for one
        duration          seconds of audio in the session
        audio_seconds_heard  seconds of audio that the LLM was given frames of
        beyond_context    whether the audio alone takes more positions than the LLM was made for

    What it cost. All answers about a session at one ratio come from one KV memory and have the same figures, but for
    compressors that must know the question, which hear the session again for each:
        kept_kv_bytes     bytes of keys and values that stay of the audio after prefill, over all layers, measured on
                          the tensors in their number format. The prompt's prefix and padding are not counted
        kept_kv_tokens    as many tokens; the mean over layers where these keep unlike numbers
        total_kv_tokens   the session's speech frames: the tokens that full KV would keep
        peak_kv_bytes     the most bytes held at once during prefill, the current interval's frames included, the
                          prefix excluded. Only of a session that was alone in its batch, as are the next two
        prefill_seconds   from speech frames to the KV memory; encoder and adapter are not counted
        decode_seconds    of generating the answers, divided by their number in the batch
        device            that it ran on, as torch names it
    """

    cut_id: str
    task: str
    ratio: int
    instruction: str
    reference: str
    hypothesis: str
    split: str = ""
    kind: str = ""
    occurrence: int = 1
    compressor: str = ""
    finished: bool | None = None
    reached_seconds: float | None = None
    language: str | None = None
    timestamps: float | None = None
    duration: float | None = None
    audio_seconds_heard: float | None = None
    beyond_context: bool | None = None
    kept_kv_bytes: int | None = None
    kept_kv_tokens: int | None = None
    total_kv_tokens: int | None = None
    peak_kv_bytes: int | None = None
    prefill_seconds: float | None = None
    decode_seconds: float | None = None
    device: str | None = None
    item: dict | None = field(default=None, hash=False)
    failed: str | None = None

    @classmethod
    def of(cls, cut: Cut, turn: Turn, ratio: int, hypothesis: str, **known: Any) -> Prediction:
        """An answer to a turn about a cut; known: further fields."""
        return cls(
            cut_id=cut.id,
            task=turn.task,
            ratio=ratio,
            instruction=turn.instruction,
            reference=turn.answer,
            hypothesis=hypothesis,
            kind=turn.kind,
            occurrence=turn.occurrence,
            language=language_of(cut) if turn.item is None else turn.item.language,
            item=None if turn.item is None else turn.item.to_json(),
            timestamps=turn.timestamps,
            duration=cut.duration,
            **known,
        )

    @property
    def id(self) -> str:
        """`answer_id` of it."""
        return answer_id(self.cut_id, self.task, self.ratio, self.instruction, self.occurrence)

    @property
    def reading(self) -> dict[str, Any]:
        """How its texts are normalised: arguments of the normaliser's functions."""
        return {"language": self.language, "timestamps": self.timestamps is not None}

    def to_json(self) -> dict[str, Any]:
        """Its line of a predictions file; what is None is left out, but `language` and `timestamps`."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {"id": self.id} | {k: v for k, v in values.items() if v is not None or k in ("language", "timestamps")}

    @classmethod
    def from_json(cls, line: Mapping[str, Any], where: str) -> Prediction:
        """From a line of a predictions file, of this version or an older one.

        Raises ValueError, which begins with `where`, for a key that is missing or unknown, or a value of another type.
        """
        given = {key: value for key, value in line.items() if key not in DERIVED and key != "id"}
        given.setdefault("cut_id", line.get("id"))  # as the oldest files name the session
        given.setdefault("timestamps", UNKNOWN_STEP)
        known = {one.name: one for one in fields(cls)}
        if unknown := sorted(given.keys() - known.keys()):
            raise ValueError(
                f"{where}: unknown key {unknown[0]!r}; a prediction has {', '.join(known)}. Read a newer version's "
                "file with that version, or take the key out"
            )
        for name, one in known.items():
            if name not in given and one.default is MISSING:
                raise ValueError(f"{where}: the key {name!r} is missing; take the line out, and predict again")
            if name in given and not _fits(given[name], str(one.type)):
                raise ValueError(
                    f"{where}: {name} is {given[name]!r:.80}, and must be {one.type}; take the line out, and predict "
                    "again"
                )
        return cls(**given)


def answer_id(cut_id: str, task: str, ratio: int, instruction: str, occurrence: int = 1) -> str:
    """Names one answer: the same cut, task, ratio, instruction and occurrence always give the same id.

    occurrence: which of the session's turns with this instruction it is, from 1 (`Turn.occurrence`).
    """
    digest = hashlib.sha256(instruction.encode()).hexdigest()[:8]
    again = "" if occurrence == 1 else f"/{occurrence}"
    return f"{cut_id}/{task}/{ratio}x/{digest}{again}"


def turn_id(cut_id: str, turn: Turn, ratio: int) -> str:
    """`answer_id` of the answer to a turn."""
    return answer_id(cut_id, turn.task, ratio, turn.instruction, turn.occurrence)


def language_of(cut: Cut) -> str | None:
    """The language of a cut's supervisions; None where they don't say it, or are in several."""
    languages = {supervision.language for supervision in cut.supervisions}
    return languages.pop() if len(languages) == 1 else None


def _fits(value: Any, annotation: str) -> bool:
    """Whether a JSON value is of a field's type, such as "int | None"."""
    types: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}
    types["dict"] = (dict,)
    for name in annotation.split(" | "):
        if name == "None" and value is None:
            return True
        if isinstance(value, types.get(name, ())) and (name == "bool" or not isinstance(value, bool)):
            return True
    return False
