"""An experiment file from end to end on sessions of tones, each stage in a process of its own."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open

from experiments.random_models import encoder_folder, llm_folder
from experiments.run import main
from speech_xl.run.lineage import read_lineage
from speech_xl.run.run_folder import WEIGHTS
from tests.test_end_to_end import manifest, working_in

ROOT = Path(__file__).parents[1]
EXPERIMENTS = ROOT / "experiments"


def experiment(folder: Path) -> dict:
    """A stage that spells, the word times by it, a stage with SSTs and one with pooled frames; two steps each."""
    counts = {"train": 6, "dev": 2, "test": 3}
    paths = {split: manifest(folder / "audio", split, count) for split, count in counts.items()}
    return {
        "model": {
            "init_args": {
                "encoder": {"class_path": "HFEncoder", "init_args": {"name": encoder_folder(folder / "encoder")}},
                "adapter": {"class_path": "PosteriorAdapter", "init_args": {"stride": 4}},
                "llm": {"class_path": "LLM", "init_args": {"name": llm_folder(folder / "llm")}},
                "trainable": {"adapter.*": 1e-3},
                "warmup_steps": 0,
                "max_tokens_per_second": 1.0,
            }
        },
        "data": {
            "corpus": {"class_path": "ManifestCorpus", "init_args": paths},
            "cache_dir": str(folder / "cache"),
            "partition": {"class_path": "FixedWindows", "init_args": {"seconds": 0.4}},
            "max_duration": 3.0,
            "num_workers": 0,
        },
        "trainer": {
            "accelerator": "cpu",
            "max_steps": 2,
            "max_epochs": -1,
            "check_val_every_n_epoch": None,
            "val_check_interval": 2,
            "num_sanity_val_steps": 0,
            "enable_model_summary": False,
        },
        "stages": {
            "spell": {"from": None, "model": {"class_path": "SemanticAlignment"}},
            "times": {"make": "WordTimes", "from": "spell", "init_args": {"splits": ["train", "dev"]}},
            "sst": {
                "from": "spell",
                "seed": 3,
                "model": {
                    "class_path": "SSTCompression",
                    "init_args": {
                        "sst": {"projections": "full"},
                        "trainable": {"sst.*": 1e-3, "adapter.*": 1e-3},
                        "eval_ratios": [1, 2],
                    },
                },
                "curriculum": {
                    "class_path": "RatioCurriculum",
                    "init_args": {"unit": "step", "schedule": [{"start": 0, "ratios": [2]}]},
                },
                "data": {"transforms": [{"class_path": "WordTimes", "init_args": {"folder": "${stage:times}"}}]},
            },
            "pooled": {
                "like": "sst",
                "model": {"class_path": "MeanPooling", "init_args": {"trainable": {"adapter.*": 1e-3}}},
            },
        },
        "compare": {"all": {"base": "spell", "sst": "sst", "pooled": "pooled", "ratios": [2], "tasks": ["asr"]}},
    }


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A working directory with tones.yaml, an experiment that nothing of is trained yet."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "tones.yaml").write_text(yaml.safe_dump(experiment(folder), sort_keys=False))
    with working_in(folder):
        yield folder


@pytest.fixture(scope="module")
def trained(work):
    """The folder of the stages, all of them trained by one command."""
    main(["fit", "-c", "tones.yaml"], EXPERIMENTS)
    return work / "runs" / "tones"


def refused(capsys, *command: str) -> str:
    """The message that a command ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(list(command), EXPERIMENTS)
    shown = capsys.readouterr().err
    assert ended.value.code == 2 and "Traceback" not in shown
    return shown[shown.index("error: ") :]


