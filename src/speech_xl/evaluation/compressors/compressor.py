"""The interface: speech of one session and a ratio in, a KV memory out that `SpeechLLM.generate` asks."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from transformers import LogitsProcessor

from speech_xl.model import SpeechLLM
from speech_xl.model.kv_memory import KVMemory
from speech_xl.model.layout import View
from speech_xl.model.speech import GeneratedText, Speech


def budget(intervals: Sequence[int], ratio: int) -> int:
    """KV tokens of audio that may be kept: ``ceil(frames / ratio)`` an interval, as many as there would be SSTs."""
    return sum(-(-length // ratio) for length in intervals)


class Compressor(ABC):
    """One way to hear a session.

    name            in tables
    streams         whether it can listen to a live source, holding no more than an interval beside what it keeps
    needs_question  whether it must know the question while it listens, so that another one needs listening anew
    trained         whether the model has to be trained for it
    takes_rows      whether it hears several sessions at once, each as it would alone
    compresses      whether it keeps less at higher ratios
    """

    name: str
    streams = True
    needs_question = False
    trained = False
    takes_rows = False
    compresses = True

    @abstractmethod
    def prefill(self, model: SpeechLLM, speech: Speech, ratio: int, instruction: str = "") -> KVMemory:
        """Hear the row of `speech`, or all where it `takes_rows`, and keep the prefix and `budget` KV tokens of each.

        instruction: the question, for those that need it; the others don't look at it.
        """

    def generate(
        self,
        model: SpeechLLM,
        memory: KVMemory,
        instructions: Sequence[str],
        limits: Sequence[int],
        rules: Sequence[LogitsProcessor] = (),
        rows: Sequence[int] | None = None,
        views: Sequence[View | None] = (),
    ) -> list[GeneratedText]:
        """Greedy answers from what was kept, as `SpeechLLM.generate` gives them; the memory is left as it was.

        rows: which row each question goes to; all go to the first where they are left out. views: first and last
        interval that each sees; without them, and where a compressor doesn't keep intervals apart, all.
        """
        with self.generating(model, memory):
            return model.generate(memory, rows or [0] * len(instructions), instructions, limits, rules, views=views)

    def generating(self, model: SpeechLLM, memory: KVMemory) -> AbstractContextManager[None]:
        """What has to hold while the model answers from this memory: nothing, for most."""
        return nullcontext()


class Uncompressed(Compressor):
    """All frames' KV is kept, whatever the ratio."""

    name = "full KV"
    takes_rows = True
    compresses = False

    def prefill(self, model: SpeechLLM, speech: Speech, ratio: int, instruction: str = "") -> KVMemory:
        return uncompressed(model, speech)


def uncompressed(model: SpeechLLM, speech: Speech) -> KVMemory:
    """Every frame the LLM is given stays."""
    return model.prefill(speech, speech.throughout(None))
