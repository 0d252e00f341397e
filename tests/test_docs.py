"""The Markdown pages: every link leads somewhere, and every decision that the code cites stands on its page."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "experiments").rglob("*.md")])
CODE = [path for folder in ("src", "experiments", "data_recipes", "tests") for path in (ROOT / folder).rglob("*.py")]


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def anchors(text: str) -> set[str]:
    """The headings of a page as GitHub's links name them."""
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """Relative links of a page that lead to no file, or to no heading of it."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", read(page), flags=re.S)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(read(target))):
            broken.append(link)
    return broken


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path):
    assert not broken_links(path)


def test_a_link_to_nothing_is_found(tmp_path):
    (tmp_path / "page.md").write_text("# One head, here\n[a](gone.md) [b](page.md) [c](#one-head-here) [d](#two)")
    assert broken_links(tmp_path / "page.md") == ["gone.md", "#two"]


def test_every_decision_that_is_cited_stands():
    decisions = set(re.findall(r"^\*\*(\d+)\. ", read(ROOT / "docs" / "decisions.md"), re.M))
    texts = {path: read(path) for path in [*CODE, ROOT / "docs" / "method.md"] if path != Path(__file__)}
    cited = {
        (str(path.relative_to(ROOT)), number)
        for path, text in texts.items()
        for group in re.findall(r"decisions?\s+(\d+(?:(?:, | and | to )\d+)*)", text, re.I)
        for number in re.findall(r"\d+", group)
    }
    assert len(decisions) > 50 and len({path for path, _ in cited}) >= 3
    assert not {one for one in cited if one[1] not in decisions}
