"""The command line from end to end on sessions of tones: stages chain, resume, evaluate, and say what is wrong."""

import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from lhotse import CutSet, Recording
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import MinLengthLogitsProcessor

from experiments.random_models import encoder_folder, llm_folder
from experiments.run import main
from speech_xl.data.decode import AudioFile
from speech_xl.data.sessions import Utterance, assemble_session
from speech_xl.data.transcript import ASR_INSTRUCTION, Transcript
from speech_xl.extensions.timestamps.align import MARGIN_SECONDS
from speech_xl.extensions.timestamps.align import main as align
from speech_xl.inference import load_stage
from speech_xl.model import Listener, SpeechLLM
from speech_xl.run.command import WEIGHTS, ConfigError
from speech_xl.run.lineage import read_lineage
from speech_xl.run.trained_stage import TrainedStage
from speech_xl.storage.hub_folder import WEIGHTS as HUB_WEIGHTS
from tests.hub.exporting import export_command
from tests.listening_models import listen, load_model

ROOT = Path(__file__).parents[1]
EXPERIMENTS = ROOT / "experiments"


def manifest(folder: Path, split: str, sessions: int) -> str:
    cuts = []
    for number in range(sessions):
        tones = [
            Utterance(0.3 * np.sin(np.arange(4800, dtype=np.float32) * 0.1 * (n + number + 1)), f"tone {n}", "a", "F")
            for n in range(2)
        ]
        questions = [{"task": "qa", "question": "how many", "answer": "two", "kind": "count"}]
        name = f"{split}{number}"
        cuts.append(assemble_session(name, tones, [0.1] * 3, folder / f"{name}.flac", custom={"questions": questions}))
    path = folder / f"cuts_{split}.jsonl"
    CutSet.from_cuts(cuts).to_file(path)
    return str(path)


def stages(folder: Path) -> None:
    """first.yaml and second.yaml in `folder`: stages one and two, of two and of four steps."""
    counts = {"train": 6, "dev": 2, "test": 3}
    paths = {split: manifest(folder / "audio", split, count) for split, count in counts.items()}
    model = {
        "encoder": {"class_path": "HFEncoder", "init_args": {"name": encoder_folder(folder / "encoder")}},
        "adapter": {"class_path": "SemanticAdapter", "init_args": {"stride": 4}},
        "llm": {"class_path": "LLM", "init_args": {"name": llm_folder(folder / "llm")}},
        "trainable": {"adapter.*": 1e-3},
        "warmup_steps": 0,
        "max_tokens_per_second": 1.0,
    }
    data = {
        "corpus": {"class_path": "ManifestCorpus", "init_args": paths},
        "cache_dir": str(folder / "cache"),
        "partition": {"class_path": "FixedWindows", "init_args": {"seconds": 0.4}},
        "max_duration": 3.0,
        "num_workers": 0,
    }
    trainer = {
        "accelerator": "cpu",
        "max_steps": 2,
        "max_epochs": -1,
        "check_val_every_n_epoch": None,
        "val_check_interval": 1,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        "enable_model_summary": False,
        "callbacks": [{"class_path": "MemoryMonitor"}, {"class_path": "Throughput"}, {"class_path": "Samples"}],
    }
    first = {
        "stage": "one",
        "init_from": None,
        "model": {"class_path": "SemanticAlignment", "init_args": model},
        "data": data,
        "trainer": trainer,
    }
    compression = {
        "sst": {"projections": "full"},
        "trainable": {"sst.*": 1e-3, "adapter.*": 1e-3},
        "eval_ratios": [1, 2],
    }
    schedule = [{"start": 0, "ratios": [2]}, {"start": 2, "ratios": [2, 4]}]
    second = first | {
        "stage": "two",
        "init_from": "first",
        "model": {"class_path": "SSTCompression", "init_args": model | compression},
        "curriculum": {"class_path": "RatioCurriculum", "init_args": {"unit": "step", "schedule": schedule}},
        "trainer": trainer | {"max_steps": 4, "val_check_interval": 2},
    }
    (folder / "first.yaml").write_text(yaml.safe_dump(first))
    (folder / "second.yaml").write_text(yaml.safe_dump(second))


