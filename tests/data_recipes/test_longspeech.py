"""LongSpeech: rows as published, partial data with coverage, a folder that grows, bad rows, turns of an evaluation."""

import inspect
import json
import logging
import random
from pathlib import Path

import pytest
import soundfile
import yaml

from data_recipes.longspeech import PUBLISHED, TASKS, LongSpeech, prepare_longspeech, read_row
from speech_xl.data.audio import load_audio
from speech_xl.data.cut_checks import cut_fault
from speech_xl.data.datamodule import SpeechDataModule
from speech_xl.data.dataset import EvaluationTurns
from speech_xl.data.items import items_of
from speech_xl.data.tasks import TaskMixture
from speech_xl.data.transcript import PLAIN
from tests.benchmark_folders import ITALIAN, LOST, NO_ROW, STEREO, STORY, TALK, write_longspeech

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_longspeech(tmp_path_factory.mktemp("longspeech"))


@pytest.fixture
def own(written, tmp_path):
    """A folder that a test may change."""
    return written.copied(tmp_path / "data")


def corpus(written, root, **options) -> LongSpeech:
    return LongSpeech(str(written.path), str(root), **options)


@pytest.fixture(scope="module")
def prepared(written, tmp_path_factory):
    made = corpus(written, tmp_path_factory.mktemp("root"))
    made.prepare()
    return made


def items(corpus, split="test"):
    return [item for cut in corpus.cuts(split) for item in items_of(cut)]


def test_every_row_is_an_item_with_its_own_words(written, prepared):
    found = items(prepared)
    for task, rows in written.items.items():
        of_task = [one for one in found if one.task == task]
        assert sorted((one.id.split("#")[0], one.prompt, one.answer, one.language) for one in of_task) == sorted(
            (f"{task}/{audio}", prompt, answer, language) for audio, prompt, answer, language in rows
        )
    assert len({one.id for one in found}) == len(found) == sum(written.here.values())
    assert {one.benchmark for one in found} == {"longspeech"} and not any(one.choices for one in found)


def test_numbers_and_lists_are_texts(prepared):
    answers = {one.id: one.answer for one in items(prepared)}
    assert answers[f"speaker_count/{STORY}"] == "2", "a JSON number"
    assert answers[f"speaker_count/{TALK}"] == "1", "1.0"
    assert answers[f"content_separation/{TALK}"] == "2", "[2]"
    assert answers[f"content_separation/{STEREO}"] == "one"


def test_several_rows_of_a_task_about_one_file_have_ids_of_their_own(prepared):
    found = {one.id: one.language for one in items(prepared)}
    assert found[f"translation/{STORY}"] == "fr" and found[f"translation/{STORY}#2"] == "de"


def test_answers_may_be_as_long_as_their_task_needs(prepared):
    assert {one.task: one.max_tokens for one in items(prepared)} == dict.fromkeys(TASKS, 256) | {
        "ASR": 4096,
        "translation": 4096,
        "summary": 1024,
    }


def test_a_cut_is_an_audio_file_of_any_rate_heard_at_16_khz(written, prepared):
    cuts = {cut.id: cut for cut in prepared.cuts("test")}
    assert set(cuts) == {audio for rows in written.items.values() for audio, *_ in rows}
    for name, cut in cuts.items():
        seconds, rate, channels = written.audio[name]
        assert cut_fault(cut) is None and cut.sampling_rate == 16_000
        assert cut.duration == pytest.approx(seconds)
        heard = load_audio(cut)
        assert heard.shape == (round(seconds * 16_000),)
        if rate == 16_000:
            assert abs(heard.numpy() - soundfile.read(written.path / name)[0]).max() < 1e-4
        else:
            assert channels == 2
    assert len(items_of(cuts[STORY])) == 9 and [one.task for one in items_of(cuts[ITALIAN])] == ["language_detection"]


