"""Makes transformers' Auto classes know this package's model, without importing transformers before somebody does.

``import speech_xl`` calls `when_transformers_comes`. Config and processor are registered as soon as the modules that
hold their registers have been imported, before or after; the model itself, with torch and all, only once a config of
its type is there (`register_model`).

The finder below is what `wrapt.when_imported` does, in the few lines that are needed here: importing wrapt takes 64 ms
on every start of the command line, this takes none.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

PACKAGE = "speech_xl.hub"
AUTO = "transformers.models.auto"
MODELS = ("AutoModel", "AutoModelForMultimodalLM")  # the latter came with transformers 5


def when_transformers_comes() -> None:
    """Register now where transformers is there already, else when it is imported."""
    awaited = {f"{AUTO}.configuration_auto": "config", f"{AUTO}.processing_auto": "processor"}
    for name, module in list(awaited.items()):
        if name in sys.modules:
            del awaited[name]
            import_module(f"{PACKAGE}.{module}")
    if awaited:
        sys.meta_path.insert(0, _Awaiting(awaited))


class _Awaiting(MetaPathFinder):
    """Finds some modules as Python would, and imports one of ours, which registers itself, behind each.

    Where it was ours that imported theirs, it is half imported then, and is left to come to its end.
    """

    def __init__(self, awaited: dict[str, str]) -> None:
        self.awaited = awaited

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        ours = self.awaited.pop(fullname, None)
        spec = None if ours is None else PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def then(module: ModuleType) -> None:
            execute(module)
            import_module(f"{PACKAGE}.{ours}")

        spec.loader.exec_module = then  # of this module alone: every module has a loader of its own
        return spec


@cache
def register_model() -> None:
    """Register the model with every Auto class for it that this release of transformers has."""
    from speech_xl.hub.config import SpeechXLConfig
    from speech_xl.hub.model import SpeechXL

    auto = import_module(f"{AUTO}.modeling_auto")
    for name in MODELS:
        if (kind := getattr(auto, name, None)) is not None:
            kind.register(SpeechXLConfig, SpeechXL, exist_ok=True)
