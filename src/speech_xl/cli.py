"""The command line: LightningCLI plus stages that chain like Make. Nothing else imports this file.

``{fit,validate,test,predict} -c stage2.yaml -c models/x.yaml``: the first config is a stage, the others are overlays.
A stage writes to ``RUNS/VARIANT/STAGE``, where the variant is named after the overlays, and is finished once
``weights.safetensors`` stands there. `fit` trains the stage it starts from first where that one isn't finished.
"""

import hashlib
import logging
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import set_parsing_settings
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_info

import data_recipes.embedded  # noqa: F401  (imported so that a plain class name is enough in a config)
import data_recipes.mini_librispeech  # noqa: F401
import data_recipes.spoken_digits  # noqa: F401
import speech_xl.data.manifests  # noqa: F401
from speech_xl import callbacks as _callbacks  # noqa: F401
from speech_xl.callbacks.curriculum import RatioCurriculum
from speech_xl.data.datamodule import SpeechDataModule
from speech_xl.evaluation.predictions import PredictionWriter
from speech_xl.evaluation.report import write_report
from speech_xl.phases import Phase
from speech_xl.phases.weights import read_weights, save_weights

SUBCOMMANDS = ("fit", "validate", "test", "predict")
WEIGHTS = "weights.safetensors"
PASSED_ON = ("--data", "--model.encoder", "--model.adapter", "--model.llm", "--model.init_args.encoder",
             "--model.init_args.adapter", "--model.init_args.llm", "--runs", "--variant")  # fmt: skip
USAGE = """\
Speech-XL Suite: train and evaluate long-form speech language models in three stages.

  python experiments/run.py fit -c stage2.yaml                  trains stage 1 first if it isn't there
  python experiments/run.py fit -c stage3.yaml -c models/whisper_base_smollm2.yaml -c data/spoken_digits.yaml
  python experiments/run.py test -c stage3.yaml                 predictions, table and JSON of the test split
  python experiments/run.py fit -c stage3.yaml --print_config   what a run would use
  python experiments/run.py fit --help                          every key with its meaning
  tensorboard --logdir runs                                     curves, samples, pictures

Configs are looked for in the working directory, then in experiments/. Later ones and flags lie over earlier ones.
"""


class ConfigError(Exception):
    """Something in the command or its configs that the user can mend."""


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

    @property
    def folder(self) -> Path:
        return self.runs / self.variant / self.stage

    def argv(self) -> list[str]:
        return [self.subcommand, *(arg for path in self.configs for arg in ("-c", str(path))), *self.flags]


def find_config(name: str, experiments: Path) -> Path:
    """A config by path or bare name: the working directory first, then experiments/."""
    for path in (Path(name), experiments / name):
        if path.is_file():
            return path
    known = ", ".join(sorted(str(p.relative_to(experiments)) for p in experiments.rglob("*.yaml")))
    raise ConfigError(f"config {name}: neither in {Path.cwd()} nor in {experiments}. There are: {known}")


def read_config(path: Path) -> dict[str, Any]:
    """A YAML config as a dict; ConfigError with the line where it isn't one."""
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a config is a mapping of keys, this one is a {type(content).__name__}")
    return content


def _take(flags: list[str], name: str, default: Any) -> Any:
    """Remove ``--name value`` or ``--name=value`` from `flags`; its last value, or `default`."""
    value = default
    i = 0
    while i < len(flags):
        if flags[i] == name and i + 1 < len(flags):
            value = flags[i + 1]
            del flags[i : i + 2]
        elif flags[i].startswith(name + "="):
            value = flags[i].split("=", 1)[1]
            del flags[i]
        else:
            i += 1
    return value


