"""AudioMarathon: ten tasks found in unpacked folders, prompts, filters, balance, coverage, bad manifests."""

import inspect
import json
import logging
import random
import re
import shutil
from pathlib import Path

import pytest
import soundfile
import yaml

from data_recipes.audiomarathon import TASKS, AudioMarathon, balanced, prepare_audiomarathon
from data_recipes.audiomarathon_prompts import prompt_of
from data_recipes.audiomarathon_rows import choices_of, scene_in_name
from data_recipes.benchmark_items import SHORT, Row, SplitRows, cuts_of
from speech_xl.data.audio import load_audio
from speech_xl.data.cut_checks import cut_fault
from speech_xl.data.datamodule import SpeechDataModule
from speech_xl.data.dataset import EvaluationTurns
from speech_xl.data.items import Item, items_of
from speech_xl.data.transcript import PLAIN
from tests.benchmark_folders import AGES, NO_ROW, write_audiomarathon

ROOT = Path(__file__).parents[2]
HAD = "Dataset/HAD/concatenated_audio"
DESED = "Dataset/DESED/DESED_dataset/concatenated_audio/desed_sound_event_detection_task.json"
# Fragments of the published scripts' prompts.
QUOTED = {
    "SCR": ["based solely on the information from the audio", "Respond with only the letter of the correct option"],
    "SER": ["Reply with only the letter (A, B, C, or D)."],
    "SED": ["Reply with only the letter (A, B, C, or D)."],
    "MC": ["identify the music genre", "Respond with only the letter"],
    "ASC": ["Choose the most appropriate option.", "Respond with only the letter of your answer"],
    "SD": ["Answer with only 'a' or 'b'."],
    "ER": ["Please select the correct answer"],
    "SAR": ["Please select the correct answer"],
    "SGR": ["'a'", "'b'"],
    "ASR": ["Transcribe this audio accurately. Remove hesitation words like 'um', 'uh'.", "Spoken Content:"],
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_audiomarathon(tmp_path_factory.mktemp("audiomarathon"))


@pytest.fixture
def own(written, tmp_path):
    """A folder that a test may change."""
    return written.copied(tmp_path / "data")


def corpus(written, root, **options) -> AudioMarathon:
    return AudioMarathon(str(written.path), str(root), **options)


@pytest.fixture(scope="module")
def prepared(written, tmp_path_factory):
    made = corpus(written, tmp_path_factory.mktemp("root"))
    made.prepare()
    return made


def by_task(corpus) -> dict[str, list[tuple[str, Item]]]:
    """Task -> (audio path, item)."""
    found: dict[str, list[tuple[str, Item]]] = {}
    for cut in corpus.cuts("test"):
        for item in items_of(cut):
            found.setdefault(item.task, []).append((cut.id, item))
    return found


def one(corpus, name: str) -> Item:
    """The item of this id."""
    return next(item for items in by_task(corpus).values() for _, item in items if item.id == name)


def test_every_row_that_the_rules_keep_is_an_item_of_its_audio(written, prepared):
    found = by_task(prepared)
    assert set(found) == set(TASKS)
    for task, rows in written.items.items():
        assert sorted((audio, item.answer) for audio, item in found[task]) == sorted(
            (audio, answer) for audio, _, answer, _ in rows
        )
    ids = [item.id for items in found.values() for _, item in items]
    assert len(set(ids)) == len(ids)
    assert {item.benchmark for items in found.values() for _, item in items} == {"audiomarathon"}


def test_items_are_named_by_their_rows_own_paths(own, prepared, tmp_path):
    named = {item.id for items in by_task(prepared).values() for _, item in items}
    assert {"SED/dog/clip_3.wav", "SCR/test/high/9001.wav", "SCR/test/high/9001.wav#2"} <= named
    assert {"SD/real/HAD_train_real_0.wav", "ASR/61/70968/70968_0000.flac", "SAR/id00000/a.wav"} <= named
    lower = AudioMarathon(str(own.path / "Dataset"), str(tmp_path / "root"))  # unpacked at another depth
    lower.prepare()
    assert {item.id for items in by_task(lower).values() for _, item in items} == named


def test_audio_is_heard_at_16_khz(written, prepared):
    for cut in prepared.cuts("test"):
        seconds, rate, _ = written.audio[cut.id]
        assert cut_fault(cut) is None and cut.sampling_rate == 16_000 and cut.duration == pytest.approx(seconds)
        heard = load_audio(cut)
        assert heard.shape == (round(seconds * 16_000),)
        if rate == 16_000:
            assert abs(heard.numpy() - soundfile.read(written.path / cut.id)[0]).max() < 1e-4
    assert {rate for _, rate, _ in written.audio.values()} == {16_000, 22_050, 44_100}


def test_coverage_counts_what_is_published_here_missing_and_filtered(written, prepared, caplog):
    coverage = prepared.coverage("test")
    assert coverage.here == written.here
    assert coverage.missing == written.lacking(coverage.published)
    for task, count in coverage.published.items():
        assert count == coverage.here[task] + sum(coverage.missing[task].values()), "it adds up"
    assert coverage.filtered == written.filtered
    counts = (490, 820, 204, 254, 120, 1145, 776, 185, 959, 1614)
    assert coverage.published == dict(zip(TASKS, counts, strict=True))


def test_there_is_a_test_split_alone(prepared):
    for split in ("train", "dev"):
        with pytest.raises(ValueError, match=f"no split '{split}': its publishers have a test split alone; use test"):
            prepared.cuts(split)
        with pytest.raises(ValueError, match="test split alone"):
            prepared.coverage(split)
    with pytest.raises(ValueError, match="unknown split 'valid'"):
        prepared.cuts("valid")


def test_the_data_module_tests_on_it_and_refuses_to_fit(written, prepared):
    module = SpeechDataModule(prepared, eval_tasks=["asr", "qa"], num_workers=0)
    module.prepare_data()
    module.setup("test")
    turns = [turn for batch in module.test_dataloader() for of_cut in batch.turns for turn in of_cut]
    assert len(turns) == sum(written.here.values())
    with pytest.raises(ValueError, match="test split alone"):
        module.setup("fit")


def test_a_session_is_asked_all_its_items(prepared):
    cut = next(cut for cut in prepared.cuts("test") if cut.id.endswith("id00000/a.wav"))
    turns = EvaluationTurns(["asr", "qa"], questions=1)(cut)
    assert [(turn.task, turn.kind, turn.answer) for turn in turns] == [
        ("qa", "SAR", "Young Adult (18-30)"),
        ("qa", "SGR", "Female"),
    ]
    assert all(turn.instruction == turn.item.prompt for turn in turns)


# Prompts


def test_prompts_have_the_published_fragments_and_nothing_of_the_system_texts(prepared):
    for task, items in by_task(prepared).items():
        for _, item in items:
            assert all(fragment in item.prompt for fragment in QUOTED[task])
            assert "virtual human" not in item.prompt and "Qwen" not in item.prompt


@pytest.mark.parametrize(
    ("task", "line"),
    [
        ("SCR", "B. x"),
        ("SER", "B. x"),
        ("SED", "B. x"),
        ("MC", "B. x"),
        ("ASC", "B: x"),
        ("ER", "B) x"),
        ("SAR", "B) x"),
    ],
)
def test_choices_are_written_as_their_task_writes_them(task, line):
    lines = prompt_of(task, "What is heard?", {"A": "y", "B": "x"}).splitlines()
    assert line in lines and lines.index(line) == lines.index(line.replace("B", "A").replace("x", "y")) + 1


@pytest.mark.parametrize("task", TASKS)
def test_a_rows_question_is_asked_where_the_scripts_ask_it(task):
    asked = "What is heard?" in prompt_of(task, "What is heard?", {"A": "y", "B": "x"})
    assert asked == (task not in ("ASC", "SD", "SGR", "ASR"))


def test_fixed_letters_of_two_tasks(prepared):
    real = one(prepared, "SD/real/HAD_train_real_0.wav")
    assert real.answer == "real" and real.choices == {"A": "real", "B": "fake"}
    assert re.search(r"is real: answer 'a'.* is fake: answer 'b'", real.prompt)
    man = one(prepared, "SGR/id00001/a.wav")
    assert man.answer == "Male" and man.choices == {"A": "Male", "B": "Female"}
    assert re.search(r"is male, answer 'a'.* is female, answer 'b'", man.prompt)


def test_five_ages_are_choices_and_the_answer_is_a_text(prepared):
    item = one(prepared, "SAR/id00004/a.wav")
    assert item.choices == dict(zip("ABCDE", AGES, strict=True)) and item.answer == AGES[4]
    assert "\nE) Elderly (71+)\n" in item.prompt


def test_choices_stay_as_published(prepared):
    assert one(prepared, "ASC/park/park_oslo-1_segment_1.wav").choices["B"] == "Urban park - park"
    assert one(prepared, "ASC/bus/bus_rome-2_segment_1.wav").choices["B"] == "Urban park", "a row without the code"


def test_what_else_a_row_says_is_kept(prepared):
    assert one(prepared, "ASC/park/park_oslo-1_segment_1.wav").about["scene_label"] == "park"
    assert one(prepared, "ER/person_3/angry_2.wav").about == {"person_id": "3", "emotion_label": "angry"}
    assert one(prepared, "SAR/id00001/a.wav").about["speaker_age"] == 37
    assert one(prepared, "SED/dog/clip_3.wav").about["all_events"] == ["Dog"]
    assert one(prepared, "SER/audio/seg_0000.wav").about["entity_count"] == 28
    assert one(prepared, "SCR/test/middle/17.wav").about == {
        "article_id": "middle17",
        "question_idx": 0,
        "level": "middle",
    }


@pytest.mark.parametrize(("limits", "asr", "er", "others"), [("official", 1100, 10, 5), ("strict", 2048, 32, 32)])
def test_limits_of_answers(written, tmp_path, limits, asr, er, others):
    made = corpus(written, tmp_path, limits=limits)
    made.prepare()
    found = {task: {item.max_tokens for _, item in items} for task, items in by_task(made).items()}
    assert found == {task: {others} for task in TASKS} | {"ASR": {asr}, "ER": {er}}


def test_asr_may_be_asked_as_the_model_was_trained(written, tmp_path):
    made = corpus(written, tmp_path, tasks=["ASR"], asr_prompt="model")
    made.prepare()
    for cut in made.cuts("test"):
        (turn,) = EvaluationTurns(["asr"])(cut)
        assert turn.instruction == PLAIN.instruction and turn.answer == cut.supervisions[0].text


# Filters and balance


def test_happy_recordings_of_two_persons_are_left_out(prepared):
    kept = {item.id for _, item in by_task(prepared)["ER"]}
    assert kept == {
        *("ER/person_3/angry_2.wav", "ER/person_2/fearful_3.wav"),
        *("ER/person_4/happy_5.wav", "ER/person_5/monotone_1.wav"),
    }


def test_real_and_fake_are_balanced_by_a_seeded_draw_from_sorted_paths(written, prepared):
    kept = {audio for audio, item in by_task(prepared)["SD"] if item.answer == "fake"}
    every = sorted(path.relative_to(written.path).as_posix() for path in (written.path / HAD / "fake").iterdir())
    assert len(every) == 4 and kept == set(random.Random(42).sample(every, 2))
    assert sum(item.answer == "real" for _, item in by_task(prepared)["SD"]) == 2


def rows(*answers, task="SGR"):
    return [
        Row(f"{n}.wav", Item(benchmark="b", id=f"{n}", task=task, prompt="p", answer=answer, max_tokens=5))
        for n, answer in enumerate(answers)
    ]


def test_the_balance_does_not_depend_on_the_order_of_rows():
    some = rows(*["Male"] * 7, "Female", "Female")
    kept, left_out = balanced(some)
    other, _ = balanced(some[::-1])
    assert [row.item.id for row in kept] == [row.item.id for row in other[::-1]]
    assert len(kept) == 4 and left_out == {"SGR": {"balanced to the smaller class": 5}}


def test_balanced_rows_and_other_tasks_stay_as_they_are():
    for some in (rows("Male", "Female"), rows("Male", "Male"), rows("a", "a", "b", task="SED")):
        assert balanced(some) == (some, {})


def test_the_balance_is_among_the_audio_that_is_here(own, tmp_path):
    for number in range(3):
        (own.path / HAD / "fake" / f"HAD_train_fake_{number}.wav").unlink()
    made = corpus(own, tmp_path, tasks=["SD"])
    made.prepare()
    assert sorted(item.answer for _, item in by_task(made)["SD"]) == ["fake", "real"]


def test_scenes_other_than_the_files_name_are_said_and_kept(own, tmp_path, caplog):
    made = corpus(own, tmp_path, tasks=["ASC"])
    made.prepare()
    assert "label of 1 of 5 files isn't the scene in their name" in caplog.text
    assert "(label metro, name metro_station)" in caplog.text
    assert one(made, "ASC/metro/metro_station_paris-4_segment_1.wav").answer == "D"


@pytest.mark.parametrize(
    ("name", "scene"),
    [
        ("metro/metro_station-lisbon-1.wav", "metro_station"),
        ("metro/metro-lisbon-1.wav", "metro"),
        ("bus/bus_rome.wav", "bus"),
        ("bus/business.wav", None),
        ("x/y.wav", None),
        ("street_traffic.wav", "street_traffic"),
    ],
)
def test_the_scene_in_a_name(name, scene):
    assert scene_in_name(name) == scene


# Layout


def test_transcripts_are_read_from_either_file(prepared, written):
    answers = {audio.rsplit("/", 1)[1]: item.answer for audio, item in by_task(prepared)["ASR"]}
    assert answers == {
        "70968_0000.flac": "the first long chapter",
        "70968_0001.flac": "the second part of it",
        "121726_0000.flac": "a chapter in a table alone",
    }


def test_a_transcript_that_is_no_utf8_is_named(own, tmp_path):
    path = own.path / "Dataset/librispeech-long/test-clean/61/70968/70968_0000.txt"
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ValueError, match=r"70968_0000\.flac: its transcript cannot be read"):
        corpus(own, tmp_path).prepare()


