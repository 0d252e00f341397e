"""A stage folder from somebody who means harm: nothing of theirs is run, and the refusal names file, key and mend."""

import json
import shutil
from pathlib import Path

import pytest
import soundfile
import torch
import yaml

from experiments.random_models import encoder_folder, llm_folder
from experiments.run import main
from speech_xl.extensions.timestamps.align import main as align
from speech_xl.model import SSTs
from speech_xl.phases import SSTCompression
from speech_xl.phases.weights import save_weights
from speech_xl.run.command import CONFIG, WEIGHTS, ConfigError
from speech_xl.run.trained_stage import TrainedStage
from tests.hub.exporting import export_command
from tests.listening_models import listen, load_model
from tests.phases.parts import phase
from tests.run.test_configs import EXPERIMENTS

OWN = "SSTCompression"


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A finished stage, and the configuration that lies in it."""
    root = tmp_path_factory.mktemp("given")
    folders = {"encoder": encoder_folder(root / "encoder"), "llm": llm_folder(root / "llm")}
    model = phase(SSTCompression, folders, {"sst.*": 1e-3, "adapter.*": 1e-3}, sst=SSTs())
    model.load()
    whole = model.backbone.state_dict()
    state = {name: value for name, value in whole.items() if not name.startswith("encoder.")}
    save_weights(
        state, root / "stage" / WEIGHTS, stage="three", untouched_pretrained=json.dumps(sorted(whole.keys() - state))
    )
    config = {
        "stage": "three",
        "model": {
            "class_path": OWN,
            "init_args": {
                "encoder": {"class_path": "HFEncoder", "init_args": {"name": folders["encoder"]}},
                "adapter": {"class_path": "SemanticAdapter", "init_args": {"stride": 4}},
                "llm": {"class_path": "LLM", "init_args": {"name": folders["llm"]}},
                "sst": {"class_path": "SSTs", "init_args": {}},
                "trainable": {"sst.*": 1e-3},
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-3}},
                "scheduler": "cosine",
            },
        },
        "data": {"corpus": "SpokenDigits", "partition": {"class_path": "FixedWindows", "init_args": {"seconds": 2.0}}},
    }
    return root / "stage", config


@pytest.fixture
def stage(given, tmp_path, monkeypatch):
    """Writes the stage with a changed configuration to a folder, and says whether code of the folder's was run."""
    folder, config = given
    shutil.copytree(folder, tmp_path / "stage")
    monkeypatch.chdir(tmp_path)  # where `python -m` finds modules too
    monkeypatch.syspath_prepend(str(tmp_path))
    code = f"import os\nos.system('touch {tmp_path / 'ran'}')\nfrom torch.optim import SGD as Optimizer\n"
    for name in ("evilmodule", "SemanticAdapter", "PosteriorAdapter"):
        (tmp_path / f"{name}.py").write_text(code)

    class Stage:
        folder = tmp_path / "stage"
        source = folder / CONFIG

        def __init__(self) -> None:
            self.config = json.loads(json.dumps(config))
            self.model, self.data = self.config["model"]["init_args"], self.config["data"]

        def write(self, text: str | None = None) -> Path:
            self.source.parent.mkdir(exist_ok=True)
            self.source.write_text(yaml.safe_dump(self.config) if text is None else text)
            return self.folder

        @property
        def ran(self) -> bool:
            return (tmp_path / "ran").exists()

    return Stage()


def system(folder: Path) -> dict:
    return {"class_path": "os.system", "init_args": {"command": f"touch {folder / 'ran'}"}}


@pytest.mark.parametrize("key", ["optimizer", "scheduler", "trainable", "task_weights", "callbacks"])
def test_what_only_training_needs_is_never_looked_at(stage, key, tmp_path):
    for value in (system(tmp_path), {"class_path": "evilmodule.Optimizer", "init_args": {}}, "evilmodule.Optimizer"):
        stage.model[key] = value
        assert load_model(stage.write()).sst is not None
    assert not stage.ran


@pytest.mark.parametrize("key", ["encoder", "adapter", "llm", "sst"])
def test_a_class_of_another_package_is_refused_before_it_is_imported(stage, key, tmp_path):
    names = [
        "os.system",
        "evilmodule.Optimizer",
        "torch.nn.Linear",
        "speech_xl.run.trained_stage.ArgumentParser",
        "speech_xl",
    ]
    for name in names:
        stage.model[key] = {"class_path": name, "init_args": {"command": f"touch {tmp_path / 'ran'}"}}
        with pytest.raises(ConfigError) as refused:
            load_model(stage.write())
        said = str(refused.value)
        assert (
            str(stage.source) in said and f"model.init_args.{key}.class_path: {name!r}" in said and "there are" in said
        )
    assert not stage.ran


