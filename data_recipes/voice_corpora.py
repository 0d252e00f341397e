"""Two corpora of voices with known attributes: EmoDB (emotion) and speechocean762 (age), as clips in splits."""

from __future__ import annotations

import csv
import json
import logging
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_recipes.prepared import folder_with, named_files
from data_recipes.session_truths import SEX
from speech_xl.data.corpus import SPLITS

logger = logging.getLogger(__name__)
EMODB_URL = "http://emodb.bilderbar.info/download/download.zip"
SPEECHOCEAN_URL = "https://www.openslr.org/101/"
HELD_OUT = 0.15  # of the speakers of each age and sex for dev, and as many for test

# EmoDB, as its publishers describe it: the ten actors were 21 to 35 years old.
EMODB_SEX: dict[str, str] = {actor: "M" for actor in ("03", "10", "11", "12", "15")}
EMODB_SEX |= {actor: "F" for actor in ("08", "09", "13", "14", "16")}
EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}
SENTENCES = {
    "a01": "der lappen liegt auf dem eisschrank",
    "a02": "das will sie am mittwoch abgeben",
    "a04": "heute abend könnte ich es ihm sagen",
    "a05": "das schwarze stück papier befindet sich da oben neben dem holzstück",
    "a07": "in sieben stunden wird es soweit sein",
    "b01": "was sind denn das für tüten die da unter dem tisch stehen",
    "b02": "sie haben es gerade hochgetragen und jetzt gehen sie wieder runter",
    "b03": "an den wochenenden bin ich jetzt immer nach hause gefahren und habe agnes besucht",
    "b09": "ich will das eben wegbringen und dann mit karl was trinken gehen",
    "b10": "die wird auf dem platz sein wo wir sie immer hinlegen",
}
EMODB_NAME = re.compile(
    rf"(?P<speaker>{'|'.join(EMODB_SEX)})(?P<sentence>{'|'.join(SENTENCES)})(?P<emotion>[{''.join(EMOTIONS)}])[a-z]?\.wav"
)

# Years. "Child" ends at 14 as in the aGender corpus (Interspeech 2010 Paralinguistic Challenge). Voices break about
# then, so those between the two borders are left out.
OLDEST_CHILD = 14
YOUNGEST_ADULT = 18
MEND = "mend the line, or unpack the corpus again"
LABELS = ("id", "speaker", "gender", "transcript", "labels")


@dataclass(frozen=True)
class Clip:
    """One recorded utterance where it lies, and what its corpus says of the voice.

    `gender` is "F" or "M", `age` "child" or "adult", `text` lower case without punctuation but apostrophes.
    """

    path: Path
    text: str
    speaker: str
    gender: str
    age: str
    language: str
    emotion: str | None = None

    @property
    def noun(self) -> str:
        """ "man", "woman" or "child"."""
        return "child" if self.age == "child" else SEX[self.gender]


@dataclass(frozen=True)
class VoiceCorpus:
    """A corpus that `VoiceAttributes` draws from."""

    title: str
    read: Callable[[Path], list[Clip]]
    attribute: str
    """What is asked of one speaker, a field of `Clip`. Never what the language alone would tell."""
    strata: tuple[tuple[str, str], ...]
    """(age, gender): each is shared out among the splits by itself."""


def read_emodb(folder: Path) -> list[Clip]:
    """All utterances, by their file names alone, from `folder`/wav or `folder`."""
    wavs = folder_with([folder / "wav", folder], EMODB_NAME)
    if wavs is None:
        raise FileNotFoundError(
            f"VoiceAttributes: emodb_dir {folder} has no recordings named like 03a01Fa.wav, nor has wav/ in it; fetch "
            f"{EMODB_URL}, unpack it and set emodb_dir to its folder, or to null to do without"
        )
    return [
        Clip(
            path=path,
            text=SENTENCES[match["sentence"]],
            speaker=f"emodb{match['speaker']}",
            gender=EMODB_SEX[match["speaker"]],
            age="adult",
            language="German",
            emotion=EMOTIONS[match["emotion"]],
        )
        for match, path in named_files(wavs, EMODB_NAME, "03a01Fa.wav")
    ]


@dataclass(frozen=True)
class _Row:
    """What speechocean762 says of one utterance, as it stands there; `source` says where, for errors."""

    path: Path
    speaker: str
    gender: str
    age: str
    text: str
    source: str


def read_speechocean(folder: Path) -> list[Clip]:
    """The utterances of children and adults, from the published layout or from wav/ with labels.tsv."""
    parts = [folder / part for part in ("train", "test") if (folder / part / "utt2spk").is_file()]
    if parts:
        rows, audio = [row for part in parts for row in _kaldi_rows(part)], folder / "WAVE"
        if len(parts) == 1:
            logger.warning("%s: only the part %s is there; it is used alone", folder, parts[0].name)
    elif (folder / "labels.tsv").is_file():
        rows, audio = list(_table_rows(folder / "labels.tsv")), folder / "wav"
    else:
        raise FileNotFoundError(
            f"VoiceAttributes: speechocean_dir {folder} has neither train/utt2spk nor labels.tsv; fetch the corpus "
            f"from {SPEECHOCEAN_URL}, unpack it and set speechocean_dir to its folder, or to null to do without"
        )
    present = {path for path in audio.rglob("*") if path.suffix.lower() == ".wav" and not path.name.startswith(".")}
    _warn_of(folder, "files without labels", sorted(path.stem for path in present - {row.path for row in rows}))
    _warn_of(folder, "labelled utterances without a file", sorted(r.path.stem for r in rows if r.path not in present))
    rows_present = [row for row in rows if row.path in present]
    clips = [_clip(row) for row in rows_present]
    between = [row for row, clip in zip(rows_present, clips, strict=True) if clip is None]
    years = f"{OLDEST_CHILD + 1} to {YOUNGEST_ADULT - 1} years"
    what = f"utterances of {len({row.speaker for row in between})} speakers of {years}"
    _warn_of(folder, what, sorted(row.path.stem for row in between))
    return [clip for clip in clips if clip is not None]


