"""Listening for hours: audio goes in as it comes, questions are answered from what was kept.

listener = Listener(model, ratio=4)
for piece in microphone:
    listener.push(piece)
print(listener.ask("what number did anna give").text)
"""

import json
from copy import copy
from math import inf
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from speech_xl import SAMPLE_RATE, SHORTEST_SECONDS
from speech_xl.model.memory import KVMemory
from speech_xl.model.ratios import check_ratios, to_ratio
from speech_xl.model.speech import Answer
from speech_xl.model.speech_llm import SpeechLLM
from speech_xl.model.stream import FrameStream

SAVED = ("ratio", "interval_seconds", "frames", "seconds", "origin", "windows", "ended")
TICK = 1e-6  # seconds: a last window as long as the shortest may fall short of it by rounding


class Listener:
    """One stream into one memory.

    model             a backbone, as `load_model` gives it
    ratio             frames an SST stands for, 1 for uncompressed; may be set anew at any time, and holds for the
                      intervals that are heard from then on
    interval_seconds  length of an interval; `end_interval` ends one earlier

    What `push` has taken and what `ask` answers is the same as if all the audio had come at once, cut by the partition
    `FixedWindows`: an interval is heard once enough follows that its window can't be the last.
    """

    def __init__(self, model: SpeechLLM, ratio: int = 4, interval_seconds: float = 4.0) -> None:
        if interval_seconds <= 0:
            raise ValueError(f"interval_seconds={interval_seconds}: must be positive")
        self.model, self.ratio, self.interval_seconds = model, ratio, interval_seconds
        with torch.no_grad():
            self.memory = model.start(1)
        self.stream = FrameStream(model)
        self.waiting = torch.zeros(0, model.llm.width, device=model.device)  # [N, D], frames of the open interval
        self.frames = 0  # speech frames in ended intervals
        self.seconds = 0.0  # of audio taken
        self.origin, self.windows = 0.0, 0  # seconds from which windows count, and how many of them were heard
        self.ended = False  # whether the audio is

    @property
    def ratio(self) -> int:
        return self._ratio

    @ratio.setter
    def ratio(self, ratio: int) -> None:
        (self._ratio,) = check_ratios([ratio], "ratio")
        if ratio > 1:
            self.model.check_ratios([[ratio]])

    @property
    def kept(self) -> int:
        """KV tokens of audio in memory: SSTs, and frames of uncompressed intervals."""
        return int(self.memory.kept[0]) - len(self.model.llm.prompt.prefix)

    def push(self, audio: Tensor) -> None:
        """Hear audio [S], float32 at 16 kHz, mono. Raises ValueError for another shape, or after `flush`."""
        if audio.dim() != 1:
            raise ValueError(f"audio of shape {list(audio.shape)}: give one channel, [samples] at {SAMPLE_RATE} Hz")
        self._check_open()
        self.seconds += len(audio) / SAMPLE_RATE
        self._take(self.stream.push(audio))

    def push_frames(self, frames: Tensor) -> None:
        """Hear speech frames [N, D] as the adapter makes them, for a source that has an encoder of its own: nothing is
        held back. Raises ValueError after `flush`."""
        self._check_open()
        self._take(frames)

    def end_interval(self) -> None:
        """End the open interval here, where somebody pauses, say; the next one begins with what follows."""
        self._hear_windows(inf)
        self._hear(len(self.waiting))
        self.origin, self.windows = self.frames / self.model.frame_rate, 0

    def flush(self) -> None:
        """The audio has ended: hear what was held back, in a last interval that may be short."""
        if not self.ended:
            self._take(self.stream.flush())
            self._hear(len(self.waiting))
            self.ended = True

    def _check_open(self) -> None:
        if self.ended:
            raise ValueError("the audio has ended (flush): fork a listener before, and push to the fork")

    @torch.no_grad()
    def _take(self, frames: Tensor) -> None:
        self.waiting = torch.cat([self.waiting, frames.to(self.waiting)])
        self._hear_windows(self.seconds - SHORTEST_SECONDS + TICK if self.seconds else inf)

    def _hear_windows(self, last: float) -> None:
        """Hear every window that ends at `last` seconds or before, as far as its frames are there."""
        while (ends := self.origin + self.interval_seconds * (self.windows + 1)) <= last:
            length = round(ends * self.model.frame_rate) - self.frames
            if length > len(self.waiting):
                return
            self._hear(length)
            self.windows += 1

    @torch.no_grad()
    def _hear(self, length: int) -> None:
        """The next `length` frames are an interval."""
        if length:
            self.model.hear(self.memory, self.waiting[None, :length], [length], [to_ratio(self.ratio)])
            self.waiting, self.frames = self.waiting[length:], self.frames + length

    def ask(self, instruction: str, limit: int = 512) -> Answer:
        """Answer from what was heard so far, the open interval included; listening goes on as if nobody had asked.

        limit: most tokens of the answer. Raises ValueError where nothing was heard yet.
        """
        now = self.fork()
        now.flush()
        if not now.frames:
            raise ValueError("nothing was heard yet: push audio before asking")
        seconds = now.seconds or now.frames / self.model.frame_rate  # it may have been given frames alone
        rules = self.model.rules([instruction], [seconds]) if self.model.rules else []
        return self.model.answer(now.memory, [0], [instruction], [limit], rules)[0]

    def fork(self) -> "Listener":
        """A listener who remembers the same and goes on alone."""
        other = copy(self)
        other.memory, other.stream = self.memory.select([0]), copy(self.stream)
        return other

    # On disk: tensors as safetensors, the rest in their header

    def save(self, path: str | Path) -> None:
        """Write memory and open interval, so that `load` goes on from here."""
        stream = self.stream
        tensors = {"waiting": self.waiting, "audio": stream.audio} | self.memory.tensors()
        if stream.frames is not None:
            tensors["encoder_frames"] = stream.frames
        counts = {name: getattr(stream, name) for name in ("heard", "encoded", "kept_from", "adapted")}
        mine = {name: getattr(self, name) for name in SAVED}
        about = {"peak": self.memory.peak, "stream": counts, "listener": mine, "llm": _shape(self.model)}
        save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, path, {"speech_xl_memory": json.dumps(about)})

    @classmethod
    def load(cls, path: str | Path, model: SpeechLLM) -> "Listener":
        """A listener who remembers what `save` wrote, listening through `model`.

        Raises ValueError where the file is no memory, one of an LLM of another shape, or of another version.
        """
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("speech_xl_memory", "null"))
            if about is None:
                raise ValueError(f"{path}: not a listener's memory (Listener.save writes them)")
            if about["llm"] != _shape(model):
                raise ValueError(f"{path}: heard by an LLM of shape {about['llm']}, not {_shape(model)}")
            tensors = {name: file.get_tensor(name).to(model.device) for name in file.keys()}  # noqa: SIM118
            if missing := [name for name in SAVED if name not in about["listener"]]:
                raise ValueError(f"{path}: written by another version (it has no {missing[0]}); hear the audio anew")
        made = cls(model, about["listener"]["ratio"], about["listener"]["interval_seconds"])
        vars(made).update({k: v for k, v in about["listener"].items() if k != "ratio"})
        vars(made.stream).update(about["stream"], audio=tensors["audio"].cpu(), frames=tensors.get("encoder_frames"))
        made.waiting = tensors["waiting"]
        made.memory = KVMemory.from_tensors(tensors, about["peak"])
        return made


def _shape(model: SpeechLLM) -> dict[str, Any]:
    """What a memory must share with the LLM that goes on from it."""
    config = model.llm.model.config
    names = ("model_type", "num_hidden_layers", "hidden_size", "num_key_value_heads")
    return {name: getattr(config, name) for name in names} | {"positions": model.positions}
