"""Download a data set, or write its lhotse manifests, by name: `python -m data_recipes download|prepare|list`."""

from __future__ import annotations

import argparse
import inspect
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speech_xl.run.user_errors import exit_on_user_error

if TYPE_CHECKING:
    from lhotse import CutSet

EXAMPLES = """examples:
  python -m data_recipes list
  python -m data_recipes download earnings22_cleaned data            about 100 MB, into data/Earnings22-Cleaned-AA
  python -m data_recipes prepare earnings22_cleaned data/Earnings22-Cleaned-AA
  python -m data_recipes prepare librispeech_long data/librispeech-long --limit 20 --out manifests
  python -m data_recipes download longspeech data/longspeech --splits test --parts p1 --tasks ASR summary

A broken download goes on when the command is run again. `prepare` writes cuts_SPLIT.jsonl.gz (and recordings and
supervisions), which `ManifestCorpus` and lhotse read. A benchmark's own class prepares itself when it is asked:
python experiments/run.py test -c benchmarks/earnings22.yaml -c STAGE.yaml
"""


@dataclass(frozen=True)
class Recipe:
    """A data set with `download_NAME` and `prepare_NAME` in a module of this package; hours and licence are its
    publishers', as far as they give them."""

    name: str
    module: str
    hours: str
    licence: str
    about: str

    def function(self, verb: str) -> Callable[..., Any]:
        """`download_NAME` or `prepare_NAME`."""
        return getattr(import_module(f"data_recipes.{self.module}"), f"{verb}_{self.name}")


LHOTSE = "lhotse_corpora"
RECIPES = (
    Recipe(
        "longspeech",
        "longspeech",
        "17,600",
        "Apache-2.0; sources differ",
        "LongSpeech: eight tasks, clips of ten minutes",
    ),
    Recipe("audiomarathon", "audiomarathon", "-", "CC BY-NC 4.0", "AudioMarathon: ten tasks, one to five minutes"),
    Recipe("librispeech_long", "librispeech_long", "21", "CC BY 4.0", "LibriSpeech's dev and test, up to four minutes"),
    Recipe("earnings22_cleaned", "earnings22_cleaned", "2", "CC BY-SA 4.0", "six calls of 14 to 22 minutes, corrected"),
    Recipe("tedlium3", LHOTSE, "452", "CC BY-NC-ND 3.0", "TED-LIUM 3: whole talks, with a train split"),
    Recipe("ami", LHOTSE, "100", "CC BY 4.0", "AMI: whole meetings by the mix of headsets, with a train split"),
    Recipe("earnings21", LHOTSE, "39", "CC BY-SA 4.0", "Earnings-21: 44 whole calls"),
    Recipe("earnings22", LHOTSE, "119", "CC BY-SA 4.0", "Earnings-22: 125 whole calls, accents of the world"),
    Recipe("voxpopuli", LHOTSE, "1,800", "CC0", "VoxPopuli: speeches in 16 languages, with a train split"),
)
LISTS = ("tasks", "splits", "parts")  # arguments of some recipes


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command line; None: that of this process. What a user can mend ends with a sentence and status 2."""
    given = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    with exit_on_user_error():
        if given.command == "list":
            print(table())
        elif given.command == "download":
            print(f"downloaded: {_call(given, 'download', given.folder, force_download=given.force or None)}")
        else:
            out = given.out or given.folder / "manifests"
            found = _call(given, "prepare", given.folder, output_dir=out, limit=given.limit, language=given.language)
            for split, cuts in found.items():
                print(f"{split}: {counts_of(cuts)}; written: {out / f'cuts_{split}.jsonl.gz'}")


def table() -> str:
    """Name, hours, licence and a line about every data set."""
    rows = [("name", "hours", "licence", "")] + [(one.name, one.hours, one.licence, one.about) for one in RECIPES]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), row[1].rjust(widths[1]), row[2].ljust(widths[2]), row[3]]).rstrip()
        for row in rows
    )


def counts_of(cuts: CutSet) -> str:
    """Sessions, hours, and items a task."""
    from speech_xl.data.items import items_of  # torch comes with it, which a help text doesn't need

    sessions = list(cuts)
    tasks = Counter(item.task for cut in sessions for item in items_of(cut))
    items = ", ".join(f"{count} items of {task}" for task, count in tasks.items())
    return f"{len(sessions)} sessions, {sum(cut.duration for cut in sessions) / 3600:.2f} h, {items}"


def find_recipe(name: str) -> Recipe:
    """Raises ValueError, which lists all, where there is none of that name."""
    for one in RECIPES:
        if one.name == name:
            return one
    raise ValueError(f"{name}: there is no recipe of this name; there are {', '.join(one.name for one in RECIPES)}")


def _call(given: argparse.Namespace, verb: str, folder: Path, **options: Any) -> Any:
    """The recipe's function with the options that were given. Raises ValueError for one that it doesn't have."""
    function = find_recipe(given.name).function(verb)
    chosen = options | {name: getattr(given, name) for name in LISTS}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    known = inspect.signature(function).parameters
    if unknown := sorted(chosen.keys() - known.keys()):
        flags = ", ".join(f"--{name}" for name in known if name in (*LISTS, "limit", "language")) or "none"
        raise ValueError(f"--{unknown[0]}: {verb} {given.name} has no such option; it has {flags}")
    return function(folder, **chosen)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m data_recipes", description=__doc__, epilog=EXAMPLES, formatter_class=raw
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="names, hours and licences")
    for verb, what, folder in (
        ("download", "fetch a data set into a folder", "where to put it"),
        ("prepare", "write the lhotse manifests of a data set that is here", "the data set's folder"),
    ):
        one = commands.add_parser(verb, help=what, description=what, epilog=EXAMPLES, formatter_class=raw)
        one.add_argument("name", metavar="NAME", help="as `list` has it")
        one.add_argument("folder", metavar="DIR", type=Path, help=folder)
        for name in LISTS:
            one.add_argument(f"--{name}", nargs="+", help=f"of a benchmark that has {name}: these alone")
        if verb == "download":
            one.add_argument("--force", action="store_true", help="also what is here already")
        else:
            one.add_argument("--limit", type=int, help="the most items a task")
            one.add_argument("--language", help="of voxpopuli, such as de (en)")
            one.add_argument("--out", type=Path, help="folder of the manifests (DIR/manifests)")
    return parser


if __name__ == "__main__":
    main()