def _warn_of(folder: Path, what: str, names: list[str]) -> None:
    if names:
        logger.warning("%s: %d %s left out: %s", folder, len(names), what, ", ".join(names))


def _clip(row: _Row) -> Clip | None:
    """None for those who are neither child nor adult."""
    gender, text = row.gender.strip().upper(), " ".join(row.text.lower().split())
    if gender not in SEX:
        raise ValueError(f"{row.source}: gender {row.gender!r} is neither F nor M; {MEND}")
    if not text:
        raise ValueError(f"{row.source}: the transcript is empty; {MEND}")
    try:
        years = int(row.age)
    except ValueError:
        raise ValueError(f"{row.source}: age {row.age!r} is not whole years; {MEND}") from None
    if OLDEST_CHILD < years < YOUNGEST_ADULT:
        return None
    # The same speaker has the same name in both layouts.
    speaker = f"so{row.speaker.strip().removeprefix('SPEAKER').removeprefix('so')}"
    return Clip(row.path, text, speaker, gender, "child" if years <= OLDEST_CHILD else "adult", "English")


def _table_rows(table: Path) -> Iterator[_Row]:
    """The lines of a labels.tsv, whose column `labels` is JSON with the key `age`."""
    with table.open(encoding="utf-8", newline="") as file:
        lines = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        if missing := sorted(set(LABELS) - set(lines.fieldnames or [])):
            raise ValueError(
                f"{table}: has no column {missing[0]!r}; its first line must name {', '.join(LABELS)}, tabs between"
            )
        for line in lines:
            source = f"{table}, line {lines.line_num}"
            try:
                age = str(json.loads(line["labels"])["age"])
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{source}: labels {line['labels']!r} is no JSON with an age; {MEND}") from error
            path = table.parent / "wav" / f"{line['id']}.wav"
            yield _Row(path, line["speaker"], line["gender"] or "", age, line["transcript"] or "", source)


def _kaldi_rows(part: Path) -> Iterator[_Row]:
    """The utterances of train/ or test/; audio paths of wav.scp start from the folder above."""
    speakers = _kaldi_table(part / "utt2spk")
    audio, texts = _kaldi_table(part / "wav.scp"), _kaldi_table(part / "text")
    genders, ages = _kaldi_table(part / "spk2gender"), _kaldi_table(part / "spk2age")

    def value(table: dict[str, str], name: str, key: str) -> str:
        if key not in table:
            raise ValueError(f"{part / name}: has no line for {key}, which utt2spk names; {MEND}")
        return table[key]

    for utterance, speaker in speakers.items():
        yield _Row(
            path=part.parent / value(audio, "wav.scp", utterance),
            speaker=speaker,
            gender=value(genders, "spk2gender", speaker),
            age=value(ages, "spk2age", speaker),
            text=value(texts, "text", utterance),
            source=f"{part}, utterance {utterance}",
        )


def _kaldi_table(path: Path) -> dict[str, str]:
    """key -> the rest of its line."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; unpack the corpus again, from {SPEECHOCEAN_URL}")
    table = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if len(fields := line.split(maxsplit=1)) < 2:
            raise ValueError(f"{path}, line {number}: {line!r} is no key with a value; {MEND}")
        table[fields[0]] = fields[1].strip()
    return table


def split_speakers(title: str, clips: Sequence[Clip], strata: Sequence[tuple[str, str]]) -> dict[str, list[Clip]]:
    """The clips by split, no speaker in two: of each (age, gender), about 15 % go to dev and to test, one at least.

    The same for every seed, so that a voice trained on never becomes one tested on.
    """
    voices: dict[str, tuple[str, str]] = {}
    for clip in clips:
        if voices.setdefault(clip.speaker, (clip.age, clip.gender)) != (clip.age, clip.gender):
            raise ValueError(f"{clip.path}: speaker {clip.speaker} has another sex or age elsewhere; mend the labels")
    home: dict[str, str] = {}
    for age, gender in strata:
        speakers = sorted(speaker for speaker, voice in voices.items() if voice == (age, gender))
        if len(speakers) < len(SPLITS):
            raise ValueError(
                f"{title}: {len(speakers)} speakers of sex {gender} and age {age}; each split needs one of its own, so "
                "use the whole corpus, or at least three such speakers"
            )
        random.Random(f"voices-{age}-{gender}").shuffle(speakers)
        held = max(1, round(HELD_OUT * len(speakers)))
        home |= {s: "dev" if i < held else "test" if i < 2 * held else "train" for i, s in enumerate(speakers)}
    return {split: [clip for clip in clips if home[clip.speaker] == split] for split in SPLITS}


CORPORA = {
    "emodb": VoiceCorpus("EmoDB", read_emodb, "emotion", (("adult", "F"), ("adult", "M"))),
    "speechocean": VoiceCorpus(
        "speechocean762",
        read_speechocean,
        "age",
        (("child", "F"), ("child", "M"), ("adult", "F"), ("adult", "M")),
    ),
}