def test_coverage_counts_what_is_published_here_and_missing(written, prepared):
    coverage = prepared.coverage("test")
    assert coverage.here == written.here and coverage.filtered == {}
    assert coverage.missing == written.lacking(coverage.published)
    for task, count in coverage.published.items():
        assert count == coverage.here[task] + sum(coverage.missing[task].values()), "it adds up"
    assert coverage.limit is None
    assert coverage.published == {
        "ASR": 15274,
        "translation": 6309,
        "summary": 937,
        "language_detection": 3170,
        "speaker_count": 1263,
        "content_separation": 1263,
        "emotionQA": 1263,
        "Temporal_Relative_QA": 1262,
    }
    train = prepared.coverage("train")
    assert train.published == {} and train.here == dict.fromkeys(TASKS, 2), "others than test's aren't known"


def test_a_limit_is_spread_evenly_over_what_is_here(written, tmp_path):
    made = corpus(written, tmp_path, limit=2, splits=["test"])
    made.prepare()
    found = items(made)
    assert {task: sum(one.task == task for one in found) for task in TASKS} == dict.fromkeys(TASKS, 2)
    for task, rows in written.items.items():
        chosen = [rows[0], rows[len(rows) // 2]]
        assert sorted(one.answer for one in found if one.task == task) == sorted(row[2] for row in chosen)
    assert made.coverage("test").here == written.here and made.coverage("test").limit == 2


def test_tasks_and_splits_may_be_chosen(written, tmp_path):
    made = corpus(written, tmp_path, tasks=["summary", "ASR"], splits=["dev"])
    made.prepare()
    assert {one.task for one in items(made, "dev")} == {"ASR", "summary"}
    with pytest.raises(ValueError, match="splits is"):
        made.cuts("test")


def test_an_evaluation_asks_each_item_with_its_own_prompt(prepared):
    cuts = {cut.id: cut for cut in prepared.cuts("test")}
    turns = EvaluationTurns(["asr", "qa"], questions=1)(cuts[STORY])
    assert [turn.item.id for turn in turns] == [one.id for one in items_of(cuts[STORY])], "all of them"
    assert {turn.task for turn in turns} == {"qa"}
    assert all(turn.instruction == turn.item.prompt and turn.answer == turn.item.answer for turn in turns)
    assert [turn.kind for turn in turns][:3] == ["ASR", "translation", "translation"]


def test_asr_may_be_asked_as_the_model_was_trained(written, tmp_path):
    made = corpus(written, tmp_path, asr_prompt="model")
    made.prepare()
    cuts = {cut.id: cut for cut in made.cuts("test")}
    first = EvaluationTurns(["asr", "qa"])(cuts[STORY])[0]
    assert (first.task, first.instruction, first.item.task) == ("asr", PLAIN.instruction, "ASR")
    mixture = TaskMixture({"asr": 1.0})
    train = list(made.cuts("train"))
    assert [mixture.draw(cut, random.Random(0))[0].answer for cut in train] == [
        "The lamp was out. Nobody had noticed.",
        "今天的会议改到下午。 请准时参加。",
    ]
    assert all(cut_fault(cut) is None for cut in train)


def test_train_rows_train_as_questions(prepared):
    mixture = TaskMixture({"qa": 1.0}, turns=3)
    for cut in prepared.cuts("train"):
        turns = mixture.draw(cut, random.Random(1))
        known = {(one.prompt, one.answer) for one in items_of(cut)}
        assert len(turns) == 3 and {(turn.instruction, turn.answer) for turn in turns} <= known


def test_the_data_module_takes_it(prepared):
    module = SpeechDataModule(prepared, eval_tasks=["asr", "qa"], num_workers=0)
    module.prepare_data()
    module.setup("test")
    turns = [turn for batch in module.test_dataloader() for of_cut in batch.turns for turn in of_cut]
    assert len(turns) == sum(prepared.coverage("test").here.values())


def test_prepare_longspeech_writes_lhotse_manifests(written, prepared, tmp_path):
    made = prepare_longspeech(written.path, tmp_path / "manifests", splits=["test"])
    assert list(made) == ["test"]
    assert [cut.id for cut in made["test"]] == [cut.id for cut in prepared.cuts("test")]
    assert {path.name for path in (tmp_path / "manifests").iterdir()} == {
        "cuts_test.jsonl.gz",
        "recordings_test.jsonl.gz",
        "supervisions_test.jsonl.gz",
    }


# A folder that isn't whole, or changes


def test_a_second_run_reads_what_the_first_made(own, tmp_path):
    made = corpus(own, tmp_path / "root")
    made.prepare()
    times = {path: path.stat().st_mtime_ns for path in made.folder.iterdir()}
    corpus(own, tmp_path / "root").prepare()
    assert {path: path.stat().st_mtime_ns for path in made.folder.iterdir()} == times


def test_a_killed_run_is_made_again(own, tmp_path):
    made = corpus(own, tmp_path / "root")
    made.prepare()
    (made.folder / "recipe.json").unlink()
    with pytest.raises(FileNotFoundError, match="not whole"):
        made.cuts("test")
    made.prepare()
    assert len(items(made)) == sum(own.here.values())


@pytest.mark.parametrize("change", ["audio comes", "audio goes", "audio grows", "rows", "a task", "a split"])
def test_a_folder_that_changes_is_read_again(own, tmp_path, change, caplog):
    caplog.set_level(logging.INFO)
    test = own.path / "LongSpeechQA" / "summary" / "test.jsonl"
    held = test.read_text(encoding="utf-8")
    if change == "a task":
        test.unlink()
    if change == "a split":
        for path in own.path.glob("LongSpeechQA/*/val.jsonl"):
            path.rename(path.with_suffix(".kept"))
    made = corpus(own, tmp_path / "root")
    made.prepare()
    before = dict(made.coverage("test").here)
    if change == "audio comes":
        own.sound(LOST, 1.0)
    elif change == "audio goes":
        (own.path / TALK).unlink()
    elif change == "audio grows":
        own.sound(TALK, 3.5)
    elif change == "rows":
        test.write_text(held + held.splitlines()[0] + "\n", encoding="utf-8")
    elif change == "a task":
        test.write_text(held, encoding="utf-8")
    else:
        for path in own.path.glob("LongSpeechQA/*/val.kept"):
            path.rename(path.with_suffix(".jsonl"))
    caplog.clear()
    made.prepare()
    assert "changed" in caplog.text, "it is said"
    after = dict(made.coverage("test").here)
    if change == "audio comes":
        assert after == before | {task: before[task] + 1 for task in own.missing}
        assert {reason for reasons in made.coverage("test").missing.values() for reason in reasons} == {NO_ROW}
    elif change == "audio goes":
        assert after["translation"] == before["translation"] - 2
    elif change == "audio grows":
        assert {cut.id: cut.duration for cut in made.cuts("test")}[TALK] == 3.5
    elif change == "rows":
        assert after == before | {"summary": before["summary"] + 1}
        assert [one.id for one in items(made) if one.task == "summary"].count(f"summary/{TALK}#2") == 1
    elif change == "a task":
        assert "summary" not in before and after["summary"] == 4
    else:
        assert items(made, "dev")


def test_a_task_without_rows_is_counted_as_missing(own, tmp_path, caplog):
    (own.path / "LongSpeechQA" / "summary" / "test.jsonl").unlink()
    made = corpus(own, tmp_path, splits=["test"])
    made.prepare()
    assert made.coverage("test").missing["summary"] == {"LongSpeechQA/summary/test.jsonl missing": 937}
    assert "LongSpeechQA/summary/test.jsonl" in caplog.text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "audio file cut off"),
        (b"RIFF", "audio file can't be read"),
        (b"this is no audio", "audio file can't be read"),
        (None, "audio path is a folder"),
        ("torn", "audio file cut off"),
        ("short", "audio file without sound"),
    ],
)
def test_audio_that_is_no_use_is_counted_by_reason(own, tmp_path, content, reason):
    path = own.path / ITALIAN
    if content == "torn":
        path.write_bytes(path.read_bytes()[:-500])
    elif content == "short":
        own.sound(ITALIAN, 0.01)
    elif content is None:
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(content)
    made = corpus(own, tmp_path, splits=["test"])
    made.prepare()
    left = PUBLISHED["language_detection"] - len(own.items["language_detection"])
    assert made.coverage("test").missing["language_detection"] == {reason: 1, NO_ROW: left}


