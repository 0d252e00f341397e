"""A bar of audio heard and time left, on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

FORMAT = "{desc} {percentage:3.0f}%|{bar}| {n:.0f} of {total:.0f} s of audio, {elapsed} passed, {remaining} left"


@contextmanager
def heard_bar(name: str, seconds: float) -> Iterator[Callable[[float, float | None], None]]:
    """A bar on stderr, where that is a terminal; give what this yields as `progress`."""
    with tqdm(total=seconds, desc=name, bar_format=FORMAT, disable=None, leave=False) as bar:

        def progress(heard: float, _total: float | None) -> None:
            bar.update(heard - bar.n)

        yield progress
