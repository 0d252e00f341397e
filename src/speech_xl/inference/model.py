"""ListeningModel: a trained model that hears audio, remembers it and answers; `load_stage` loads one of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import overload

from speech_xl.data.decode import AudioError
from speech_xl.data.transcript import ASR_INSTRUCTION, Transcript
from speech_xl.inference.audio_input import Audio, Progress
from speech_xl.inference.batch import hear_together
from speech_xl.inference.memory import Memory
from speech_xl.inference.transcription import Transcriber, Transcription
from speech_xl.model import Listener, SpeechLLM
from speech_xl.run.trained_stage import TrainedStage

DEFAULT_RATIO = 4  # of a model with SSTs
ANSWER_TOKENS = 512  # an answer may have, but for transcripts


class ListeningModel:
    """Base type: what can listen. A subclass sets the attributes.

    backbone          encoder, adapter, LLM and SSTs, ready to listen
    transcript        how it writes transcripts, and what asks for one
    interval_seconds  length of the intervals it was trained with
    default_ratio     of a new memory: 4, and 1 (uncompressed) without SSTs
    name              for people
    """

    backbone: SpeechLLM
    transcript: Transcript
    interval_seconds: float
    default_ratio: int
    name: str

    @overload
    def listen(
        self,
        audio: Audio | None = None,
        *,
        rate: float | None = None,
        ratio: int | None = None,
        interval_seconds: float | None = None,
        progress: Progress | None = None,
    ) -> Memory: ...

    @overload
    def listen(
        self,
        audio: list[Audio],
        *,
        rate: float | None = None,
        ratio: int | None = None,
        interval_seconds: float | None = None,
        progress: Progress | None = None,
    ) -> list[Memory]: ...

    def listen(
        self,
        audio: Audio | list[Audio] | None = None,
        *,
        rate: float | None = None,
        ratio: int | None = None,
        interval_seconds: float | None = None,
        progress: Progress | None = None,
    ) -> Memory | list[Memory]:
        """A memory that has heard this audio, and goes on listening; of a list one each, heard as one batch.

        audio             a path, the bytes of a file, an array or tensor [samples] or [channels, samples]; None:
                          nothing yet (`Memory.push`)
        rate              samples a second of an array, in Hz
        ratio             speech frames that one SST stands for, 1: uncompressed; None: the model's `default_ratio`
        interval_seconds  length of an interval; None: as in training
        progress          called with the seconds heard and how many there are, None of an array

        Raises AudioError where a file is missing, damaged or no audio, and ValueError where another value can't be
        used.
        """
        ratio = self.default_ratio if ratio is None else ratio
        interval = self.interval_seconds if interval_seconds is None else interval_seconds
        if isinstance(audio, (list, tuple)):
            return self._listen_to_all(audio, rate, ratio, interval, progress)
        memory = Memory(self, Listener(self.backbone, ratio, interval))
        if audio is not None:
            memory.push(audio, rate, progress)
            if not memory.seconds and not memory.intake.taken:
                raise AudioError("the audio given has 0 samples; leave it out")
        return memory

    def _listen_to_all(
        self, audio: Sequence[Audio], rate: float | None, ratio: int, interval: float, progress: Progress | None
    ) -> list[Memory]:
        if not audio:
            raise ValueError("audio: the list is empty; give one file at least")
        listeners = [Listener(self.backbone, ratio, interval) for _ in audio]
        hear_together(listeners, audio, rate, progress)
        return [Memory(self, listener) for listener in listeners]

    def transcribe(
        self,
        audio: Audio,
        *,
        rate: float | None = None,
        ratio: int | None = None,
        part_seconds: float | None = None,
        progress: Progress | None = None,
    ) -> Transcription:
        """What is said in audio of any length, as text and segments with times (`Transcriber`).

        audio         a path, the bytes of a file, an array or tensor [samples] or [channels, samples]
        rate          samples a second of an array, in Hz
        ratio         speech frames that one SST stands for, 1: uncompressed; None: the model's `default_ratio`
        part_seconds  longest part; None: as long as the LLM's context and its timestamps allow
        progress      called with the seconds heard and how many there are

        Raises as `listen` does.
        """
        transcriber = Transcriber(self, ratio, part_seconds)
        transcriber.push(audio, rate, progress)
        transcriber.finish()
        return transcriber.transcription

    def load_memory(self, path: str | Path) -> Memory:
        """The memory that `Memory.save` wrote, going on where it was.

        Raises MemoryFileError where the file is no memory, of another version, or of other weights or settings than
        this model's, and TensorFileError where it is damaged.
        """
        return Memory.load(path, self)

    def answer_limit(self, question: str, seconds: float) -> int:
        """Tokens that an answer about so much audio may have: a transcript, or a window of it, as many as in
        evaluation."""
        if (span := self.transcript.span_of(question)) is not None:
            return min(self.backbone.decoding.window_limit(span), self.backbone.decoding.limit("asr", seconds))
        if question not in (ASR_INSTRUCTION, self.transcript.instruction):
            return ANSWER_TOKENS
        return self.backbone.decoding.limit("asr", seconds)


class StageModel(ListeningModel):
    """A stage of a training run, or one that was exported (`load_stage`)."""

    def __init__(self, stage: TrainedStage, device: str = "cpu") -> None:
        self.backbone = stage.model(device)
        self.transcript, self.interval_seconds = stage.transcript, stage.interval_seconds
        self.default_ratio = stage.default_ratio or default_ratio(self.backbone)
        self.name = stage.folder.resolve().name


def default_ratio(backbone: SpeechLLM) -> int:
    """Of a model of which nothing else is said."""
    return 1 if backbone.sst is None else DEFAULT_RATIO


def load_stage(
    folder: str | Path, device: str = "cpu", trust_remote_code: bool = False, force: bool = False
) -> ListeningModel:
    """A finished stage, ready to listen; `folder` is its own, such as ``runs/default/stage3``.

    device             a device by torch's name, such as cpu or cuda:1
    trust_remote_code  run code that comes with its encoder or LLM; nothing in the folder can ask for that by itself
    force              use the weights even where the configuration isn't the one they were trained with

    Raises ConfigError where the folder holds no finished stage, or names classes that aren't of this package, and
    LineageError where its weights were trained with other settings or models.
    """
    return StageModel(TrainedStage.of(folder, trust_remote_code, force), device)
