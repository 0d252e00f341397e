"""Notebooks as pages: `python -m experiments.docs_site.notebooks docs/notebooks/listen.py` runs one, writes its page.

A notebook is a Python file with cells (jupytext's py:percent): Jupyter opens it with the jupytext extension, Python
runs it as it is. Its page, listen.md beside it, has the cells with what they printed and drew when it was run last. It
runs in the working directory, so files that it names are looked for there. A test fails where a page has other cells
than its notebook.
"""

import argparse
import ast
import contextlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs" / "pictures"


@dataclass(frozen=True)
class Cell:
    """A cell of a notebook; text is Markdown, code is Python."""

    is_code: bool
    source: str


def cells_of(notebook: Path) -> list[Cell]:
    return [
        Cell(cell.cell_type == "code", cell.source) for cell in jupytext.read(notebook).cells if cell.source.strip()
    ]


def cells_of_page(page: Path) -> list[Cell]:
    """The cells that a page was made of, without their output."""
    found: list[Cell] = []
    for part in page.read_text(encoding="utf-8").split("<!-- cell -->\n")[1:]:
        code, fence, _ = part.removeprefix("```python\n").partition("\n```\n")
        is_code = part.startswith("```python\n") and bool(fence)
        found.append(Cell(is_code, code if is_code else part.strip()))
    return found


def page_of(notebook: Path, names: dict[str, Any] | None = None) -> str:
    """Run a notebook in the working directory and return its page. Pictures go to docs/pictures/."""
    import matplotlib

    matplotlib.use("Agg")
    names = {"__name__": "__main__"} if names is None else names
    source = os.path.relpath(notebook.resolve(), ROOT)
    made = f"python -m experiments.docs_site.notebooks {source}"
    parts = [f"<!-- Made by `{made}`: change that file, and run it again. -->\n"]
    pictures = 0
    for cell in cells_of(notebook):
        if not cell.is_code:
            parts.append(f"<!-- cell -->\n{cell.source.strip()}\n")
            continue
        printed, drawn = run_cell(cell.source, names, str(notebook))
        parts.append(f"<!-- cell -->\n```python\n{cell.source}\n```\n")
        if printed.strip():
            table = printed.lstrip().startswith("|")
            parts.append(f"{printed.strip()}\n" if table else f"```text\n{printed.rstrip()}\n```\n")
        for figure in drawn:
            pictures += 1
            name = f"notebook_{notebook.stem}_{pictures}.png"
            figure.savefig(PICTURES / name, dpi=110, metadata={"Software": None})
            parts.append(f"![what the cell above draws](../pictures/{name})\n")
    return "\n".join(parts)


def run_cell(source: str, names: dict[str, Any], file: str) -> tuple[str, list[Any]]:
    """What a cell printed (and its last expression, as Jupyter shows it) and the figures that it drew."""
    import matplotlib.pyplot as plt

    tree = ast.parse(source)
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.Expr):
        tree.body.pop()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, file, "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), file, "eval"), names)
            if value is not None and not type(value).__module__.startswith("matplotlib"):
                print(value)
    figures = [plt.figure(number) for number in plt.get_fignums()]
    plt.close("all")
    return printed.getvalue(), figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", type=Path, nargs="+", help="such as docs/notebooks/listen.py")
    for notebook in parser.parse_args().notebook:
        notebook.with_suffix(".md").write_text(page_of(notebook), encoding="utf-8")
        print(notebook.with_suffix(".md"))


if __name__ == "__main__":
    main()
