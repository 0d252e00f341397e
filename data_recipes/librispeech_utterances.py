"""LibriSpeech's utterances, read by lhotse's recipe, and sessions of them: chapters, or several speakers."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.recipes.librispeech import prepare_librispeech

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LibriSpeechUtterance:
    """One utterance of the corpus; its id is speaker-chapter-number. `gender` is "F", "M" or None if unknown."""

    id: str
    speaker: str
    gender: str | None
    text: str
    recording: Recording

    @property
    def seconds(self) -> float:
        return self.recording.duration

    @property
    def chapter(self) -> str:
        return self.id.rpartition("-")[0]

    @property
    def number(self) -> str:
        return self.id.rpartition("-")[2]

    def cut(self) -> MonoCut:
        """The utterance for itself, its audio where the corpus has it."""
        truth = SupervisionSegment(
            id=self.id,
            recording_id=self.recording.id,
            start=0.0,
            duration=self.seconds,
            channel=0,
            text=self.text,
            language="English",
            speaker=self.speaker,
            gender=self.gender,
        )
        return MonoCut(
            id=self.id, start=0.0, duration=self.seconds, channel=0, recording=self.recording, supervisions=[truth]
        )


@dataclass(frozen=True)
class Session:
    """Utterances in the order they are heard."""

    id: str
    utterances: list[LibriSpeechUtterance]

    @property
    def seconds(self) -> float:
        return sum(utterance.seconds for utterance in self.utterances)


def read_genders(corpus: Path) -> dict[str, str]:
    """Speaker id -> "F" or "M" from SPEAKERS.TXT; empty, with a warning, where that file is missing."""
    path = corpus / "SPEAKERS.TXT"
    if not path.is_file():
        logger.warning("%s is missing: no questions about gender; it is in every archive of LibriSpeech", path)
        return {}
    rows = (line.split("|") for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith(";"))
    return {row[0].strip(): row[1].strip() for row in rows if len(row) > 1}


def read_part(
    corpus: Path, part: str, genders: dict[str, str]
) -> tuple[list[LibriSpeechUtterance], dict[str, list[str]]]:
    """The utterances of a part, sorted by id; and the ids that have only audio or only a transcript.

    lhotse leaves those out with little or no word; here they are reported, and the recipe keeps them in recipe.json.
    """
    folder = corpus / part
    transcribed = _transcribed_ids(folder)
    try:
        manifests = prepare_librispeech(corpus, dataset_parts=[part], normalize_text="lower")[part]
    except Exception as error:  # each of lhotse's audio backends has its own exception types
        raise ValueError(f"{folder}: lhotse cannot read it ({error}); unpack the corpus again") from error
    recordings = {r.id: r for r in cast(Iterable[Recording], manifests["recordings"])}
    utterances = [
        LibriSpeechUtterance(s.id, str(s.speaker), genders.get(str(s.speaker)), str(s.text), recordings[s.recording_id])
        for s in cast(Iterable[SupervisionSegment], manifests["supervisions"])
    ]
    spoken = {path.stem for path in folder.rglob("*.flac")}
    unpaired = {"without_transcript": sorted(spoken - transcribed), "without_audio": sorted(transcribed - spoken)}
    for what, ids in unpaired.items():
        if ids:
            logger.warning(
                "%s: %d utterances %s left out: %s", folder, len(ids), what.replace("_", " "), ", ".join(ids)
            )
    if not utterances:
        raise ValueError(f"{folder}: no utterance has both audio and a transcript; unpack the corpus again")
    return sorted(utterances, key=lambda r: r.id), unpaired


def _transcribed_ids(folder: Path) -> set[str]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is missing; unpack this part of LibriSpeech there, or name another part")
    ids = set()
    for path in folder.rglob("*.trans.txt"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if len(fields := line.split(maxsplit=1)) < 2:
                raise ValueError(f"{path}, line {number}: {line!r} is no id with a transcript; unpack the corpus again")
            ids.add(fields[0])
    return ids


def share_speakers(
    utterances: Sequence[LibriSpeechUtterance], part: str
) -> tuple[list[LibriSpeechUtterance], list[LibriSpeechUtterance]]:
    """Two halves without a speaker in common: sorted by sex, then by id, speakers go to each half in turn."""
    genders = {utterance.speaker: utterance.gender or "" for utterance in utterances}
    if len(genders) < 2:
        raise ValueError(f"{part} has one speaker only, dev and test need one each at least; name another dev_part")
    order = sorted(genders, key=lambda speaker: (genders[speaker], len(speaker), speaker))
    first = set(order[::2])
    return [r for r in utterances if r.speaker in first], [r for r in utterances if r.speaker not in first]


def pack(utterances: Iterable[LibriSpeechUtterance], max_seconds: float | None) -> list[list[LibriSpeechUtterance]]:
    """Consecutive utterances in runs of at most `max_seconds`; an utterance is never split, nor left out."""
    runs: list[list[LibriSpeechUtterance]] = []
    for utterance in utterances:
        if runs and (max_seconds is None or sum(r.seconds for r in runs[-1]) + utterance.seconds <= max_seconds):
            runs[-1].append(utterance)
        else:
            runs.append([utterance])
    return runs


def chapter_sessions(utterances: Sequence[LibriSpeechUtterance], max_seconds: float | None) -> list[Session]:
    """Every chapter in its utterance order, in sessions named by their first and last utterance."""
    chapters: dict[str, list[LibriSpeechUtterance]] = {}
    for utterance in utterances:
        chapters.setdefault(utterance.chapter, []).append(utterance)
    runs = [run for chapter in chapters.values() for run in pack(chapter, max_seconds)]
    return [Session(f"{run[0].id}-{run[-1].number}", run) for run in runs]


def mix_sessions(
    sessions: Sequence[Session], share: float, rng: random.Random, max_seconds: float | None, prefix: str
) -> list[Session]:
    """Deal the utterances of a share of one-speaker sessions anew: two or three speakers in turns.

    Where `max_seconds` is None, a mixed session is at most as long as the longest of the two or three it is made of.
    """
    chosen = rng.sample(range(len(sessions)), round(share * len(sessions)))
    kept = [session for index, session in enumerate(sessions) if index not in set(chosen)]
    waiting = [sessions[index] for index in chosen]
    mixed: list[Session] = []
    while waiting:
        group, size = [waiting.pop(0)], rng.randint(2, 3)
        for other in list(waiting):
            if len(group) < size and other.utterances[0].speaker not in {s.utterances[0].speaker for s in group}:
                group.append(other)
                waiting.remove(other)
        if len(group) == 1:  # everybody who still waits has this voice
            kept += group
            continue
        for run in pack(_take_turns(group, rng), max_seconds or max(s.seconds for s in group)):
            mixed.append(Session(f"{prefix}-{len(mixed):04d}", run))
    return kept + mixed


def _take_turns(group: list[Session], rng: random.Random) -> list[LibriSpeechUtterance]:
    """Everybody's utterances in order, in about as many turns each, so that nobody is left alone at the end."""
    shortest = min(len(session.utterances) for session in group)
    turns = max(2, round(shortest / 2))
    rounds: list[list[LibriSpeechUtterance]] = [[] for _ in range(turns)]
    for session in group:
        utterances = session.utterances
        count = min(turns, len(utterances))
        borders = [0, *sorted(rng.sample(range(1, len(utterances)), count - 1)), len(utterances)]
        for index, (start, end) in enumerate(zip(borders, borders[1:], strict=False)):
            rounds[index] += utterances[start:end]
    return [utterance for one_round in rounds for utterance in one_round]