@contextmanager
def working_in(folder: Path) -> Iterator[Path]:
    """Commands run in this folder, and stages that they train in processes of their own find the code."""
    before = Path.cwd()
    os.chdir(folder)
    os.environ["PYTHONPATH"] = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A working directory with both stages, and both trained by one command."""
    folder = tmp_path_factory.mktemp("work")
    stages(folder)
    with working_in(folder):
        yield folder


def run(*args: str) -> None:
    main(list(args), EXPERIMENTS)


def steps(checkpoint: Path) -> int:
    return torch.load(checkpoint, weights_only=True)["global_step"]


@pytest.fixture(scope="module")
def trained(work):
    run("fit", "-c", "second.yaml")
    return work / "runs" / "default"


def test_a_stage_trains_the_missing_one_before_it(trained):
    for stage, count in (("one", 2), ("two", 4)):
        assert steps(trained / stage / "checkpoints" / "last.ckpt") == count
        assert list((trained / stage / "tensorboard").glob("events*"))
        assert (trained / stage / "tensorboard" / "config.yaml").is_file()
    with safe_open(trained / "two" / "weights.safetensors", "pt") as file:
        names = set(file.keys())
        assert file.metadata()["stage"] == "two"
    assert any(name.startswith("sst.") for name in names)
    assert not any(name.startswith("encoder.") for name in names), "untrained pretrained weights needn't travel"


def test_a_resumed_run_goes_on(trained, capfd):
    copy = trained.parent / "resumed"
    shutil.copytree(trained, copy)
    run("fit", "-c", "second.yaml", "--variant", "resumed", "--ckpt_path", "last", "--trainer.max_steps", "6")
    said = capfd.readouterr().out
    assert "training from step 4 to 6" in said
    assert "validation at step 6, val/errors" in said
    assert f"Weights: {Path('runs/resumed/two/weights.safetensors')}" in said
    assert "tensorboard --logdir runs/resumed/two" in said
    assert steps(copy / "two" / "checkpoints" / "last.ckpt") == 6


def refused(capsys, *command: str) -> str:
    """The message that a command ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run(*command)
    shown = capsys.readouterr().err
    assert ended.value.code == 2 and "Traceback" not in shown
    return shown[shown.index("error: ") :]


OTHERWISE = {
    "data.transcript": ["--data.transcript", "Timestamps"],
    "data.partition.seconds": ["--data.partition.init_args.seconds", "0.2"],
    "model.sst.positions": ["--model.sst.init_args.positions", "compact"],
    "model.sst.placement": ["--model.sst.init_args.placement", "appended"],
    "model.sst.start": ["--model.sst.init_args.start", "mean"],
    "model.encoder.overlap_seconds": ["--model.encoder.init_args.overlap_seconds", "0.1"],
}


@pytest.mark.parametrize("key", OTHERWISE)
def test_weights_are_not_used_otherwise_than_they_were_trained(trained, capsys, key):
    for command in (["test"], ["fit", "--ckpt_path", "last", "--trainer.max_steps", "6"]):
        said = refused(capsys, command[0], "-c", "second.yaml", *command[1:], *OTHERWISE[key])
        assert f"{key}: trained with" in said and "--force" in said


def test_weights_of_ssts_as_in_the_paper_are_used_by_that_name(trained):
    """They were trained with the arguments that it stands for, which are the defaults."""
    run("validate", "-c", "second.yaml", "--model.sst", "paper", "--variant", "default")


def test_a_forced_use_is_recorded(work, trained):
    shutil.copytree(trained, trained.parent / "forced")
    more = ["--variant", "forced", *OTHERWISE["data.partition.seconds"], "--force"]
    run("predict", "-c", "second.yaml", *more)
    (settings,) = (trained.parent / "forced" / "two" / "predictions").glob("*.settings.json")
    forced = "data.partition.seconds: trained with 0.4, here 0.2"
    assert json.loads(settings.read_text())["lineage"]["forced"] == [forced]
    run("fit", "-c", "second.yaml", *more, "--ckpt_path", "last", "--trainer.max_steps", "5")
    assert read_lineage(trained.parent / "forced" / "two" / "checkpoints" / "last.ckpt").forced == [forced]


