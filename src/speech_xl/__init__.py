"""Speech-XL Suite: long-form speech for language models through Speech Summarization Tokens.

Importing it imports neither torch nor transformers. `SpeechXL` is there for the asking, and transformers' Auto classes
know its models from now on.
"""

from typing import TYPE_CHECKING, Any

from speech_xl.hub.registration import when_transformers_comes

if TYPE_CHECKING:
    from speech_xl.hub.config import SpeechXLConfig
    from speech_xl.hub.model import SpeechXL
    from speech_xl.hub.processor import SpeechXLProcessor

__version__ = "0.1.0"
__all__ = ["SAMPLE_RATE", "SHORTEST_SECONDS", "SpeechXL", "SpeechXLConfig", "SpeechXLProcessor", "__version__"]
SAMPLE_RATE = 16_000  # Hz, what every supported encoder listens at and every corpus is brought to
SHORTEST_SECONDS = 0.1  # of audio in an interval: a last window below it (rounding, a breath) joins the one before it
_LAZY = {"SpeechXL": "model", "SpeechXLConfig": "config", "SpeechXLProcessor": "processor"}


def __getattr__(name: str) -> Any:
    """The Hugging Face form's classes, imported when somebody asks for one."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"speech_xl.hub.{_LAZY[name]}"), name)


when_transformers_comes()
