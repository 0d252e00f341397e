"""The documentation site: it builds strictly and offline, has every page, and documents every class of a config."""

import inspect
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import lightning.pytorch as pl
import pytest

import data_recipes.corpora  # noqa: F401
import speech_xl.run.cli  # noqa: F401
import speech_xl.run.known_classes  # noqa: F401
from experiments.docs_site.docstrings import columns_to_lists, one_argument_a_line
from speech_xl.data.corpus import Corpus
from speech_xl.data.partition import Partition
from speech_xl.data.transcript import Transcript
from speech_xl.data.transforms import CutTransform
from speech_xl.model import LLM, Adapter, Encoder, FrameCode, Lora, SSTs
from speech_xl.phases import Phase
from speech_xl.phases.extension import PhaseExtension

ROOT = Path(__file__).parents[1]
SETTINGS = (ROOT / "zensical.toml").read_text(encoding="utf-8")
PAGES = sorted(path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md"))
REFERENCE = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "reference").glob("*.md"))
NAMED = set(re.findall(r"^::: ([\w.]+)$", REFERENCE, re.M))
KINDS = (Phase, PhaseExtension, Encoder, Adapter, FrameCode, LLM, Lora, SSTs, Corpus, CutTransform, Partition)
KINDS += (Transcript, pl.Callback)


def build(place: Path, settings: str = SETTINGS) -> subprocess.CompletedProcess:
    """`zensical build --strict` in a folder that has `docs/`, with this project's settings and source."""
    for name in ("src", "data_recipes", "experiments"):
        (place / name).symlink_to(ROOT / name)
    (place / "zensical.toml").write_text(settings, encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120)


def small_project(place: Path, page: str) -> subprocess.CompletedProcess:
    (place / "docs").mkdir()
    (place / "docs" / "index.md").write_text(page, encoding="utf-8")
    return build(place, re.sub(r"^nav = \[.*?^\]$", "", SETTINGS, flags=re.M | re.S))


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", place / "docs")
    done = build(place)
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "site"


def test_the_navigation_has_every_page_once():
    navigation = re.search(r"^nav = \[(.*?)^\]$", SETTINGS, re.M | re.S)
    assert navigation
    assert sorted(re.findall(r'"([\w/]+\.md)"', navigation[1])) == PAGES


def test_every_page_is_built_and_every_link_inside_the_site_leads_somewhere(site):
    for page in PAGES:
        assert (site / page).with_suffix(".html").is_file(), page
    broken = []
    for page in site.rglob("*.html"):
        for link in re.findall(r'(?:href|src)="([^"]*)"', page.read_text(encoding="utf-8")):
            parts = urlsplit(unescape(link))
            if parts.scheme or parts.netloc or not parts.path or page.name == "404.html":
                continue
            target = page.parent / unquote(parts.path)
            if not target.is_file() and not (target / "index.html").is_file():
                broken.append((page.relative_to(site).as_posix(), link))
    assert not broken


def test_a_reader_fetches_nothing_from_the_net(site):
    """Fonts, styles and scripts lie in the site; links that a reader may click lead elsewhere."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|img|iframe)[^>]*src="(?:https?:)?//', text), page
        assert not re.findall(r'<link[^>]*href="(?:https?:)?//', text), page
    assert not any("@import" in path.read_text(encoding="utf-8") for path in site.rglob("*.css"))


def test_the_search_finds_pages_and_classes(site):
    index = (site / "search.json").read_text(encoding="utf-8")
    assert "first_steps.html" in index and "speech_xl.model.sst.SSTs" in index


def test_a_broken_link_or_a_class_that_is_gone_fails_the_build(tmp_path):
    for name, page, why in (
        ("good", "# A\n\n[b](#a)\n\n::: speech_xl.model.llm.Lora", ""),
        ("link", "# A\n\n[b](gone.md) [c](#gone)", "2 issues found"),
        ("class", "# A\n\n::: speech_xl.model.sst.Gone", "speech_xl.model.sst.Gone"),
    ):
        (tmp_path / name).mkdir()
        done = small_project(tmp_path / name, page)
        assert (done.returncode == 0) == (name == "good"), name
        assert why in done.stdout + done.stderr, name


def classes_of_configs() -> set[str]:
    """Every class of this project that a config may name, by its whole name."""
    found: set[type] = set()
    rest: list[type] = list(KINDS)
    while rest:
        kind = rest.pop()
        rest += kind.__subclasses__()
        hidden = kind.__name__.startswith("_") or inspect.isabstract(kind)
        if kind.__module__.split(".")[0] in ("speech_xl", "data_recipes") and not hidden:
            found.add(kind)
    return {f"{kind.__module__}.{kind.__qualname__}" for kind in found}


HELPERS = {  # bases, or what a class or the command line makes for itself: no config names them
    "speech_xl.callbacks.progress_lines.ProgressLines",
    "speech_xl.run.best_and_last.BestAndLast",
    "speech_xl.run.ending.KeepHandlers",
    "speech_xl.run.lineage_keeper.LineageKeeper",
    "speech_xl.phases.ratio_drawing.RatioPhase",
    "speech_xl.model.adapters.adapter.MultiLayerAdapter",
}


def test_the_reference_has_every_class_that_a_config_may_name():
    missing = {name for name in classes_of_configs() if name not in NAMED} - HELPERS
    assert not missing, "add to docs/reference/"


def test_columns_of_a_docstring_become_a_list():
    text = "What it is.\n\nratio  frames that\n       one stands for\na, b   two\n\n    code  here"
    assert columns_to_lists(text) == (
        "What it is.\n\n* `ratio`: frames that one stands for\n* `a`, `b`: two\n\n    code  here"
    )
    assert one_argument_a_line("X.\n\nArgs:\n    a, b: of\n        both\n    c: one") == (
        "X.\n\nArgs:\n    a: of\n        both\n    b: of\n        both\n    c: one"
    )
