"""How the weights of a tiny LLM begin, and where they go: at random as a copier, from another LLM's or a stage's."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import nn

from experiments.tiny_models.pretraining import write_weights
from experiments.tiny_models.pseudo_frames import FRAME_RATE
from speech_xl.extensions.time_code import SHARE, time_code, with_time_code
from speech_xl.extensions.timestamps.monotonic import marks_of
from speech_xl.model import LLM
from speech_xl.model.sst import attention_modules
from speech_xl.phases.weights import load_strict, read_weights, save_weights
from speech_xl.run.configs import ConfigError
from speech_xl.run.run_folder import WEIGHTS

# Weights of queries and keys, for heads of 64 dimensions and a TimeCode of scale 2.
SHARP = 24.0  # of the time head: three frames get 60 % of its attention
APART = 2.5  # of the dimension that pushes time marks away from time marks there
ALIKE = 1.7  # of the content head
IS_MARK = 0  # dimension of embeddings that only time marks begin with


def marks(llm: LLM) -> tuple[float, float]:
    """Seconds that the tokenizer has time marks for, and from mark to mark."""
    known = marks_of(llm.prompt.tokenizer)[1].unique()
    step = float(known[-1] - known[-2])
    return round(float(known[-1]) + step, 3), round(step, 3)


def layers_without_rope(llm: LLM) -> list[int]:
    """The layers that find frames wherever they stand: every one whose queries and keys aren't turned."""
    return [number for number, rotary in enumerate(llm.model.config.no_rope_layers) if not rotary]


@torch.no_grad()
def start_copying(llm: LLM, rate: float = FRAME_RATE) -> None:
    """Random weights with which a time mark already looks at its frames, and a word that is looked at becomes likelier
    as the next token.

    In the layers without RoPE the value projection is orthogonal and the output projection its transpose, so a head
    adds what it looks at, in its share of the dimensions: the second twice as much as the first, the others a tenth.
    The second looks at frames by their time, the fourth at frames of the same word. Embeddings have an RMS of 1 and
    other output projections are small, so that the last layer still finds in a frame what it is and when. docs/log.md
    has what was tried (entry 33, and 2026-12-01). Structured starts like this are after Trockman and Kolter, "Mimetic
    Initialization of Self-Attention Layers" (arXiv 2305.09828).

    Raises ConfigError for an LLM whose heads are fewer than four, too small for the time code, or share keys.
    """
    without_rope, config = layers_without_rope(llm), llm.model.config
    size, heads = config.hidden_size // config.num_attention_heads, config.num_attention_heads
    if heads < 4 or size <= llm.width // SHARE or config.num_key_value_heads != heads or config.head_dim != size:
        raise ConfigError(
            f"config.json: {heads} heads and {config.num_key_value_heads} of keys, of {config.head_dim} dimensions, "
            f"for a width of {llm.width}; a tiny LLM has four to seven of each, of width / heads dimensions"
        )
    for name, weight in llm.model.named_parameters():
        if weight.dim() == 2:
            weight.normal_(0.0, 0.06)
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.mul_(0.025)
    llm.embedding.weight.normal_()
    llm.decoder.get_submodule("norm").get_parameter("weight").fill_(0.06)  # logits begin as for embeddings of that RMS
    scale = torch.full((config.hidden_size,), 0.1)
    scale[:size], scale[size : 2 * size] = 1.0, 2.0
    for layer in without_rope:
        attention = attention_modules(llm.decoder)[layer]
        values, output = attention.get_submodule("v_proj"), attention.get_submodule("o_proj")
        assert isinstance(values, nn.Linear) and isinstance(output, nn.Linear)
        nn.init.orthogonal_(values.weight)
        output.weight.copy_(values.weight.T * scale)
        queries, keys = attention.get_submodule("q_proj"), attention.get_submodule("k_proj")
        find_by_time(queries, keys, size)
        find_by_content(queries, keys, size)
    mark_seconds(llm, rate)


@torch.no_grad()
def find_by_time(queries: nn.Module, keys: nn.Module, size: int) -> None:
    """Let the second head, of `size` dimensions, look at the frames of the time that a token names.

    Its queries and keys are the time code alone: the shorter of its wavelengths, which tell seconds apart. The queries'
    code is that of a frame later, because a word goes on after its begin. Where the query is a time mark, keys of time
    marks are pushed away, or it would look at itself.
    """
    a_frame = time_code(2, queries.get_parameter("weight").shape[1])[1] / math.sqrt(2.0)  # sines, then cosines
    pairs = len(a_frame) // 2
    short = round(0.625 * pairs)
    strength = torch.tensor([(SHARP / short) ** 0.5] * short + [0.0] * (pairs - short))
    sin, cos = ((strength * turn).diag() for turn in a_frame.chunk(2))
    later = torch.cat([torch.cat([cos, sin], 1), torch.cat([-sin, cos], 1)])
    for projection, code, sign in ((queries, later, 1.0), (keys, strength.repeat(2).diag(), -1.0)):
        head = projection.get_parameter("weight")[size : 2 * size]
        head.zero_()
        head[: 2 * pairs, -2 * pairs :] = code
        head[2 * pairs, IS_MARK] = sign * APART