def test_voices_may_lie_beside_their_manifest(own, tmp_path):
    folder = own.path / "Dataset/VoxCeleb/concatenated_audio"
    for path in sorted((folder / "wav").iterdir()):
        shutil.move(path, folder)
    made = corpus(own, tmp_path, tasks=["SAR", "SGR"])
    made.prepare()
    assert made.coverage("test").here == {"SAR": 6, "SGR": 4}


def test_a_task_that_is_not_here_is_counted(own, tmp_path, caplog):
    shutil.rmtree(own.path / "Dataset/SLUE")
    shutil.rmtree(own.path / "Dataset/HAD")
    made = corpus(own, tmp_path)
    made.prepare()
    missing = made.coverage("test").missing
    assert missing["SER"] == {"merged_audio_data.json missing": 490}
    assert missing["SD"] == {"HAD/concatenated_audio/ missing": 776}
    assert "SER" not in made.coverage("test").here and "SER isn't in" in caplog.text


def test_an_empty_folder_lists_what_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        AudioMarathon(str(tmp_path)).check()
    text = str(caught.value)
    assert "race_benchmark.json" in text and "gender_id_task_meta.json" in text and "real/ and fake/" in text
    assert "download_audiomarathon" in text


def test_plain_librispeech_is_not_taken_for_its_long_form(own, tmp_path):
    (own.path / "Dataset/librispeech-long").rename(own.path / "Dataset/LibriSpeech")
    with pytest.raises(FileNotFoundError):
        corpus(own, tmp_path, tasks=["ASR"]).check()


