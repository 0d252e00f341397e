"""Docstrings for the reference pages: columns of names and what they mean become Markdown lists.

    ratio   frames that one SST stands for       ->      * `ratio`: frames that one SST stands for

zensical.toml names this file as an extension of griffe, which reads the source for mkdocstrings.
"""

import re
from typing import Any

from griffe import Extension, Object

ROW = re.compile(r"^(?P<names>\w+(?:, \w+)*) {2,}(?P<text>\S.*)$")
MORE = re.compile(r"^ {4,}(?P<text>\S.*)$")
SHARED = re.compile(r"^(?P<indent> +)(?P<names>\w+(?:, \w+)+): (?P<text>.*(?:\n(?P=indent) +\S.*)*)$", re.M)


def columns_to_lists(text: str) -> str:
    """A docstring's text with each paragraph of columns as a list; everything else as it was.

    A paragraph is one of columns where its first line is a name (or several, with commas), two spaces or more, and
    what it means; its other lines begin in the same way, or go on with the line before, indented.
    """
    return "\n\n".join(_listed(paragraph) for paragraph in text.split("\n\n"))


def _listed(paragraph: str) -> str:
    rows: list[str] = []
    for line in paragraph.splitlines():
        if row := ROW.match(line):
            names = ", ".join(f"`{name}`" for name in row["names"].split(", "))
            rows.append(f"* {names}: {row['text']}")
        elif rows and (more := MORE.match(line)):
            rows[-1] += f" {more['text']}"
        else:
            return paragraph
    return "\n".join(rows)


def one_argument_a_line(text: str) -> str:
    """``low, high: text`` below ``Args:`` as a line for each name, which is the only form that griffe knows."""

    def apart(match: re.Match[str]) -> str:
        return "\n".join(f"{match['indent']}{name}: {match['text']}" for name in match["names"].split(", "))

    before, args, after = text.partition("Args:\n")
    return before + args + SHARED.sub(apart, after)


class Columns(Extension):
    """Rewrites every docstring before it is rendered."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = one_argument_a_line(columns_to_lists(obj.docstring.value))