def test_another_encoder_of_the_same_shape_is_refused(work, trained, tmp_path, capsys):
    other = shutil.copytree(work / "encoder", tmp_path / "encoder")
    state = load_file(other / "model.safetensors")
    save_file({name: value + 0.01 for name, value in state.items()}, other / "model.safetensors", {"format": "pt"})
    said = refused(capsys, "validate", "-c", "second.yaml", "--model.encoder.init_args.name", str(other))
    assert "model.encoder: trained with weights" in said and str(other) in said


def test_a_stage_whose_parent_was_trained_again_is_stale(work, trained, capsys):
    shutil.copytree(trained, trained.parent / "stale")
    more = ["--variant", "stale"]
    lineage = read_lineage(trained.parent / "stale" / "two" / WEIGHTS)
    parent = read_lineage(trained.parent / "stale" / "one" / WEIGHTS)
    assert (lineage.stage, lineage.parent.stage, lineage.parent.run) == ("two", "one", parent.run)
    run("fit", "-c", "first.yaml", *more, "--overwrite", "--seed_everything", "3")
    with pytest.warns(UserWarning, match=r"stale/two/weights.safetensors is stale: .*stale/one"):
        run("validate", "-c", "second.yaml", *more)


def test_the_whole_chain_is_checked_before_any_stage_is_trained(work, capsys):
    wrong = [["--model.sst.init_args.positionz", "compact"], ["--data.corpus.init_args.dev", "gone.jsonl"]]
    wrong += [["--model.sst", "papers"]]
    wrong += [["--model.llm.init_args.name", "./nowhere"], ["--trainer.max_stepps", "3"]]
    for flags in wrong:
        said = refused(capsys, "fit", "-c", "second.yaml", "--variant", "unborn", *flags)
        assert flags[0].rpartition(".")[2] in said or flags[1] in said
    assert not (work / "runs" / "unborn").exists() or not list((work / "runs" / "unborn").rglob("*.ckpt"))


@pytest.mark.slow  # two trainings
def test_a_precision_left_open_is_written_down_and_kept(work, trained, monkeypatch):
    saved = yaml.safe_load((trained / "two" / "tensorboard" / "config.yaml").read_text())
    assert saved["trainer"]["precision"] == read_lineage(trained / "two" / WEIGHTS).precision == "32-true"
    shutil.copytree(trained, trained.parent / "kept")
    monkeypatch.setattr(
        "speech_xl.run.cli.best_precision", lambda accelerator: "bf16-mixed"
    )  # as another machine has it
    more = ["--variant", "kept", "--trainer.max_steps", "5"]
    run("fit", "-c", "second.yaml", *more, "--ckpt_path", "last")
    assert read_lineage(trained.parent / "kept" / "two" / WEIGHTS).precision == "32-true"
    run("fit", "-c", "second.yaml", *more, "--overwrite")
    assert read_lineage(trained.parent / "kept" / "two" / WEIGHTS).precision == "32-true", "that of the stage before"


@pytest.mark.slow  # half a minute of subprocesses; tests/test_stopping.py stops and resumes in every run
def test_a_stage_that_was_killed_is_resumed_by_the_next(work, trained, capfd):
    run("fit", "-c", "first.yaml", "--variant", "killed", "--trainer.max_steps", "1")
    one = work / "runs" / "killed" / "one"
    (one / "weights.safetensors").unlink()  # as a run looks that ended before its last step
    run("fit", "-c", "second.yaml", "--variant", "killed", "--trainer.max_steps", "2")
    said = capfd.readouterr().out
    assert "going on with one, which was broken off" in said
    assert "training from step 1 to 2" in said
    assert steps(one / "checkpoints" / "last.ckpt") == 2
    assert (work / "runs" / "killed" / "two" / "weights.safetensors").is_file()


