"""VoiceAttributes on made-up recordings in each layout: splits, sessions, truth, balance, gaps, damaged input."""

import json
import logging
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_recipes.voice_attributes import VoiceAttributes
from data_recipes.voice_corpora import CORPORA, Clip, read_emodb, read_speechocean, split_speakers
from data_recipes.voice_pool import VoicePool, in_turns, order_speakers
from speech_xl.data.tasks import asr_turn, caption_turn, qa_turns

NUMBERS = {1: "one", 2: "two", 3: "three"}
MEN = ("03", "10", "11", "12", "15")
WOMEN = ("08", "09", "13", "14", "16")
EMOTIONS = {"W": "anger", "N": "neutral", "T": "sadness"}
# (speaker, gender, years): four children and four adults of each sex, and one between.
PEOPLE = [
    (f"{100 * years + 10 * i + (gender == 'F'):04d}", gender, years + i)
    for years in (6, 21)
    for gender in "MF"
    for i in range(4)
]
BETWEEN = ("9999", "F", 15)


def level(index: int) -> float:
    """The constant level of the `index`-th made-up recording, by which it is found again in a session."""
    return 0.003 * (index + 1)


def write_wav(path: Path, index: int, rate: int = 16000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(rate // 20, level(index), dtype=np.float32), rate)


def write_emodb(folder: Path, speakers=(*MEN, *WOMEN), clips: int = 4) -> dict[int, tuple]:
    """index -> (speaker, gender, emotion) of what was written."""
    told = {}
    for speaker in speakers:
        for letter, emotion in EMOTIONS.items():
            for sentence in ("a01", "a02", "b01", "b10")[:clips]:
                write_wav(folder / f"{speaker}{sentence}{letter}a.wav", len(told))
                told[len(told)] = (f"emodb{speaker}", "M" if speaker in MEN else "F", emotion)
    return told


def write_speechocean(folder: Path, flat: bool, people=(*PEOPLE, BETWEEN), clips: int = 6) -> dict[int, tuple]:
    """The same, in the published layout or with labels.tsv: index -> (speaker, gender, "child" or "adult")."""
    told, rows = {}, []
    for speaker, gender, years in people:
        for clip in range(clips):
            name, index = f"0{speaker}{clip:04d}", 200 + len(told)
            path = Path("wav", f"{name}.wav") if flat else Path("WAVE", f"SPEAKER{speaker}", f"{name}.WAV")
            write_wav(folder / path, len(told), 16000 if flat else 8000)
            told[len(told)] = (f"so{speaker}", gender, "child" if years < 15 else "adult")
            rows.append((name, speaker, gender, years, f"IT'S NUMBER {index}", path))
    if flat:
        lines = ["id\tspeaker\tgender\tlanguage\ttranscript\tlabels"]
        lines += [f"{i}\tso{s}\t{g}\ten\t{t}\t{json.dumps({'age': a})}" for i, s, g, a, t, _ in rows]
        (folder / "labels.tsv").write_text("\n".join(lines) + "\n")
        return told
    for part, chosen in (("train", rows[::2]), ("test", rows[1::2])):
        (folder / part).mkdir(parents=True)
        tables = {
            "utt2spk": {f"{i}\t{s}" for i, s, _, _, _, _ in chosen},
            "wav.scp": {f"{i}\t{p}" for i, _, _, _, _, p in chosen},
            "text": {f"{i}\t{t}" for i, _, _, _, t, _ in chosen},
            "spk2gender": {f"{s} {g.lower()}" for _, s, g, _, _, _ in chosen},
            "spk2age": {f"{s} {a}" for _, s, _, a, _, _ in chosen},
        }
        for name, lines in tables.items():
            (folder / part / name).write_text("\n".join(sorted(lines)) + "\n")
    return told


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


def test_both_layouts_of_speechocean_and_both_folders_of_emodb_say_the_same(tmp_path, corpora):
    emodb, flat_folder, _ = corpora
    write_speechocean(tmp_path / "published", flat=False)

    def said(clips):
        return sorted((c.path.stem, c.text, c.speaker, c.gender, c.age, c.language) for c in clips)

    flat = said(read_speechocean(flat_folder))
    assert said(read_speechocean(tmp_path / "published")) == flat
    assert flat[0] == ("006000000", "it's number 200", "so0600", "M", "child", "English")
    assert read_emodb(emodb) == read_emodb(emodb / "wav")
    assert {c.text for c in read_emodb(emodb) if "b01" in c.path.name} == {
        "was sind denn das für tüten die da unter dem tisch stehen"
    }


def test_the_published_layout_makes_true_sessions(tmp_path):
    told = {"English": write_speechocean(tmp_path / "ocean", flat=False)}
    recipe = make(tmp_path, speechocean=tmp_path / "ocean", train_sessions=8, dev_sessions=4, test_sessions=4)
    for split in ("train", "dev", "test"):
        for cut in recipe.cuts(split):
            voices = heard(cut, told)
            assert [(s.speaker, s.gender) for s in cut.supervisions] == [voice[:2] for voice in voices]


def test_shares_of_a_larger_corpus():
    strata = [("child", "F"), ("adult", "M")]
    clips = [Clip(Path("x"), "x", f"{age}{i}", gender, age, "English") for age, gender in strata for i in range(40)]
    shares = split_speakers("x", clips, strata)
    children = {split: sum(clip.age == "child" for clip in found) for split, found in shares.items()}
    assert {split: len(found) for split, found in shares.items()} == {"train": 56, "dev": 12, "test": 12}
    assert children == {"train": 28, "dev": 6, "test": 6}


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


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('{"age": 6}', '{"age": "six"}', r"labels\.tsv, line 2: age 'six' is not whole years; mend"),
        ('{"age": 6}', "6", r"labels\.tsv, line 2: labels '6' is no JSON with an age"),
        ("\tM\t", "\tX\t", r"labels\.tsv, line 2: gender 'X' is neither F nor M"),
        ("IT'S NUMBER 200", " ", r"labels\.tsv, line 2: the transcript is empty"),
        ("gender", "sex", r"labels\.tsv: has no column 'gender'; its first line must name"),
        ('{"age": 6}', '{"age": 30}', "speaker so0600 has another sex or age elsewhere"),
    ],
)
def test_a_wrong_label_is_named(tmp_path, old, new, message):
    write_speechocean(tmp_path / "ocean", flat=True)
    table = tmp_path / "ocean" / "labels.tsv"
    table.write_text(table.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        make(tmp_path, speechocean=tmp_path / "ocean")


@pytest.mark.parametrize("name", ["text", "wav.scp", "spk2gender", "spk2age"])
def test_a_wrong_kaldi_table_is_named(tmp_path, name):
    write_speechocean(tmp_path / "ocean", flat=False)
    table = tmp_path / "ocean" / "train" / name
    first, *rest = table.read_text().splitlines()
    table.write_text("\n".join(rest))
    with pytest.raises(ValueError, match=f"train/{name}: has no line for {first.split()[0]}, which utt2spk names"):
        make(tmp_path, speechocean=tmp_path / "ocean")
    table.write_text("alone\n")
    with pytest.raises(ValueError, match=f"train/{name}, line 1: 'alone' is no key with a value"):
        make(tmp_path, speechocean=tmp_path / "ocean")
    table.unlink()
    with pytest.raises(FileNotFoundError, match=f"train/{name} is missing; unpack the corpus again"):
        make(tmp_path, speechocean=tmp_path / "ocean")


def test_too_few_speakers_and_damaged_audio_are_named(tmp_path, emodb):
    write_emodb(tmp_path / "few", speakers=("03", "10", *WOMEN))
    with pytest.raises(ValueError, match="EmoDB: 2 speakers of sex M and age adult; each split needs one of its own"):
        make(tmp_path, tmp_path / "few")
    for path in (emodb / "wav").glob("*.wav"):
        path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"\wa\.wav: cannot be read as audio"):
        make(tmp_path, emodb)


