"""Tensors to tensors: encoder, adapter, LLM and Speech Summarization Tokens. Knows neither Lightning nor lhotse."""

from speech_xl.model.adapters import AcousticAdapter, Adapter, DualAdapter, SemanticAdapter
from speech_xl.model.encoder import Encoder, HFEncoder
from speech_xl.model.frame_code import FrameCode
from speech_xl.model.listener import Listener
from speech_xl.model.llm import LLM, Lora
from speech_xl.model.speech_llm import SpeechLLM
from speech_xl.model.sst import SSTs

__all__ = [
    "LLM",
    "AcousticAdapter",
    "Adapter",
    "DualAdapter",
    "Encoder",
    "FrameCode",
    "HFEncoder",
    "Listener",
    "Lora",
    "SSTs",
    "SemanticAdapter",
    "SpeechLLM",
]
