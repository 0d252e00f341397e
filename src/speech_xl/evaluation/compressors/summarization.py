"""The suite's own way: SSTs, interleaved or appended as the model was trained."""

from speech_xl.evaluation.compressors.compressor import Compressor
from speech_xl.model import SpeechLLM
from speech_xl.model.kv_memory import KVMemory
from speech_xl.model.ratios import to_ratio
from speech_xl.model.speech import Speech

APPENDED = "SSTs appended"  # name in tables of SSTs that stand at the end of each interval


class Summarization(Compressor):
    """Speech Summarization Tokens (Speech-XL, arXiv 2602.05373)."""

    trained = True
    takes_rows = True

    def __init__(self, name: str = "SSTs") -> None:
        self.name = name

    def prefill(self, model: SpeechLLM, speech: Speech, ratio: int, instruction: str = "") -> KVMemory:
        return model.prefill(speech, speech.throughout(to_ratio(ratio)))
