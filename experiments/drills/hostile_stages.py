"""Stage folders that somebody else made, whose configs ask for their code to be run."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from experiments.drills.rows import Row
from experiments.random_models import llm_folder

Config = dict[str, Any]
MARK = "code-ran"  # a file of this name appears beside the folder where its code is run
CODE = """\
from pathlib import Path
from transformers import PretrainedConfig
Path({mark!r}).touch()
class EvilConfig(PretrainedConfig):
    model_type = "evil"
class Evil: pass
class Optimizer: pass
"""


@dataclass(frozen=True)
class HostileStage:
    """A way to corrupt a finished stage's folder.

    name    what its config does
    change  given its config and the folder: changes the config, or gives what stands in its place
    names   what a message must hold
    mark    whether it carries code, which must not run
    """

    name: str
    change: Callable[[Config, Path, Path], str | None]
    names: tuple[str, ...] = ()
    mark: bool = True

    def make(self, stage: Path, place: Path, models: Path) -> Path:
        """Copy the finished `stage` into `place` and corrupt it; gives the folder."""
        shutil.rmtree(place, ignore_errors=True)
        folder = place / "stage"
        shutil.copytree(stage, folder)
        config = yaml.safe_load((folder / "tensorboard" / "config.yaml").read_text())
        text = self.change(config, folder, place / MARK)
        (folder / "tensorboard" / "config.yaml").write_text(yaml.safe_dump(config) if text is None else text)
        return folder


def ran(place: Path) -> bool:
    """Whether the code of the folder made in `place` was run."""
    return (place / MARK).exists()


def code_ran(row: Row) -> Row:
    """The row of a case in which code from a file was run."""
    return replace(row, ok=False, outcome="code ran", facts={**row.facts, "code_ran": True})


def write_code(folder: Path, mark: Path) -> None:
    (folder / "evil.py").write_text(CODE.format(mark=str(mark)))


def with_own_code(folder: Path, mark: Path, auto: str = "AutoModelForCausalLM") -> None:
    """Make a model's folder name classes of a file beside its config."""
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoConfig": "evil.EvilConfig", auto: "evil.Evil"}, "model_type": "evil"}
    (folder / "config.json").write_text(json.dumps(config))
    write_code(folder, mark)


def trusting(config: Config, folder: Path, mark: Path) -> None:
    """The LLM in the folder brings code, and the config says to trust it."""
    llm_folder(folder / "llm")
    with_own_code(folder / "llm", mark)
    config["model"]["init_args"]["llm"]["init_args"] |= {"name": str(folder / "llm"), "trust_remote_code": True}


def importing(config: Config, folder: Path, mark: Path) -> None:
    """The optimizer is of a module that lies in the folder, and the folder is on the path, as where one works in it."""
    write_code(folder, mark)
    sys.path.insert(0, str(folder))
    sys.modules.pop("evil", None)
    config["model"]["init_args"]["optimizer"] = {"class_path": "evil.Optimizer", "init_args": {}}


def calling(config: Config, folder: Path, mark: Path) -> None:
    """The optimizer is a function of the standard library that runs a command."""
    command = {"command": f"touch '{mark}'"}
    config["model"]["init_args"]["optimizer"] = {"class_path": "os.system", "init_args": command}


def making_objects(config: Config, folder: Path, mark: Path) -> str:
    return f"model: !!python/object/apply:os.system ['touch {mark}']\n"


STAGES = [
    HostileStage("trusts the code it brings", trusting),
    HostileStage("imports a module beside it", importing),
    HostileStage("calls os.system as its optimizer", calling),
    HostileStage("makes Python objects in its YAML", making_objects, ("config.yaml",)),
    HostileStage("has an empty config", lambda config, folder, mark: "model: {}\ndata: {}\n", ("config.yaml",), False),
    HostileStage("has a text for a config", lambda config, folder, mark: "hello\n", ("config.yaml",), False),
]
