"""A folder from somebody else: no code of theirs is run, no file beside it is read, and each wrong tensor is named."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from experiments.random_models import encoder_folder, llm_folder
from speech_xl import SpeechXL, SpeechXLConfig
from speech_xl.hub.export import export
from speech_xl.hub.processor import SpeechXLProcessor
from speech_xl.inference import load_stage
from speech_xl.model.memory_file import MemoryFileError
from speech_xl.model.pretrained import PretrainedError
from speech_xl.phases.weights import WeightsError
from speech_xl.run.configs import ConfigError
from speech_xl.run.lineage import LineageError
from speech_xl.storage.hub_folder import CONFIG, INDEX, WEIGHTS, HubFolderError
from speech_xl.storage.tensor_files import TensorFileError, read_tensors, write_tensors
from tests.hub.giving import sound


@pytest.fixture(scope="module")
def sound_folders(lora_run, tmp_path_factory):
    place = tmp_path_factory.mktemp("sound")
    export(lora_run, place / "whole")
    export(lora_run, place / "apart", apart=True, names={"encoder": "tiny/encoder", "llm": "tiny/llm"})
    return place


@pytest.fixture
def folder(sound_folders, tmp_path):
    """A copy of the whole folder, to be spoilt."""
    shutil.copytree(sound_folders / "whole", tmp_path / "given")
    return tmp_path / "given"


@pytest.fixture
def apart(sound_folders, tmp_path):
    shutil.copytree(sound_folders / "apart", tmp_path / "apart")
    return tmp_path / "apart"


def change(folder: Path, **keys: object) -> None:
    given = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(given | keys))


def evil(folder: Path) -> Path:
    """A file that code of the folder makes where it is run."""
    mark = folder.parent / "ran"
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass SSTs: pass\nclass Evil: pass\n")
    return mark


@pytest.mark.parametrize("key", ["phase", "encoder", "llm", "adapter", "sst", "frame_code", "partition", "transcript"])
def test_a_class_of_another_package_is_refused_before_it_is_imported(folder, key, monkeypatch):
    mark = evil(folder)
    monkeypatch.syspath_prepend(str(folder))
    for name in ("evil.SSTs", "os.system", "torch.nn.Linear"):
        change(folder, **{key: name if key == "phase" else {"class_path": name, "init_args": {}}})
        with pytest.raises(ConfigError, match=f"{CONFIG}.*{name.replace('.', '[.]')}.*there are"):
            SpeechXL.from_pretrained(folder)
    assert not mark.exists()


@pytest.mark.parametrize("name", [CONFIG, "tokenizer_config.json", "processor_config.json"])
def test_code_that_comes_with_a_folder_is_not_run_whoever_asks(folder, name):
    mark = evil(folder)
    given = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(given | {"auto_map": {"AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"}}))
    with pytest.raises(HubFolderError, match=rf"{name}: auto_map: asks for code"):
        SpeechXL.from_pretrained(folder, trust_remote_code=True)
    assert not mark.exists()


def test_a_processor_runs_no_code_and_checks_its_ratio(folder):
    processor = SpeechXLProcessor.from_pretrained(folder)
    with pytest.raises(ValueError, match=r"ratio\[0\]: got 0"):
        processor(text="who?", ratio=0)
    path = folder / "processor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoProcessor": "evil.Evil"}}))
    with pytest.raises(ValueError, match=r"processor_config\.json: auto_map: asks for code"):
        SpeechXLProcessor.from_pretrained(folder)


def test_nor_is_that_of_an_inner_config(folder):
    inner = json.loads((folder / CONFIG).read_text())["text_config"]
    change(folder, text_config={**inner, "auto_map": {"AutoConfig": "evil.Evil"}})
    with pytest.raises(HubFolderError, match=r"text_config\.auto_map"):
        SpeechXL.from_pretrained(folder)
    change(folder, text_config={**inner, "model_type": "evil"})
    with pytest.raises(ValueError, match="model_type 'evil' is none"):
        SpeechXL.from_pretrained(folder)
    with pytest.raises(ValueError, match="auto_map"):
        SpeechXLConfig(auto_map={"AutoModel": "evil.Evil"})


@pytest.mark.parametrize("name", ["/etc", "../llm", "~/models/llm", "./llm", "a/b/c", "..", "tiny/../../llm"])
def test_a_base_model_is_never_named_by_a_path(apart, name):
    change(apart, base_models={"encoder": {"name": "tiny/encoder"}, "llm": {"name": name}})
    with pytest.raises(ConfigError, match=r"base_models\.llm\.name: .* is a path.*llm=PATH"):
        SpeechXL.from_pretrained(apart)


def test_files_of_weights_lie_in_the_folder(folder):
    save_file({"backbone.x": torch.zeros(1)}, folder.parent / "outside.safetensors")
    (folder / WEIGHTS).unlink()
    for name in ("../outside.safetensors", str(folder.parent / "outside.safetensors"), "pytorch_model.bin"):
        (folder / INDEX).write_text(json.dumps({"weight_map": {"backbone.x": name}}))
        with pytest.raises(HubFolderError, match="is no .safetensors file of this folder"):
            SpeechXL.from_pretrained(folder)
    (folder / INDEX).write_text(json.dumps({"weight_map": {"backbone.x": "model-00001-of-00002.safetensors"}}))
    with pytest.raises(HubFolderError, match="model-00001-of-00002.safetensors is missing"):
        SpeechXL.from_pretrained(folder)


def test_a_pickle_is_not_read(folder):
    class Evil:
        def __reduce__(self):
            return (exec, (f"open({str(folder.parent / 'ran')!r}, 'w')",))

    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(HubFolderError, match=r"model\.safetensors is missing.*pytorch_model\.bin could hold code"):
        SpeechXL.from_pretrained(folder)
    assert not (folder.parent / "ran").exists()


@pytest.mark.parametrize(
    "key, value",
    [
        ("interval_seconds", 0.001),
        ("interval_seconds", "4"),
        ("default_ratio", 2.5),
        ("default_ratio", 0),
        ("max_tokens_per_second", 0),
        ("eval_ratios", [2, -1]),
        ("eval_ratios", 4),
        ("weights_dtype", "int4"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(folder, key, value):
    change(folder, **{key: value})
    for load in (SpeechXL.from_pretrained, load_stage):
        with pytest.raises(ConfigError, match=rf"config\.json: {key}.*got .*; give"):
            load(folder)
    with pytest.raises(ValueError, match=rf"config\.json: {key}.*got .*; give"):
        SpeechXLConfig.from_pretrained(folder)


def test_a_key_that_nothing_knows_is_named(folder):
    change(folder, default_ration=8)
    with pytest.raises(ValueError, match=r"config\.json: default_ration: got 8; .* mend its spelling"):
        SpeechXL.from_pretrained(folder)


def test_a_tokenizer_with_more_tokens_than_embeddings_is_refused(folder):
    inner = json.loads((folder / CONFIG).read_text())["text_config"]
    change(folder, text_config={**inner, "vocab_size": 40})
    with pytest.raises(PretrainedError, match=r"its tokenizer has [\d,]+ tokens and the LLM 40 embeddings"):
        SpeechXL.from_pretrained(folder)


def test_a_memory_belongs_to_the_configs_it_was_heard_with(folder, lora_run, tmp_path):
    model = SpeechXL.from_pretrained(folder)
    model.listen(sound(0), rate=16_000).save(tmp_path / "memory")
    assert SpeechXL.from_pretrained(folder).load_memory(tmp_path / "memory").seconds
    inner = json.loads((folder / CONFIG).read_text())["text_config"]
    change(folder, text_config={**inner, "rms_norm_eps": 0.5})
    with pytest.raises(MemoryFileError, match="other weights or settings"):
        SpeechXL.from_pretrained(folder).load_memory(tmp_path / "memory")


NAME = "backbone.adapter.project.weight"


@pytest.mark.parametrize(
    "spoil, error, said",
    [
        (lambda state: state.pop(NAME), WeightsError, "1 missing.*missing: adapter.project.weight"),
        (lambda state: state.update({"backbone.sst.more": torch.ones(2)}), WeightsError, "not in this model: sst.more"),
        (lambda state: state.update({NAME: torch.ones(3)}), WeightsError, r"adapter.project.weight: \[3\] in the file"),
        (lambda state: state[NAME].view(-1)[5:6].fill_(torch.nan), TensorFileError, "aren't finite.*project.weight"),
        (lambda state: state.update({NAME: state[NAME].long()}), WeightsError, "project.weight: int64 in the file"),
    ],
)
@pytest.mark.parametrize("given", ["folder", "apart"])
def test_each_tensor_is_there_of_its_shape_and_finite(request, lora_run, given, spoil, error, said):
    given = request.getfixturevalue(given)
    state, notes = read_tensors(given / WEIGHTS)
    spoil(state)
    write_tensors(state, given / WEIGHTS, {key: value for key, value in notes.items() if key != "sha256"})
    with pytest.raises(error, match=said):
        SpeechXL.from_pretrained(given, **bases_of(lora_run, given))


def bases_of(run: Path, folder: Path) -> dict[str, str]:
    return {role: str(run.parents[2] / role) for role in ("encoder", "llm")} if folder.name == "apart" else {}


def test_a_single_wrong_byte_is_noticed(folder):
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-5] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(TensorFileError, match="is damaged"):
        SpeechXL.from_pretrained(folder)


@pytest.mark.parametrize("role", ["encoder", "llm"])
def test_a_base_model_with_other_weights_is_refused(apart, lora_run, role, tmp_path):
    bases = bases_of(lora_run, apart)
    bases[role] = encoder_folder(tmp_path / "other", seed=9) if role == "encoder" else _other_llm(tmp_path / "other")
    with pytest.raises(LineageError, match=rf"model\.{role}: trained with weights [0-9a-f]+, here [0-9a-f]+"):
        SpeechXL.from_pretrained(apart, **bases)
    assert SpeechXL.from_pretrained(apart, force=True, **bases).backbone.lineage["forced"]


def _other_llm(folder: Path) -> str:
    llm_folder(folder)
    state = load_file(folder / "model.safetensors")
    save_file({name: value + 0.01 for name, value in state.items()}, folder / "model.safetensors", {"format": "pt"})
    return str(folder)


def test_a_base_that_was_trained_is_not_left_out(apart, lora_run, tmp_path):
    model = SpeechXL.from_pretrained(apart, **bases_of(lora_run, apart))
    with torch.no_grad():
        model.backbone.encoder.model.conv1.weight.add_(0.5)
    with pytest.raises(ValueError, match="encoder: its weights aren't those of tiny/encoder any more"):
        model.save_pretrained(tmp_path / "again")
    model.config.base_models = {}
    model.save_pretrained(tmp_path / "again")
    again = SpeechXL.from_pretrained(tmp_path / "again")
    assert again.backbone.encoder.model.conv1.weight.equal(model.backbone.encoder.model.conv1.weight)


def test_a_lineage_that_was_changed_by_hand_is_refused(folder):
    lineage = json.loads((folder / CONFIG).read_text())["lineage"]
    change(folder, lineage={**lineage, "run": "another"})
    with pytest.raises(LineageError, match="lineage isn't the one in model.safetensors"):
        SpeechXL.from_pretrained(folder)


def test_what_cannot_be_honoured_is_refused_by_name(folder, lora_run, tmp_path):
    for options, said in (
        ({"load_in_8bit": True}, "load_in_8bit"),
        ({"device_map": {"a": "cpu", "b": "cuda:0"}}, "one device"),
        ({"dtype": "int8"}, "dtype: got 'int8'"),
        ({"llm": "x/y"}, "holds the llm itself"),
    ):
        with pytest.raises((TypeError, ValueError, ConfigError), match=said):
            SpeechXL.from_pretrained(folder, **options)
    for name in (tmp_path / "nowhere", folder.parent, lora_run):
        with pytest.raises(ConfigError, match="from_stage" if name == lora_run else "is no folder that"):
            SpeechXL.from_pretrained(name)
    config = SpeechXLConfig.from_pretrained(folder)
    config.default_ratio, config.interval_seconds = 8, 0.25
    model = SpeechXL.from_pretrained(folder, config=config, dtype=torch.float64)
    assert (model.default_ratio, model.interval_seconds, model.dtype) == (8, 0.25, torch.float64)
    config.sst = None
    with pytest.raises(ConfigError, match="config: sst isn't that of"):
        SpeechXL.from_pretrained(folder, config=config)
    with pytest.raises(TypeError, match="a config alone has no tokenizer"):
        SpeechXL(config)
