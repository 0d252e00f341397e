"""The notebooks of docs/notebooks/: each has a page with the same cells. tests/snippets/ runs the pages' code."""

import re
from pathlib import Path

import pytest

from experiments.docs_site.notebooks import cells_of, cells_of_page, run_cell

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.py"))


def test_there_are_two():
    assert [notebook.stem for notebook in NOTEBOOKS] == ["listen", "train"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_page_has_its_cells_and_its_pictures(notebook):
    page = notebook.with_suffix(".md")
    assert cells_of_page(page) == cells_of(notebook), "run: python -m experiments.docs_site.notebooks " + str(notebook)
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    assert pictures and all((page.parent / picture).is_file() for picture in pictures)
    assert "```text" in page.read_text(encoding="utf-8") or "\n|" in page.read_text(encoding="utf-8")


def test_a_cell_shows_what_it_prints_its_last_value_and_its_figures():
    names: dict = {}
    printed, figures = run_cell("import matplotlib.pyplot as plt\nprint('a')\nplt.plot([1, 2])\n1 + 1", names, "cell")
    assert printed == "a\n2\n" and len(figures) == 1
    assert run_cell("b = plt", names, "cell") == ("", []) and "b" in names
