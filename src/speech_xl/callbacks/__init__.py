"""Lightning callbacks: the ratio curriculum, memory, throughput and samples, each in TensorBoard."""

from speech_xl.callbacks.curriculum import RatioCurriculum, RatioStage
from speech_xl.callbacks.memory_monitor import MemoryMonitor
from speech_xl.callbacks.samples import Samples
from speech_xl.callbacks.throughput import Throughput

__all__ = ["MemoryMonitor", "RatioCurriculum", "RatioStage", "Samples", "Throughput"]
