"""Fingerprint: a short name for a set of tensors that changes with their names, shapes and values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

# Arguments that change how a part is found, run or trained, and not what its weights mean.
WITHOUT_MEANING = frozenset(
    [
        "name",
        "pretrained",
        "trust_remote_code",
        "revision",
        "loaded",
        "gradient_checkpointing",
        "attention",
        "dropout",
        "channel_dropout",
        "time_mask",
        "max_gap_seconds",
    ]
)
LATER = {"sst.carried_frames": 0}  # settings that earlier versions lacked, with what these did
# Of a pretrained model's config: how and by which release it is run, and what no answer depends on.
NOISE = frozenset(
    [
        "transformers_version",
        "dtype",
        "torch_dtype",
        "architectures",
        "use_cache",
        "id2label",
        "label2id",
        "return_dict",
    ]
)
SAMPLED = 1 << 14  # numbers of a tensor that are looked at


def fingerprint(tensors: Iterable[tuple[str, Tensor]], about: str = "") -> str:
    """16 hex digits of named tensors and of `about`.

    Of a large tensor `SAMPLED` numbers, evenly spread, are looked at: another training of the same model changes nearly
    all of them, and an LLM of any size is done in a second. The device makes no difference, the number format does.
    """
    digest = hashlib.sha256(about.encode())
    for name, tensor in sorted(tensors, key=lambda item: item[0]):
        flat = tensor.detach().reshape(-1)
        values = flat[:: max(1, flat.numel() // SAMPLED)].cpu()
        digest.update(f"{name} {list(tensor.shape)} {tensor.dtype}".encode())
        digest.update((values.double() if values.is_floating_point() else values.long()).contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def meaning(config: Any) -> Any:
    """A pretrained model's config as plain data, without `NOISE` and what says where it was loaded from."""
    config = config.to_dict() if hasattr(config, "to_dict") else config
    if isinstance(config, Mapping):
        kept = {str(key): value for key, value in config.items() if value is not None}
        return {key: meaning(value) for key, value in kept.items() if key not in NOISE and key[0] != "_"}
    return [meaning(value) for value in config] if isinstance(config, (list, tuple)) else config


def settings(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The plain attributes of a model's parts, by "part.attribute": all that its weights have a meaning with. A part
    that isn't there is None."""
    plain = (bool, int, float, str, list, tuple)
    return {
        f"{part}.{key}": value
        for part, module in parts.items()
        for key, value in sorted((vars(module) if module is not None else {}).items())
        if isinstance(value, plain)
        and key not in WITHOUT_MEANING
        and key != "training"
        and key[0] != "_"
        and (f"{part}.{key}", value) not in LATER.items()  # memories of earlier versions go on
    }


class KnownFingerprint:
    """`fingerprint`, reckoned again only where a tensor was replaced or written to, or `about` differs.

    A write through `Tensor.data` isn't noticed: torch doesn't count it. The tensors it has seen are held, so that none
    that replaces one can lie at its address.
    """

    def __init__(self) -> None:
        self.seen: tuple[str, list[tuple[str, int, int]]] | None = None
        self.held: list[Tensor] = []
        self.name = ""

    def __call__(self, tensors: Mapping[str, Tensor], about: str = "") -> str:
        counted = not any(tensor.is_inference() for tensor in tensors.values())  # these tell of no writes
        seen = (about, [(name, t.data_ptr(), t._version) for name, t in tensors.items()]) if counted else None
        if seen is None or seen != self.seen:
            self.name = fingerprint(tensors.items(), about)
            self.seen, self.held = seen, [tensor.detach() for tensor in tensors.values()] if counted else []
        return self.name
