"""The mini benchmarks: items are true to what is spoken, answers balanced, splits disjoint, gaps in the coverage."""

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_recipes.grammar import CITIES, EVENTS, MEN, OBJECTS, WOMEN, number_words
from data_recipes.languages import LANGUAGES
from data_recipes.longspeech_mini import LongSpeechMini
from data_recipes.marathon_mini import EMOTIONS, MarathonMini, entities_in, sentences_with
from speech_xl.data.items import items_of
from speech_xl.data.tasks import item_turns
from speech_xl.evaluation.benchmarks.registry import find_benchmark
from tests.predictions import make_prediction

SIZES = {"train_sessions": 4, "dev_sessions": 1, "test_sessions": 2, "min_seconds": 14.0, "max_seconds": 18.0}
LEVELS = {"W": 0.1, "F": 0.2, "N": 0.3, "T": 0.4}  # of made-up recordings: they tell what was recorded
VOICES = {"anger": 0.1, "happiness": 0.2, "neutral": 0.3, "sadness": 0.4}
VOICES |= {"child up to fourteen": 0.5, "adult of eighteen or more": 0.6}
DIGITS = [number_words(n) for n in range(10)]


def write(path: Path, seconds: float, level: float = 0.1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(round(16000 * seconds), level, dtype=np.float32), 16000)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> Path:
    """Small folders in the published layouts of all four corpora."""
    folder = tmp_path_factory.mktemp("corpora")
    for digit in range(10):
        for index in (0, 6, 20, 21):
            write(folder / "FSDD" / f"{digit}_theo_{index}.wav", 0.1)
    for speaker in ("03", "10", "11", "08", "09", "13"):
        for letter in "WFNT":
            write(folder / "EmoDB" / f"{speaker}a01{letter}a.wav", 1.0, LEVELS[letter])
    lines = ["id\tspeaker\tgender\tlanguage\ttranscript\tlabels"]
    for place, (years, sex) in enumerate([(years, sex) for years in (8, 9, 10, 30, 31, 32) for sex in "MF"]):
        write(folder / "speechocean762" / "wav" / f"{place:03d}.wav", 1.0, 0.5 if years < 18 else 0.6)
        lines.append(f"{place:03d}\tso{place}\t{sex}\ten\tHELLO\t{json.dumps({'age': years})}")
    (folder / "speechocean762" / "labels.tsv").write_text("\n".join(lines) + "\n")
    rows = []
    for part, speakers in {"train-clean-5": ("11", "12", "13", "14"), "dev-clean-2": tuple("12345678")}.items():
        for place, speaker in enumerate(speakers):
            rows.append(f"{speaker} | {'FM'[place % 2]} | {part} | 1.0 | name")
            chapter = folder / "LibriSpeech" / part / speaker / "7"
            texts = []
            for n in range(10):
                write(chapter / f"{speaker}-7-{n:04d}.flac", 2.0)
                texts.append(f"{speaker}-7-{n:04d} READ {'ABCDEFGHIJ'[n]}")
            (chapter / f"{speaker}-7.trans.txt").write_text("\n".join(texts) + "\n")
    (folder / "LibriSpeech" / "SPEAKERS.TXT").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def longspeech(corpora, tmp_path_factory) -> LongSpeechMini:
    root = str(tmp_path_factory.mktemp("longspeech"))
    made = LongSpeechMini(root, librispeech_dir=str(corpora / "LibriSpeech"), **SIZES)
    made.prepare()
    return made


@pytest.fixture(scope="module")
def marathon(corpora, tmp_path_factory) -> MarathonMini:
    folders = {"fsdd_dir": "FSDD", "emodb_dir": "EmoDB", "speechocean_dir": "speechocean762"}
    folders |= {"librispeech_dir": "LibriSpeech"}
    made = MarathonMini(
        str(tmp_path_factory.mktemp("marathon")), **{k: str(corpora / v) for k, v in folders.items()}, **SIZES
    )
    made.prepare()
    return made


