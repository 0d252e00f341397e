"""What a user can mend, as opposed to a bug: a message without a traceback, with file and line."""

from __future__ import annotations

import os
import re
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

import yaml

from speech_xl.run.configs import ConfigError
from speech_xl.run.layers import Layer
from speech_xl.run.recipes import recipe_folders
from speech_xl.storage.files import FileError, reason_of

PACKAGE = Path(__file__).parents[1]
WORKER = re.compile(r"^Caught (\w+) in ")  # how torch begins what it hands on from a DataLoader worker
FRAME = re.compile(r'^\s*File "(.+?)", line \d+', re.MULTILINE)
NAMED = re.compile(r"[Oo]ption '([^']+)'|Parser key \"([^\"]+)\"|dot import path string: (\S+)")
UNION = re.compile(r"\s*(- )?(Does not validate against any of|Subtypes:|Errors:|Expected a <class 'NoneType'>)")
GIVEN = re.compile(r"\s*Given value( type)?:")
PLAIN = re.compile(  # what the parser says of a plain value where keys or a class are expected
    r"( *- )Expected a path but (-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false) either not accessible or invalid"
    r"\n *- Expected a dot import path string: \2"
)


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """A command in which what the user can mend ends with a message and status 2, not with a traceback.

    An exception may have an `exit_status` of its own, such as 1 of a training that diverged.

    SPEECH_XL_TRACEBACK=1 in the environment shows the traceback all the same.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        print("stopped by Ctrl-C", file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from error
    except Exception as error:
        message = message_of(error)
        if message is None or os.environ.get("SPEECH_XL_TRACEBACK"):
            raise
        print(f"error: {message}", file=sys.stderr)
        raise SystemExit(getattr(error, "exit_status", 2)) from error


def message_of(error: BaseException) -> str | None:
    """The message to show alone, or None where a traceback should be seen.

    Shown alone: what the operating system refuses (files, network), what Lightning finds misconfigured, and what is
    raised by this project's own code, whose checks name the key and the mend. All else is a bug.
    """
    text = str(error)
    worker = WORKER.match(text)
    if worker:
        # A worker's exception arrives as one text: its traceback, then type and message.
        frames = FRAME.findall(text)
        text = text.rpartition(f"{worker.group(1)}: ")[2].strip()
        return text if frames and _is_ours(frames[-1]) else None
    if isinstance(error, OSError) and error.errno and not isinstance(error, FileError):
        return f"{error.filename or 'a file'}: {reason_of(error, Path(error.filename or '.'))}"
    if isinstance(error, (ConfigError, OSError)) or type(error).__name__ == "MisconfigurationException":
        return text
    if isinstance(error, UnpicklingError) or type(error).__name__ == "SafetensorError" or "PytorchStreamReader" in text:
        return f"a weights or checkpoint file is damaged ({text.splitlines()[0][:200]}); restore it or train it again"
    frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, (ValueError, RuntimeError, ImportError)) and frames and _is_ours(frames[-1]):
        return text
    # jsonargparse wraps what a class finds wrong with its arguments.
    return None if error.__cause__ is None else message_of(error.__cause__)


def _is_ours(filename: str) -> bool:
    return any(folder.resolve() in Path(filename).resolve().parents for folder in (PACKAGE, *recipe_folders()))


def with_places(message: str, layers: Iterable[Layer]) -> str:
    """A parser's message, and below it the lines of the configs that hold the key or value it names.

    The parser sees all configs as one, so that it can't say itself which file a key stands in.
    """
    message = without_unions(message)
    names = [next(filter(None, match.groups())) for match in NAMED.finditer(message)]
    # A message goes from the outermost key to the innermost: the last name is the one that is wrong.
    name = names[-1] if names else None
    places = []
    for layer in layers if name else ():
        for line, key, value in _entries(layer.node, ""):
            plain = key.replace(".init_args", "")
            if f".{plain}".endswith(f".{name}") or value == name:
                places.append(f"  {layer.path}:{line}: {key}")
    return "\n".join([message, *dict.fromkeys(places)])


def without_unions(message: str) -> str:
    """A parser's message without what it says about `null`, which nearly every key may be: what is left is what is
    wrong with the value that was given."""
    lines = [line for line in message.splitlines() if not UNION.match(line)]
    if any("Problem with given class_path" in line for line in lines):  # then that says what is wrong with the value
        lines = [line for line in lines if not GIVEN.match(line)]
    return PLAIN.sub(r"\1Expected keys of its own ({key: value}), got \2", "\n".join(lines))


def _entries(node: yaml.Node | None, prefix: str) -> Iterator[tuple[int, str, str | None]]:
    """Line, dotted key and plain value of every entry below a YAML node."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _entries(item, prefix)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            yield key.start_mark.line + 1, name, value.value if isinstance(value, yaml.ScalarNode) else None
            yield from _entries(value, f"{name}.")
