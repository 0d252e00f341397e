"""Tensors to tensors: encoder, adapter, LLM and Speech Summarization Tokens. Knows neither Lightning nor lhotse."""

from speech_xl.model.adapter import Adapter, PosteriorAdapter, SemanticAdapter
from speech_xl.model.encoder import Encoder, HFEncoder
from speech_xl.model.listener import Listener
from speech_xl.model.llm import LLM, Lora
from speech_xl.model.speech_llm import SpeechLLM
from speech_xl.model.sst import SSTs
from speech_xl.model.voice import AcousticAdapter, DualAdapter, VoiceAdapter

__all__ = [
    "LLM",
    "AcousticAdapter",
    "Adapter",
    "DualAdapter",
    "Encoder",
    "HFEncoder",
    "Listener",
    "Lora",
    "PosteriorAdapter",
    "SSTs",
    "SemanticAdapter",
    "SpeechLLM",
    "VoiceAdapter",
]
