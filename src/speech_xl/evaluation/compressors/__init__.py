"""Ways to keep less of long speech, behind one interface, all at the same number of kept KV tokens."""

from speech_xl.evaluation.compressors.compressor import Compressor, Uncompressed
from speech_xl.evaluation.compressors.eviction import PRESSES, Eviction
from speech_xl.evaluation.compressors.frame_reduction import (
    MeanPooled,
    RandomFrames,
    SimilarFrames,
    Truncation,
    UniformStride,
)
from speech_xl.evaluation.compressors.summarization import Summarization

__all__ = [
    "PRESSES",
    "Compressor",
    "Eviction",
    "MeanPooled",
    "RandomFrames",
    "SimilarFrames",
    "Summarization",
    "Truncation",
    "UniformStride",
    "Uncompressed",
]
