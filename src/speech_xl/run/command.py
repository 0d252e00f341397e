"""Commands taken apart and configs found. Needs no torch, so that mistakes show at once.

The first config of a command is a stage, the others are overlays; one with a ``stage`` of its own is for that stage
alone. A stage writes to ``RUNS/VARIANT/STAGE``, where the variant is named after the overlays.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speech_xl.run.configs import ConfigError, check_flags, folder_name, read_config
from speech_xl.run.run_folder import CONFIG, LAST, WEIGHTS, RunFolder

__all__ = ["CONFIG", "LAST", "SUBCOMMANDS", "USAGE", "WEIGHTS", "Command", "ConfigError", "parse_command"]

SUBCOMMANDS = ("fit", "validate", "test", "predict")
USAGE = """\
Speech-XL Suite: train and evaluate long-form speech language models in three stages.

  python experiments/run.py fit -c stage2.yaml                  trains stage 1 first if it isn't there
  python experiments/run.py fit -c stage3.yaml -c models/whisper_base_smollm2.yaml -c data/spoken_digits.yaml
  python experiments/run.py test -c stage3.yaml                 predictions, table and JSON of the test split
  python experiments/run.py validate -c stage3.yaml             WER and Q&A accuracy of the dev split
  python experiments/run.py predict -c stage3.yaml              predictions alone; a run broken off is gone on with
  python experiments/run.py test -c stage2.yaml --compressor SnapKV --eval_ratios "[4, 8]" --split dev
                                                                another way to keep less, on the weights of stage 2
  python experiments/run.py score PREDICTIONS.jsonl ...         scores and tables again, from predictions alone
  python experiments/run.py fit -c stage3.yaml --print_config   what a run would use
  python experiments/run.py fit --help                          every key with its meaning
  python experiments/run.py fit --model.help SSTCompression     every key of a phase (--data.corpus.help: of a corpus)
  tensorboard --logdir runs                                     curves, samples, pictures