def parse_command(argv: list[str], experiments: Path) -> Command | None:
    """Take `argv` apart; None where only help is wanted or no stage is given (LightningCLI then speaks for itself)."""
    if not argv or argv[0] not in SUBCOMMANDS:
        return None
    named, flags = [], []
    rest = iter(argv[1:])
    for arg in rest:
        if arg in ("-c", "--config"):
            named.append(next(rest, ""))
        elif arg.startswith("--config="):
            named.append(arg.split("=", 1)[1])
        else:
            flags.append(arg)
    if not named:
        return None
    overlays = named[1:]
    first = find_config(named[0], experiments)
    stage = str(read_config(first).get("stage") or first.stem)
    configs = [first]
    for name in overlays:
        path = find_config(name, experiments)
        configs.append(path)
        # An overlay may say more for one stage alone: x.yaml, then x.stage2.yaml while stage 2 runs.
        own = path.with_name(f"{path.stem}.{stage}.yaml")
        configs += [own] if own.is_file() else []
    merged: dict[str, Any] = {}
    for path in configs:
        merged |= {k: v for k, v in read_config(path).items() if k in ("init_from", "runs", "variant")}
    variant = _take(flags, "--variant", merged.get("variant")) or "+".join(Path(o).stem for o in overlays) or "default"
    runs = Path(_take(flags, "--runs", merged.get("runs")) or "runs")
    init_from = _take(flags, "--init_from", merged.get("init_from"))
    init_from = None if init_from in (None, "null", "None", "") else str(init_from)
    return Command(argv[0], configs, flags, stage, str(variant), runs, init_from, named)


def starting_weights(command: Command, experiments: Path) -> Path | None:
    """The weights the model starts from; for `fit`, trains the stage that makes them where they are missing."""
    if command.subcommand != "fit":
        given = any(flag.split("=")[0] == "--ckpt_path" for flag in command.flags)
        # A path given with --init_from is evaluated; else the stage's own result.
        if command.init_from and not _is_stage(command.init_from, experiments):
            return Path(command.init_from)
        own = command.folder / WEIGHTS
        if not own.is_file() and not given:
            raise ConfigError(
                f"{command.subcommand}: {own} is missing. Train it with `fit` and the same configs, name a finished file "
                "with --init_from PATH, or a checkpoint with --ckpt_path PATH."
            )
        return own if own.is_file() else None
    if command.init_from is None:
        return None
    if not _is_stage(command.init_from, experiments):
        path = Path(command.init_from)
        if not path.is_file():
            raise ConfigError(f"init_from: {path} is missing. Give a .safetensors or .ckpt file, a stage's name, or null.")
        return path
    folder = command.runs / command.variant / command.init_from
    if not (folder / WEIGHTS).is_file():
        train_first(command, folder)
    return folder / WEIGHTS


def _is_stage(name: str, experiments: Path) -> bool:
    return Path(name).name == name and (experiments / f"{name}.yaml").is_file()


def train_first(command: Command, folder: Path) -> None:
    """Train the stage in `folder` with the same overlays; a run that was broken off is resumed."""
    argv = ["fit", "-c", f"{folder.name}.yaml"]
    argv += [arg for name in command.named[1:] for arg in ("-c", name)]
    flags = iter(command.flags)
    for flag in flags:
        if flag.split("=")[0].startswith(PASSED_ON):
            argv += [flag] if "=" in flag else [flag, next(flags, "")]
    argv += ["--runs", str(command.runs), "--variant", command.variant]
    if (folder / "checkpoints" / "last.ckpt").is_file():
        argv += ["--ckpt_path", str(folder / "checkpoints" / "last.ckpt")]
    print(f"\n{command.stage} starts from {folder / WEIGHTS}, which is missing: training {folder.name} first.", flush=True)
    print(f"  {sys.argv[0]} {' '.join(argv)}\n", flush=True)
    done = subprocess.run([sys.executable, sys.argv[0], *argv])
    if done.returncode:
        raise ConfigError(f"{folder.name} failed (exit status {done.returncode}), so {command.stage} can't start from it")


