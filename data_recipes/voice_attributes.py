"""EmoDB (CC0) and speechocean762 (CC BY 4.0): sessions that ask who speaks and how: emotion, age, sex, how many."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lhotse import CutSet, MonoCut

from data_recipes.grammar import number_words
from data_recipes.prepared import (
    is_prepared,
    making,
    mark_prepared,
    parallel_map,
    read_mono,
    require_prepared,
    settings_folder,
    split_facts,
)
from data_recipes.session_truths import SEX, people, question
from data_recipes.voice_corpora import CORPORA, EMODB_URL, SPEECHOCEAN_URL, Clip, split_speakers
from data_recipes.voice_pool import MOST_SPEAKERS, VoicePool, in_turns
from speech_xl.checks import number, whole
from speech_xl.data.corpus import SPLITS, Corpus, check_split
from speech_xl.data.sessions import Utterance, assemble_session, draw_pauses, read_split, write_split

logger = logging.getLogger(__name__)
VERSION = 1  # raise it when the sessions made from the same settings change
FORMS = ("alone", "mixed")
ASKED = {
    "emotion": "what emotion does the speaker show",
    "age": "is the speaker a child or an adult",
    "gender": "is the speaker a man or a woman",
    "count": "how many speakers are there",
    "same": "do the first and the last utterance come from the same speaker",
}


@dataclass(frozen=True)
class Plan:
    """A session before its audio is read. `pauses` are seconds."""

    id: str
    chosen: list[Clip]
    pauses: list[float]
    truth: dict


class VoiceAttributes(Corpus):
    """Sessions of one speaker ("alone": emotion, age, sex) and of one to three in turns ("mixed": how many, who again).

    A session keeps to one corpus. Answers are drawn before the material, so that each is the truth equally often within
    a split and corpus. No speaker is in two splits.

    Args:
        root: where sessions are written.
        emodb_dir: EmoDB, acted German: a folder with the wav files or with wav/ in it. Null: without it.
        speechocean_dir: speechocean762, read English of Mandarin speakers: the published layout, or wav/ with
            labels.tsv. Null: without it. One of the two corpora is needed.
        train_sessions: how many sessions of the train split.
        dev_sessions: of the dev split.
        test_sessions: of the test split.
        max_utterances: most utterances of a session, 4 or more. Fewer where an answer has less material: how long a
            session is must not tell the answer.
        pauses: seconds of silence around utterances, from and to.
        seed: draws the sessions; which speaker is in which split does not depend on it. A session does not depend on
            how many others there are.
    """

    name = "voice_attributes"

    def __init__(
        self,
        root: str = "data/voice_attributes",
        emodb_dir: str | None = None,
        speechocean_dir: str | None = None,
        train_sessions: int = 1200,
        dev_sessions: int = 80,
        test_sessions: int = 160,
        max_utterances: int = 6,
        pauses: tuple[float, float] = (0.2, 0.8),
        seed: int = 0,
    ) -> None:
        given = {"emodb": emodb_dir, "speechocean": speechocean_dir}
        self.folders = {corpus: Path(folder) for corpus, folder in given.items() if folder is not None}
        if not self.folders:
            raise ValueError(
                "VoiceAttributes: emodb_dir and speechocean_dir are both null; give the folder of one corpus at least "
                f"(EmoDB: {EMODB_URL}, speechocean762: {SPEECHOCEAN_URL})"
            )
        self.sessions = {"train": train_sessions, "dev": dev_sessions, "test": test_sessions}
        for split, count in self.sessions.items():
            whole(f"VoiceAttributes.{split}_sessions", count, least=1)
        whole("VoiceAttributes.max_utterances", max_utterances, least=MOST_SPEAKERS + 1)
        whole("VoiceAttributes.seed", seed)
        number("VoiceAttributes.pauses[0]", pauses[0], least=0, unit="seconds")
        number("VoiceAttributes.pauses[1] (not below the first)", pauses[1], least=pauses[0], unit="seconds")
        self.max_utterances, self.pauses, self.seed = max_utterances, (pauses[0], pauses[1]), seed
        self.settings = {
            "version": VERSION,
            "folders": {corpus: str(folder.resolve()) for corpus, folder in self.folders.items()},
            "sessions": self.sessions,
            "max_utterances": max_utterances,
            "pauses": list(self.pauses),
            "seed": seed,
        }
        self.folder = settings_folder(root, "sessions", self.settings)

    def cuts(self, split: str) -> CutSet:
        check_split(split, self.name)
        return read_split(require_prepared(self.folder), split)

    def check(self) -> None:
        for corpus, folder in self.folders.items():
            if not is_prepared(self.folder) and not folder.is_dir():
                raise FileNotFoundError(f"VoiceAttributes: {corpus}_dir {folder} is missing; give the corpus's folder")

    def prepare(self) -> None:
        with making(self.folder) as needed:
            if needed:
                self._make()

    def _make(self) -> None:
        clips = {corpus: self._read(corpus) for corpus in self.folders}
        facts = {}
        for split in SPLITS:
            cuts = self._make_split(split, {corpus: shared[split] for corpus, shared in clips.items()})
            write_split(self.folder, split, cuts)
            facts[split] = split_facts(cuts) | balance(cuts)
            logger.info("%s %s: %s", self.name, split, facts[split])
        mark_prepared(self.folder, self.settings, facts)

    def _read(self, corpus: str) -> dict[str, list[Clip]]:
        known = CORPORA[corpus]
        clips = split_speakers(known.title, known.read(self.folders[corpus]), known.strata)
        values = {split: {getattr(clip, known.attribute) for clip in clips[split]} for split in SPLITS}
        for split in SPLITS:
            if missing := sorted(set().union(*values.values()) - values[split]):
                logger.warning("%s %s: no utterance for the answer %s", known.title, split, ", ".join(missing))
        return clips

    def _make_split(self, split: str, clips: Mapping[str, Sequence[Clip]]) -> list[MonoCut]:
        pools = {
            corpus: VoicePool(f"{CORPORA[corpus].title} {split}", clips[corpus], CORPORA[corpus].attribute)
            for corpus in clips
        }
        for pool in pools.values():
            pool.warn_of_gaps(self.max_utterances)
        plans = [self._plan(split, index, pools) for index in range(self.sessions[split])]
        return parallel_map(lambda plan: self._write(split, plan), plans, f"{self.name} {split}", "session")

    def _plan(self, split: str, index: int, pools: Mapping[str, VoicePool]) -> Plan:
        key = f"{self.seed}-{split}"
        forms = [(corpus, form) for corpus in pools for form in FORMS]
        corpus, form = in_turns(forms, index, key)
        place = index // len(forms)  # among the sessions of this corpus and form
        rng = random.Random(f"{key}-{index}")
        if form == "alone":
            chosen = pools[corpus].draw_alone(place, f"{key}-{corpus}-alone", self.max_utterances, rng)
            truth = alone_truth(chosen, pools[corpus].attribute)
        else:
            chosen = pools[corpus].draw_mixed(place, f"{key}-{corpus}-mixed", self.max_utterances, rng)
            truth = mixed_truth(chosen)
        return Plan(f"{corpus}-{form}-{split}-{index:05d}", chosen, draw_pauses(rng, len(chosen), *self.pauses), truth)

    def _write(self, split: str, plan: Plan) -> MonoCut:
        spoken = [Utterance(read_mono(c.path), c.text, c.speaker, c.gender, c.language) for c in plan.chosen]
        path = self.folder / "audio" / split / f"{plan.id}.flac"
        return assemble_session(plan.id, spoken, plan.pauses, path, custom=plan.truth)


def alone_truth(chosen: Sequence[Clip], attribute: str) -> dict:
    """`custom` of a session of one speaker. Kinds: the attribute ("emotion" or "age"), and an adult's "gender"."""
    voice = chosen[0]
    questions = [question(attribute, ASKED[attribute], getattr(voice, attribute))]
    if voice.age == "adult":
        questions.append(question("gender", ASKED["gender"], SEX[voice.gender]))
    manner = {None: "", "neutral": " in a neutral tone"}.get(voice.emotion, f" in {voice.emotion}")
    return {"questions": questions, "caption": f"{people([voice.noun])} speaks{manner}"}


