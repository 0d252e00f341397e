"""What trains: parameters chosen by name patterns, each pattern with its learning rate."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from speech_xl.checks import number

TRAINED_PARTS = ("encoder", "adapter", "frame_code", "llm", "sst", "extensions")  # that names of parameters begin with
SHOWN = 4  # names of parameters in a warning
FROZEN_BY_MODEL = "frozen_by_model"  # marks a parameter that its own model keeps fixed, such as Whisper's sinusoids


def check_learning_rates(patterns: Mapping[str, float]) -> dict[str, float]:
    """Name pattern -> learning rate as it is. Raises ValueError where there is no pattern, or a rate that is none."""
    if not patterns:
        raise ValueError(
            "model.trainable: got {}, which trains nothing; give name patterns with learning rates, such as "
            '{"adapter.*": 1.0e-3}'
        )
    for pattern in patterns:
        if not any(fnmatchcase(part, pattern.partition(".")[0]) for part in TRAINED_PARTS):
            raise ValueError(
                f"model.trainable: the pattern {pattern!r} begins with no part of the model; these are "
                f"{', '.join(TRAINED_PARTS)}"
            )
    return {pattern: number(f"model.trainable[{pattern!r}]", rate, least=0) for pattern, rate in patterns.items()}


def select_trainable(module: nn.Module, patterns: Mapping[str, float]) -> list[dict[str, Any]]:
    """Freeze everything, then unfreeze by pattern; returns optimizer groups ``{params, lr, name}``.

    Patterns are shell-style (``adapter.*``, ``llm.*lora_*``) over parameter names without a leading ``backbone.``; the
    first that matches a parameter gives its learning rate. What a model or peft keeps fixed by itself (Whisper's
    sinusoids, the weights under a LoRA delta) stays fixed. Raises ValueError where a pattern matches nothing that can
    train, because a misspelt pattern would otherwise freeze in silence.
    """
    groups: dict[str, list[nn.Parameter]] = {pattern: [] for pattern in patterns}
    matched: set[str] = set()
    names = []
    for full, parameter in module.named_parameters():
        name = full.removeprefix("backbone.")
        names.append(name)
        fixed = getattr(parameter, FROZEN_BY_MODEL, False)
        hits = [] if fixed else [pattern for pattern in patterns if fnmatchcase(name, pattern)]
        matched.update(hits)
        parameter.requires_grad_(bool(hits))
        if hits:
            groups[hits[0]].append(parameter)
    for pattern in patterns:
        if pattern not in matched:
            tops = sorted({".".join(name.split(".")[:2]) for name in names})
            raise ValueError(
                f"trainable: the pattern {pattern!r} matches no parameter that can train. "
                f"Names begin with: {', '.join(tops[:20])}"
            )
    return [{"params": params, "lr": patterns[name], "name": name} for name, params in groups.items() if params]


def rounded_away(module: nn.Module) -> str | None:
    """A warning that names the parameters that train in less than float32, or None.

    AdamW moves a weight by about the learning rate. bfloat16 has 8 bits: of a weight of 0.02 a step of 2.5e-5 is less
    than half of the last one, and the weight stays where it is.
    """
    coarse = [
        (name.removeprefix("backbone."), str(parameter.dtype).removeprefix("torch."))
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and torch.finfo(parameter.dtype).bits < 32
    ]
    if not coarse:
        return None
    names = ", ".join(name for name, _ in coarse[:SHOWN]) + (", ..." if len(coarse) > SHOWN else "")
    return (
        f"{len(coarse)} parameters train in {' and '.join(sorted({dtype for _, dtype in coarse}))}, where small steps "
        f"round to none: {names}. Set model.llm.init_args.dtype to float32 and trainer.precision to bf16-mixed, or "
        "train the LLM by its LoRA alone"
    )
