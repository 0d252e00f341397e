"""AudioMarathon's compression settings by name: a method, the share of tokens that is removed, and a layer of the LLM.

"AudioMarathon Frame 0.5 at layer 2", as in tables, or AudioMarathon_Frame_0_5_at_layer_2, as on a command line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from speech_xl.evaluation.compressors.audiomarathon_eviction import PROMPT_PRESSES, PromptEviction
from speech_xl.evaluation.compressors.audiomarathon_pruning import AttentionPruning, FramePruning, RandomPruning
from speech_xl.evaluation.compressors.compressor import Compressor

SHARES = (0.1, 0.2, 0.4, 0.5, 0.6, 0.8)  # that the paper removes
PRUNINGS = {one.method: one for one in (FramePruning, RandomPruning, AttentionPruning)}
FORM = (
    f"AudioMarathon {'|'.join(PRUNINGS)} SHARE at layer LAYER, or AudioMarathon KV {'|'.join(PROMPT_PRESSES)} SHARE, "
    f"with a removed SHARE of {', '.join(map(str, SHARES))}"
)
_NAME = re.compile(r"audiomarathon_(?P<kv>kv_)?(?P<method>[a-z]+)_(?P<share>0_\d+)(?:_at_layer_(?P<layer>\d+))?")


def is_setting(name: str) -> bool:
    """Whether a name, as in tables or as on a command line, asks for one of these settings."""
    return _key(name).split("_")[0] == "audiomarathon"


def setting(name: str, key: str) -> tuple[str, Callable[[], Compressor], str | None]:
    """The name in tables of the setting that is asked for, what makes its compressor, and the extra that it needs.

    key: what the user gave the name to, for the message. Raises ValueError, which says the form, for another name.
    """
    found = _NAME.fullmatch(_key(name))
    wrong = ValueError(f"{key}: there is no compressor {name!r}; AudioMarathon's settings are {FORM}")
    if found is None or "-" in name or (share := float(found["share"].replace("_", "."))) not in SHARES:
        raise wrong
    methods = {one.lower(): one for one in (PROMPT_PRESSES if found["kv"] else PRUNINGS)}
    method = methods.get(found["method"])
    if method is None or (found["layer"] is None) != bool(found["kv"]):
        raise wrong
    if found["kv"]:
        return f"AudioMarathon KV {method} {share:g}", partial(PromptEviction, method, share), "baselines"
    layer, pruning = int(found["layer"]), PRUNINGS[method]
    if layer < pruning.lowest:
        raise ValueError(f"{key}: {name!r} looks at the layer below, so its layer is {pruning.lowest} or higher")
    return f"AudioMarathon {method} {share:g} at layer {layer}", partial(pruning, share, layer), None


def _key(name: str) -> str:
    return re.sub(r"\W+", "_", name.strip()).lower()
