"""Safetensors files: every byte under a digest, whatever can't be used named with its file."""

import pytest
import torch
from safetensors.torch import save_file

from speech_xl.storage.files import FileError
from speech_xl.storage.tensor_files import DIGEST, TensorFileError, read_tensors, write_tensors

STATE = {"w": torch.arange(12.0).view(3, 4), "count": torch.tensor(3), "half": torch.ones(2, dtype=torch.bfloat16)}


NOTES = {"stage": "one", "lineage": '{"run": "a"}'}


def written(path):
    write_tensors(STATE, path, NOTES)
    return path


def test_what_was_written_is_read(tmp_path):
    tensors, notes = read_tensors(written(tmp_path / "deep" / "a.safetensors"))
    assert notes["stage"] == "one" and tensors.keys() == STATE.keys()
    assert all(tensors[name].equal(value) and tensors[name].dtype == value.dtype for name, value in STATE.items())
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.safetensors"]


def test_every_single_wrong_byte_is_noticed(tmp_path):
    raw = written(tmp_path / "a.safetensors").read_bytes()
    bad = tmp_path / "b.safetensors"
    for at in range(len(raw)):
        bad.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        try:
            tensors, notes = read_tensors(bad)
        except TensorFileError as error:
            assert str(error).startswith(f"{bad} ")
        else:  # a space of the header's padding
            assert all(tensors[name].equal(value) for name, value in STATE.items()), at
            assert notes.items() >= NOTES.items() and DIGEST in notes, at


@pytest.mark.parametrize(
    "content, said",
    [
        (lambda raw: b"", "is empty"),
        (lambda raw: raw[: len(raw) // 2], "is damaged"),
        (lambda raw: raw + b"more", "is damaged"),
        (lambda raw: (2**62).to_bytes(8, "little") + raw[8:], "is damaged"),
        (lambda raw: b"hello", "no safetensors file"),
    ],
)
def test_what_is_no_whole_file_is_named(tmp_path, content, said):
    path = written(tmp_path / "a.safetensors")
    path.write_bytes(content(path.read_bytes()))
    with pytest.raises(TensorFileError, match=f"{path} .*{said}|{path} {said}"):
        read_tensors(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused_by_name(tmp_path, value):
    path = tmp_path / "a.safetensors"
    write_tensors(STATE | {"bad": torch.tensor([1.0, value])}, path, {})
    with pytest.raises(TensorFileError, match=rf"{path} holds numbers that aren't finite, in 1 tensors \(bad\)"):
        read_tensors(path)
    assert "bad" in read_tensors(path, finite=False)[0]


def test_a_file_of_an_earlier_version_is_read(tmp_path):
    save_file({"w": STATE["w"]}, tmp_path / "old.safetensors", {"stage": "one"})
    assert read_tensors(tmp_path / "old.safetensors")[1] == {"stage": "one"}


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(FileError, match=f"can't read {tmp_path}/no: No such file"):
        read_tensors(tmp_path / "no")
    with pytest.raises(TensorFileError, match=f"{tmp_path} is a folder"):
        read_tensors(tmp_path)
