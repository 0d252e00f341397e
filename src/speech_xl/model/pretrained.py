"""Where a Hugging Face name or folder is looked for, with an error that says what to do when it isn't there."""

from pathlib import Path


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
