"""Two at once: the same corpus and frame cache made by two runs, and two runs in one folder."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from experiments.drills.checkpoints import checkpoint, differences
from experiments.drills.rows import Drill, Row
from experiments.drills.runs import EXCERPTS, LONGEST, Setup, flat_start

CASES = (
    "a corpus and a frame cache made by two at once",
    "one corpus of whole files",
    "two runs in one folder: the second is refused, naming --variant",
)


def names() -> list[str]:
    return list(CASES)


def run(place: Path, cases: Sequence[str]) -> Iterator[Row]:
    if CASES[0] in cases or CASES[1] in cases:
        yield from (row for row in same_data(place) if row.case in cases)
    if CASES[2] in cases:
        yield same_folder(place)


def ended(setups: Sequence[Setup], seconds: float = LONGEST) -> list[int]:
    """Start all at once, wait for them; their exit statuses."""
    running: list[subprocess.Popen[str]] = [setup.start() for setup in setups]
    return [process.wait(seconds) for process in running]


def same_data(place: Path) -> Iterator[Row]:
    """Two runs that begin without corpus and frames, and share what they make."""
    shared = place / "shared"
    shutil.rmtree(shared, ignore_errors=True)
    data = {"excerpt": EXCERPTS, "cache_dir": str(shared)}
    root = shared / "embedded"
    setups = [Setup(place, f"twice_{n}", "stage1", 4, 4, data=data, model=flat_start(2), root=root) for n in range(2)]
    for setup in setups:
        setup.clear()
    codes = ended(setups)
    drafts = [path.name for pattern in ("*.tmp", "*.part") for path in shared.rglob(pattern)]
    differ = None
    if codes == [0, 0]:
        one, other = (checkpoint(setup.folder)["state_dict"] for setup in setups)
        differ = len(differences(one, other))
    good = differ == 0 and not drafts
    message = f"exit status {codes}; {differ} tensors differ; drafts left: {drafts}"
    yield Row(CASES[0], good, "equal" if good else "failed", message)
    found = sorted(root.glob("*/cuts_train.jsonl.gz"))
    yield Row(CASES[1], len(found) == 1, "passed" if len(found) == 1 else "failed", f"{len(found)} corpora")


def same_folder(place: Path) -> Row:
    """Two runs of one variant, which differ in their seeds."""
    setups = [Setup(place, "same", "stage2", 10, 2, data={"seed": n}, model={"seed": n}) for n in range(2)]
    setups[0].clear()
    first = setups[0].start()
    while first.poll() is None and not setups[0].events("batch"):
        try:
            first.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
    second = setups[1].run()
    status = first.wait(LONGEST)
    good = status == 0 and second.refused and "--variant" in second.message
    facts = {"first": status, "second": second.status}
    return Row(CASES[2], good, "refused" if second.refused else "both ran", second.message, facts)


def summary(rows: Sequence[Row]) -> dict[str, int]:
    return {"at_once": len(rows), "at_once_passed": sum(row.ok for row in rows)}


DRILL = Drill("at_once", "two that make one corpus, two in one run folder", 2, names, run, summary)
