"""Speech Summarization Tokens: one learned embedding and own q/k/v projections on any Hugging Face decoder.

The projections reach the model as hooks: a pre-hook on each ``self_attn`` takes ``sst_rows`` out of the keyword
arguments, and forward hooks on ``q_proj``, ``k_proj`` and ``v_proj`` replace the rows that belong to SSTs. No model
file is forked, the base model's state-dict keys stay as they are, and only SST rows pay for a second projection.
"""

import threading
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from speech_xl.checks import whole
from speech_xl.model.groups import Groups
from speech_xl.model.layout import Placement
from speech_xl.model.positions import POSITIONS, Scheme

PROJECTIONS = ("q_proj", "k_proj", "v_proj")
# Arguments of SSTs by the name of a form; "paper" is Speech-XL's own, whatever the defaults.
FORMS: dict[str, dict[str, Any]] = {
    "paper": {
        "projections": "full",
        "positions": "original",
        "placement": "interleaved",
        "start": "embedding",
        "carried_frames": 0,
    },
}


class LowRankDelta(nn.Module):
    """``x -> B A x``, with B zero at first, added to the base projection's own output."""

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(inputs, rank, bias=False)
        self.up = nn.Linear(rank, outputs, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x))


class SSTs(nn.Module):
    """The SST embedding [D] and, per decoder layer, the projections of SST rows.

    projections  ``full``: copies of the decoder's own projections; ``lora``: a zero-initialised low-rank delta.
                 Either way an untrained SST row is projected exactly as a text row.
    rank         rank of the ``lora`` deltas
    positions    where SSTs stand for RoPE once their interval is over: ``original``: where they were inserted;
                 ``compact``: packed to 0, 1, ..., so that audio of any length fits the LLM's context (Activation
                 Beacon); ``interpolated``: at integers from the start, with the frames between them; ``shared``: at
                 the position of the last frame that it stands for, so that SSTs take no positions of their own
    placement    ``interleaved``: an SST behind the frames it stands for; ``appended``: all of an interval's SSTs behind
                 all its frames (Activation Beacon measured 5.3 points less)
    start        what an SST's row is before the first layer. ``embedding``: the learned embedding, alike for all
                 (Speech-XL); ``mean``: the mean of the frames it stands for, and the embedding, zero at first, added.
                 Ours: an SST then begins as a pooled frame, and says something in the first layer's KV already
    carried_frames  the last frames of a compressed interval that the next one still sees, and nothing after it: words
                 are cut at borders. After the sliding window of UniGist (arXiv 2509.15763)

    The last layer has no SST q-projection: nothing reads what an SST row outputs there, so it would never be trained.
    Configurations may say `paper` in the place of these arguments (`named`).
    """

    def __init__(
        self,
        projections: Literal["full", "lora"] = "full",
        rank: int = 32,
        positions: Scheme = "original",
        placement: Placement = "interleaved",
        start: Literal["embedding", "mean"] = "embedding",
        carried_frames: int = 0,
    ) -> None:
        super().__init__()
        if projections not in ("full", "lora"):
            raise ValueError(f"sst.projections={projections!r}: choose 'full' or 'lora'")
        if positions not in POSITIONS:
            raise ValueError(f"sst.positions={positions!r}: choose one of {', '.join(POSITIONS)}")
        if placement not in get_args(Placement):
            raise ValueError(f"sst.placement={placement!r}: choose one of {', '.join(get_args(Placement))}")
        if start not in ("embedding", "mean"):
            raise ValueError(f"sst.start={start!r}: choose 'embedding' or 'mean'")
        self.projections, self.rank, self.start = projections, whole("sst.rank", rank, least=1), start
        self.positions: Scheme = positions
        self.placement: Placement = placement
        self.carried_frames = whole("sst.carried_frames", carried_frames)
        self.embedding = nn.Parameter(torch.empty(0))
        self.layers = nn.ModuleList()

    @classmethod
    def named(cls, form: Any) -> "SSTs":
        """SSTs of a form in `FORMS`: ``paper``, as in Speech-XL. Raises ValueError for another name."""
        return cls(**form_arguments(form))

    def build(self, decoder: nn.Module, text_embedding: nn.Embedding) -> None:
        """Initialise from the decoder as it is now (LoRA deltas included) and attach the hooks."""
        attentions = attention_modules(decoder)
        with torch.no_grad():
            first = text_embedding.weight.float().mean(0)
            self.embedding = nn.Parameter(first if self.start == "embedding" else torch.zeros_like(first))
        for number, attention in enumerate(attentions):
            names = PROJECTIONS if number < len(attentions) - 1 else PROJECTIONS[1:]
            layer = {name: self._projection(getattr(attention, name)) for name in names}
            self.layers.append(nn.ModuleDict(layer))
            _attach(attention, layer, replace=self.projections == "full")

    def rows(self, frames: Tensor, groups: Groups) -> Tensor:
        """Rows [S, D] of SSTs before the first layer, from the speech frames of all rows, end to end: [B * N, D]."""
        rows = self.embedding.to(frames.dtype).expand(len(groups.center), -1)
        return rows + groups.means(frames) if self.start == "mean" else rows

    def _projection(self, base: nn.Module) -> nn.Module:
        weight, bias = effective_linear(base)
        outputs, inputs = weight.shape
        if self.projections == "lora":
            return LowRankDelta(inputs, outputs, self.rank).to(weight.device)
        copy = nn.Linear(inputs, outputs, bias=bias is not None, device=weight.device, dtype=torch.float32)
        with torch.no_grad():
            copy.weight.copy_(weight)
            if bias is not None:
                copy.bias.copy_(bias)
        return copy