The first -c is a stage, the others are overlays. They are looked for in the working directory, then in experiments/.
Later ones and flags lie over earlier ones:

  --model.encoder openai/whisper-base     --model.llm Qwen/Qwen2.5-0.5B-Instruct    another encoder, another LLM
  --data.corpus SpokenDigits              --model.optimizer SGD                     a class by its name
  --init_from PATH|null                   start from these weights, or from none
  --ckpt_path PATH|last                   go on with a run that was broken off
  --runs DIR  --variant NAME              write to DIR/NAME/STAGE (else runs/ and the overlays' names)
  --overwrite                             train a finished stage anew; what it was is set aside, not deleted
  --force                                 use weights otherwise than they were trained; the files say so afterwards
"""


@dataclass
class Command:
    """A command line, taken apart."""

    subcommand: str
    configs: list[Path]
    flags: list[str]  # everything else, in order
    stage: str
    variant: str
    runs: Path
    init_from: str | None
    named: list[str] = field(default_factory=list)  # the configs as the user wrote them
    init_from_cli: bool = False  # whether init_from is the command line's rather than a config's
    resumes_last: bool = False  # whether it goes on from whatever the run has that is whole (--ckpt_path last)
    overwrite: bool = False  # train a finished stage anew
    force: bool = False  # let weights be used with other settings than they were trained with

    @property
    def folder(self) -> Path:
        return self.runs / self.variant / self.stage

    @property
    def run_folder(self) -> RunFolder:
        return RunFolder(self.folder)

    @property
    def asks(self) -> bool:
        """Whether only help or the configuration is wanted."""
        names = {flag.split("=")[0] for flag in self.flags}
        return bool(names & {"--print_config", "--help", "-h"}) or any(name.endswith(".help") for name in names)

    def flag(self, name: str) -> str | None:
        """The last value of ``--name value`` or ``--name=value``."""
        return _take(list(self.flags), name, None)

    def argv(self) -> list[str]:
        return [self.subcommand, *(arg for path in self.configs for arg in ("-c", str(path))), *self.flags]


def find_config(name: str, experiments: Path) -> Path:
    """A config by path or bare name: the working directory first, then experiments/."""
    for path in (Path(name), experiments / name):
        if path.is_file():
            return path
    found = (str(p.relative_to(experiments)) for p in experiments.rglob("*.yaml") if p.name != "config.yaml")
    known = "\n  ".join(sorted(found, key=lambda one: (one.count("/"), one)))  # stages first
    raise ConfigError(f"config {name}: neither in {Path.cwd()} nor in {experiments}. There are:\n  {known}")


def _take(flags: list[str], name: str, default: Any) -> Any:
    """Remove ``--name value`` or ``--name=value`` from `flags`; its last value, or `default`."""
    value = default
    i = 0
    while i < len(flags):
        if flags[i] == name:
            if i + 1 == len(flags):
                raise ConfigError(f"{name}: a value must follow")
            value = flags[i + 1]
            del flags[i : i + 2]
        elif flags[i].startswith(name + "="):
            value = flags[i].split("=", 1)[1]
            del flags[i]
        else:
            i += 1
    return value


def _take_switch(flags: list[str], name: str) -> bool:
    """Remove ``--name``, which takes no value, from `flags`; whether it was there."""
    there = name in flags
    flags[:] = [flag for flag in flags if flag != name]
    return there


def _split(args: list[str]) -> tuple[list[str], list[str]]:
    """The configs' names, and the other arguments in order."""
    named, flags = [], []
    rest = iter(args)
    for arg in rest:
        if arg in ("-c", "--config"):
            name = next(rest, "")
        elif arg.startswith("--config="):
            name = arg.split("=", 1)[1]
        elif arg.startswith("-c") and not arg.startswith("--"):
            name = arg[2:].removeprefix("=")
        else:
            flags.append(arg)
            continue
        if not name:
            raise ConfigError(f"{arg}: a config must follow, such as {arg} stage1.yaml")
        named.append(name)
    return named, flags


def parse_command(argv: list[str], experiments: Path) -> Command | None:
    """Take `argv` apart; None where no subcommand or no config is given (LightningCLI then speaks for itself)."""
    if not argv or argv[0] not in SUBCOMMANDS:
        return None
    named, flags = _split(argv[1:])
    if not named:
        return None
    first = find_config(named[0], experiments)
    stage = stage_of(first)
    configs = [first]
    for name in named[1:]:
        path = find_config(name, experiments)
        if not is_for(path, stage):
            raise ConfigError(
                f"{path}: an overlay for {read_config(path)['stage']} alone, and this is {stage}. Leave it out."
            )
        configs.append(path)
        # An overlay may say more for one stage alone: x.yaml, then x.stage2.yaml while stage 2 runs.
        own = path.with_name(f"{path.stem}.{stage}.yaml")
        configs += [own] if own.is_file() else []
    for path in configs:
        if given := sorted({"overwrite", "force"} & read_config(path).keys()):
            raise ConfigError(f"{path}: {given[0]}: only on the command line, as --{given[0]}; take it out")
    merged: dict[str, Any] = {}
    for path in configs:
        merged |= {k: v for k, v in read_config(path).items() if k in ("init_from", "runs", "variant", "model")}
    if "model" not in merged and not any(flag.startswith("--model") for flag in flags):
        raise ConfigError(f"{first}: no stage, it has no model. Begin with a stage: -c stage1.yaml -c {named[0]}")
    variant = _take(flags, "--variant", merged.get("variant"))
    variant = variant or "+".join(Path(name).stem for name in named[1:]) or "default"
    runs = Path(_take(flags, "--runs", merged.get("runs")) or "runs")
    init_from_cli = any(flag.split("=")[0] == "--init_from" for flag in flags)
    init_from = _take(flags, "--init_from", merged.get("init_from"))
    init_from = None if init_from in (None, "null", "None", "") else str(init_from)
    switches = {name: _take_switch(flags, f"--{name}") for name in ("overwrite", "force")}
    check_flags(flags)
    variant = folder_name("--variant", variant)
    command = Command(argv[0], configs, flags, stage, variant, runs, init_from, named, init_from_cli, **switches)
    _settle_checkpoint(command)
    return command


def stage_of(config: Path) -> str:
    return folder_name(f"{config}: stage", read_config(config).get("stage") or config.stem)


def is_for(overlay: Path, stage: str) -> bool:
    """Whether an overlay may lie over `stage`: it names no stage, or this one."""
    return read_config(overlay).get("stage") in (None, stage)


def _settle_checkpoint(command: Command) -> None:
    """``--ckpt_path last`` to its path; a path must be there before anything is made."""
    path = _take(command.flags, "--ckpt_path", None)
    if path in (None, "null"):
        return
    command.resumes_last = path == "last"
    path = command.folder / LAST if command.resumes_last else Path(path)
    others = sorted(path.parent.glob("*.ckpt"), key=lambda one: one.stat().st_mtime) if command.resumes_last else []
    if others and not path.exists():
        print(f"{path} is missing: going on from {others[-1]}, the newest that is there", file=sys.stderr)
        path = others[-1]
    if not path.exists() and not command.asks:
        raise ConfigError(f"--ckpt_path {path}: no such checkpoint. Leave --ckpt_path out to start the stage over.")
    command.flags += ["--ckpt_path", str(path)]
