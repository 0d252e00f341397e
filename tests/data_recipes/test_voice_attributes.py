"""VoiceAttributes on made-up recordings: splits, sessions, truth, balance, gaps in the material, errors."""

import json
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from data_recipes.voice_attributes import VoiceAttributes
from data_recipes.voice_corpora import CORPORA, read_emodb, split_speakers
from speech_xl.data.tasks import asr_turn, caption_turn, qa_turns
from tests.data_recipes.voice_recordings import EMOTIONS, level, write_emodb, write_speechocean, write_wav

NUMBERS = {1: "one", 2: "two", 3: "three"}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> tuple[Path, Path, dict[str, dict[int, tuple]]]:
    """Folders of EmoDB and speechocean762, only to be read, and what is told of their recordings by language."""
    folder = tmp_path_factory.mktemp("corpora")
    told = {"German": write_emodb(folder / "EmoDB" / "wav"), "English": write_speechocean(folder / "ocean", flat=True)}
    return folder / "EmoDB", folder / "ocean", told


@pytest.fixture
def emodb(tmp_path: Path) -> Path:
    """One to be spoilt."""
    write_emodb(tmp_path / "EmoDB" / "wav")
    return tmp_path / "EmoDB"


def make(tmp_path: Path, emodb: Path | None = None, speechocean: Path | None = None, **kwargs) -> VoiceAttributes:
    folders = {"emodb_dir": emodb and str(emodb), "speechocean_dir": speechocean and str(speechocean)}
    sizes = {"train_sessions": 48, "dev_sessions": 24, "test_sessions": 24}
    recipe = VoiceAttributes(root=str(tmp_path / "made"), **(folders | sizes | kwargs))
    recipe.prepare()
    return recipe


def heard(cut, told: dict[str, dict[int, tuple]]) -> list[tuple]:
    """What the audio says, utterance by utterance: (speaker, gender, attribute), no recording twice."""
    audio = cut.load_audio()[0]
    found = []
    for s in cut.supervisions:
        value = audio[round((s.start + s.duration / 2) * 16000)]
        found.append(round(value / level(0)) - 1)
        assert value == pytest.approx(level(found[-1]), abs=2e-4) and s.duration == pytest.approx(0.05)
    assert len(set(found)) == len(found)
    return [told[cut.supervisions[0].language][index] for index in found]


def test_sessions_and_questions_are_true_to_the_recordings(tmp_path, corpora):
    emodb, speechocean, told = corpora
    recipe = make(tmp_path, emodb, speechocean)
    kinds = Counter()
    for split in ("train", "dev", "test"):
        for cut in recipe.cuts(split):
            voices = heard(cut, told)
            german = cut.supervisions[0].language == "German"
            assert {s.language for s in cut.supervisions} == {"German" if german else "English"}
            assert [(s.speaker, s.gender) for s in cut.supervisions] == [voice[:2] for voice in voices]
            assert not set(asr_turn(cut).answer) & set("ABCDEFGHIJKLMNOPQRSTUVWXYZ.,?")
            assert len(voices) <= 6
            nouns = {v[0]: "child" if v[2] == "child" else {"M": "man", "F": "woman"}[v[1]] for v in voices}
            answers = {turn.kind: turn.answer for turn in qa_turns(cut)}
            if "-alone-" in cut.id:
                assert len(set(voices)) == 1
                expected = {"emotion" if german else "age": voices[0][2], "gender": nouns[voices[0][0]]}
                if expected["gender"] == "child":
                    del expected["gender"]
            else:
                expected = {"count": NUMBERS[len(nouns)]}
                if len(nouns) > 1:
                    expected["same"] = "yes" if voices[0][0] == voices[-1][0] else "no"
            assert answers == expected
            kinds.update(list(answers))
            caption = caption_turn(cut).answer
            if len(nouns) == 1:
                manner = {"anger": "in anger", "sadness": "in sadness", "neutral": "in a neutral tone"}
                spoken = f"one {nouns[voices[0][0]]} speaks"
                alone = "-alone-" in cut.id and german
                assert caption == (f"{spoken} {manner[voices[0][2]]}" if alone else spoken)
            else:
                counts = Counter(nouns.values())
                assert all(NUMBERS[count] in caption for count in counts.values()) and caption.endswith(" speak")
    assert set(kinds) == {"emotion", "age", "gender", "count", "same"}


