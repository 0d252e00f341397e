"""Checkpoints: whole or not written, the one before kept; every damage noticed, named, and what is whole offered."""

import os
import pickle
import resource
import signal
import stat
import time
import zipfile
from pathlib import Path

import pytest
import torch

from speech_xl.storage.checkpoint_io import RESUMED, CheckpointError, read_checkpoint, resumable, write_checkpoint
from speech_xl.storage.files import FileError


def checkpoint(step=3, **more):
    parts = {part: {} for part in RESUMED}
    return parts | {"state_dict": {"w": torch.arange(4000.0)}, "optimizer_states": [], "global_step": step} | more


class Code:
    def __reduce__(self):
        return (os.system, ("touch code_ran",))


def inside(path, record):
    """Where the middle of a part of the archive lies."""
    with zipfile.ZipFile(path) as archive:
        part = max((i for i in archive.infolist() if record in i.filename), key=lambda i: i.file_size)
        raw = path.read_bytes()
        name, extra = (int.from_bytes(raw[part.header_offset + at :][:2], "little") for at in (26, 28))
        return part.header_offset + 30 + name + extra + part.file_size // 2


def overwritten(path, at, new):
    raw = bytearray(path.read_bytes())
    raw[at : at + len(new)] = new
    path.write_bytes(bytes(raw))


DAMAGES = {
    "cut in half": lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]),
    "last 100 bytes missing": lambda p: p.write_bytes(p.read_bytes()[:-100]),
    "empty": lambda p: p.write_bytes(b""),
    "all zeros": lambda p: p.write_bytes(bytes(p.stat().st_size)),
    "second half zeros": lambda p: overwritten(p, p.stat().st_size // 2, bytes(p.stat().st_size // 2)),
    "64 bytes zeroed in a tensor": lambda p: overwritten(p, inside(p, "data/0"), bytes(64)),
    "one bit of a tensor": lambda p: overwritten(
        p, inside(p, "data/0"), bytes([p.read_bytes()[inside(p, "data/0")] ^ 1])
    ),
    "pickle": lambda p: overwritten(p, inside(p, "data.pkl"), b"\xff" * 8),
    "text": lambda p: p.write_text("hello"),
    "not finite": lambda p: write_checkpoint(checkpoint(9, state_dict={"w": torch.tensor([float("nan")])}), p),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_noticed_named_and_recovered_from(tmp_path, damage):
    last = tmp_path / "last.ckpt"
    write_checkpoint(checkpoint(2), tmp_path / "step=2.ckpt")
    write_checkpoint(checkpoint(4), last)
    damage(last)
    (tmp_path / "last-1.ckpt").unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match=f"{last} ") as noticed:
        read_checkpoint(last)
    assert noticed.value.spoilt
    with pytest.raises(CheckpointError, match=rf"{last} .* --ckpt_path {tmp_path}/step=2.ckpt goes on from step 2"):
        resumable(last, falls_back=False)
    path, warning = resumable(last, falls_back=True)
    assert (
        path == tmp_path / "step=2.ckpt"
        and str(last) in warning
        and f"step 2 instead, by the newest whole one: {path}" in warning
    )


def test_every_byte_of_every_part_is_under_a_checksum(tmp_path):
    """Bytes between the parts (padding, dates) hold nothing; a change there may pass, but then changes nothing."""
    path = tmp_path / "last.ckpt"
    write_checkpoint(checkpoint(state_dict={"w": torch.arange(8.0)}), path)
    raw, noticed = path.read_bytes(), 0
    for at in range(0, len(raw), 41):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 0x41]) + raw[at + 1 :])
        try:
            found = read_checkpoint(path)
        except CheckpointError:
            noticed += 1
        else:
            assert found["state_dict"]["w"].equal(torch.arange(8.0)) and found["global_step"] == 3
    assert noticed


def test_without_another_whole_one_nothing_is_offered(tmp_path):
    write_checkpoint(checkpoint(), tmp_path / "last.ckpt")
    os.link(tmp_path / "last.ckpt", tmp_path / "last-1.ckpt")  # the same damaged bytes by another name
    overwritten(tmp_path / "last.ckpt", 5000, bytes(64))
    with pytest.raises(CheckpointError, match="No whole checkpoint lies beside it"):
        resumable(tmp_path / "last.ckpt", falls_back=True)


