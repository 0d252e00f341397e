"""Two processes train as one that accumulates two batches; the strategies that a user may name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.drills.checkpoints import checkpoint, farthest
from experiments.drills.kill_cases import curriculum
from experiments.drills.rows import Row
from experiments.drills.runs import EVERY_STEP, NO_VALIDATION, Finished, Setup, flat_start

TWO = ("--trainer.devices", "2", "--trainer.strategy", "ddp_find_unused_parameters_true")
# Plain steps, whose size is that of the gradient.
SGD = (
    *("--model.optimizer", "SGD"),
    *("--model.init_args.scheduler", "constant"),
    *("--trainer.gradient_clip_val", "null"),
)
NEAR = 1e-5  # largest difference of weights, relative
RATE = 1e-3
PARTS = {"stage1": ("adapter.*",), "stage2": ("adapter.*", "llm.*"), "stage3": ("sst.*", "adapter.*", "llm.*")}
EVALUATION = {"eval_max_duration": 25.0, "limit_dev": None}
RISING = curriculum("step", (0, [1, 2]), (3, [2, 4]))
MODULE = "lightning.pytorch.strategies.ModelParallelStrategy"
QUICK = (*NO_VALIDATION, *EVERY_STEP)


def setup(place: Path, name: str, stage: str, steps: int = 4, validate: int = 100, **options: Any) -> Setup:
    """A run without warm-up, and with dev sessions one to three a batch."""
    model = {"warmup_steps": 0} | ({"eval_ratios": [1, 4]} if stage == "stage3" else {}) | options.pop("model", {})
    schedule = options.pop("schedule", RISING)
    top = {"curriculum": schedule} if stage == "stage3" else None
    data = EVALUATION | options.pop("data", {})
    return Setup(place, name, stage, steps, validate, model=model, data=data, top=top, **options)


def fitted(run: Setup, *flags: str) -> Finished:
    run.clear()
    return run.run(*flags)


def training(place: Path) -> Iterator[Row]:
    """Three steps of each stage. One bucket: with more, both ranks' batches of a step are drawn from one of them."""
    for stage, parts in PARTS.items():
        case = f"training: {stage} as one process that accumulates"
        model = {"trainable": dict.fromkeys(parts, RATE)} | (flat_start(2) if stage == "stage1" else {})
        one, two = (
            setup(place, f"{name}_{stage}", stage, 3, data={"num_buckets": 1}, model=model) for name in ("one", "two")
        )
        alone = fitted(one, *QUICK, *SGD, "--trainer.accumulate_grad_batches", "2")
        together = fitted(two, *QUICK, *SGD, *TWO)
        failed = next((done for done in (alone, together) if done.status), None)
        if failed:
            yield Row(case, False, "failed", failed.message)
            continue
        distance = farthest(checkpoint(two.folder)["state_dict"], checkpoint(one.folder)["state_dict"])
        message = f"largest relative difference of weights {distance:.2g}"
        yield Row(case, distance < NEAR, "equal" if distance < NEAR else "differs", message, {"difference": distance})


def epoch_end(place: Path) -> Iterator[Row]:
    """Nine steps over an epoch's end with an uneven number of batches."""
    run = setup(place, "epochs", "stage2", 9)
    done = fitted(run, *QUICK, *TWO)
    batches = [event for rank in (0, 1) for event in run.events("batch", rank)]
    first = [name for event in batches if event["epoch"] == 0 for name in event["ids"]]
    twice = sorted({name for name in first if first.count(name) > 1})
    good = done.status == 0 and len(first) > 0 and not twice and any(event["epoch"] for event in batches)
    message = f"{len(first)} sessions in the first epoch, twice: {twice}" if done.status == 0 else done.message
    yield Row("training: an epoch's uneven end, each session once", good, "passed" if good else "failed", message)


def strategies(place: Path) -> Iterator[Row]:
    """A strategy trains, or is refused by a message before it trains."""
    for stage in PARTS:
        yield strategy(place, f"ddp, {stage}", stage, "ddp")
    begins = curriculum("step", (0, [1]), (4, [2]))  # SSTs get no gradient at first
    yield strategy(place, "ddp, a curriculum that begins uncompressed", "stage3", "ddp", begins)
    for name in ("ddp_spawn", "fsdp", MODULE):
        yield strategy(place, name.split(".")[-1], "stage2", name)


def strategy(place: Path, case: str, stage: str, name: str, schedule: dict[str, Any] = RISING) -> Row:
    run = setup(place, f"strategy_{name.split('.')[-1]}_{stage}", stage, 6, schedule=schedule)
    done = fitted(run, *QUICK, "--trainer.devices", "2", "--trainer.strategy", name)
    trained = bool(run.events("batch"))
    good = done.status == 0 or (done.refused and not trained and name.split(".")[-1] in done.message)
    outcome = "trained" if done.status == 0 else "refused" if done.refused and not trained else "failed"
    return Row(f"strategy: {case}", good, outcome, done.message if done.status else "", {"status": done.status})
