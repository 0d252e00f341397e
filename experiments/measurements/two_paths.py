"""The two execution paths side by side, and ways to break them: for the exactness tests and their benchmark."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from experiments.random_models import speech
from speech_xl.model import SpeechLLM
from speech_xl.model.kv_memory import KVMemory
from speech_xl.model.layout import LayoutBatch
from speech_xl.model.positions import Kind
from speech_xl.model.prompt import IGNORE, Suffix
from speech_xl.model.speech import Ratios, Speech

FAMILIES = ["qwen2", "qwen3", "llama", "llama3", "yarn", "mistral", "smollm3", "gemma3", "olmo2", "granite"]
SCHEMES = ["original", "compact", "interpolated", "shared"]
# Mixed per interval and per row; uncompressed intervals; last ones shorter than their ratio; one to four intervals.
INTERVALS = [[6, 6, 5], [4, 3], [7, 2, 4, 1], [9]]
RATIOS = [[2, None, 8], [1, 4], [3, 16, None, 2], [4]]
TURNS = [
    [("transcribe", "ada"), ("who?", "bob")],
    [("how many people speak here, and in which order?", "two")],
    [("a", "b")],
    [("say", "yes it was so")],
]


CONTROLS = ["unpruned", "causal mask", "naive positions"]


def allowed(layout: LayoutBatch) -> Tensor:
    """The one-pass rule over plain keys, bool [B, 1, T, T]: what every other form of the mask has to agree with.

    ``k <= q and not padding(k) and (kind[k] != FRAME or interval[k] == interval[q])``, and padding sees itself. A
    carried frame is seen by the next interval too.
    """
    length, device = layout.kind.shape[1], layout.kind.device
    causal = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    same = layout.interval[:, :, None] == layout.interval[:, None, :]
    carried = (layout.kind == Kind.CARRIED)[:, None, :]
    following = carried & (layout.interval[:, :, None] == layout.interval[:, None, :] + 1)
    stays = (layout.kind != Kind.FRAME)[:, None, :] & ~carried
    mask = causal & (stays | same | following) & (layout.kind != Kind.PAD)[:, None, :]
    return (mask | torch.eye(length, dtype=torch.bool, device=device))[:, None]


def sample(device: torch.device | str = "cpu", dtype: torch.dtype = torch.float64) -> Speech:
    """The same speech on every device and, but for rounding, in every number format."""
    made = speech(*INTERVALS)
    return Speech(made.frames.to(device, dtype), made.lengths.to(device), made.intervals)


def streamed(model: SpeechLLM, heard: Speech, ratios: Ratios, asked: Sequence[Suffix]) -> Tensor:
    """Summed cross entropy by listening interval by interval, then reading the suffixes from the pruned memory."""
    memory = model.prefill(heard, ratios)
    return after(model, memory, asked)


def after(model: SpeechLLM, memory: KVMemory, asked: Sequence[Suffix]) -> Tensor:
    """Summed cross entropy of the suffixes, read behind a memory."""
    lengths, device = [len(suffix.ids) for suffix in asked], model.device
    ids = pad_sequence([torch.tensor(suffix.ids, device=device) for suffix in asked], batch_first=True)
    kind = torch.full_like(ids, Kind.PAD)
    labels = torch.full_like(ids, IGNORE)
    for row, suffix in enumerate(asked):
        kind[row, : lengths[row]] = Kind.SUFFIX
        labels[row, : lengths[row]] = torch.tensor(suffix.labels, device=device)
    position = memory.position[:, None] + torch.arange(ids.shape[1], device=device)
    hidden = model.decode(model.llm.embedding(ids), kind, position, memory.step_mask(kind), memory)
    logits = model.llm.logits(hidden[:, :-1])
    return cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORE, reduction="sum")


def gradients(model: SpeechLLM, heard: Speech, loss_of: Callable[[Speech], Tensor]) -> tuple[float, dict[str, Tensor]]:
    """Loss, and its gradient for every parameter that gets one and for the speech frames."""
    model.zero_grad(set_to_none=True)
    heard.frames = heard.frames.detach().requires_grad_(True)
    loss = loss_of(heard)
    loss.backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    for row, length in enumerate(heard.lengths.tolist()):
        grads[f"frames {row}"] = heard.frames.grad[row, :length].clone()
    return loss.item(), grads


@contextmanager
def broken(model: SpeechLLM, case: str) -> Iterator[None]:
    """Break one thing in one of the two paths: a control, or ``nothing``."""
    if case == "unpruned":
        prune = KVMemory.prune

        def keep_frames(self, kind, *turned):
            prune(self, kind.where(kind != Kind.FRAME, torch.tensor(int(Kind.UNCOMPRESSED))), *turned)

        with patch.object(KVMemory, "prune", keep_frames):
            yield
    elif case == "causal mask":
        layouts = model.layouts

        def uncompressed(*given):
            """Frames that are not forgotten: seen by all that follow."""
            made = layouts(*given)
            return [replace(one, kind=np.where(one.kind == Kind.FRAME, Kind.UNCOMPRESSED, one.kind)) for one in made]

        with patch.object(model, "layouts", uncompressed):
            yield
    elif case == "naive positions":
        prefill = model.prefill

        def packed(heard, ratios):
            memory = prefill(heard, ratios)
            packed = model.positions in ("compact", "interpolated")
            memory.position = heard.lengths.clone() if packed else memory.kept
            return memory

        with patch.object(model, "prefill", packed):
            yield
    else:
        assert case == "nothing"
        yield