@pytest.mark.parametrize(
    "content",
    [
        Code(),
        checkpoint(extra=Code()),
        checkpoint(state_dict={"x": Code()}),
    ],
    ids=["the whole file", "beside the weights", "among the weights"],
)
@pytest.mark.parametrize("write", [torch.save, lambda x, p: p.write_bytes(pickle.dumps(x))], ids=["torch", "pickle"])
def test_code_is_named_and_not_run(tmp_path, monkeypatch, content, write):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "hostile.ckpt"
    write(content, path)
    write_checkpoint(checkpoint(), tmp_path / "whole.ckpt")
    with pytest.raises(CheckpointError, match=f"{path} holds objects other than tensors.*nothing was run") as error:
        resumable(path, falls_back=True)
    assert "posix.system" in str(error.value) or zipfile.is_zipfile(path) is False
    assert not Path("code_ran").exists()


@pytest.mark.parametrize("part", RESUMED)
def test_a_missing_part_is_named(tmp_path, part):
    whole = checkpoint()
    del whole[part]
    write_checkpoint(whole, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match=rf"last.ckpt isn't a whole checkpoint: {part} missing"):
        resumable(tmp_path / "last.ckpt", falls_back=False)


@pytest.mark.parametrize(
    "content, said",
    [([1, 2], "holds a list"), ({"w": torch.ones(1)}, "is a bare state dict"), ({}, "state_dict missing")],
)
def test_what_is_no_checkpoint_is_named(tmp_path, content, said):
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match=f"{tmp_path}/other.ckpt .*{said}"):
        read_checkpoint(tmp_path / "other.ckpt")


def test_a_folder_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=f"{tmp_path} is a folder"):
        read_checkpoint(tmp_path)
    with pytest.raises(FileError, match=f"can't read {tmp_path}/no.ckpt: No such file"):
        read_checkpoint(tmp_path / "no.ckpt")


# Writing


def test_the_one_before_is_kept_and_the_umask_holds(tmp_path):
    before = os.umask(0o027)
    try:
        for step in (1, 2, 3):
            write_checkpoint(checkpoint(step), tmp_path / "deep" / "last.ckpt")
    finally:
        os.umask(before)
    names = {path.name: read_checkpoint(path)["global_step"] for path in (tmp_path / "deep").iterdir()}
    assert names == {"last.ckpt": 3, "last-1.ckpt": 2}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "deep").iterdir()} == {0o640}


def test_the_one_before_is_kept_without_hard_links_too(tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    for step in (1, 2, 3):
        write_checkpoint(checkpoint(step), tmp_path / "last.ckpt")
    assert read_checkpoint(tmp_path / "last-1.ckpt")["global_step"] == 2


def test_a_kill_at_any_moment_leaves_a_whole_last(tmp_path):
    last = tmp_path / "last.ckpt"
    for delay in (0.0, 0.003, 0.007, 0.011):
        done, tell = os.pipe()
        child = os.fork()
        if not child:
            for step in range(1, 1000):
                write_checkpoint(checkpoint(step, state_dict={"w": torch.full((200_000,), float(step))}), last)
                os.write(tell, b".")
        assert all(os.read(done, 1) for _ in range(3))
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        step = read_checkpoint(last)["global_step"]
        assert step >= 3 and read_checkpoint(tmp_path / "last-1.ckpt")["global_step"] in (step - 1, step)
    whole = {path.name for path in tmp_path.iterdir() if path.suffix != ".part"}
    assert whole == {"last.ckpt", "last-1.ckpt"}


def test_a_limit_on_file_sizes_is_named_and_the_old_file_stays(tmp_path):
    last = tmp_path / "last.ckpt"
    write_checkpoint(checkpoint(1), last)
    limits, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(FileError, match=f"can't write {last}: File too large; a limit on file sizes"):
            write_checkpoint(checkpoint(2, state_dict={"w": torch.zeros(1_000_000)}), last)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert read_checkpoint(last)["global_step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_named(tmp_path, monkeypatch):
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *mode: real(Path("/dev/full") if "w" in mode[0] else path, *mode))
    with pytest.raises(FileError, match=f"can't write {tmp_path}/a.ckpt: No space left on device; make room"):
        write_checkpoint(checkpoint(), tmp_path / "a.ckpt")