def test_a_finished_stage_is_trained_anew_only_on_request_and_set_aside(work, trained, capsys):
    command = ["fit", "-c", "first.yaml", "--variant", "again", "--trainer.max_steps", "1"]
    run(*command)
    folder = work / "runs" / "again"
    before = load_file(folder / "one" / WEIGHTS)
    with pytest.raises(SystemExit, match="2"):
        run(*command, "--seed_everything", "7")
    assert "one is finished" in (shown := capsys.readouterr().err) and "--overwrite" in shown
    run(*command, "--seed_everything", "7", "--overwrite")
    assert [len(list((folder / one / "tensorboard").glob("events*"))) for one in ("one", "one-earlier-1")] == [1, 1]
    aside = load_file(folder / "one-earlier-1" / WEIGHTS)
    assert all(aside[name].equal(value) for name, value in before.items())
    assert (folder / "one-earlier-1" / "checkpoints" / "last.ckpt").is_file()


def test_a_run_killed_between_validations_goes_on_from_the_next_batch(work, trained):
    """Every batch is heard once, and the weights are those of a run that was never broken off."""
    never = ["--trainer.limit_val_batches", "0", "--checkpoint.every_minutes", "0"]
    never += ["--model.init_args.scheduler", "constant", "--trainer.max_steps"]  # no other depends on them
    for variant, stops in (("whole", ["4"]), ("broken", ["2", "4"])):
        folder = work / "runs" / variant / "one"
        for stop in stops:
            more = ["--ckpt_path", "last"] if (folder / "checkpoints" / "last.ckpt").is_file() else []
            run("fit", "-c", "first.yaml", "--variant", variant, *never, stop, *more)
    whole, broken = (
        torch.load(work / "runs" / variant / "one" / "checkpoints" / "last.ckpt", weights_only=True)
        for variant in ("whole", "broken")
    )
    assert whole["global_step"] == broken["global_step"] == 4
    for name, value in whole["state_dict"].items():
        torch.testing.assert_close(broken["state_dict"][name], value, msg=name)


def test_nothing_but_the_run_is_spoken_of(trained, capfd, recwarn):
    run("validate", "-c", "second.yaml")
    said = "".join(capfd.readouterr())
    assert "val/wer_2x" in said
    assert "litlogger" not in said
    noise = [str(w.message) for w in recwarn if "LightningCLI's args" in str(w.message) or "LeafSpec" in str(w.message)]
    assert not noise