def test_a_manifest_that_is_there_twice_is_said(own, tmp_path, caplog):
    shutil.copytree(own.path / "Dataset/SLUE", own.path / "Dataset/older/SLUE")
    made = corpus(own, tmp_path, tasks=["SER"])
    made.prepare()
    assert "merged_audio_data.json is there 2 times" in caplog.text
    assert all(audio.startswith("Dataset/SLUE/") for audio, _ in by_task(made)["SER"])


# A folder that changes, and a limit


def test_a_second_run_reads_what_the_first_made(own, tmp_path):
    made = corpus(own, tmp_path / "root")
    made.prepare()
    times = {path: path.stat().st_mtime_ns for path in made.folder.iterdir()}
    corpus(own, tmp_path / "root").prepare()
    assert {path: path.stat().st_mtime_ns for path in made.folder.iterdir()} == times


@pytest.mark.parametrize("change", ["row's audio comes", "file of a folder comes", "transcript comes", "task comes"])
def test_a_folder_that_grows_is_read_again(own, tmp_path, change, caplog):
    caplog.set_level(logging.INFO)
    if change == "task comes":
        (own.path / "Dataset/SLUE").rename(own.path / "held")
        (own.path / "held/merged_audio_data.json").rename(own.path / "held/held.json")
    made = corpus(own, tmp_path / "root")
    made.prepare()
    before = dict(made.coverage("test").here)
    if change == "row's audio comes":
        own.sound("Dataset/race_audio/test/high/404.wav", 1.0)
    elif change == "file of a folder comes":
        own.sound(f"{HAD}/real/HAD_train_real_2.wav", 1.0)
    elif change == "transcript comes":
        (own.path / "Dataset/librispeech-long/test-clean/237/126133/126133_0000.txt").write_text("now it is known")
    else:
        (own.path / "held/held.json").rename(own.path / "held/merged_audio_data.json")
    caplog.clear()
    made.prepare()
    assert "changed" in caplog.text
    after = dict(made.coverage("test").here)
    grown = {"row's audio comes": "SCR", "file of a folder comes": "SD", "transcript comes": "ASR", "task comes": "SER"}
    assert after == before | {grown[change]: {"SCR": 5, "SD": 6, "ASR": 4, "SER": 4}[grown[change]]}