def test_pauses_are_as_long_as_asked_for(tmp_path, corpora):
    for cut in make(tmp_path, corpora[0], pauses=(0.1, 0.15)).cuts("dev"):
        starts, ends = [s.start for s in cut.supervisions], [s.end for s in cut.supervisions]
        gaps = [b - a for a, b in zip([0.0, *ends], [*starts, cut.duration], strict=True)]
        assert min(gaps) >= 0.1 - 1e-4 and max(gaps) <= 0.15 + 1e-4


def test_no_answer_is_more_frequent_and_length_tells_none(tmp_path, corpora):
    recipe = make(tmp_path, *corpora[:2], train_sessions=144)  # 36 of each form: whole rounds
    facts = json.loads((recipe.folder / "recipe.json").read_text())["facts"]
    for split in ("train", "dev", "test"):
        tally: dict[tuple, Counter] = {}
        lengths: dict[tuple, Counter] = {}
        for cut in recipe.cuts(split):
            for turn in qa_turns(cut):
                place = (cut.supervisions[0].language, turn.kind)
                tally.setdefault(place, Counter())[turn.answer] += 1
                lengths.setdefault((*place, turn.answer), Counter())[len(cut.supervisions)] += 1
        counted = {(lang, kind): c for lang, kinds in facts[split]["answers"].items() for kind, c in kinds.items()}
        assert counted == tally
        assert set(tally[("German", "emotion")]) == set(EMOTIONS.values())
        assert set(tally[("English", "count")]) == {"one", "two", "three"}
        assert len(tally[("German", "count")]) == (3 if split == "train" else 2)  # two actors are held out
        for place, answers in tally.items():
            assert len(answers) >= 2 and max(answers.values()) - min(answers.values()) <= 1, (split, place)
        for place, answers in tally.items():
            if place[1] in ("emotion", "age", "count") and split == "train":
                first, *others = (lengths[(*place, answer)] for answer in answers)
                assert all(other == first for other in others) and len(first) > 1
    assert facts["train"]["sessions"] == 144


def test_speakers_keep_to_their_split_whatever_the_seed(tmp_path, corpora):
    homes = []
    for seed in (0, 1):
        sizes = {"train_sessions": 160, "dev_sessions": 40, "test_sessions": 40}
        recipe = make(tmp_path, *corpora[:2], seed=seed, **sizes)
        who = {s: {v.speaker: v for c in recipe.cuts(s) for v in c.supervisions} for s in ("train", "dev", "test")}
        assert not set(who["train"]) & set(who["dev"]) | set(who["dev"]) & set(who["test"])
        assert not set(who["train"]) & set(who["test"])
        for split in ("dev", "test"):
            emodb_sexes = [v.gender for v in who[split].values() if v.language == "German"]
            assert sorted(emodb_sexes) == ["F", "M"]
            assert len(who[split]) == 2 + 4  # and one of each age and sex
        assert len(who["train"]) == 6 + 8 and "so9999" not in {s for speakers in who.values() for s in speakers}
        homes.append({split: set(speakers) for split, speakers in who.items()})
    assert homes[0] == homes[1]


def test_the_published_layout_makes_true_sessions(tmp_path):
    told = {"English": write_speechocean(tmp_path / "ocean", flat=False)}
    recipe = make(tmp_path, speechocean=tmp_path / "ocean", train_sessions=8, dev_sessions=4, test_sessions=4)
    for split in ("train", "dev", "test"):
        for cut in recipe.cuts(split):
            voices = heard(cut, told)
            assert [(s.speaker, s.gender) for s in cut.supervisions] == [voice[:2] for voice in voices]


def test_one_corpus_alone_and_a_session_does_not_depend_on_the_others(tmp_path, corpora):
    emodb = corpora[0]
    few, many = make(tmp_path, emodb, train_sessions=4), make(tmp_path, emodb, train_sessions=9)
    again = make(tmp_path / "again", emodb, train_sessions=4)
    assert few.folder != many.folder and few.folder.name == again.folder.name
    assert {s.language for c in many.cuts("train") for s in c.supervisions} == {"German"}
    for one, other, third in zip(few.cuts("train"), many.cuts("train"), again.cuts("train"), strict=False):
        assert one.supervisions == other.supervisions == third.supervisions
        assert one.custom == other.custom == third.custom
        assert np.array_equal(one.load_audio(), other.load_audio())
        assert np.array_equal(one.load_audio(), third.load_audio())
    other_seed = make(tmp_path, emodb, train_sessions=4, seed=1)
    assert [c.supervisions for c in other_seed.cuts("train")] != [c.supervisions for c in few.cuts("train")]


