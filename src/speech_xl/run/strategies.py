"""Which of Lightning's strategies work here: those that are tested. Every other is refused before anything is built."""

from __future__ import annotations

from typing import Any

from speech_xl.run.command import ConfigError

DDP, DDP_UNUSED = "ddp", "ddp_find_unused_parameters_true"
TESTED = ("auto", "single_device", DDP, DDP_UNUSED)
CLASSES = ("SingleDeviceStrategy", "DDPStrategy")


def checked_strategy(strategy: Any, some_uncompressed: bool) -> Any:
    """The value of trainer.strategy to use: as it is, or `ddp` with unused parameters allowed where there will be some.

    some_uncompressed: whether a batch may be wholly uncompressed, which leaves SSTs without a gradient; plain ddp would
    wait for it and end in an error.

    Raises ConfigError for a strategy that isn't tested.
    """
    path = strategy if isinstance(strategy, str) else getattr(strategy, "class_path", type(strategy).__name__)
    if path not in TESTED and path.rpartition(".")[2] not in CLASSES:
        raise ConfigError(
            f"trainer.strategy={path}: not tested here, so it is refused. Use {', '.join(TESTED)}; several devices "
            f"train with {DDP}"
        )
    return DDP_UNUSED if strategy == DDP and some_uncompressed else strategy


def some_uncompressed(curriculum: Any, ratios: Any) -> bool:
    """Whether the ratio 1 is drawn from, in a stage of the curriculum or, without one, in the phase's own ratios."""
    stages = getattr(curriculum, "schedule", None)
    drawn = [stage.ratios for stage in stages] if stages else [ratios or ()]
    return any(1 in one for one in drawn)
