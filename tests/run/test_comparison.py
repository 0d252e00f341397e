"""run_comparison on stages that were really trained: files, rows, seeds, differences, a broken-off run, Whisper."""

import csv
import json
import shutil

import pytest
from PIL import Image

from experiments.run import main
from speech_xl.evaluation import whisper
from speech_xl.evaluation.comparison import Comparison
from speech_xl.evaluation.prediction_file import read_predictions
from speech_xl.evaluation.record import KEYS, check
from speech_xl.evaluation.rows import WHISPER
from speech_xl.run.comparison import changed, run_comparison
from speech_xl.run.configs import ConfigError
from tests.test_end_to_end import EXPERIMENTS, stages, working_in

FREE = ["full_KV", "uniform_stride", "SSTs"]
STAGES = ["one", "two", "other"]

pytestmark = pytest.mark.slow  # stages are trained and asked; run them before a release


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Stages one (uncompressed), two and other (SSTs of another seed), trained for a few steps."""
    folder = tmp_path_factory.mktemp("work")
    stages(folder)
    start = ["--init_from", "runs/default/one/weights.safetensors", "--model.init_args.seed", "5", "--data.seed", "5"]
    with working_in(folder):
        main(["fit", "-c", "second.yaml"], EXPERIMENTS)
        main(["fit", "-c", "second.yaml", "--variant", "other", *start], EXPERIMENTS)
        own = {name: folder / "runs" / "default" / name for name in ("one", "two")}
        yield own | {"other": folder / "runs/other/two"}


def compared(name, folders, out, **entry):
    path = run_comparison(Comparison.of(name, {"ratios": [2, 4]} | entry, STAGES), folders, out, device="cpu")
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def table(folders, tmp_path_factory):
    """A comparison of compressors, two seeds of SSTs, and where it was written."""
    out = tmp_path_factory.mktemp("out")
    return compared("digits", folders, out, base="one", sst=["two", "other"], methods=FREE), out


def test_a_comparison_writes_a_record_a_csv_a_page_and_a_picture(table):
    entry, out = table
    check(entry, "digits.json")
    assert list(entry)[: len(KEYS)] == list(KEYS) and entry["items"] == 3
    assert entry["command"] == "python experiments/run.py compare --only digits"
    assert entry["data"].startswith("3 test sessions of ")
    at = {(row["method"], row["ratio"]): row for row in entry["rows"]}
    assert list(at) == [("full KV", 1), *[(name, n) for name in ("uniform stride", "SSTs") for n in (2, 4)]]
    with (out / "digits.csv").open() as file:
        assert [(row["method"], int(row["ratio"])) for row in csv.DictReader(file)] == list(at)
    page = (out / "digits.md").read_text()
    assert all(f"| {name} | {ratio}x |" in page for name, ratio in at) and "than SSTs" in page
    assert Image.open(out / "digits.png").width > 500


def test_rows_say_rates_costs_seeds_and_paired_differences(table):
    entry, _ = table
    at = {(row["method"], row["ratio"]): row for row in entry["rows"]}
    ours, stride, whole = at["SSTs", 2], at["uniform stride", 2], at["full KV", 1]
    assert (ours["seeds"], stride["seeds"], ours["stages"]) == (2, 1, ["two", "other"])
    assert ours["items"] == 2 * stride["items"] and ours["sessions"] == stride["sessions"] == 3
    assert len(ours["wer_by_seed"]) == 2 and "wer_sd" in ours and "wer_sd" not in stride
    assert ours["wer_low"] <= ours["wer"] <= ours["wer_high"]
    assert stride["more_errors"] == pytest.approx(stride["wer_cut"] - ours["wer_cut"], abs=2e-4)
    assert "more_errors" not in ours and "more_errors_by_seed" not in stride, "one seed is no pair of two"
    assert ours["kept_kv_bytes"] == stride["kept_kv_bytes"] < whole["kept_kv_bytes"] == whole["peak_kv_bytes"]
    assert ours["prefill_seconds"] > 0 and ours["decode_seconds"] > 0 and ours["trained_parameters"] > 0
    assert (stride["weights"], ours["weights"], ours["device"], stride["own"]) == ("base", "sst", "cpu", False)
    assert entry["summary"]["methods"] == 3 and entry["summary"]["sst_wer_4x"] == at["SSTs", 4]["wer"]


def test_a_broken_off_comparison_goes_on_and_a_whole_one_asks_nothing(table, folders, monkeypatch):
    entry, out = table
    files = sorted((out / "predictions" / "digits").glob("*.jsonl"))
    assert len(files) == 4
    longest = max(files, key=lambda path: path.stat().st_size)
    lines = longest.read_text().splitlines(keepends=True)
    longest.write_text("".join(lines[:3]) + lines[3][:20])
    again = compared("digits", folders, out, base="one", sst=["two", "other"], methods=FREE)
    assert sorted(json.loads(line)["id"] for line in longest.read_text().splitlines()) == sorted(
        json.loads(line)["id"] for line in lines
    )
    figures = [[{k: v for k, v in row.items() if "seconds" not in k} for row in one["rows"]] for one in (entry, again)]
    assert figures[0] == figures[1]
    monkeypatch.setattr("speech_xl.model.SpeechLLM.generate", None)
    assert compared("digits", folders, out, base="one", sst=["two", "other"], methods=FREE)["rows"] == again["rows"]


def test_rows_of_own_stages_are_set_beside_the_baseline_seed_by_seed(folders, tmp_path):
    entry = compared("ablations", folders, tmp_path, rows={"as it is": ["two"], "other": ["other"]}, tasks=["asr"])
    assert [(row["method"], row["ratio"]) for row in entry["rows"]] == [
        (name, ratio) for name in ("as it is", "other") for ratio in (2, 4)
    ]
    base, other = entry["rows"][0], entry["rows"][2]
    assert "more_errors" not in base and other["more_errors_by_seed"] == [other["more_errors"]]
    assert (other["own"], other["weights"], other["qa_accuracy"]) == (True, "other", None)
    assert set(entry["summary"]) == {"methods", *(f"{n}_wer_cut_{k}x" for n in ("as_it_is", "other") for k in (2, 4))}
    assert Image.open(tmp_path / "ablations.png").width == 1200, "a panel a ratio"


def test_a_chosen_summary_is_the_mean_of_the_seeds_in_percent(folders, tmp_path):
    summary = {"full": "full KV", "sst": "SSTs", "other": "otherwise"}
    several = {"base": ["one", "one"], "sst": ["two", "other"], "rows": {"otherwise": ["other", "two"]}}
    entry = compared("fair", folders, tmp_path, methods=FREE, baseline="SSTs", summary=summary, tasks="asr", **several)
    at = {(row["method"], row["ratio"]): row for row in entry["rows"]}
    ours, stride, again = at["SSTs", 4], at["uniform stride", 4], at["otherwise", 4]
    assert entry["summary"].pop("split") == "test" and entry["summary"].pop("seeds") == 2
    assert set(entry["summary"]) == {"full_1x", "sst_2x", "sst_4x", "other_2x", "other_4x"}
    assert entry["summary"]["sst_4x"] == pytest.approx(50 * sum(ours["wer_by_seed"]), abs=0.01)
    assert entry["summary"]["sst_4x"] == entry["summary"]["other_4x"] and again["more_errors"] == 0.0
    assert entry["unit"] == "WER, %, mean over seeds"
    assert stride["wer_sd"] == 0.0 and len(stride["more_errors_by_seed"]) == 2, "the stage of both seeds is one here"
    assert entry["best_training_free"]["4x"] == {"method": "uniform stride", "wer": stride["wer"]}
    assert "Best training-free method: 2x uniform stride; 4x uniform stride." in (tmp_path / "fair.md").read_text()
    assert ours["more_errors_than_full_kv"] == pytest.approx(ours["wer_cut"] - at["full KV", 1]["wer_cut"], abs=2e-4)


def test_together_measures_no_seconds_and_answers_alike(table, folders, tmp_path):
    alone, _ = table
    entry = compared("digits", folders, tmp_path, base="one", sst=["two", "other"], methods=FREE, together=3)
    for row, before in zip(entry["rows"], alone["rows"], strict=True):
        assert row["prefill_seconds"] is row["peak_kv_bytes"] is None
        assert (row["wer"], row["qa_accuracy"], row["kept_kv_bytes"]) == tuple(
            before[key] for key in ("wer", "qa_accuracy", "kept_kv_bytes")
        )


def test_stages_trained_again_are_asked_anew(folders, tmp_path):
    copies = {"two": shutil.copytree(folders["two"], tmp_path / "two")}
    before = compared("again", copies, tmp_path, sst="two", tasks=["qa"])
    shutil.rmtree(copies["two"])
    shutil.copytree(folders["other"], copies["two"])
    compared("again", copies, tmp_path, sst="two", tasks=["qa"])
    files = list((tmp_path / "predictions" / "again").glob("*.jsonl"))
    assert len(files) == 2 and {len(read_predictions(path)) for path in files} == {3 * 2}
    assert before["rows"][0]["wer"] is None, "nothing was transcribed"


def test_sessions_tasks_and_data_are_as_the_entry_says(folders, tmp_path):
    data = {"partition.init_args.seconds": 0.2}
    entry = compared("few", folders, tmp_path, sst="two", split="dev", sessions=1, tasks="asr", data=data)
    assert entry["items"] == 1 and entry["rows"][0]["items"] == 1 and entry["data"].startswith("1 dev sessions")
    with pytest.raises(ConfigError, match=r"the stage's data has no key partition\.init_args\.second;"):
        compared("few", folders, tmp_path, sst="two", data={"partition.init_args.second": 0.2})


def test_a_device_that_is_not_there_is_refused(folders, tmp_path):
    with pytest.raises(ConfigError, match="--device: got 'nonsense'; give cpu"):
        run_comparison(Comparison.of("few", {"sst": "two"}, STAGES), folders, tmp_path, device="nonsense")


def test_whispers_own_transcripts_stand_below(folders, tmp_path, monkeypatch):
    """Its weights are not on this machine: its decoder says the same of everything."""
    heard = []

    def decoder(_audio, **given):
        heard.append(given)
        return {"text": " tone 1"}

    monkeypatch.setattr(whisper, "pipeline", lambda task, name: decoder)
    entry = compared("reference", folders, tmp_path, sst="two", sessions=2, whisper="openai/whisper-base")
    row = entry["rows"][-1]
    assert (row["method"], row["ratio"], row["weights"], row["asr_items"]) == (WHISPER, 1, "whisper-base", 2)
    assert row["kept_kv_bytes"] is None and entry["summary"]["whisper_wer"] == row["wer"]
    assert len(heard) == 2 and heard[0]["generate_kwargs"]["temperature"][0] == 0.0
    (path,) = (tmp_path / "predictions" / "reference").glob("whisper-*.jsonl")
    assert {one.hypothesis for one in read_predictions(path)} == {" tone  one "}
    compared("reference", folders, tmp_path, sst="two", sessions=2, whisper="openai/whisper-base")
    assert len(heard) == 2, "what it transcribed is kept"


def test_data_settings_are_changed_by_key_and_others_refused():
    trained = {"corpus": {"class_path": "MiniLibriSpeech", "init_args": {"max_seconds": 60.0}}, "limit_dev": None}
    found = changed(trained, {"corpus.init_args.max_seconds": 300.0, "limit_dev": 4})
    assert found["corpus"] == {"class_path": "MiniLibriSpeech", "init_args": {"max_seconds": 300.0}}
    assert found["limit_dev"] == 4 and trained["limit_dev"] is None
    for key in ("corpus.init_args.seconds", "corpus.init_arg.max_seconds", "partition.init_args.seconds"):
        with pytest.raises(ConfigError, match=f"the stage's data has no key {key}"):
            changed(trained, {key: 300})