def test_a_limit_is_spread_evenly(written, tmp_path):
    made = corpus(written, tmp_path, limit=2)
    made.prepare()
    found = by_task(made)
    assert {task: len(items) for task, items in found.items()} == dict.fromkeys(TASKS, 2)
    assert {item.answer for _, item in found["SD"]} == {"real", "fake"}
    assert made.coverage("test").limit == 2 and made.coverage("test").here == written.here


def test_prepare_audiomarathon_writes_lhotse_manifests(written, prepared, tmp_path):
    made = prepare_audiomarathon(written.path, tmp_path / "manifests", tasks=["SED"])
    assert list(made) == ["test"] and len(list(made["test"])) == written.here["SED"]
    assert (tmp_path / "manifests" / "cuts_test.jsonl.gz").is_file()


# Bad manifests

EVENT = {"path": "dog/clip_3.wav", "question": "What is heard?", "choices": {"A": "Cat", "B": "Dog"}, "answer_gt": "B"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"path": ', ":1: cannot be read"),
        ('[\n{"path": "a.wav"},\n{"pa', ":3: cannot be read"),
        ("[]", ": holds no list of rows"),
        ('{"rows": []}', ": holds no list of rows"),
        (json.dumps([EVENT, 3]), ": row 2: a int, and no object"),
        (json.dumps([EVENT, EVENT | {"answer_gt": None}]), ": row 2: has no answer"),
        (json.dumps([EVENT | {"question": " "}]), ": row 1: has no question"),
        (json.dumps([EVENT | {"path": "/etc/hosts"}]), ": row 1: the audio path '/etc/hosts' leads out"),
        (json.dumps([EVENT | {"path": "../../../../x.wav"}]), ": row 1: the audio path"),
        (json.dumps([EVENT | {"path": None}]), ": row 1: the audio path is None"),
        (json.dumps([EVENT | {"choices": {"A": "Cat", "C": "Dog"}}]), ": row 1: has the choices A, C"),
        (json.dumps([EVENT | {"choices": {}}]), ": row 1: has the choices none"),
        (json.dumps([EVENT | {"choices": {"A": "Cat", "B": None}}]), ": row 1: choice B: got None"),
    ],
)
def test_a_bad_manifest_is_named_with_its_row(own, tmp_path, content, message):
    path = own.path / DESED
    path.write_text(content)
    with pytest.raises(ValueError) as caught:
        corpus(own, tmp_path).prepare()
    assert str(caught.value).startswith(f"{path}{message}")