def test_prepare_is_idempotent(tmp_path, corpora):
    recipe = make(tmp_path, corpora[0])
    stamps = {p: p.stat().st_mtime_ns for p in recipe.folder.rglob("*") if p.is_file()}
    recipe.prepare()
    assert stamps == {p: p.stat().st_mtime_ns for p in recipe.folder.rglob("*") if p.is_file()}
    (recipe.folder / "recipe.json").unlink()
    with pytest.raises(FileNotFoundError, match="not whole"):
        recipe.cuts("train")


@pytest.mark.parametrize(("flat", "extra"), [(True, "wav/1.wav"), (False, "WAVE/SPEAKER1/1.WAV")])
def test_what_is_left_out_or_short_is_said(tmp_path, emodb, caplog, flat, extra):
    speechocean = tmp_path / "ocean"
    write_speechocean(speechocean, flat)
    (emodb / "wav" / "notes.txt").write_text("x")
    write_wav(speechocean / extra, 0)
    next(path for path in speechocean.rglob("*") if path.name.startswith("006000001")).unlink()
    with caplog.at_level(logging.WARNING):
        make(tmp_path, emodb, speechocean, train_sessions=4, dev_sessions=4, test_sessions=4)
    assert "1 files are not named like 03a01Fa.wav, left out: ['notes.txt']" in caplog.text
    assert "1 files without labels left out: 1" in caplog.text
    assert "1 labelled utterances without a file left out: 006000001" in caplog.text
    assert "6 utterances of 1 speakers of 15 to 17 years left out: 099990000, " in caplog.text
    assert "EmoDB train: sessions of one speaker have at most 4 utterances, not 6" in caplog.text
    assert "length hints" not in caplog.text


def test_few_utterances_a_speaker_are_said_and_still_true(tmp_path, caplog):
    write_speechocean(tmp_path / "ocean", flat=True, clips=2)
    with caplog.at_level(logging.WARNING):
        recipe = make(tmp_path, speechocean=tmp_path / "ocean")
    assert "its 4 speakers have 2 to 2 utterances each where a mixed session wants 4" in caplog.text
    for cut in recipe.cuts("train"):
        answers = {turn.kind: turn.answer for turn in qa_turns(cut)}
        speakers = [s.speaker for s in cut.supervisions]
        assert answers.get("count", NUMBERS[len(set(speakers))]) == NUMBERS[len(set(speakers))]
        assert answers.get("same", "yes") == ("yes" if speakers[0] == speakers[-1] else "no")
    write_speechocean(tmp_path / "single", flat=True, clips=1)
    with pytest.raises(ValueError, match="speechocean762 train: no speaker has two utterances"):
        make(tmp_path, speechocean=tmp_path / "single")


def test_an_emotion_that_a_split_lacks_is_said(tmp_path, emodb, caplog):
    shares = split_speakers("EmoDB", read_emodb(emodb), CORPORA["emodb"].strata)
    for clip in shares["dev"]:
        if clip.emotion == "anger":
            clip.path.unlink()
    with caplog.at_level(logging.WARNING):
        recipe = make(tmp_path, emodb)
    assert "EmoDB dev: no utterance for the answer anger" in caplog.text
    asked = Counter(t.answer for cut in recipe.cuts("dev") for t in qa_turns(cut) if t.kind == "emotion")
    assert set(asked) == {"neutral", "sadness"}


def test_missing_corpora_say_where_to_get_them(tmp_path, corpora):
    with pytest.raises(ValueError, match="emodb_dir and speechocean_dir are both null; give .*bilderbar.*openslr"):
        VoiceAttributes()
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "nowhere", tmp_path / "empty"):
        with pytest.raises(FileNotFoundError, match=r"emodb_dir .* fetch http://emodb\.bilderbar.* set emodb_dir"):
            make(tmp_path, folder)
        with pytest.raises(FileNotFoundError, match=r"speechocean_dir .*openslr\.org/101/.* set speechocean_dir"):
            make(tmp_path, corpora[0], folder)


def test_damaged_audio_is_named(tmp_path, emodb):
    for path in (emodb / "wav").glob("*.wav"):
        path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"\wa\.wav: cannot be read as audio"):
        make(tmp_path, emodb)


@pytest.mark.parametrize(
    ("key", "value"),
    [("train_sessions", 0), ("dev_sessions", -1), ("max_utterances", 3), ("pauses", (0.5, 0.2)), ("pauses", (-1.0, 1))],
)
def test_arguments_out_of_range(key, value):
    with pytest.raises(ValueError, match=rf"VoiceAttributes\.{key}.*: got .*; give a (whole )?number"):
        VoiceAttributes(emodb_dir="x", **{key: value})