@pytest.mark.parametrize(
    ("key", "value"),
    [("train_sessions", 0), ("dev_sessions", -1), ("max_utterances", 3), ("pauses", (0.5, 0.2)), ("pauses", (-1.0, 1))],
)
def test_arguments_out_of_range(key, value):
    with pytest.raises(ValueError, match=f"VoiceAttributes: {key} .*; use "):
        VoiceAttributes(emodb_dir="x", **{key: value})


def test_turns_hold_every_speaker_and_the_end_that_was_asked_for():
    for seed in range(300):
        rng = random.Random(seed)
        left = dict.fromkeys("abc"[: rng.randint(2, 3)], rng.randint(2, 5))
        length, same = rng.randint(len(left) + 1, 8), rng.random() < 0.5
        turns = order_speakers(left, length, same, rng)
        assert len(turns) == min(length, sum(left.values())) and set(turns) == set(left)
        assert turns[0] == "a" and (turns[-1] == "a") == same
        assert all(count <= left[speaker] for speaker, count in Counter(turns).items())


def test_each_choice_comes_once_a_round():
    row = [in_turns("abc", place, "key") for place in range(30)]
    assert all(sorted(row[i : i + 3]) == ["a", "b", "c"] for i in range(0, 30, 3))
    assert len({tuple(row[i : i + 3]) for i in range(0, 30, 3)}) > 2


def test_speakers_with_few_utterances_are_drawn_where_they_suffice():
    counts = {("F", "a"): 1, ("F", "b"): 5, ("M", "c"): 2, ("M", "d"): 6}
    clips = [
        Clip(Path(f"{speaker}{i}"), "x", speaker, gender, "adult", "German", emotion)
        for (gender, speaker), count in counts.items()
        for emotion in ("anger", "fear")
        for i in range(count)
    ]
    pool = VoicePool("x", clips, "emotion")
    assert pool.longest_alone(6) == 5 and list(pool.mixed_lengths(6)) == [4, 5, 6]
    alone = [pool.draw_alone(place, "key", 6, random.Random(place)) for place in range(100)]
    mixed = [pool.draw_mixed(place, "key", 6, random.Random(place)) for place in range(180)]
    assert Counter(len(said) for said in alone) == dict.fromkeys(range(1, 6), 20)
    assert {clip.speaker for said in alone for clip in said} == set("abcd")
    assert Counter(len(said) for said in mixed if len({c.speaker for c in said}) == 1) == dict.fromkeys((4, 5, 6), 20)