@torch.no_grad()
def find_by_content(queries: nn.Module, keys: nn.Module, size: int) -> None:
    """Let the fourth head, of `size` dimensions, look at the frames of the word that a token is: its queries and keys
    are one projection of everything but the time code. So a question finds where a name was said."""
    width = queries.get_parameter("weight").shape[1]
    content = torch.zeros(size, width)
    content[:, : -(width // SHARE)] = nn.init.orthogonal_(torch.empty(size, width - width // SHARE))
    for projection in (queries, keys):
        projection.get_parameter("weight")[3 * size : 4 * size] = ALIKE * content


@torch.no_grad()
def mark_seconds(llm: LLM, rate: float) -> None:
    """Embed time marks by the time code, and words away from it: a time is then copied like a word."""
    llm.embedding.weight[:, -llm.width // SHARE :] = 0.0
    llm.embedding.weight[:, IS_MARK] = 0.0
    place_marks(llm, rate)


@torch.no_grad()
def place_marks(llm: LLM, rate: float) -> None:
    """Every time mark's embedding is the mean code of the frames that it stands for, `rate` of them a second, as large
    as words are, and half as much in a dimension that no word begins with. Where a step holds no frame, the code is
    that of the frame before."""
    table = llm.embedding.weight
    size = table.norm(dim=1).mean()
    seconds, step = marks(llm)
    codes = time_code(round(seconds * rate), llm.width)
    times = torch.arange(len(codes)) / rate
    for mark, second in enumerate(marks_of(llm.prompt.tokenizer)[1].tolist()):
        if second >= 0:
            inside = (times > second - 1e-3) & (times < second + step - 1e-3)
            code = codes[inside].mean(0) if inside.any() else codes[int((times <= second).sum()) - 1]
            table[mark] = with_time_code(torch.zeros(llm.width), size * code / code.norm())
            table[mark, IS_MARK] = size / 2


@torch.no_grad()
def begin_as(llm: LLM, folder: Path, rate: float = FRAME_RATE) -> None:
    """Begin with the weights of another tiny LLM. Where the vocabularies differ, tokens that both have keep their
    embeddings, time marks are placed by the time code, other tokens get random ones: who can copy words from frames can
    copy any."""
    other = LLM(str(folder))
    other.build()
    known = other.prompt.tokenizer.get_vocab()
    if known == llm.prompt.tokenizer.get_vocab():  # it reads on, its marks included
        llm.model.load_state_dict(other.model.state_dict())
        return
    table, old = llm.embedding.weight, other.embedding.weight
    words = old[marks_of(other.prompt.tokenizer)[1] < 0, : -llm.width // SHARE]
    new = words.mean(0) + words.std(0) * torch.randn(len(table), words.shape[1])
    state = {n: w for n, w in other.model.state_dict().items() if w.shape != old.shape}
    llm.model.load_state_dict(state, strict=False)
    table.copy_(torch.cat([new, torch.zeros(len(table), llm.width // SHARE)], dim=1))
    for token, number in llm.prompt.tokenizer.get_vocab().items():
        if token in known:
            table[number] = old[known[token]]
    place_marks(llm, rate)  # last: at another rate the seconds are other frames


def begin_as_stage(llm: LLM, weights: Path) -> None:
    """Begin with the LLM of a stage's weights file, which must be of this one's shape and tokenizer."""
    state, _ = read_weights(weights)
    own = {name.removeprefix("llm."): value for name, value in state.items() if name.startswith("llm.")}
    load_strict(llm, own, {"model.lm_head.weight"}, str(weights))  # tied to the embeddings


def write(llm: LLM, folder: Path) -> None:
    """model.safetensors in float16, beside the config and the tokenizer that are there."""
    write_weights({n: w for n, w in llm.model.state_dict().items() if n != "lm_head.weight"}, folder)


def write_stage(llm: LLM, weights: Path, folder: Path) -> Path:
    """The stage's weights with `llm` in them, as weights.safetensors in `folder`: for --init_from."""
    state, notes = read_weights(weights)
    own = {f"llm.{name}": value for name, value in llm.state_dict().items()}
    save_weights(state | {name: own[name] for name in state if name in own}, folder / WEIGHTS, **notes)
    return folder / WEIGHTS