def test_an_answer_that_is_no_choice_is_counted(own, tmp_path):
    path = own.path / DESED
    path.write_text(json.dumps([EVENT, EVENT | {"answer_gt": "D"}, EVENT | {"answer_gt": "b"}]))
    made = corpus(own, tmp_path, tasks=["SED"])
    made.prepare()
    assert made.coverage("test").missing == {"SED": {"answer is none of the choices": 1, NO_ROW: 254 - 3}}
    assert [item.answer for _, item in by_task(made)["SED"]] == ["B", "b"], "as published"


@pytest.mark.parametrize(
    ("real", "fake", "missing"),
    [(3, 3, {}), (3, 9, {}), (2, 9, {SHORT: 2}), (2, 2, {NO_ROW: 2})],
)
def test_a_published_count_is_one_after_the_filters(own, real, fake, missing):
    """Of a torn file only what is short of that count is missing, whatever balancing leaves out."""
    audio = next(iter(own.audio))
    some = [Row(audio, row.item) for row in rows(*["real"] * real, *["fake"] * fake, task="SD")]
    _, coverage = cuts_of(SplitRows(rows=some, published={"SD": 6}, choose=balanced), own.path, None, "test")
    assert coverage.here == {"SD": 2 * real} and coverage.missing.get("SD", {}) == missing


