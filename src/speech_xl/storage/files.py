"""Whole files or none: written beside their target, flushed to the disk, renamed; errors name the path."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FileError(OSError):
    """A file or folder can't be written or read; the message names the path, the reason and the mend."""

    def __str__(self) -> str:
        return str(self.args[1])


@contextmanager
def replacing(path: str | Path, *, flush: bool = True) -> Iterator[Path]:
    """Give a draft beside `path` to write; when the block ends it is flushed to the disk and takes the path's place.

    Whoever reads `path` sees the old file or the new one, never a part. The draft lies in the same folder, so that the
    rename can't become a copy. The file gets the mode that the user's umask gives any new file. Where the block raises,
    the draft is taken away and the old file stays. Raises FileError where the system refuses (full disk, no permission,
    missing folder).

    flush: False leaves it to the system when it writes to the disk, for many small files that can be made again.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with naming(path):
            yield draft
            draft.chmod(0o666 & ~_umask())
            if flush:
                with draft.open("rb") as file:
                    os.fsync(file.fileno())
            draft.replace(path)
            if flush:
                _flush_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Turn what the system refuses inside the block into a FileError that names `path`."""
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        raise FileError(error.errno, f"can't write {path}: {reason_of(error, Path(path))}") from error
    except Exception as error:
        # safetensors and torch wrap what the system said in types of their own.
        text = str(error)
        for sign, number in (
            ("No space left", 28),
            ("os error 28", 28),
            ("No such file", 2),
            ("Permission denied", 13),
        ):
            if sign in text:
                wrapped = OSError(number, os.strerror(number))
                raise FileError(number, f"can't write {path}: {reason_of(wrapped, Path(path))}") from error
        raise


def unreadable(path: str | Path, error: OSError) -> FileError:
    """The error to raise where the system refuses to read `path`."""
    return FileError(error.errno, f"can't read {path}: {os.strerror(error.errno) if error.errno else error}")


def reason_of(error: OSError, path: Path) -> str:
    """The system's reason in words a user can act on."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    missing = next((folder for folder in reversed(path.parents) if not folder.exists()), None)
    if isinstance(error, FileNotFoundError) and missing is not None:
        return f"the folder {missing} is missing; make it, or name another"
    mends = {
        28: "make room, or name a folder on another disk",
        122: "your quota is used up; make room, or name a folder on another disk",
        27: "a limit on file sizes is set here (ulimit -f); raise it",
        13: "you may not write there; name another folder",
        30: "the disk is read-only; name another folder",
    }
    mend = mends.get(error.errno or 0)
    return f"{reason}; {mend}" if mend else reason


def check_writable(folder: str | Path, what: str) -> None:
    """Try now whether files can be written to `folder` (made where it is missing), hours before they are.

    what: the flag or key that named the folder, for the message. Raises FileError.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{os.getpid()}-{secrets.token_hex(4)}.part"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise FileError(error.errno, f"{what}: can't write to {folder}: {reason_of(error, folder / 'file')}") from error


def check_target(path: str | Path, what: str) -> None:
    """Try now whether a file can be written at `path`, in a folder that is there. Raises FileError.

    what: the flag or key that named the file, for the message.
    """
    path = Path(path)
    if path.is_dir():
        raise FileError(21, f"{what}: {path} is a folder; name a file")
    if not path.parent.is_dir():
        raise FileError(2, f"{what}: can't write {path}: the folder {path.parent} is missing; make it, or name another")
    check_writable(path.parent, what)


def write_text(path: str | Path, text: str) -> None:
    """Write a whole text file at once (UTF-8); see `replacing`."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _umask() -> int:
    """The process's umask; the system tells it only while setting it, so Linux's own record is preferred."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    except (OSError, ValueError):
        pass
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _flush_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the system lets folders be flushed."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