def test_nor_is_one_imported_for_the_phase_the_partition_or_inside_another_object(stage, tmp_path):
    places = [
        (stage.config["model"], "class_path", "evilmodule.Optimizer"),
        (stage.data, "partition", {"class_path": "evilmodule.Optimizer"}),
        (stage.data, "partition", "evilmodule.Optimizer"),
        (stage.model, "adapter", "evilmodule.Optimizer"),
        (stage.model, "adapter", {"class_path": "DualAdapter", "init_args": {"semantic": "evilmodule.Optimizer"}}),
        (stage.model, "adapter", {"class_path": "SemanticAdapter", "init_args": {"stride": system(tmp_path)}}),
        (stage.model, "adapter", {"class_path": "SemanticAdapter", "dict_kwargs": {"stride": 4}}),
        (stage.model["llm"]["init_args"], "lora", system(tmp_path)),
        (stage.model["llm"]["init_args"], "lora", "evilmodule.Optimizer"),
        (stage.model, "eval_ratios", [system(tmp_path)]),
    ]
    for place, key, value in places:
        before, place[key] = place.get(key), value
        with pytest.raises(ConfigError, match=str(stage.source)):
            load_model(stage.write())
        place[key] = before
    load_model(stage.write())
    assert not stage.ran


def test_a_corpus_is_of_this_project(stage, tmp_path):
    for corpus in (
        system(tmp_path),
        "evilmodule.Optimizer",
        {"class_path": "SpeedPerturbation", "init_args": {"speeds": [0.9]}},
    ):
        stage.data["corpus"] = corpus
        with pytest.raises(ConfigError, match=r"data\.corpus"):
            TrainedStage.of(stage.write()).data()
    stage.data["corpus"] = {"class_path": "data_recipes.spoken_digits.SpokenDigits"}
    for transform in (system(tmp_path), "evilmodule.Optimizer", {"class_path": "SpokenDigits"}):
        stage.data["transforms"] = [{"class_path": "SpeedPerturbation"}, transform]
        with pytest.raises(ConfigError, match=r"data\.transforms\[1\]"):
            TrainedStage.of(stage.write()).data()
    stage.data["transforms"] = [{"class_path": "SpeedPerturbation", "init_args": {"speeds": [3.0]}}]
    with pytest.raises(Exception, match=r"SpeedPerturbation\.speeds\[0\]: got 3\.0"):
        TrainedStage.of(stage.write()).data()
    del stage.data["transforms"]
    paths = {split: str(tmp_path / f"{split}.jsonl") for split in ("train", "dev", "test")}
    for path in paths.values():
        Path(path).write_text("")
    stage.data["corpus"] = {"class_path": "ManifestCorpus", "init_args": paths}
    with pytest.raises(ValueError, match="ManifestCorpus"):  # made, and its manifests are found to be empty
        TrainedStage.of(stage.write()).data()
    stage.data["corpus"] = {
        "class_path": "data_recipes.spoken_digits.SpokenDigits",
        "init_args": {"train_sessions": -1},
    }
    with pytest.raises(Exception, match="train_sessions"):
        TrainedStage.of(stage.write()).data()
    assert not stage.ran


def test_a_plain_name_means_the_class_of_this_package_whatever_lies_in_the_working_directory(stage):
    stage.model["adapter"] = {"class_path": "SemanticAdapter", "init_args": {"stride": 4}}
    assert type(load_model(stage.write()).adapter).__module__ == "speech_xl.model.adapters.semantic"
    stage.model["sst"], stage.model["encoder"] = "SSTs", stage.model["encoder"]["init_args"]["name"]
    assert TrainedStage.of(stage.write()).model_config["init_args"]["sst"]["class_path"].endswith("SSTs")
    load_model(stage.write())
    assert not stage.ran


