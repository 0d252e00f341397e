"""Files are whole or not there, and what can't be written is named."""

import os
import stat
from pathlib import Path

import pytest

from speech_xl.storage.files import FileError, check_writable, replacing, write_text


def test_a_file_takes_its_place_whole(tmp_path: Path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with replacing(path) as draft:
        draft.write_text("new")
        assert path.read_text() == "old" and draft.parent == path.parent
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_the_old_file_and_no_draft(tmp_path: Path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="broken"), replacing(path) as draft:
        draft.write_text("new")
        raise RuntimeError("broken")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_the_mode_is_the_users_umask(tmp_path: Path):
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "file") as draft:
            draft.touch(mode=0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(FileError, match=f"can't write {tmp_path}/no/file: the folder {tmp_path}/no is missing"):
        write_text(tmp_path / "no" / "file", "text")


def test_a_full_disk_is_named(tmp_path: Path):
    path = tmp_path / "file"
    with pytest.raises(FileError, match=f"can't write {path}: No space left on device; make room"), replacing(path):
        raise OSError(28, "No space left on device")
    # safetensors says it in its own words
    with pytest.raises(FileError, match=f"can't write {path}: No space left on device"), replacing(path):
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")


def test_a_folder_is_tried_before_it_is_needed(tmp_path: Path):
    check_writable(tmp_path / "new", "--out")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match=f"--out: can't write to {tmp_path}/file"):
        check_writable(tmp_path / "file" / "below", "--out")