def test_test_writes_predictions_and_results_and_predict_goes_on(trained, capfd):
    run("test", "-c", "second.yaml")
    assert "| 2x |" in capfd.readouterr().out
    (path,) = (trained / "two" / "predictions").glob("*.jsonl")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(records) == 3 * 2 * 2  # sessions, tasks, ratios
    assert {record["ratio"] for record in records} == {1, 2}
    results = json.loads((trained / "two" / "results.json").read_text())
    assert results["items"] == len(records)
    assert results["made_with"]["lineage"] == read_lineage(trained / "two" / WEIGHTS).plain()
    assert (trained / "two" / "results.md").is_file()
    # a run killed in the middle of a line
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:5]) + lines[5][:20])
    run("predict", "-c", "second.yaml")
    again = [json.loads(line) for line in path.read_text().splitlines()]
    assert again[:5] == records[:5]
    assert {r["id"]: r["hypothesis"] for r in again} == {r["id"]: r["hypothesis"] for r in records}
    assert len(again) == len(records)
    # other rules or other truths: asked anew, in a file of its own
    run("predict", "-c", "second.yaml", "--data.transcript", "Timestamps", "--force")
    run("predict", "-c", "second.yaml", "--data.eval_tasks", "[asr]")
    others = sorted(set((trained / "two" / "predictions").glob("*.jsonl")) - {path})
    assert sorted(len(file.read_text().splitlines()) for file in others) == [len(records) // 2, len(records)]
    events = list((trained / "two" / "tensorboard").glob("events*"))
    assert len(events) == 1, "evaluations are no points of the training's curves"


def overlay(name: str, content: dict) -> list[str]:
    Path(name).write_text(yaml.safe_dump(content))
    return ["-c", name]


def wrong_manifest(tmp_path: Path) -> list[str]:
    (tmp_path / "empty.jsonl").touch()
    return ["--data.corpus.init_args.train", str(tmp_path / "empty.jsonl")]


def wrong_audio(tmp_path: Path, content: bytes) -> list[str]:
    path = manifest(tmp_path / "audio", "train", 2)
    for file in (tmp_path / "audio").glob("*.flac"):
        file.write_bytes(content)
    return ["--data.corpus.init_args.train", path, "--data.cache_dir", str(tmp_path / "cache")]


def other_llm(tmp_path: Path) -> list[str]:
    folder = llm_folder(tmp_path / "llm", hidden_size=16)
    return ["--init_from", "runs/default/one/weights.safetensors", "--model.llm.init_args.name", folder]


def damaged(tmp_path: Path) -> list[str]:
    (tmp_path / "bad.safetensors").write_bytes(b"nothing of the sort")
    return ["--init_from", str(tmp_path / "bad.safetensors")]


MISTAKES = {
    "ratio 0": (lambda _: ["--model.eval_ratios", "[0]"], "eval_ratios"),
    "negative window": (lambda _: ["--data.partition.init_args.seconds", "0"], "seconds"),
    "trainable": (lambda _: overlay("t.yaml", {"model": {"init_args": {"trainable": {"no.*": 1e-3}}}}), "no.*"),
    "unknown key": (lambda _: overlay("k.yaml", {"data": {"turnz": 3}}), "k.yaml:2: data.turnz"),
    "unknown flag": (lambda _: ["--data.turnz", "3"], "--data.turnz"),
    "model folder": (lambda _: ["--model.encoder", "./nowhere"], "nowhere"),
    "empty manifest": (wrong_manifest, "empty.jsonl"),
    "missing manifest": (lambda _: ["--data.corpus.init_args.dev", "gone.jsonl"], "gone.jsonl"),
    "unreadable audio": (lambda path: wrong_audio(path, b"not audio"), "flac"),
    "empty audio": (lambda path: [*wrong_audio(path, b""), "--data.num_workers", "1"], "flac"),
    "other model": (other_llm, "doesn't fit this model"),
    "damaged weights": (damaged, "damaged"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_with_a_message_and_status_2(trained, tmp_path, capfd, mistake):
    make, said = MISTAKES[mistake]
    kept = {path: path.stat().st_mtime_ns for path in trained.rglob("*.safetensors")}
    with pytest.raises(SystemExit) as ended:
        run("fit", "-c", "first.yaml", "--variant", "wrong", *chain(make(tmp_path)))
    shown = capfd.readouterr().err
    assert ended.value.code == 2
    assert said in shown[shown.index("error: ") :]
    assert "Traceback" not in shown
    assert kept == {path: path.stat().st_mtime_ns for path in trained.rglob("*.safetensors")}


def test_a_finished_stage_listens_and_remembers(trained, work, capsys):
    memory, question = work / "memory.safetensors", ["--ask", "how many", "--limit", "6"]
    heard = [str(work / "audio" / f"test{n}.flac") for n in range(2)]
    listen([str(trained / "two"), *heard, "--ratio", "2", "--interval", "0.4", "--save", str(memory), *question])
    first = capsys.readouterr()
    assert "1.8 s heard, " in first.err and first.out.strip()
    listen([str(trained / "two"), "--load", str(memory), *question])
    again = capsys.readouterr()
    assert again.out == first.out and "1.8 s heard, " in again.err


LISTENED_OTHERWISE = {
    "model.sst.positions": ("model.init_args.sst.init_args.positions", "compact"),
    "model.sst.placement": ("model.init_args.sst.init_args.placement", "appended"),
    "model.sst.start": ("model.init_args.sst.init_args.start", "mean"),
    "data.transcript": ("data.transcript", {"class_path": "Timestamps"}),
    "data.partition.seconds": ("data.partition.init_args.seconds", 0.2),
}


@pytest.mark.parametrize("key", LISTENED_OTHERWISE)
def test_a_stage_listens_only_as_it_was_trained(trained, work, tmp_path, capsys, key):
    folder = shutil.copytree(trained / "two", tmp_path / "two")
    path = folder / "tensorboard" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    place, value = LISTENED_OTHERWISE[key]
    *parents, last = place.split(".")
    inner = config
    for parent in parents:
        inner = inner[parent]
    inner[last] = value
    path.write_text(yaml.safe_dump(config))
    question = [str(folder), str(work / "audio" / "test0.flac"), "--ask", "how many", "--limit", "3"]
    with pytest.raises(SystemExit, match="2"):
        listen(question)
    assert f"{key}: trained with" in capsys.readouterr().err
    listen([*question, "--force"])


def test_a_memory_answers_only_through_the_weights_it_was_heard_with(trained, work, tmp_path, capsys):
    memory = str(tmp_path / "memory.safetensors")
    listen([str(trained / "two"), str(work / "audio" / "test0.flac"), "--save", memory])
    start = ["--init_from", f"runs/default/one/{WEIGHTS}"]
    run("fit", "-c", "second.yaml", "--variant", "other", *start, "--data.seed", "9")
    with pytest.raises(SystemExit, match="2"):
        listen([str(trained.parent / "other" / "two"), "--load", memory])
    assert "memory.safetensors: heard through other weights or settings" in capsys.readouterr().err


def test_what_the_command_line_says_is_what_python_says(trained, work, capsys):
    path = str(work / "audio" / "test0.flac")
    listen([str(trained / "two"), path, "--ratio", "1", "--interval", "60", "--limit", "6", "--ask", "how many"])
    model = load_model(trained / "two")
    listener = Listener(model, ratio=1, interval_seconds=60)
    for piece in AudioFile.of(path).chunks():
        listener.push(piece)
    shown = capsys.readouterr()
    assert listener.ask("how many", limit=6).text == shown.out.strip()
    listener.flush()
    assert listener.kept and f" {listener.kept} KV tokens kept" in shown.err, "what was held back to the end is counted"
    assert not model.training and not any(p.requires_grad for p in model.parameters())


def test_a_transcript_obeys_the_rules_of_its_stage_and_is_not_cut_in_silence(trained, work, capsys, monkeypatch):
    path, asked, ruled = str(work / "audio" / "test0.flac"), [], []
    generate = SpeechLLM.generate

    def spy(self, memory, rows, instructions, limits, rules=(), *more):
        asked.append((instructions, limits, rules))
        return generate(self, memory, rows, instructions, limits, rules, *more)

    def rules(_transcript, _prompt, *given):
        ruled.append(given)
        return [MinLengthLogitsProcessor(99, eos_token_id=3)]

    monkeypatch.setattr(SpeechLLM, "generate", spy)
    monkeypatch.setattr(Transcript, "processors", rules)
    listen([str(trained / "two"), path, "--ratio", "1"])
    seconds = Recording.from_file(path).duration
    assert asked[0][:2] == ([ASR_INSTRUCTION], [math.ceil(32 + 1.0 * seconds)])
    assert isinstance(asked[0][2][0], MinLengthLogitsProcessor), "what the stage's own answers have to obey"
    assert ruled[0][:3] == ([ASR_INSTRUCTION], [pytest.approx(seconds)], 1.0)
    capsys.readouterr()
    listen([str(trained / "two"), path, "--ratio", "1", "--limit", "1"])
    assert "cut at 1 tokens; --limit allows more" in capsys.readouterr().err


def test_what_cannot_be_heard_is_named_before_anything_is(trained, work, tmp_path, capsys):
    good, memory = str(work / "audio" / "test0.flac"), str(tmp_path / "memory.safetensors")
    (tmp_path / "text.flac").write_text("no audio")
    for name, said in (("gone.flac", "is missing"), ("text.flac", "can't be read as audio")):
        with pytest.raises(SystemExit, match="2"):
            listen([str(trained / "two"), good, str(tmp_path / name)])
        shown = capsys.readouterr()
        assert f"error: {tmp_path / name} {said}" in shown.err and " s heard" not in shown.err and not shown.out
    listen([str(trained / "two"), good, "--save", memory])
    with pytest.raises(SystemExit, match="2"):
        listen([str(trained / "two"), "--load", memory, "--interval", "7"])
    assert "was heard in intervals of 0.4 s; leave it out" in capsys.readouterr().err, "0.4 s are the stage's own"
    listen([str(trained / "two"), good, "--load", memory, "--ratio", "1", "--save", memory])
    assert load_stage(trained / "two").load_memory(memory).ratio == 1
    listen([str(trained / "one"), good])  # a stage without SSTs listens uncompressed
    assert "KV tokens kept" in capsys.readouterr().err


def test_listening_through_an_unfinished_stage_names_the_file(work, capsys):
    with pytest.raises(SystemExit, match="2"):
        listen([str(work / "nowhere"), "x.flac"])
    assert f"error: --model {work / 'nowhere'} is missing; name the folder" in capsys.readouterr().err
    (work / "begun").mkdir()
    with pytest.raises(SystemExit, match="2"):
        listen([str(work / "begun"), "x.flac"])
    assert f"{work / 'begun' / 'tensorboard' / 'config.yaml'} is missing" in capsys.readouterr().err


def test_a_stage_that_scores_tokens_tells_the_times_of_words(trained, work, capsys):
    run("fit", "-c", "first.yaml", "--variant", "spelled", "--model.adapter", "PosteriorAdapter")
    folder, times = work / "runs" / "spelled" / "one", work / "times"
    capsys.readouterr()
    align([str(folder), str(times), "--splits", "train", "dev", "--device", "cpu"])
    shown = capsys.readouterr().out
    for split, sessions in (("train", 6), ("dev", 2)):
        told = CutSet.from_file(work / "audio" / f"cuts_{split}.jsonl")
        said = {supervision.id: supervision for cut in told for supervision in cut.supervisions}
        lines = map(json.loads, (times / f"{split}.jsonl").read_text().splitlines())
        found = {line["id"]: line["starts"] for line in lines}
        assert found.keys() == said.keys()
        assert f"{len(found)} utterances, {2 * sessions - len(found)} left out" in shown
        for name, begins in found.items():
            assert len(begins) == len(said[name].text.split()) and begins == sorted(begins)
            assert begins[0] >= 0 and begins[-1] <= said[name].duration + MARGIN_SECONDS
    assert "dev: the likeliest tokens have " in shown
    with pytest.raises(SystemExit, match="2"):
        align([str(trained / "one"), str(times)])
    assert "its adapter has no token scores" in capsys.readouterr().err


def test_an_exported_stage_listens_as_the_stage_itself(trained, work, capsys):
    everything = "{'[asl]*': 1.0e-3}"  # adapter, SSTs and LLM
    more = ["--model.trainable", everything, "--model.frame_code", "TimeCode"]
    run("fit", "-c", "second.yaml", "--variant", "whole", "--init_from", "null", *more)
    folder, out = work / "runs" / "whole" / "two", work / "exported"
    export_command([str(folder), str(out)])
    assert f"speech-xl listen AUDIO --model {out}" in capsys.readouterr().out
    own, read = (TrainedStage.of(one).model().state_dict() for one in (folder, out))
    assert "frame_code.text_scale" in own and all(read[name].equal(value) for name, value in own.items())
    export_command([str(folder), str(work / "half"), "--apart", "--dtype", "float16", "--encoder-name", "tiny/encoder"])
    half = load_file(work / "half" / HUB_WEIGHTS)
    assert {value.dtype for value in half.values() if value.ndim} == {torch.float16}
    assert not any(name.startswith("backbone.encoder.") for name in half)
    assert half["backbone.frame_code.text_scale"].equal(own["frame_code.text_scale"])
    assert read_lineage(work / "half" / HUB_WEIGHTS).run == read_lineage(folder / WEIGHTS).run
    with pytest.raises(SystemExit, match="2"):
        export_command([str(folder), str(folder)])
    assert f"{folder} is there already" in capsys.readouterr().err
    shutil.move(out, work / "elsewhere")
    question = [str(work / "audio" / "test0.flac"), "--ratio", "2", "--ask", "how many", "--limit", "6"]
    said = []
    for one in (folder, work / "elsewhere"):
        listen([str(one), *question])
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] and said[0].strip()
    with pytest.raises(ConfigError, match="exported without its corpus"):
        TrainedStage.of(work / "elsewhere").data()
