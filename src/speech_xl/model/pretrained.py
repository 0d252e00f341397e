"""Where a Hugging Face name or folder is looked for, with errors that say what to do when it can't be loaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError


class PretrainedError(RuntimeError):
    """A Hugging Face model that can't be loaded; the message names the key, its value, the reason and the mend."""


@contextmanager
def loading(role: str, name: str) -> Iterator[None]:
    """Whatever transformers finds wrong inside the block becomes a PretrainedError about ``role.name``.

    role: encoder or llm. name: as the user gave it.
    """
    try:
        yield
    except (PretrainedError, MemoryError):
        raise
    except Exception as error:  # transformers has no exception type of its own
        raise PretrainedError(f"{role}.name={name}: {_reason(error, role, Path(name).expanduser())}") from error


def _reason(error: Exception, role: str, folder: Path) -> str:
    """What is wrong, and the mend."""
    text = str(error)
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if "trust_remote_code" in text:
        return (
            "it brings code of its own, which isn't run. Where you trust its author, add "
            f"--model.{role}.init_args.trust_remote_code true to a command of run.py, and --trust_remote_code to "
            "listen, align and export; else choose a model that transformers has the code of"
        )
    if isinstance(error, UnpicklingError):
        pickles = ", ".join(str(path) for path in sorted(folder.glob("*.bin"))) or "its pytorch_model.bin"
        return (
            f"{pickles} can't be read as tensors alone: it is damaged, or holds code or other objects, of which "
            "nothing was run. Take weights in safetensors, from whom you trust"
        )
    if type(error).__name__ == "SafetensorError" or "PytorchStreamReader" in text:
        return f"its weights are damaged ({first:.200}); fetch them again"
    if isinstance(error, OSError):
        return (
            f"it can't be loaded ({first:.200}). Give a folder that holds a Hugging Face model, or a hub name such as "
            "openai/whisper-base while the hub can be reached"
        )
    return f"transformers can't load it as {_wanted(role)} ({type(error).__name__}: {first:.200}); name another model"


def _wanted(role: str) -> str:
    return {"encoder": "a speech encoder", "llm": "a causal language model"}.get(role, role)


def existing(name: str, role: str) -> str:
    """`name` as transformers should load it: a folder's path, or a hub name left alone.

    A name that can only be a path (it starts with ``.``, ``/`` or ``~``, or has more than one slash) must exist as a
    folder with a config.json; FileNotFoundError says so otherwise.
    """
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        return str(folder)
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or folder.is_dir():
        raise FileNotFoundError(
            f"{role}.name={name}: no config.json in {folder.resolve()}. Give a folder that holds a Hugging Face model, "
            "or a hub name such as openai/whisper-base."
        )
    return name
