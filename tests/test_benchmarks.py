"""LongSpeech and AudioMarathon from folders in the published layout to a table: asked, resumed, scored again."""

import json
import re

import pytest

from experiments.run import main
from tests.benchmark_folders import write_audiomarathon, write_longspeech
from tests.test_end_to_end import EXPERIMENTS, stages, working_in

WRITE = {"longspeech": write_longspeech, "audiomarathon": write_audiomarathon}


@pytest.fixture(scope="module", params=sorted(WRITE))
def asked(request, tmp_path_factory):
    """The benchmark's name, what its folder holds, and the folder of an untrained stage that was asked it."""
    work = tmp_path_factory.mktemp(request.param)
    stages(work)
    held = WRITE[request.param](work / "published")
    with working_in(work):
        run(request.param)
        yield request.param, held, work / "runs" / "default" / "two"


def run(name: str, *flags: str) -> None:
    folder = ("--data.corpus.init_args.corpus_dir", "published", "--data.num_workers", "0", "--eval_ratios", "[2]")
    main(
        ["test", "-c", f"benchmarks/{name}.yaml", "-c", "second.yaml", "--init_from", "null", *folder, *flags],
        EXPERIMENTS,
    )


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_item_that_is_here_is_asked_as_published(asked):
    name, held, folder = asked
    (path,) = (folder / "predictions").glob("test_SSTs-*.jsonl")
    found = lines_of(path)
    by_task = {task: [one for one in found if one["kind"] == task] for task in held.items}
    for task, items in held.items.items():
        expected = sorted(answer for _, _, answer, _ in items)
        assert sorted(one["reference"] for one in by_task[task]) == expected, task
        if all(prompt is not None for _, prompt, _, _ in items):
            assert sorted(one["instruction"] for one in by_task[task]) == sorted(prompt for _, prompt, _, _ in items)
    assert len(found) == sum(held.here.values())
    assert {one["item"]["benchmark"] for one in found} == {name}


def test_seconds_heard_are_seconds_given_and_memory_is_measured(asked):
    _, held, folder = asked
    (path,) = (folder / "predictions").glob("test_SSTs-*.jsonl")
    seconds = {round(length, 2) for length, _, _ in held.audio.values()}
    for one in lines_of(path):
        assert one["audio_seconds_heard"] == pytest.approx(one["duration"], abs=1e-3)
        assert any(abs(one["duration"] - length) < 0.05 for length in seconds)
        assert 0 < one["kept_kv_tokens"] < one["total_kv_tokens"] and one["kept_kv_bytes"] > 0


def test_the_page_has_every_task_every_profile_and_what_is_missing(asked):
    name, held, folder = asked
    page, scores = (
        (folder / f"results-{name}.md").read_text(),
        json.loads((folder / f"results-{name}.json").read_text()),
    )
    assert not scores["complete"] and "not scores of the whole benchmark" in page
    for task, reasons in held.missing.items():
        for reason, count in reasons.items():
            assert scores["coverage"]["missing"][task][reason] == count and f"{count} {reason}" in page
    for task, rules in held.filtered.items():
        assert scores["coverage"]["filtered"][task] == rules
    for profile in scores["profiles"].values():
        assert {row["task"] for row in profile["rows"]} == set(held.items)
        for row in profile["rows"]:
            assert row["answered"] == held.here[row["task"]] and row["failed"] == 0
            assert row["audio_seconds"] == pytest.approx(row["heard_seconds"], abs=0.01)
    assert re.search(r"\| SSTs \| 2x \| [\d.]+ KiB \|", page)
    assert len(re.findall(r"## Published figures", page)) == 1


def test_an_interrupted_run_is_resumed_or_another_compressor_has_its_own_page(asked):
    name, _, folder = asked
    (path,) = (folder / "predictions").glob("test_SSTs-*.jsonl")
    if name == "longspeech":
        before = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(before[:3]) + before[3][:40], encoding="utf-8")
        run(name)
        after = path.read_text(encoding="utf-8").splitlines(keepends=True)
        assert after[:3] == before[:3] and len(after) == len(before)
    else:
        run(name, "--compressor", "uniform_stride")
        other = json.loads((folder / f"results-{name}-test-uniform_stride.json").read_text())
        assert {row["compressor"] for one in other["profiles"].values() for row in one["rows"]} == {"uniform stride"}


def test_answers_are_scored_again_by_another_profile(asked, capsys):
    name, _, folder = asked
    (path,) = (folder / "predictions").glob("test_SSTs-*.jsonl")
    capsys.readouterr()
    main(["score", str(path), "--profile", "strict", "--out", str(folder / "again")], EXPERIMENTS)
    assert "## Scores by profile `strict`" in capsys.readouterr().out
    (again,) = (folder / "again").glob("*.json")
    first = json.loads((folder / f"results-{name}.json").read_text())["profiles"]
    assert json.loads(again.read_text())["profiles"]["strict"] == first["strict"]
