"""`python -m experiments.tables` writes every generated table of the documentation; `--check` only compares."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from experiments.measurements.record import ROOT
from experiments.tables.pages import filled, pages, table_names
from experiments.tables.registry import TABLES


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments.tables", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit status 1 where a page differs")
    check = parser.parse_args(argv).check
    outdated = 0
    for path in pages():
        text = path.read_text(encoding="utf-8")
        try:
            new = filled(text, TABLES)
        except ValueError as error:
            parser.error(f"{path.relative_to(ROOT)}: {error}")
        same = new == text
        outdated += not same
        state = "as it was" if same else "differs from docs/results" if check else "written"
        print(f"{path.relative_to(ROOT)}: {', '.join(table_names(text))}: {state}")
        if not (same or check):
            path.write_text(new, encoding="utf-8")
    if check and outdated:
        print("mend it with: python -m experiments.tables", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
