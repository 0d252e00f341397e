"""SpeechCLI: LightningCLI over a phase and a data module; command.py and chain.py say what a command names."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from jsonargparse import set_parsing_settings
from lightning.pytorch.callbacks.progress import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

import speech_xl.run.known_classes  # noqa: F401  (so that plain class names are enough in a config)
from speech_xl.callbacks.curriculum import RatioCurriculum
from speech_xl.callbacks.progress_lines import ProgressLines
from speech_xl.data.datamodule import SpeechDataModule
from speech_xl.evaluation.prediction_file import PredictionWriter
from speech_xl.model.pretrained import check_config
from speech_xl.phases import Phase
from speech_xl.phases.weights import read_weights, save_weights, weights_tag
from speech_xl.run.best_and_last import BestAndLast
from speech_xl.run.command import SUBCOMMANDS, Command, ConfigError
from speech_xl.run.ending import KeepHandlers, as_rank, best_checkpoint, set_aside, stopped_text, unfinished_text
from speech_xl.run.evaluation_options import EvaluationOptions, add_evaluation_options
from speech_xl.run.lineage import built_check, settings_of
from speech_xl.run.lineage_keeper import LineageKeeper
from speech_xl.run.origin import Origin
from speech_xl.run.precision import best_precision
from speech_xl.run.quiet import quieten
from speech_xl.run.recipes import load_recipes
from speech_xl.run.reports import write_scores
from speech_xl.run.run_folder import LAST
from speech_xl.run.signals import UNFINISHED, Stopped, StopSignals
from speech_xl.run.strategies import checked_strategy, some_uncompressed
from speech_xl.run.trainer_checks import check_trainer
from speech_xl.run.trust import refuse_remote_code
from speech_xl.run.user_errors import with_places
from speech_xl.storage.checkpoint_io import WholeCheckpointIO, read_checkpoint, resumable


class SpeechCLI(LightningCLI):
    """LightningCLI over a `Phase` and a `SpeechDataModule`; making one runs the command.

    Args:
        command: the command line, taken apart.
        initial: weights the model starts from; None: none.
        runs: False only parses the command; `make_parts` then makes its parts, without weights.
    """

    def __init__(self, command: Command, initial: Path | None, runs: bool = True) -> None:
        self.command, self.initial, self.runs = command, initial, runs
        self.parsed: dict[str, Any] = {}  # configurations by stage, where `runs` is False
        self.signals = StopSignals()
        quieten()
        load_recipes()
        set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
        logger = {
            "class_path": "lightning.pytorch.loggers.TensorBoardLogger",
            "init_args": {"save_dir": str(command.folder), "name": "", "version": "tensorboard"},
        }
        # An evaluation leaves the configuration that the weights were trained with alone.
        saved = "config.yaml" if command.subcommand == "fit" else f"config-{command.subcommand}.yaml"
        super().__init__(
            Phase,
            SpeechDataModule,
            subclass_mode_model=True,
            auto_configure_optimizers=False,
            save_config_kwargs={"overwrite": True, "config_filename": saved},
            seed_everything_default=0,
            trainer_defaults={
                # lhotse's samplers split the data over ranks themselves.
                "use_distributed_sampler": False,
                "default_root_dir": str(command.folder),
                "logger": logger if command.subcommand == "fit" else False,  # an evaluation is no point of a curve
            },
            # Errors are raised, so that `parse_arguments` can add where in the configs they come from.
            parser_kwargs={
                "parser_mode": "omegaconf+",
                "exit_on_error": False,
                **{name: {"exit_on_error": False} for name in SUBCOMMANDS},
            },
            args=command.argv(),
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        # Checkpoints are always read as plain tensors: a pickle could run whatever its author likes.
        return {name: skipped | {"weights_only"} for name, skipped in LightningCLI.subcommands().items()}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--stage", type=str | None, default=None, help="name of the stage, and of its run folder")
        parser.add_argument("--init_from", type=str | None, default=None, help="a stage, a weights file, or null")
        parser.add_argument("--runs", type=str | None, default=None, help="folder of all runs (default: runs)")
        parser.add_argument("--variant", type=str | None, default=None, help="run folder (default: the overlays')")
        parser.add_argument("--overwrite", action="store_true", help="train a finished stage anew; it is set aside")
        parser.add_argument("--force", action="store_true", help="use weights otherwise than they were trained")
        parser.link_arguments("data.transcript", "model.init_args.transcript")
        parser.link_arguments("model", "data.frames", compute_fn=lambda model: model.frames, apply_on="instantiate")
        parser.add_argument("--curriculum", type=RatioCurriculum | None, default=None, help="how the ratios rise")
        if self.command.subcommand != "fit":
            add_evaluation_options(parser)
        parser.add_lightning_class_args(BestAndLast, "checkpoint")
        parser.set_defaults(
            {
                "checkpoint.dirpath": str(self.command.folder / LAST.parent),
                "checkpoint.filename": "step={step}-errors={val/errors:.4f}",
                "checkpoint.auto_insert_metric_name": False,
                "checkpoint.monitor": "val/errors",
                "checkpoint.mode": "min",
                "checkpoint.save_last": True,
                "checkpoint.enable_version_counter": False,  # a run started over must not leave an older last.ckpt
            }
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        try:
            super().parse_arguments(parser, args)
        except argparse.ArgumentError as error:
            raise ConfigError(with_places(str(error), self.command.layers)) from error

    def _parse_ckpt_path(self) -> None:
        """Lightning would lay the hyper-parameters of a checkpoint, class names among them, over the command."""

    def _checkpoint(self) -> str | None:
        """The checkpoint that the command names, or what `fit` goes on from in its place where that one is damaged."""
        options = self.config[str(self.subcommand)]
        if options.get("ckpt_path") is not None and self.subcommand == "fit":
            path, warning = resumable(Path(options["ckpt_path"]), falls_back=self.command.resumes_last)
            options["ckpt_path"] = str(path)
            if warning:
                rank_zero_warn(warning)
        return options.get("ckpt_path")

    def before_instantiate_classes(self) -> None:
        if not (self.runs or self.parsed):
            return
        refuse_remote_code(self.config[str(self.subcommand)].as_dict(), self.command.flags, self.command.configs)
        check_trainer(self._get(self.config, "trainer"))
        checked_strategy(self._get(self.config, "trainer.strategy"), some_uncompressed=False)
        self.evaluation = EvaluationOptions.of(str(self.subcommand), self.config[str(self.subcommand)])
        torch.set_float32_matmul_precision("high")
        options = self._get(self.config, "trainer")
        checkpoint = self._checkpoint()
        self.origin = Origin.of(self.command, self.initial, checkpoint)
        if options["precision"] is None:  # set here, so that the saved configuration says it
            own = best_precision(str(options["accelerator"])), "by what this machine has units for"
            options["precision"], why = self.origin.precision() or own
            rank_zero_info(f"trainer.precision is left open: {options['precision']}, {why}")
        self.lineage = self.origin.lineage(
            settings_of(self._get(self.config, "model").as_dict(), self._get(self.config, "data").as_dict()),
            str(options["precision"]),
            self._get(self.config, "seed_everything"),
        )

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        options = self._get(self.config_init, "trainer")
        curriculum = self._get(self.config_init, "curriculum")
        uncompressed = some_uncompressed(curriculum, getattr(self._get(self.config_init, "model"), "ratios", None))
        strategy = checked_strategy(options["strategy"], uncompressed and self.subcommand == "fit")
        if strategy != options["strategy"]:
            rank_zero_info(f"trainer.strategy: {strategy}, since a batch that is uncompressed leaves SSTs no gradient")
        options["strategy"] = strategy
        given = options["callbacks"] or []
        options["callbacks"] = given if isinstance(given, list) else [given]
        options["callbacks"].append(KeepHandlers(self.signals))
        plugins = options["plugins"] or []
        options["plugins"] = [*(plugins if isinstance(plugins, list) else [plugins]), WholeCheckpointIO()]
        if self.subcommand == "fit":
            options["callbacks"] += [curriculum] if curriculum is not None else []
            before = self.origin.before if self.origin.resumes else None
            options["callbacks"].append(LineageKeeper(self.lineage, before, self.command.force))
        has_bar = any(isinstance(callback, ProgressBar) for callback in options["callbacks"])
        if not sys.stdout.isatty() and not has_bar and options["enable_progress_bar"] is not False:
            options["callbacks"].append(ProgressLines())
        return super().instantiate_trainer(**kwargs)

    # The four commands

    def instantiate_classes(self) -> None:
        if self.runs or self.parsed:
            super().instantiate_classes()

    def _run_subcommand(self, subcommand: str) -> None:
        if self.runs:
            super()._run_subcommand(subcommand)
        self.parsed[self.command.stage] = self.config

    def _run(self, name: str, kwargs: dict[str, Any]) -> None:
        self._check_models()
        self.model.start_from(self.initial, self.initial and built_check(self.initial, self.command.force))
        checkpoint = self.trainer.checkpoint_callback
        if isinstance(checkpoint, BestAndLast):
            checkpoint.signals = self.signals
        with self.signals:
            getattr(self.trainer, name)(**kwargs, weights_only=True)

    def _check_models(self, not_yet: Collection[Path] = ()) -> None:
        """Raise where an encoder's or LLM's folder or hub name can't be found, before anything is made for them.

        not_yet: folders that an earlier stage of the experiment will make
        """
        for role in ("encoder", "llm"):
            part: Any = getattr(self.model.backbone, role)
            if hasattr(part, "name") and Path(part.name) not in not_yet:
                check_config(role, part.name, part.trust_remote_code)

    def parse(self, command: Command) -> None:
        """Parse another command of the same kind."""
        self.command = command
        self.parse_arguments(self.parser, command.argv())
        self.parsed[command.stage] = self.config

    def make_parts(self, command: Command) -> None:
        """Make the parts of a command that was parsed, without weights, and raise where what it names is missing."""
        self.command, self.config = command, self.parsed[command.stage]
        self.before_instantiate_classes()
        self.instantiate_classes()
        self._check_models(command.not_yet)
        self.datamodule.check(command.not_yet)

    def fit(self, **kwargs: Any) -> None:
        trainer: Any = self.trainer  # its type lacks what it is given
        if not trainer.fast_dev_run:
            own = self.origin.path is not None and self.command.run_folder.holds(self.origin.path)
            set_aside(self.command.run_folder, resumes=self.origin.resumes and own)
        try:
            self._run("fit", kwargs)
        except Stopped as stop:
            if self.trainer.is_global_zero:
                print(stopped_text(stop, self.command.run_folder.last), file=sys.stderr)
            raise SystemExit(as_rank(self.trainer, stop.status, agreed=stop.step is not None)) from stop

    def after_fit(self) -> None:
        """Write the best checkpoint's weights, which the next stage starts from."""
        trainer: Any = self.trainer  # its checkpoint callback is typed without the paths it has
        checkpoint = trainer.checkpoint_callback
        unfinished = None if trainer.fast_dev_run else unfinished_text(trainer, self.command.stage)
        if unfinished is not None:
            if trainer.is_global_zero:
                print(unfinished, file=sys.stderr)
            raise SystemExit(as_rank(trainer, UNFINISHED, agreed=True))
        if not trainer.is_global_zero or trainer.fast_dev_run:
            return
        best = best_checkpoint(checkpoint)
        if best is None:
            raise ConfigError(
                "fit ended without a checkpoint: let it validate at least once (trainer.val_check_interval)"
            )
        folder, stage = self.command.run_folder, self.command.stage
        state, notes = read_weights(best)
        save_weights(state, folder.weights, stage=stage, **notes)
        steps = read_checkpoint(best, mmap=True).get("global_step")
        print(f"{stage} is finished. Weights: {folder.weights}, of step {steps} of {trainer.global_step} ({best})")
        print(f"Curves: tensorboard --logdir {folder.config.parent}")

    def validate(self, **kwargs: Any) -> None:
        self._look_at(kwargs)
        self.evaluation.apply(self.model, self.datamodule, self.command.stage)
        self._run("validate", kwargs)

    def _look_at(self, kwargs: dict[str, Any]) -> None:
        """Refuse a checkpoint that can't be used before anything else is done."""
        if kwargs.get("ckpt_path") is not None:
            read_checkpoint(Path(kwargs["ckpt_path"]), mmap=True)

    def test(self, **kwargs: Any) -> None:
        self._predicting("test", kwargs)

    def predict(self, **kwargs: Any) -> None:
        self._predicting("predict", kwargs | {"return_predictions": False})

    def _predicting(self, name: str, kwargs: dict[str, Any]) -> None:
        self._look_at(kwargs)
        self.evaluation.apply(self.model, self.datamodule, self.command.stage)
        tag = weights_tag(kwargs.get("ckpt_path") or self.initial or "untrained")
        settings = self.evaluation.settings(self.model, self.datamodule) | {
            "weights": tag,
            "partition": str(self._get(self.config, "data.partition")),
            "transcript": str(self._get(self.config, "data.transcript")),
            "precision": str(self.trainer.precision),
            "lineage": self.lineage.plain(),
        }
        # Named after weights and settings: answers of another training, or to other questions, are in another file.
        self.jsonl = self.evaluation.predictions(self.model, self.command.folder / "predictions", tag, settings)
        rank, ranks = self.trainer.global_rank, self.trainer.world_size
        rank_zero_info(f"predictions: {self.jsonl}")
        with PredictionWriter(self.jsonl, settings, rank=rank, world_size=ranks) as writer:
            self.evaluation.write_to(self.model, writer)
            self._run(name, kwargs)

    def after_test(self) -> None:
        self.trainer.strategy.barrier()  # the report reads every rank's file
        if self.trainer.is_global_zero:
            print(write_scores(self.jsonl, self.command.folder, self.evaluation.report))