def mixed_truth(chosen: Sequence[Clip]) -> dict:
    """`custom` of a mixed session. Kinds: "count", and of two or more speakers "same": asked of one, count tells it."""
    nouns = {clip.speaker: clip.noun for clip in chosen}
    questions = [question("count", ASKED["count"], number_words(len(nouns)))]
    if len(nouns) > 1:
        questions.append(question("same", ASKED["same"], "yes" if chosen[0].speaker == chosen[-1].speaker else "no"))
    verb = "speaks" if len(nouns) == 1 else "speak"
    return {"questions": questions, "caption": f"{people(list(nouns.values()))} {verb}"}


def balance(cuts: Sequence[MonoCut]) -> dict[str, dict]:
    """How often each answer is the truth, by language and kind; and a session's mean seconds by its answer."""
    seconds: dict[tuple[str, str, str], list[float]] = {}
    for cut in cuts:
        for entry in cut.custom["questions"]:
            place = str(cut.supervisions[0].language), entry["kind"], entry["answer"]
            seconds.setdefault(place, []).append(cut.duration)
    answers: dict[str, dict[str, dict[str, int]]] = {}
    means: dict[str, dict[str, dict[str, float]]] = {}
    for (language, kind, answer), values in sorted(seconds.items()):
        answers.setdefault(language, {}).setdefault(kind, {})[answer] = len(values)
        means.setdefault(language, {}).setdefault(kind, {})[answer] = round(sum(values) / len(values), 2)
    return {"answers": answers, "seconds": means}