class SpeechCLI(LightningCLI):
    """LightningCLI over a `Phase` and a `SpeechDataModule`."""

    def __init__(self, command: Command, initial: Path | None) -> None:
        self.command, self.initial = command, initial
        logger = {
            "class_path": "lightning.pytorch.loggers.TensorBoardLogger",
            "init_args": {"save_dir": str(command.folder), "name": "", "version": "tensorboard"},
        }
        super().__init__(
            Phase,
            SpeechDataModule,
            subclass_mode_model=True,
            auto_configure_optimizers=False,
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            trainer_defaults={
                # lhotse's samplers split the data over ranks themselves.
                "use_distributed_sampler": False,
                "default_root_dir": str(command.folder),
                "logger": logger,
            },
            parser_kwargs={"parser_mode": "omegaconf+", "description": USAGE},
            args=command.argv(),
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--stage", type=str | None, default=None, help="name of the stage, and of its run folder")
        parser.add_argument("--init_from", type=str | None, default=None, help="a stage, a weights file, or null")
        parser.add_argument("--runs", type=str | None, default=None, help="folder of all runs (default: runs)")
        parser.add_argument("--variant", type=str | None, default=None, help="run folder's name (default: the overlays')")
        parser.add_argument("--curriculum", type=RatioCurriculum | None, default=None, help="how the ratios rise")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults(
            {
                "checkpoint.dirpath": str(self.command.folder / "checkpoints"),
                "checkpoint.filename": "step={step}-errors={val/errors:.4f}",
                "checkpoint.auto_insert_metric_name": False,
                "checkpoint.monitor": "val/errors",
                "checkpoint.mode": "min",
                "checkpoint.save_last": True,
            }
        )

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        curriculum = self._get(self.config_init, "curriculum")
        extra = [curriculum] if curriculum is not None and self.command.subcommand == "fit" else []
        trainer = super().instantiate_trainer(**kwargs)
        trainer.callbacks += extra
        return trainer

    def before_instantiate_classes(self) -> None:
        torch.set_float32_matmul_precision("high")

    def _start(self) -> None:
        self.model.initial = self.initial

    before_fit = before_validate = _start

    def _before_predicting(self) -> None:
        self._start()
        source = self.initial or self._get(self.config, "ckpt_path") or "untrained"
        tag = weights_tag(source)
        # Named after the weights: another training's answers are never taken for this one's.
        self.jsonl = self.command.folder / "predictions" / f"test-{tag}.jsonl"
        trainer = self.trainer
        settings = {
            "weights": tag,
            "partition": str(self._get(self.config, "data.partition")),
            "max_tokens_per_second": self.model.max_tokens_per_second,
        }
        self.model.predictions = PredictionWriter(
            self.jsonl, settings, rank=trainer.global_rank, world_size=trainer.world_size
        )
        rank_zero_info(f"predictions: {self.jsonl}")

    before_test = before_predict = _before_predicting

    def after_test(self) -> None:
        self.model.predictions.close()
        self.trainer.strategy.barrier()  # the report reads every rank's file
        if self.trainer.is_global_zero:
            write_report(self.jsonl, self.command.folder)
            print((self.command.folder / "results.md").read_text())

    def after_predict(self) -> None:
        self.model.predictions.close()

    def after_fit(self) -> None:
        """Write the best checkpoint's weights, which the next stage starts from."""
        checkpoint = self.trainer.checkpoint_callback
        best = checkpoint.best_model_path or checkpoint.last_model_path
        if not self.trainer.is_global_zero or self.trainer.fast_dev_run:
            return
        if not best:
            raise ConfigError("fit ended without a checkpoint: let it validate at least once (trainer.val_check_interval)")
        if self.trainer.interrupted:
            print(f"interrupted: go on with --ckpt_path {checkpoint.last_model_path}")
            return
        state, notes = read_weights(Path(best))
        own = set(self.model.backbone.state_dict())
        path = self.command.folder / WEIGHTS
        save_weights({n: v for n, v in state.items() if n in own}, path, stage=self.command.stage, **notes)
        print(f"{self.command.stage}: weights of {best} written to {path}")


def weights_tag(source: Path | str) -> str:
    """Eight hex digits that change with the weights."""
    path = Path(source)
    if not path.is_file():
        return str(source)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:8]


def main(argv: list[str], experiments: Path) -> None:
    """Run one command. Mistakes a user can mend end with a message and exit status 2."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
    try:
        command = parse_command(argv, experiments)
        if command is None:
            if not argv or argv[0] in ("-h", "--help"):
                print(USAGE)
                return
            folder = Path("runs/default")
            command = Command(argv[0], [], argv[1:], "stage", "default", folder, None)
            SpeechCLI(command, None)
            return
        asks = {"--print_config", "--help", "-h"} & {flag.split("=")[0] for flag in command.flags}
        SpeechCLI(command, None if asks else starting_weights(command, experiments))
    except (ConfigError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