def form_arguments(form: Any) -> dict[str, Any]:
    """Arguments of SSTs of a form in `FORMS`. Raises ValueError for another name."""
    if form not in FORMS:
        raise ValueError(
            f"model.sst: got {form!r}; give {' or '.join(FORMS)}, for SSTs as in Speech-XL, or SSTs' own arguments, "
            "such as {projections: full}"
        )
    return FORMS[form]


def attention_modules(decoder: nn.Module) -> list[nn.Module]:
    """The decoder's self-attention modules, in layer order.

    Raises ValueError where a model has no separate q/k/v projections (fused, latent or linear attention).
    """
    found = [m for name, m in decoder.named_modules() if name.endswith("self_attn") or name.endswith(".attention")]
    found = [m for m in found if all(hasattr(m, name) for name in PROJECTIONS)]
    if not found or len(found) != decoder.config.num_hidden_layers:
        raise ValueError(
            f"{type(decoder).__name__}: {len(found)} of {decoder.config.num_hidden_layers} layers have separate "
            "q_proj, k_proj and v_proj. SSTs need them in every layer; fused, latent (MLA) and linear attention "
            "aren't supported."
        )
    return found


def effective_linear(module: Any) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a linear layer in float32, peft's LoRA delta merged in where there is one."""
    base = module.get_base_layer() if hasattr(module, "get_base_layer") else module
    weight = base.weight.detach().float()
    if base is not module:
        for adapter in module.active_adapters:
            weight = weight + module.get_delta_weight(adapter).float()
    bias = getattr(base, "bias", None)
    return weight, None if bias is None else bias.detach().float()


class _Rows(threading.local):
    """Holds one forward call's SST rows between the attention's pre-hook and its projections; of each thread its own,
    so that a server may hear and answer at once."""

    rows: Tensor | None = None


def _attach(attention: nn.Module, layer: dict[str, nn.Module], replace: bool) -> None:
    state = _Rows()

    def take_rows(_module, args, kwargs):
        # A pre-hook runs again when gradient checkpointing recomputes the layer, so the rows are always this call's.
        state.rows = kwargs.pop("sst_rows", None)
        return args, kwargs

    def project(projection: nn.Module):
        def hook(_module, args, output: Tensor) -> Tensor:
            if state.rows is None or not len(state.rows):
                return output
            flat = output.reshape(-1, output.shape[-1])
            rows = args[0].reshape(-1, args[0].shape[-1])[state.rows]
            if not torch.is_autocast_enabled(rows.device.type):  # which would see to it: these weights are float32
                rows = rows.to(next(projection.parameters()).dtype)
            new = projection(rows).to(output.dtype)
            change = flat.index_copy if replace else flat.index_add
            return change(0, state.rows, new).view(output.shape)

        return hook

    attention.register_forward_pre_hook(take_rows, with_kwargs=True)
    for name, projection in layer.items():
        getattr(attention, name).register_forward_hook(project(projection))