def test_no_audio_at_all_is_an_error_with_the_mend(own, tmp_path):
    for path in own.path.rglob("*.wav"):
        path.unlink()
    with pytest.raises(ValueError, match=r"nothing is left to ask \(train: ASR: 2 audio file missing.*corpus_dir"):
        corpus(own, tmp_path).prepare()


def test_a_split_without_audio_is_no_hindrance_to_another(own, tmp_path):
    for path in own.path.glob("LongSpeech_p1/wavs/part_01/*.wav"):
        path.unlink()
    made = corpus(own, tmp_path)
    made.prepare()
    assert items(made, "test")
    with pytest.raises(ValueError, match="no audio of the split 'train' is here"):
        made.cuts("train")


def test_a_missing_folder_lists_what_was_looked_for(tmp_path):
    made = LongSpeech(str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match=r"test\.jsonl in LongSpeechQA/ASR.*download_longspeech"):
        made.check()


def test_the_folder_may_lie_in_the_one_that_is_given(own, tmp_path):
    own.path.rename(tmp_path / "Marco_Longspeech")
    made = LongSpeech(str(tmp_path), str(tmp_path / "root"))
    made.prepare()
    assert len(items(made)) == sum(own.here.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": ["asr"]}, "LongSpeech.tasks: got 'asr'; use some of ASR"),
        ({"tasks": []}, "LongSpeech.tasks"),
        ({"splits": ["val"]}, "LongSpeech.splits: got 'val'; use some of train, dev, test"),
        ({"limit": 0}, "LongSpeech.limit"),
        ({"asr_prompt": "mine"}, "LongSpeech.asr_prompt"),
    ],
)
def test_wrong_options_are_named(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        LongSpeech(str(tmp_path), **options)


# Bad rows

GOOD = {
    "language": "en",
    "task": "ASR",
    "messages": [{"role": "user", "audio": STORY, "content": "Transcribe."}, {"role": "assistant", "content": "Hi."}],
}


def changed(**parts):
    """GOOD with parts of its messages changed; None takes one out."""
    row = json.loads(json.dumps(GOOD))
    for key, value in parts.items():
        place, name = key.split("_")
        row["messages"][int(place[1])][name] = value
    return row


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"language": "en", "task": "A', "cannot be read"),
        ("[1]", "a list, and no object"),
        (json.dumps({"task": "ASR"}), "messages must be a list of two"),
        (json.dumps(GOOD | {"messages": GOOD["messages"][:1]}), "messages must be a list of two"),
        (json.dumps(GOOD | {"messages": "[torn"}), "a text that is no JSON"),
        (json.dumps(GOOD | {"messages": GOOD["messages"][::-1]}), "message of the user is missing"),
        (json.dumps(changed(m1_content=None)), "message of the assistant is missing, or has no content"),
        (json.dumps(changed(m1_content=True)), "answer: got True"),
        (json.dumps(changed(m1_content=["a", "b"])), "answer: got"),
        (json.dumps(changed(m1_content={"text": "a"})), "answer: got"),
        (json.dumps(changed(m0_content=" ")), "prompt: got ' '"),
        (json.dumps(changed(m0_audio="/etc/passwd")), "'/etc/passwd' leads out of the corpus folder"),
        (json.dumps(changed(m0_audio="a/../../b.wav")), "leads out of the corpus folder"),
        (json.dumps(changed(m0_audio="a\\..\\..\\b.wav")), "leads out of the corpus folder"),
        (json.dumps(changed(m0_audio="C:\\b.wav")), "leads out of the corpus folder"),
        (json.dumps(changed(m0_audio=["a.wav", "b.wav"])), "the audio path is"),
        (json.dumps(changed(m0_audio="")), "the audio path is ''"),
        (json.dumps(GOOD | {"language": 3}), "language is 3"),
        (json.dumps(GOOD | {"task": "summary"}), "of task 'summary' and lies in the folder of ASR"),
    ],
)
def test_a_bad_row_is_named_with_its_file_and_line(own, tmp_path, line, message):
    path = own.path / "LongSpeechQA" / "ASR" / "test.jsonl"
    path.write_text(json.dumps(GOOD) + "\n\n" + line + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        corpus(own, tmp_path).prepare()
    assert str(caught.value).startswith(f"{path}:3")


def test_a_row_with_an_empty_answer_is_counted(own, tmp_path):
    path = own.path / "LongSpeechQA" / "ASR" / "test.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + json.dumps(changed(m1_content=" ")) + "\n", encoding="utf-8")
    made = corpus(own, tmp_path, tasks=["ASR"], splits=["test"])
    made.prepare()
    assert made.coverage("test").missing == {"ASR": {"no answer in the row": 1, NO_ROW: PUBLISHED["ASR"] - 2}}


def test_a_file_without_rows_is_an_error(own, tmp_path):
    (own.path / "LongSpeechQA" / "ASR" / "test.jsonl").write_text("\n")
    with pytest.raises(ValueError, match=r"ASR/test\.jsonl: has no rows"):
        corpus(own, tmp_path).prepare()


def test_other_names_of_tasks_are_said(own, tmp_path, caplog):
    path = own.path / "LongSpeechQA" / "ASR" / "test.jsonl"
    path.write_text(json.dumps(GOOD | {"task": "asr"}) + "\n" + json.dumps(GOOD | {"task": "speech"}) + "\n")
    (own.path / "LongSpeechQA" / "riddles").mkdir()
    made = corpus(own, tmp_path, splits=["test"])
    made.prepare()
    assert made.coverage("test").here["ASR"] == 2
    assert "{'speech': 1}; they are asked as ASR" in caplog.text
    assert "['riddles']" in caplog.text


def test_a_split_in_two_files_is_an_error(own, tmp_path):
    path = own.path / "LongSpeechQA" / "ASR" / "val.jsonl"
    path.with_name("dev.jsonl").write_text(path.read_text())
    with pytest.raises(ValueError, match="both the split 'dev'"):
        corpus(own, tmp_path).prepare()


@pytest.mark.parametrize(
    "row",
    [
        GOOD,
        GOOD | {"messages": json.dumps(GOOD["messages"])},
        GOOD | {"messages": [json.dumps(one) for one in GOOD["messages"]]},
        changed(m0_audio=[STORY]),
        changed(m0_audio={"path": STORY}),
        changed(m0_audio=[{"path": STORY}]),
        changed(m0_audio=f"./{STORY}"),
        changed(m0_content=["Transcribe."], m1_content=["Hi."]),
        GOOD | {"extra": [1, 2]},
    ],
)
def test_all_shapes_of_a_row_are_read_alike(row):
    assert read_row(row, "ASR", "here") == read_row(GOOD, "ASR", "here")


@pytest.mark.parametrize(
    ("content", "answer"), [(2, "2"), (2.0, "2"), (2.5, "2.5"), ([3], "3"), ("2", "2"), (-1, "-1")]
)
def test_numbers(content, answer):
    assert read_row(changed(m1_content=content), "speaker_count", "here").item.answer == answer


def test_a_row_without_a_language_has_none():
    assert read_row({key: GOOD[key] for key in ("task", "messages")}, "ASR", "here").item.language is None


def test_the_config_gives_every_argument_its_default_but_reads_test_alone():
    config = yaml.safe_load((ROOT / "experiments" / "benchmarks" / "longspeech.yaml").read_text())
    corpus = config["data"]["corpus"]
    known = inspect.signature(LongSpeech).parameters
    assert config["benchmark"] == LongSpeech.name and corpus["class_path"] == "LongSpeech"
    assert corpus["init_args"] == {name: one.default for name, one in known.items()} | {"splits": ["test"]}