def items_by_kind(corpus, split: str = "train") -> dict[str, list]:
    found: dict[str, list] = {}
    for cut in corpus.cuts(split):
        found.setdefault(cut.id.split("-")[0], []).append(
            (cut, {item.id.split("/")[0]: item for item in items_of(cut)})
        )
    return found


@pytest.mark.slow  # espeak-ng makes both corpora
def test_conversations_are_asked_what_their_sentences_tell(longspeech):
    for cut, items in items_by_kind(longspeech)["conversation"]:
        words = items["ASR"].answer.split()
        assert " ".join(s.text for s in cut.supervisions).split() == words and items["ASR"].prompt is None
        speakers = list(dict.fromkeys(s.speaker.split("-")[0] for s in cut.supervisions))
        assert items["speaker_count"].answer == str(len(speakers))
        facts = items["summary"].about["facts"]
        assert facts[1 : len(speakers) + 1] == speakers and facts[0].startswith(number_words(len(speakers)))
        assert all(fact in items["summary"].answer for fact in facts)
        for asked in (one for one in items_of(cut) if one.task == "Temporal_Relative_QA"):
            if asked.prompt == "who spoke first":
                assert asked.answer == speakers[0]
            else:
                pair = asked.prompt.removeprefix("what was mentioned first ").split(" or ")
                assert set(pair) <= {*OBJECTS, *EVENTS} and asked.answer == min(pair, key=words.index)
        assert {turn.task for turn in item_turns(cut)} == {"asr", "qa"}


@pytest.mark.slow  # espeak-ng makes both corpora
def test_other_sessions_of_longspeech_mini(longspeech, corpora):
    kinds = items_by_kind(longspeech)
    for cut, items in kinds["language"]:
        asked = items["language_detection"]
        assert {s.language for s in cut.supervisions} == {asked.answer}
        assert asked.language == LANGUAGES[asked.answer].code
    for _, items in kinds["topics"]:
        asked = items["content_separation"]
        assert asked.answer == str(len(asked.about["topics"])) == str(len(set(asked.about["topics"])))
    for cut, items in kinds["reading"]:
        assert items["speaker_count"].answer == str(len({s.speaker for s in cut.supervisions}))
        assert items["ASR"].answer == " ".join(s.text for s in cut.supervisions)
    counts = Counter(items["speaker_count"].answer for _, items in kinds["conversation"])
    assert counts == {"1": 1, "2": 1, "3": 1, "4": 1}
    silent = LongSpeechMini(
        str(longspeech.folder.parent), str(corpora / "LibriSpeech"), transcribe_readings=False, **SIZES
    )
    assert silent.folder != longspeech.folder


@pytest.mark.slow  # espeak-ng makes both corpora
def test_letters_of_marathon_mini_are_the_truth(marathon):
    kinds = items_by_kind(marathon)
    assert set(kinds) == {"digits", "entities", "emotion", "age", "gender"}
    for cut, items in kinds["digits"]:
        words = items["ASR"].answer.split()
        assert [s.text for s in cut.supervisions] == words and set(words) <= set(DIGITS)
        asked = items["digit_count"]
        digit = asked.prompt.removeprefix("how many times was ").split()[0]
        assert asked.choices[asked.answer] == number_words(words.count(digit))
    for kind, task in (("emotion", "ER"), ("age", "SAR")):
        for cut, items in kinds[kind]:
            audio, level = cut.load_audio()[0], VOICES[items[task].choices[items[task].answer]]
            middles = [audio[round((s.start + s.duration / 2) * 16000)] for s in cut.supervisions]
            assert middles == pytest.approx([level] * len(middles), abs=1e-3) and len(middles) > 1
            assert all(s.text is None for s in cut.supervisions)
    assert set(kinds["emotion"][0][1]["ER"].choices.values()) == set(EMOTIONS)
    for cut, items in kinds["gender"]:
        sexes = {s.gender for s in cut.supervisions}
        assert {items["SGR"].choices[items["SGR"].answer]} == {{"M": "man", "F": "woman"}[sex] for sex in sexes}
        assert len({s.speaker for s in cut.supervisions}) == 1
    for task, kind in {"SER": "entities", "ER": "emotion", "SAR": "age", "SGR": "gender"}.items():
        answers = Counter(items[task].answer for _, items in kinds[kind])
        assert len(set(answers.values())) == 1 and len(answers) == len(next(iter(kinds[kind]))[1][task].choices)