def written(folder: Path, change) -> str:
    """A copy of the experiment file with something changed."""
    config = yaml.safe_load((folder / "tones.yaml").read_text())
    change(config)
    (folder / "changed.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return "changed.yaml"


SLIPS = {
    "a key of the model": (lambda c: c["stages"]["sst"]["model"]["init_args"].update(sstt=1), "model.init_args.sstt"),
    "a key of the data": (lambda c: c["data"].update(turnz=1), "data.turnz"),
    "a class": (lambda c: c["stages"]["pooled"]["model"].update(class_path="MeanPoolin"), "model.class_path"),
    "a value": (lambda c: c["stages"]["sst"].update(trainer={"max_steps": "two"}), "trainer.max_steps"),
    "a transform": (lambda c: c["stages"]["sst"]["data"]["transforms"][0].update(class_path="WordTime"), "class_path"),
    "a key beside a changed class": (
        lambda c: c["stages"]["pooled"]["model"]["init_args"].update(trainabel=1),
        "model.init_args.trainabel",
    ),
    "an argument of a maker": (lambda c: c["stages"]["times"]["init_args"].update(split=1), "init_args.split"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_anywhere_is_shown_before_anything_is_trained(work, capsys, slip):
    change, key = SLIPS[slip]
    name = written(work, change)
    started = time.process_time()
    said = refused(capsys, "fit", "-c", name)
    assert time.process_time() - started < 10
    lines = Path(name).read_text().splitlines()
    place = next(line for line in said.splitlines() if line.strip().startswith(f"{name}:") and line.endswith(key))
    assert key.rpartition(".")[2] in lines[int(place.split(":")[1]) - 1]
    assert not list((work / "runs").rglob("*.ckpt")) and not list((work / "runs").rglob("*.jsonl"))


@pytest.mark.slow
def test_a_slip_is_shown_within_seconds_of_the_command(work):
    """Less than ten seconds of a processor beyond what Python takes to import its packages."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    name = written(work, lambda config: config["stages"]["pooled"]["model"]["init_args"].update(trainabel=1))

    def seconds(*words: str) -> float:
        before = os.times()
        done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True)
        assert done.returncode == 0 or "model.init_args.trainabel" in done.stderr
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    imports = seconds("-c", "import speech_xl.run.check")
    assert seconds(str(EXPERIMENTS / "run.py"), "fit", "-c", name) - imports < 10


@pytest.mark.slow  # minutes of subprocesses; run them before a release
def test_all_stages_are_trained_by_one_command(trained, capsys):
    for stage in ("spell", "sst", "pooled"):
        with safe_open(trained / stage / WEIGHTS, "pt") as file:
            assert file.metadata()["stage"] == stage
        config = yaml.safe_load((trained / stage / "tensorboard" / "config.yaml").read_text())
        assert config["stage"] == stage and "stages" not in config and "compare" not in config
        assert config["data"]["num_buckets"] == 8 and config["model"]["init_args"]["llm"]["class_path"], "complete"
    assert config["seed_everything"] == config["data"]["seed"] == config["model"]["init_args"]["seed"] == 3
    assert config["model"]["class_path"].endswith("MeanPooling")
    assert config["data"]["transforms"][0]["init_args"]["folder"] == "runs/tones/times"
    record = json.loads((trained / "times" / "made.json").read_text())
    assert record["make"] == "WordTimes" and record["settings"]["init_args"]["splits"] == ["train", "dev"]
    assert sorted(path.name for path in (trained / "times").glob("*.jsonl")) == ["dev.jsonl", "train.jsonl"]
    for stage in ("sst", "pooled"):
        lineage = read_lineage(trained / stage / WEIGHTS)
        assert lineage is not None and lineage.parent is not None and lineage.seed == 3
        assert lineage.parent.run == read_lineage(trained / "spell" / WEIGHTS).run


@pytest.mark.slow
def test_what_is_finished_is_left_and_what_is_gone_is_trained_again(trained, capfd):
    kept = {path: path.stat().st_mtime_ns for path in trained.rglob("*.safetensors")}
    main(["fit", "-c", "tones.yaml"], EXPERIMENTS)
    assert "all is finished" in capfd.readouterr().out
    (trained / "pooled" / WEIGHTS).unlink()  # as a run looks that was broken off
    main(["fit", "-c", "tones.yaml", "--trainer.max_steps", "3"], EXPERIMENTS)
    assert "training from step 2 to 3" in capfd.readouterr().out
    changed = {path for path in trained.rglob("*.safetensors") if path.stat().st_mtime_ns != kept.get(path)}
    assert changed == {trained / "pooled" / WEIGHTS}


@pytest.mark.slow
def test_a_stage_is_trained_anew_only_on_request(trained, capsys):
    before = read_lineage(trained / "pooled" / WEIGHTS).run
    main(["fit", "-c", "tones.yaml", "--only", "pooled"], EXPERIMENTS)
    assert read_lineage(trained / "pooled" / WEIGHTS).run == before
    main(["fit", "-c", "tones.yaml", "--only", "pooled", "--overwrite"], EXPERIMENTS)
    assert read_lineage(trained / "pooled" / WEIGHTS).run != before
    assert (trained / "pooled-earlier-1" / WEIGHTS).is_file()


@pytest.mark.slow
def test_a_stage_is_tested_by_its_name(trained, capsys):
    main(["test", "-c", "tones.yaml", "--only", "sst"], EXPERIMENTS)
    assert "| 2x |" in capsys.readouterr().out and (trained / "sst" / "results.json").is_file()


@pytest.mark.slow
def test_a_stage_that_would_now_be_made_otherwise_is_not_taken_for_it(trained, capsys):
    name = written(trained.parents[1], lambda config: config["stages"]["times"]["init_args"].update(sessions=1))
    said = refused(capsys, "fit", "-c", name, "--variant", "tones", "--only", "pooled", "--overwrite")
    assert "runs/tones/times was made otherwise" in said and "sessions: made with None, here 1" in said


@pytest.mark.slow
def test_the_stages_are_compared(trained, capsys):
    main(["compare", "-c", "tones.yaml", "--methods", "[full KV, SSTs, 'mean pooling, trained']"], EXPERIMENTS)
    folder = trained / "compare"
    assert sorted(path.suffix for path in folder.glob("all.*")) == [".csv", ".json", ".md", ".png"]
    rows = json.loads((folder / "all.json").read_text())["rows"]
    assert {(row["method"], row["ratio"]) for row in rows} >= {
        ("full KV", 1),
        ("SSTs", 2),
        ("mean pooling, trained", 2),
    }
    assert "| SSTs |" in (folder / "all.md").read_text()


COMPARED_WRONGLY = {
    "a key": (["--sesions", "1"], "compare: --sesions: there is no such option"),
    "a table": (["--only", "al"], "has no table 'al'; there are all"),
    "a value": (["--ratios", "[0]"], "tones.yaml:"),
    "a compressor": (["--methods", "[SnapKVV]"], "SnapKVV"),
    "stages that aren't trained": (
        ["--variant", "none"],
        "isn't finished; train it with: fit -c tones",
    ),
}


@pytest.mark.parametrize("slip", COMPARED_WRONGLY)
def test_what_is_wrong_with_a_comparison_is_said(work, capsys, slip):
    flags, said = COMPARED_WRONGLY[slip]
    assert said in refused(capsys, "compare", "-c", "tones.yaml", *flags)
