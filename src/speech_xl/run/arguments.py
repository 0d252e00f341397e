"""Types for argparse: an option that is out of range is refused by its name, before anything is loaded."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, _ArgumentGroup
from collections.abc import Callable

from speech_xl.checks import number, whole

FORCE_HELP = "use the weights even where the configuration isn't the one they were trained with"


def whole_number(least: int = 1) -> Callable[[str], int]:
    """An argparse type: a whole number from `least` upwards."""

    def convert(text: str) -> int:
        try:
            return whole("", int(text), least=least)
        except ValueError:
            raise ArgumentTypeError(_mend(lambda: whole("", text, least=least))) from None

    return convert


def real_number(least: float | None = None, above: float | None = None, unit: str = "") -> Callable[[str], float]:
    """An argparse type: a finite number within the bounds."""

    def convert(text: str) -> float:
        try:
            return number("", float(text), least=least, above=above, unit=unit)
        except ValueError:
            raise ArgumentTypeError(_mend(lambda: number("", text, least=least, above=above, unit=unit))) from None

    return convert


def _mend(check: Callable[[], object]) -> str:
    """The message of a check for what was written, which is a text."""
    try:
        check()
    except ValueError as error:
        return str(error).removeprefix(": ")
    raise AssertionError("a text passes no check of numbers")


def not_blank(value: str) -> str:
    """An argparse type: a text that isn't blank."""
    if not value.strip():
        raise ArgumentTypeError(f"got {value!r}; give a text")
    return value


def device_option(parser: ArgumentParser | _ArgumentGroup) -> None:
    """Add --device, which is a GPU where there is one."""
    parser.add_argument("--device", type=device_name, help="cpu, cuda or cuda:NUMBER (a GPU where there is one)")


def device_or_default(device: str | None) -> str:
    """The device that a command names, else a GPU where there is one."""
    import torch  # takes seconds, which a mistake in a command needn't

    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def device_name(name: str) -> str:
    """An argparse type: a device of this machine by torch's name for it, such as cpu or cuda:1."""
    if name == "cpu":
        return name
    import torch

    try:
        found = torch.device(name)
    except RuntimeError:
        raise ArgumentTypeError(f"got {name!r}; give cpu, cuda or cuda:NUMBER") from None
    count = torch.cuda.device_count()
    if found.type == "cuda" and (found.index or 0) >= count:
        raise ArgumentTypeError(f"got {name!r}, and torch sees {count} CUDA devices here; give cpu or one of those")
    if found.type == "mps" and not torch.backends.mps.is_available():
        raise ArgumentTypeError(f"got {name!r}, which this machine doesn't have; give cpu")
    if found.type not in ("cpu", "cuda", "mps"):
        raise ArgumentTypeError(f"got {name!r}; give cpu, cuda or cuda:NUMBER")
    return name
