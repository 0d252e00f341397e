"""The fenced blocks of a Markdown page, with what the page says about running them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]+?) -->\n\n?)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """One block.

    line     of its first line in the page, so that a traceback leads there
    not_run  the page's own reason why it isn't run, in a comment before it that a reader doesn't see; else None
    """

    page: str
    line: int
    language: str
    text: str
    not_run: str | None

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path, name: str = "") -> list[Block]:
    """The blocks of a page in order. Raises ValueError where a fence isn't closed or stands inside a list."""
    text = page.read_text(encoding="utf-8")
    name = name or page.relative_to(ROOT).as_posix()
    found = [
        Block(name, text.count("\n", 0, match.start("text")) + 1, match["language"], match["text"], match["why"])
        for match in FENCE.finditer(text)
    ]
    if text.count("```") != 2 * len(found):
        raise ValueError(f"{name}: a fence is not closed, or is indented; begin it at the start of a line")
    return found
