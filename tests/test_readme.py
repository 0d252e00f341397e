"""README.md is short, and its links lead somewhere. tests/snippets/ runs its commands."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_short_and_its_links_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if not link.startswith("http")]
    assert len(links) >= 10 and len(README.splitlines()) <= 150
    assert not [name for name in links if not (ROOT / name).exists()]


def test_it_has_commands():
    assert len(re.findall(r"^(?:python|speech-xl) ", README, re.M)) >= 10
