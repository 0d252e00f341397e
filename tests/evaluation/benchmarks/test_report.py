"""A benchmark's page and JSON: scores of every profile, constant answers beside them, coverage, faults of the file."""

import json
import math
from dataclasses import replace

import pytest

from speech_xl.evaluation.benchmarks.answer_file import read_answers
from speech_xl.evaluation.benchmarks.registry import MODULES, find_benchmark
from speech_xl.evaluation.benchmarks.report import write_benchmark_report
from speech_xl.evaluation.prediction import Prediction
from speech_xl.run.reports import holds_items, write_scores

COUNTS = ["1", "2", "2", "3"]
REPLIES = ["1 speaker", "There are 2.", "3", "no idea"]


def answer(number: int, reply: str, truth: str, **changes) -> Prediction:
    task, language = changes.pop("task", "speaker_count"), changes.pop("language", "en")
    item = {"benchmark": "longspeech", "id": f"{task}/{number}.wav", "task": task, "prompt": "How many?"}
    item |= {"answer": truth, "max_tokens": 256, "choices": {}, "language": language, "about": {}}
    about = {"cut_id": f"{number}.wav", "kind": task, "language": language, "item": item, "duration": 600.0}
    costs = {"kept_kv_bytes": 614400, "kept_kv_tokens": 10, "total_kv_tokens": 40, "audio_seconds_heard": 600.0}
    given = {"task": "qa", "ratio": 4, "instruction": "How many?", "reference": truth, "hypothesis": reply}
    return Prediction(**(given | about | costs | {"compressor": "SSTs", "finished": True} | changes))


def written(path, predictions, coverage=None, end="\n"):
    lines = [json.dumps(one.to_json()) for one in predictions]
    path.write_text("\n".join(lines) + end, encoding="utf-8")
    if coverage is not None:
        settings = {"coverage": coverage, "asked_items": {"speaker_count": 5}}
        path.with_name(f"{path.stem}.settings.json").write_text(json.dumps(settings))
    return path


@pytest.fixture
def counts():
    return [answer(number, *both) for number, both in enumerate(zip(REPLIES, COUNTS, strict=True))]


def row(scores, profile="paper-words", task="speaker_count"):
    return next(one for one in scores["profiles"][profile]["rows"] if one["task"] == task)


def test_the_scores_the_majority_class_and_the_counts(tmp_path, counts):
    failed = answer(4, "", "2", failed="4.wav can't be read", finished=False)
    cut = answer(5, "2 2 2 2", "2", finished=False)
    scores = write_benchmark_report(written(tmp_path / "a.jsonl", [*counts, failed, cut]), tmp_path, "results")
    found = row(scores)
    assert found["answered"] == 5 and found["failed"] == 1 and found["cut"] == 1
    assert found["audio_seconds"] == found["heard_seconds"] == 3000.0
    assert found["kept_kv_bytes_per_audio_second"] == 1024.0 and found["kept_kv_share"] == 0.25
    assert found["majority"]["reply"] == found["best_constant"]["reply"] == "2"
    assert scores["failures"] == {"SESSION can't be read": 1}
    assert scores["audio_seconds"] == 3600.0 and scores["heard_seconds"] == 3000.0, "a failed session is not heard"
    assert set(scores["profiles"]) == {one.name for one in find_benchmark("longspeech").profiles}
    for profile in scores["profiles"]:
        mains = [one["value"] for one in row(scores, profile)["scores"] if one["main"]]
        assert all(0 <= value <= 100 for value in mains)


def test_the_page_says_what_the_json_does(tmp_path, counts):
    coverage = {
        "published": {"speaker_count": 1263, "ASR": 15274},
        "here": {"speaker_count": 5},
        "missing": {"speaker_count": {"audio file missing": 1258}},
        "filtered": {},
        "limit": 5,
    }
    path = written(tmp_path / "a.jsonl", counts, coverage)
    scores = write_benchmark_report(path, tmp_path, "results", profile="strict")
    page = (tmp_path / "results.md").read_text()
    assert next(iter(scores["profiles"])) == "strict" and "## Scores by profile `strict`" in page
    assert "| speaker_count | 1263 | 5 | 5 | 4 | 1258 audio file missing | 0 |" in page
    assert "| ASR | 15274 | unknown | unknown | 0 | 0 | 0 |" in page
    assert "not scores of the whole benchmark" in page and "at most 5 items a task" in page
    assert "| speaker_count | SSTs | 4x | 1.00 KiB | 25.0 % |" in page
    assert "Audio of all sessions, failed ones too: 2400.0 s. Heard by the LLM: 2400.0 s." in page
    for one in find_benchmark("longspeech").published:
        assert one.system in page


