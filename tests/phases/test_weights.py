"""Weights between stages: whole on disk, strict on the way back, and a report of what was left."""

import pytest
import torch
from torch import nn

from speech_xl.phases.weights import WeightsError, load_strict, read_weights, save_weights


def net(width=3, seed=0):
    torch.manual_seed(seed)
    return nn.ModuleDict({"kept": nn.Linear(2, width), "trained": nn.Linear(2, 2)})


def state(seed=1):
    return {name: value.clone() for name, value in net(seed=seed).state_dict().items()}


def test_a_file_gives_back_weights_and_notes(tmp_path):
    path = tmp_path / "deep" / "weights.safetensors"
    save_weights(state(), path, untouched_pretrained='["a"]')
    back, notes = read_weights(path)
    assert back.keys() == state().keys() and all(back[n].equal(v) for n, v in state().items())
    assert notes["untouched_pretrained"] == '["a"]' and notes["speech_xl"]
    assert [p.name for p in path.parent.iterdir()] == ["weights.safetensors"], "no draft is left behind"


def test_tied_and_strided_tensors_are_saved_as_they_read(tmp_path):
    tied = torch.arange(6.0).view(2, 3)
    save_weights({"one": tied, "two": tied, "turned": tied.t()}, tmp_path / "w.safetensors")
    back, _ = read_weights(tmp_path / "w.safetensors")
    assert back["one"].equal(tied) and back["two"].equal(tied) and back["turned"].equal(tied.t())


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    save_weights(state(1), path)

    def full(*_args, **_kwargs):
        raise OSError("no space left")

    monkeypatch.setattr("speech_xl.storage.tensor_files.save_file", full)
    with pytest.raises(OSError):
        save_weights(state(2), path)
    assert all(read_weights(path)[0][n].equal(v) for n, v in state(1).items())


def test_a_checkpoint_gives_the_backbones_part(tmp_path):
    wrapped = {f"backbone.{n}": v for n, v in state().items()} | {"ctc_head.weight": torch.zeros(2)}
    torch.save({"state_dict": wrapped, "untouched_pretrained": ["llm.x"]}, tmp_path / "last.ckpt")
    back, notes = read_weights(tmp_path / "last.ckpt")
    assert back.keys() == state().keys(), "a phase's own head is none of the backbone's"
    assert notes == {"untouched_pretrained": '["llm.x"]'}


def test_missing_weights_are_named_with_the_mend(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weights at .*gone\.ckpt\. Train the stage .* --init_from null"):
        read_weights(tmp_path / "gone.ckpt")


def test_loading_is_strict_and_reports_what_was_left():
    model, given = net(), state()
    kept = model["kept"].weight.detach().clone()
    del given["kept.weight"], given["kept.bias"]
    report = load_strict(model, given, {"kept.weight", "kept.bias"}, "x.ckpt")
    assert report == "x.ckpt: 2 tensors loaded, 2 left as their pretrained source has them"
    assert model["trained"].weight.equal(given["trained.weight"]) and model["kept"].weight.equal(kept)


def test_what_does_not_fit_is_named_and_nothing_is_loaded():
    model = net(width=4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    given = state() | {"other.weight": torch.zeros(1)}
    del given["trained.bias"]
    with pytest.raises(WeightsError) as error:
        load_strict(model, given, {"kept.bias"}, "x.ckpt")
    said = str(error.value)
    for part in (
        "x.ckpt doesn't fit this model (1 missing, 1 unknown, 2 of another shape)",
        "missing: trained.bias",
        "not in this model: other.weight",
        "kept.weight: [3, 2] in the file, [4, 2] in the model",
        "Use the encoder, adapter, LLM and LoRA settings",
    ):
        assert part in said
    assert all(model.state_dict()[name].equal(value) for name, value in before.items())


def test_integers_for_floats_and_a_note_that_is_none_are_named(tmp_path):
    given = state() | {"kept.weight": torch.ones(3, 2, dtype=torch.int32)}
    with pytest.raises(
        WeightsError, match=r"1 of another kind of number\).*kept.weight: int32 in the file, float32 in"
    ):
        load_strict(net(), given, set(), "x.safetensors")
    save_weights(state(), tmp_path / "notes.safetensors", untouched_pretrained="[not json")
    with pytest.raises(RuntimeError, match=r"notes.safetensors: its note `untouched_pretrained` isn't JSON"):
        read_weights(tmp_path / "notes.safetensors")


def test_a_checkpoint_of_code_is_named_as_such(tmp_path):
    class Code:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"state_dict": {"backbone.x": Code()}}, tmp_path / "hostile.pt")
    with pytest.raises(RuntimeError, match=r"hostile.pt holds objects other than tensors .*nothing was run"):
        read_weights(tmp_path / "hostile.pt")