def test_a_stage_may_name_the_form_of_its_ssts(stage):
    stage.model["sst"] = "paper"
    assert TrainedStage.of(stage.write()).model_config["init_args"]["sst"]["init_args"]["projections"] == "full"
    assert load_model(stage.write()).sst.positions == "original"
    stage.model["sst"] = "papers"
    with pytest.raises(ConfigError, match=r"sst\.class_path: 'papers' is no SSTs"):
        load_model(stage.write())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "model"),
        ("hello\n", "mapping"),
        ("- 1\n", "mapping"),
        ("model: {}\ndata: {}\n", "init_args"),
        ("model: {init_args: 1}\ndata: {}\n", "init_args"),
        ("model: {init_args: {encoder: a, adapter: SemanticAdapter}}\ndata: {}\n", "llm is missing"),
        ("model: [1]\ndata: {}\n", "model"),
        ("model: !!python/object/apply:os.system ['touch ran']\n", "python/object"),
        ("a: {b: [\n", "YAML"),
    ],
)
def test_a_configuration_that_is_none_is_refused_with_its_file(stage, text, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        listen([str(stage.write(text)), "x.wav"])
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {stage.source}") and said in shown and "Traceback" not in shown
    assert not stage.ran


def test_values_of_the_wrong_type_are_refused_with_their_file(stage):
    for place, key, value in (
        (stage.model["adapter"]["init_args"], "stride", "four"),
        (stage.model["adapter"]["init_args"], "nonsense", 1),
        (stage.model, "max_tokens_per_second", "many"),
        (stage.model["encoder"]["init_args"], "name", {"a": 1}),
    ):
        before, place[key] = place.get(key), value
        with pytest.raises(ConfigError, match=str(stage.source)):
            load_model(stage.write())
        place.pop(key) if before is None else place.update({key: before})
    stage.data["partition"]["init_args"]["seconds"] = float("nan")
    with pytest.raises(ConfigError, match="partition"):
        _ = TrainedStage.of(stage.write()).interval_seconds


def test_code_of_a_model_is_asked_for_by_the_caller_alone(stage, capsys, tmp_path):
    llm = tmp_path / "llm"
    shutil.copytree(stage.model["llm"]["init_args"]["name"], llm)
    code_of_its_own(llm, tmp_path)
    stage.model["llm"]["init_args"]["name"] = str(llm)
    for asked, said in ((True, "init_args.trust_remote_code: true would run"), (False, "brings code of its own")):
        stage.model["llm"]["init_args"]["trust_remote_code"] = asked
        for command, more in ((listen, ["x.wav"]), (align, ["times"]), (export_command, ["out"])):
            if command is listen:
                soundfile.write("x.wav", torch.zeros(1600).numpy(), 16_000)
            with pytest.raises(SystemExit, match="2"):
                command([str(stage.write()), *more])
            shown = capsys.readouterr().err
            assert said in shown and "--trust_remote_code" in shown and str(llm) in shown
        with pytest.raises((ConfigError, RuntimeError), match=said):
            load_model(stage.write())
    assert not stage.ran
    with pytest.raises(Exception):  # noqa: B017  (whatever the model's own code fails with)
        load_model(stage.write(), trust_remote_code=True)
    assert stage.ran, "asked for by the caller"


def code_of_its_own(folder: Path, home: Path, model: str = "AutoModelForCausalLM") -> None:
    """A model folder that brings code, as trust_remote_code would run it."""
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoConfig": "evil.EvilConfig", model: "evil.Evil"}, "model_type": "evil"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(
        f"import os\nos.system('touch {home / 'ran'}')\nfrom transformers import PretrainedConfig\n"
        "class EvilConfig(PretrainedConfig):\n    model_type = 'evil'\n"
    )


def test_a_config_of_training_cannot_ask_for_code_either(stage, tmp_path, capsys):
    model = {**stage.model, "optimizer": "AdamW", "trainable": {"adapter.*": 1e-3}}
    model["llm"] = {"class_path": "LLM", "init_args": {"name": "./gone", "trust_remote_code": True}}
    data = {"corpus": {"class_path": "ManifestCorpus", "init_args": dict.fromkeys(("train", "dev", "test"), "x.jsonl")}}
    config = {"stage": "one", "model": {"class_path": OWN, "init_args": model}, "data": data}
    Path("one.yaml").write_text(yaml.safe_dump(config))
    flag = ["--model.llm.init_args.trust_remote_code", "true"]
    for more in ([], ["--model.adapter.stride", "2"], ["--model.encoder.trust_remote_code=true"]):
        with pytest.raises(SystemExit, match="2"):
            main(["fit", "-c", "one.yaml", *more], EXPERIMENTS)
        shown = capsys.readouterr().err
        assert "one.yaml: model.init_args.llm.init_args.trust_remote_code: true would run" in shown
        assert "--model.init_args.llm.init_args.trust_remote_code true" in shown and "Traceback" not in shown
    for allowed in (flag, ["--model.llm.trust_remote_code=true"]):
        with pytest.raises(SystemExit, match="2"):
            main(["fit", "-c", "one.yaml", *allowed], EXPERIMENTS)
        assert "would run" not in capsys.readouterr().err