@pytest.mark.slow  # espeak-ng makes both corpora
def test_entities_are_counted_in_the_sentences_that_are_spoken(marathon):

    for count in (2, 5, 8, 11):
        sentences = sentences_with(random.Random(count), 12, count, "anna", "dev")
        names = [word for one in sentences for word in one.text.split() if word in {*WOMEN, *MEN, *CITIES}]
        assert len(names) == count == sum(map(entities_in, sentences))


@pytest.mark.slow  # espeak-ng makes both corpora
def test_no_speaker_and_no_sentence_is_in_two_splits(longspeech, marathon):
    for corpus in (longspeech, marathon):
        speakers, texts = {}, {}
        for split in ("train", "dev", "test"):
            for cut in corpus.cuts(split):
                if not cut.id.startswith(("digits", "topics")):
                    speakers.setdefault(split, set()).update(s.speaker.split("-", 1)[-1] for s in cut.supervisions)
                texts.setdefault(split, set()).update(s.text for s in cut.supervisions if cut.id.startswith("conv"))
        for found in (speakers, texts):
            assert not any(found[a] & found[b] for a, b in (("train", "dev"), ("train", "test"), ("dev", "test")))


@pytest.mark.slow  # espeak-ng makes both corpora
def test_without_folders_what_needs_them_is_missing_and_named(tmp_path):
    alone = MarathonMini(str(tmp_path), **SIZES)
    alone.prepare()
    coverage = alone.coverage("test")
    assert coverage.here == {"SER": 2}
    assert coverage.missing == {
        "ASR": {"fsdd_dir is not given": 2},
        "digit_count": {"fsdd_dir is not given": 2},
        "ER": {"emodb_dir is not given": 2},
        "SAR": {"speechocean_dir is not given": 2},
        "SGR": {"librispeech_dir is not given": 2},
    }
    with pytest.raises(FileNotFoundError, match="emodb_dir .*nowhere is missing"):
        MarathonMini(str(tmp_path), emodb_dir=str(tmp_path / "nowhere")).check()


def test_summaries_are_scored_by_the_facts_they_hold():
    item = {"about": {"facts": ["two speakers", "anna", "the wedding"]}, "id": "summary/one"}
    scorer = find_benchmark("longspeech_mini").profile("facts").tasks["summary"]
    reply = "two speakers emily and anna talk about a wedding"
    predictions = [make_prediction("a", hypothesis=reply, item=item), make_prediction("b", hypothesis="", item=item)]
    assert scorer.score(predictions, {})[0].value == pytest.approx(100 * 2 / 6)
    with pytest.raises(ValueError, match="item summary/one: has no facts"):
        scorer.score([make_prediction(item={"id": "summary/one"})], {})


def test_one_word_answers_are_scored_by_exact_match():
    scorer = find_benchmark("longspeech_mini").profile("facts").tasks["Temporal_Relative_QA"]
    predictions = [
        make_prediction(str(n), reference="clocks", hypothesis=h) for n, h in enumerate(("Clocks.", "the clocks"))
    ]
    assert scorer.score(predictions, {})[0].value == 50


@pytest.mark.slow  # espeak-ng makes both corpora
def test_every_task_with_items_has_a_scorer(longspeech, marathon):
    for corpus in (longspeech, marathon):
        benchmark = find_benchmark(corpus.name)
        tasks = set(corpus.coverage("test").here)
        assert tasks == set(benchmark.tasks) == set(benchmark.profiles[0].tasks)
