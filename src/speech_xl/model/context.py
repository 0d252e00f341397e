"""How far an LLM's positions reach, and what is longer: refused where it is text, warned of once where it is audio."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from transformers import PretrainedConfig

MASK_ENTRIES = 1 << 29  # of a question's mask, rows x columns: some GB while attention runs


def context_of(config: PretrainedConfig) -> int | None:
    """Positions an LLM was made for, stretched RoPE included; None where its config doesn't say.

    ``max_position_embeddings``, or the length before stretching times its factor where that is more (YaRN's config
    names both, and leaves the first as it was).
    """
    most = getattr(config, "max_position_embeddings", None)
    if not isinstance(most, int):
        return None
    parameters = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    for one in (parameters, *(value for value in parameters.values() if isinstance(value, dict))):
        before, factor = one.get("original_max_position_embeddings"), one.get("factor")
        if before and factor:
            most = max(most, int(before * factor))
    return most


def check_question(llm: Any, tokens: int, kept: int = 0) -> None:
    """Refuse a question before its mask over `kept` tokens and itself takes all memory. Raises ValueError."""
    context = context_of(llm.model.config)
    if context is not None and tokens > context:
        raise ValueError(f"the question has {tokens:,} tokens; the LLM's context is {context:,}: ask a shorter one")
    if tokens * (kept + tokens) > MASK_ENTRIES:
        raise ValueError(
            f"the question has {tokens:,} tokens and {kept:,} are kept: their mask of {tokens * (kept + tokens):,} "
            "entries takes too much memory; ask a shorter one"
        )


def check_texts(llm: Any, ids: Sequence[str], lengths: Sequence[int]) -> None:
    """Refuse a training text of more tokens than the LLM's context; `ids` are the cuts'. Raises ValueError."""
    context = context_of(llm.model.config)
    for cut, length in zip(ids, lengths, strict=True):
        if context is not None and length > context:
            raise ValueError(
                f"cut {cut}: its questions and answers have {length:,} tokens; the LLM's context is {context:,}: "
                "shorten the text, split the session, or take it out"
            )


def warn_beyond_context(model: Any, positions: int, scheme: str) -> None:
    """Once per model, where `positions` are taken and the LLM was made for fewer."""
    context = context_of(model.llm.model.config)
    if context is None or positions <= context or getattr(model, "beyond_context", False):
        return
    model.beyond_context = True
    mend = "hear less at a time, or keep less (a higher ratio)"
    if scheme in ("original", "shared"):  # every frame takes a position
        mend = "train with model.sst.init_args.positions: compact, which counts what is kept, or hear less at a time"
    warnings.warn(
        f"{positions:,} positions are taken, and the LLM was made for {context:,}: what it answers beyond is not to be "
        f"trusted; {mend}",
        stacklevel=3,
    )