def test_what_is_not_a_number_is_null(own, tmp_path):
    (own.path / DESED).write_text(json.dumps([EVENT | {"seconds": float("nan")}]))
    made = corpus(own, tmp_path, tasks=["SED"])
    made.prepare()
    assert one(made, "SED/dog/clip_3.wav").about == {"seconds": None}


@pytest.mark.parametrize(
    ("row", "choices"),
    [
        ({"options": ["x", "y", "z"]}, {"A": "x", "B": "y", "C": "z"}),
        ({"choices": {"b": "y", "a": "x"}}, {"A": "x", "B": "y"}),
        ({"choice_a": "x", "choice_b": 2, "choice_c": None}, {"A": "x", "B": "2"}),
    ],
)
def test_choices_in_all_three_forms(row, choices):
    assert choices_of(row, "here") == choices


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": ["ser"]}, "AudioMarathon.tasks: got 'ser'; use some of SER"),
        ({"limit": 1.5}, "AudioMarathon.limit"),
        ({"limits": "loose"}, "AudioMarathon.limits"),
        ({"asr_prompt": None}, "AudioMarathon.asr_prompt"),
    ],
)
def test_wrong_options_are_named(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        AudioMarathon(str(tmp_path), **options)


def test_the_config_gives_every_argument_its_default():
    config = yaml.safe_load((ROOT / "experiments" / "benchmarks" / "audiomarathon.yaml").read_text())
    corpus = config["data"]["corpus"]
    known = inspect.signature(AudioMarathon).parameters
    assert config["benchmark"] == AudioMarathon.name and corpus["class_path"] == "AudioMarathon"
    assert corpus["init_args"] == {name: parameter.default for name, parameter in known.items()}
