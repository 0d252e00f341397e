"""Adapters, from encoder frames to speech frames: semantic (words), acoustic (voices), dual (both)."""

from speech_xl.model.adapters.acoustic import AcousticAdapter
from speech_xl.model.adapters.adapter import Adapted, Adapter, MultiLayerAdapter
from speech_xl.model.adapters.dual import DualAdapter
from speech_xl.model.adapters.semantic import SemanticAdapter

__all__ = ["AcousticAdapter", "Adapted", "Adapter", "DualAdapter", "MultiLayerAdapter", "SemanticAdapter"]
