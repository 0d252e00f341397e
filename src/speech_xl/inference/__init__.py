"""Use a loaded model: it listens, remembers, answers and transcribes."""

from speech_xl.inference.answers import Answer, AnswerStream
from speech_xl.inference.audio_input import NamedAudio
from speech_xl.inference.memory import HeardInterval, Memory
from speech_xl.inference.model import ListeningModel, load_stage
from speech_xl.inference.segments import Segment
from speech_xl.inference.transcription import Transcriber, Transcription

__all__ = [
    "Answer",
    "AnswerStream",
    "HeardInterval",
    "ListeningModel",
    "Memory",
    "NamedAudio",
    "Segment",
    "Transcriber",
    "Transcription",
    "load_stage",
]
