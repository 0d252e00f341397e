"""A live source: audio in chunks of any size becomes the speech frames that the whole would have become.

A piece is held back until nothing that follows can change its frames: the encoder's window must be full, and the
adapter must have seen a little further. `flush` ends the audio and lets go of the rest.
"""

import torch
from torch import Tensor

from speech_xl.model.speech_llm import SpeechLLM


class FrameStream:
    """One stream through a backbone's encoder and adapter. Holds a window of audio at most, whatever was heard before.

    audio    float32 [S], samples that a later window still needs; the first of them is sample `dropped`
    encoded  encoder frames that are final
    frames   [L, F, D_enc], those of them the adapter still hears; the first of them is frame `kept_from`
    adapted  encoder frames whose speech frames have been handed on
    """

    def __init__(self, model: SpeechLLM) -> None:
        self.model = model
        self.audio, self.dropped = torch.zeros(0), 0
        self.encoded = 0
        self.frames: Tensor | None = None
        self.kept_from = self.adapted = 0

    @torch.no_grad()
    def push(self, audio: Tensor) -> Tensor:
        """Audio [S] (float32, 16 kHz, mono) to the speech frames [N, D] that are final now; N may be 0."""
        self.audio = torch.cat([self.audio, audio.detach().float().cpu()])
        # A window is complete once audio follows it: before, it might be the last, whose end is kept. One by one,
        # whatever came at once: batches of other sizes would round otherwise.
        parts = [torch.zeros(0, self.model.llm.width, device=self.model.device)]
        while window := next((w for w in self.model.encoder.windows(len(self.audio)) if w[1] < len(self.audio)), None):
            _, stop, _, last = window
            self._encode(stop, last)
            parts.append(self._adapt(ended=False))
        return torch.cat(parts)

    @torch.no_grad()
    def flush(self) -> Tensor:
        """The audio has ended: the frames [N, D] that were held back."""
        if self.dropped + len(self.audio) > self.encoded * self.model.encoder.hop:
            self._encode(len(self.audio), len(self.audio))
        return self._adapt(ended=True)

    def _encode(self, stop: int, last: int) -> None:
        """Encode the held audio to sample `stop` and keep the new frames up to sample `last`."""
        encoder = self.model.encoder
        known = self.encoded - self.dropped // encoder.hop
        new = encoder.encode([self.audio[:stop]])[0][:, known : encoder.frames_of(last)]
        self.frames = new if self.frames is None else torch.cat([self.frames, new], dim=1)
        self.encoded += new.shape[1]
        released = max(0, last - encoder.overlap)
        self.audio, self.dropped = self.audio[released:], self.dropped + released

    def _adapt(self, ended: bool) -> Tensor:
        adapter = self.model.adapter
        grain = adapter.grain
        final = self.encoded if ended else max(self.adapted, (self.encoded // grain - 1) * grain)
        if self.frames is None or final <= self.adapted:
            return torch.zeros(0, self.model.llm.width, device=self.model.device)
        until = self.encoded if ended else final + grain
        piece = self.frames[:, : until - self.kept_from]
        frames = self.model.adapt([piece], first=self.kept_from // adapter.stride).frames[0]
        skip, count = (self.adapted - self.kept_from) // adapter.stride, -(-(final - self.adapted) // adapter.stride)
        self.adapted = final
        forget = max(0, final - grain) - self.kept_from
        self.frames, self.kept_from = self.frames[:, forget:], self.kept_from + forget
        return frames[skip : skip + count]
