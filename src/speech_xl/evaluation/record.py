"""The record of a measurement as JSON, always with the same keys: the documentation's tables are made from it."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import torch

from speech_xl.storage.files import write_text

CHECKOUT = Path(__file__).resolve().parents[3]  # of this project, where it is installed from one
KEYS = ("command", "commit", "machine", "data", "items", "summary")


def write_record(
    name: str,
    summary: Mapping[str, float | int | str],
    command: str,
    data: str,
    items: int,
    *,
    commit: str | None = None,
    folder: str | Path,
    **extra: Any,
) -> Path:
    """Write <folder>/<name>.json and return its path.

    summary: plain finite numbers, the unit in the key (`stage2_fresh_minutes`) or in an extra `unit`, rates else as
    fractions; `split` alone is a text, the split of the data.
    items: how many test items the summary rests on. commit: for a run of hours, `commit_of_tree()` taken as it started;
    by default the commit of now. extra: anything else worth keeping (confidence intervals, tables), as JSON.
    """
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise ValueError(
            f"results name {name!r}: use lower case letters, digits and underscores, it becomes a file name"
        )
    taken = sorted(set(extra) & set(KEYS))
    if taken:
        raise ValueError(f"results {name}: extra keys {', '.join(taken)} are keys of the record itself; rename them")
    entry = {
        "command": command,
        "commit": commit or commit_of_tree(),
        "machine": machine(),
        "data": data,
        "items": items,
        "summary": dict(summary),
        **extra,
    }
    check(entry, f"results {name}")
    path = Path(folder) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(entry, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return path


def check(entry: Mapping[str, Any], where: str) -> None:
    """Raise ValueError, naming the key, unless the entry is a complete record."""
    missing = [key for key in KEYS if key not in entry]
    if missing:
        raise ValueError(f"{where}: {', '.join(missing)} missing; a record has the keys {', '.join(KEYS)}")
    for key in ("command", "commit", "data"):
        if not isinstance(entry[key], str) or not entry[key].strip():
            raise ValueError(f"{where}: {key} is {entry[key]!r}; give a text that lets a reader repeat the measurement")
    if not re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", entry["commit"]):
        raise ValueError(
            f"{where}: commit is {entry['commit']!r}; give a full git hash, with -dirty for a changed tree"
        )
    if not isinstance(entry["machine"], Mapping) or not entry["machine"]:
        raise ValueError(f"{where}: machine is {entry['machine']!r}; give what machine() returns")
    if isinstance(entry["items"], bool) or not isinstance(entry["items"], int) or entry["items"] < 1:
        raise ValueError(f"{where}: items is {entry['items']!r}; give the number of items measured, at least 1")
    if not isinstance(entry["summary"], Mapping) or not entry["summary"]:
        raise ValueError(f"{where}: summary is {entry['summary']!r}; give at least one number by name")
    for key, value in entry["summary"].items():
        if key == "split":
            if value not in ("train", "dev", "test"):
                raise ValueError(f"{where}: summary['split'] is {value!r}; give train, dev or test")
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"{where}: summary[{key!r}] is {value!r}; the summary holds finite numbers, and split")


def commit_of_tree(root: str | Path = CHECKOUT) -> str:
    """The commit checked out, "-dirty" added where files outside docs/ differ from it; "unknown" outside a checkout."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()

    if not (Path(root) / ".git").exists():  # the project is installed, perhaps amid somebody's own checkout
        return "unknown"
    try:
        # docs/ is left out: writing the first result would otherwise make every later one of the same tree dirty.
        changes = git("status", "--porcelain", "--", ".", ":!docs")
        return git("rev-parse", "HEAD") + ("-dirty" if changes else "")
    except (subprocess.CalledProcessError, FileNotFoundError):
        return "unknown"


def machine() -> dict[str, str | int | float]:
    """What the figures were measured on: processor, memory, versions and accelerators with their memory."""
    if torch.cuda.is_available():
        devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        names = [f"{device.name} ({device.total_memory / 2**30:.0f} GiB)" for device in devices]
        gpu = f"{len(names)} x {names[0]}" if len(set(names)) == 1 else ", ".join(names)
    else:
        gpu = "none"
    return {
        "cpu": _cpu_model(),
        "cores": _usable_cores(),
        "ram_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": gpu,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "system": platform.system(),
    }


def _usable_cores() -> int:
    """Cores this process may run on, which a container or taskset can make fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        match = re.search(r"^model name\s*:\s*(.+)$", info.read_text(errors="replace"), re.MULTILINE)
        if match:
            return match.group(1).strip()
    return platform.processor() or platform.machine()