def test_a_broken_file_is_scored_as_far_as_it_can_be_and_its_faults_are_reported(tmp_path, counts):
    lines = [one.to_json() for one in counts]
    del lines[1]["id"]
    lines[2]["hypothesis"] = 2  # a JSON number: right
    lines[3]["hypothesis"] = None
    lines.append(counts[0].to_json() | {"hypothesis": "99"})  # a second answer, which doesn't count
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines) + '\n{"id": "torn", "cut_')
    scores = write_benchmark_report(path, tmp_path, "results")
    assert scores["faults"] == {
        "without an id": 1,
        "with a number as hypothesis, read as its digits": 1,
        "with null as hypothesis, read as an empty text": 1,
        "second answers to an item, not counted": 1,
        "cut off (the last line), not counted": 1,
    }
    for fault in scores["faults"]:
        assert f"- 1 {fault}" in (tmp_path / "results.md").read_text()
    main = next(one for one in row(scores)["scores"] if one["main"])
    assert main["value"] == 75.0 and main["unparsed"] == 1


def test_what_is_no_prediction_is_an_error_that_names_the_line(tmp_path, counts):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(counts[0].to_json()) + "\n[1, 2]\n")
    with pytest.raises(ValueError, match=r"a.jsonl, line 2: not a prediction"):
        read_answers(path)
    with pytest.raises(FileNotFoundError, match="no predictions here"):
        read_answers(tmp_path / "none.jsonl")


def test_answers_of_two_benchmarks_or_of_none_are_refused(tmp_path, counts):
    other = answer(9, "1", "1")
    other.item["benchmark"] = "audiomarathon"
    with pytest.raises(ValueError, match="audiomarathon, longspeech; score the answers of one"):
        write_benchmark_report(written(tmp_path / "a.jsonl", [*counts, other]), tmp_path, "results")
    with pytest.raises(ValueError, match="longspeech has no profile 'official'; there are paper-words"):
        write_benchmark_report(written(tmp_path / "a.jsonl", counts), tmp_path, "results", profile="official")
    with pytest.raises(ValueError, match="benchmark 'none': there is none of this name"):
        find_benchmark("none")


@pytest.mark.parametrize("name", MODULES)
def test_every_benchmark_is_whole(name):
    benchmark = find_benchmark(name)
    assert benchmark.name == name and benchmark.tasks and benchmark.profiles
    assert len({one.name for one in benchmark.profiles}) == len(benchmark.profiles)
    for profile in benchmark.profiles:
        assert profile.about and set(profile.tasks) <= set(benchmark.tasks)
    for one in benchmark.published:
        assert one.source and math.isfinite(one.value)


@pytest.mark.parametrize("line", [b"\xff\xfe\x00garbage\n", b"[" * 200_000 + b"\n", b'"a text"\n'])
def test_garbage_is_an_error_and_no_traceback(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_bytes(line)
    with pytest.raises(ValueError, match="line 1: not a prediction"):
        read_answers(path)
    assert not holds_items(path)
    with pytest.raises(ValueError, match="line 1: not a prediction"):
        write_scores(path, tmp_path, "results")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"duration": -1.0}, "duration is -1.0, below zero"),
        ({"kept_kv_bytes": -5}, "kept_kv_bytes is -5, below zero"),
        ({"item": {"benchmark": "longspeech"}}, "missing"),
    ],
)
def test_what_cannot_be_is_named(tmp_path, counts, change, message):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(counts[0].to_json() | change) + "\n")
    with pytest.raises(ValueError, match=f"a.jsonl, line 1: .*{message}"):
        read_answers(path)


def test_choices_that_are_no_mapping_are_named(tmp_path, counts):
    bad = counts[0].to_json()
    bad["item"]["choices"] = [1]
    (tmp_path / "a.jsonl").write_text(json.dumps(bad) + "\n")
    with pytest.raises(ValueError, match="choices: got \\[1\\]; give a mapping"):
        read_answers(tmp_path / "a.jsonl")


def test_a_name_breaks_no_table_and_runs_nothing(tmp_path, counts):
    named = [replace(one, compressor="a | b <script>x</script>") for one in counts]
    write_benchmark_report(written(tmp_path / "a.jsonl", named), tmp_path, "results")
    page = (tmp_path / "results.md").read_text()
    assert "a \\| b &lt;script>" in page and "<script" not in page


def test_answers_beyond_the_context_and_unknown_costs_are_said(tmp_path, counts):
    given = [replace(one, beyond_context=True, audio_seconds_heard=None, finished=None) for one in counts]
    scores = write_benchmark_report(written(tmp_path / "a.jsonl", given), tmp_path, "results")
    page = (tmp_path / "results.md").read_text()
    assert "**4 answers are about audio of more positions than the LLM was made for" in page
    assert "Heard by the LLM: not recorded." in page
    assert row(scores)["beyond_context"] == 4 and row(scores)["cut"] is None


def test_a_benchmark_is_found_in_any_line(tmp_path, counts):
    plain = {key: value for key, value in counts[0].to_json().items() if key != "item"}
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(plain) + "\n" + json.dumps(counts[1].to_json()) + "\n")
    assert holds_items(path)
    with pytest.raises(ValueError, match="longspeech, no benchmark; score the answers of one"):
        write_scores(path, tmp_path, "results")


@pytest.mark.parametrize("name", sorted(MODULES))
def test_what_a_benchmark_says_of_itself_begins_a_sentence(name):
    benchmark = find_benchmark(name)
    if "mini" in name:
        assert benchmark.paper.startswith("Made by this suite. Tasks are named as in ")
    for text in (one.about for one in benchmark.profiles):
        assert text[0] == text[0].upper(), text
