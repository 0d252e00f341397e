"""README.md and docs/*.md keep their word: each of their blocks is run here.

* bash is run by bash, in a folder as a reader has it (sandbox.py). What can't be run here means something else there,
  and prelude.sh says what: `pip install` is checked against pyproject.toml, a training is taken apart and checked, or
  rehearsed by the slow tests.
* python is executed, all blocks of a page one after the other in one namespace, between its bash blocks.
* yaml is parsed as what it is: an experiment file, or an overlay over a stage. json is parsed.
* What isn't run says why, in a comment of the page before the block: `<!-- not run: REASON -->`.
"""

import shlex
from pathlib import Path

import pytest

from speech_xl.run.command import SUBCOMMANDS
from tests.snippets.blocks import ROOT, Block, blocks_of
from tests.snippets.commands import check_usage, inline_commands

HISTORY = ROOT / "docs" / "log.md"  # commands and names of files there are those of their time
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TRAINS = ROOT / "docs" / "notebooks" / "train.md"  # in minutes; test_rehearsal.py follows it
PAGES = [path for path in PAGES if path not in (HISTORY, TRAINS) and blocks_of(path)]
MOST_NOT_RUN = 4


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_block_of_a_page_runs(path, run_page):
    run_page(blocks_of(path), "check")


@pytest.mark.parametrize("path", [path for path in PAGES if inline_commands(path)], ids=name_of)
def test_every_command_within_a_sentence_is_one(path, run_page):
    about_experiments = []
    for command in inline_commands(path):
        program, *words = shlex.split(command)
        if words[-1] == "--help":
            continue
        if program == "speech-xl" and words[0] not in SUBCOMMANDS:
            check_usage(words)
        else:
            about_experiments.append(command)
    named = [block for block in blocks_of(path) if block.language == "yaml"]  # files that the sentences speak of
    run_page([*named, Block(name_of(path), 0, "bash", "\n".join(about_experiments), None)], "check")


def test_what_is_not_run_says_why_and_is_little():
    left = {block.name: block.not_run for path in PAGES for block in blocks_of(path) if block.not_run}
    print(*(f"{name}: {why}" for name, why in left.items()), sep="\n")
    assert len(left) <= MOST_NOT_RUN, left
    assert all(len(str(why).split()) >= 4 for why in left.values()), left
