"""SpeechXLProcessor: audio and text as what a `SpeechXL` takes in `forward` and `generate`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from transformers import AutoProcessor, BatchFeature, ProcessorMixin

from speech_xl import SAMPLE_RATE
from speech_xl.hub.config import SpeechXLConfig
from speech_xl.storage.hub_folder import CODE

if TYPE_CHECKING:  # torch comes with them
    from torch import Tensor

    from speech_xl.model.prompt import Prompt

IGNORE = -100  # a label that carries no loss
WHERE = ("is_local", "local_files_only", "name_or_path")  # that transformers keeps of how a tokenizer was loaded


class SpeechXLProcessor(ProcessorMixin):
    """The speech encoder's feature extractor and the LLM's tokenizer.

    inputs = processor(audio=["talk.m4a", array], text="who speaks?", ratio=8, sampling_rate=44_100)
    model.generate(**inputs, max_new_tokens=64)

    Spectra are made in the model, because its encoder hears audio window by window: here audio becomes samples.
    """

    attributes = ["feature_extractor", "tokenizer"]
    feature_extractor_class = "AutoFeatureExtractor"
    tokenizer_class = "AutoTokenizer"

    def __init__(self, feature_extractor: Any, tokenizer: Any, **kwargs: Any) -> None:
        super().__init__(feature_extractor, tokenizer, **kwargs)

    @classmethod
    def get_processor_dict(cls, *given: Any, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Raises ValueError where processor_config.json asks for code of its own."""
        found, rest = super().get_processor_dict(*given, **options)
        if found.get(CODE):
            raise ValueError(f"processor_config.json: {CODE}: asks for code that comes with the model, and none is run")
        return found, rest

    @cached_property
    def prompt(self) -> Prompt:
        """How questions and answers are written for this LLM."""
        from speech_xl.model.prompt import Prompt

        return Prompt(self.tokenizer)

    def __call__(
        self,
        audio: Any = None,
        text: str | Sequence[str] | None = None,
        answer: str | Sequence[str] | None = None,
        ratio: int | None = None,
        sampling_rate: float | None = None,
        return_tensors: str = "pt",
    ) -> BatchFeature:
        """Inputs of a batch, padded at the right.

        audio          a path, the bytes of a file, an array or tensor [samples] or [channels, samples]; or a list
        text           the question; one for all, or one for each audio
        answer         what is to be answered, for training and scoring: with it there are labels
        ratio          speech frames that one SST stands for; None: the model's own
        sampling_rate  samples a second of an array, in Hz

        Returns input_values float32 [B, S] at 16 kHz with input_lengths int64 [B]; input_ids int64 [B, T], what
        follows the audio, with attention_mask and, beside an answer, labels (-100 where there is no loss); and ratio.
        Raises ValueError for what can't be used, AudioError for a file that can't be read.
        """
        import torch
        from torch.nn.utils.rnn import pad_sequence

        from speech_xl.model.ratios import check_ratios

        if return_tensors != "pt":
            raise ValueError(f"return_tensors: got {return_tensors!r}; the model takes torch's tensors, 'pt'")
        if audio is None and text is None:
            raise ValueError("nothing was given: give audio, text or both")
        if ratio is not None:
            check_ratios([ratio], "ratio")
        if answer is not None and text is None:
            raise ValueError("answer: has no question; give it as text")
        found: dict[str, Any] = {}
        rows = None if audio is None else list(audio) if isinstance(audio, (list, tuple)) else [audio]
        if rows is not None:
            samples = [samples_of(one, sampling_rate) for one in rows]
            found["input_values"] = pad_sequence(samples, batch_first=True)
            found["input_lengths"] = torch.tensor([len(one) for one in samples])
        if text is not None:
            asked = _each("text", text, None if rows is None else len(rows))
            said = [None] * len(asked) if answer is None else _each("answer", answer, len(asked))
            turns = [self._turn(*one) for one in zip(asked, said, strict=True)]
            ids, labels = [one[0] for one in turns], [one[1] for one in turns]
            found["input_ids"] = pad_sequence(ids, batch_first=True, padding_value=self.prompt.end_id)
            real = [torch.ones_like(one) for one in ids]
            found["attention_mask"] = pad_sequence(real, batch_first=True)
            if answer is not None:
                found["labels"] = pad_sequence(labels, batch_first=True, padding_value=IGNORE)
        if ratio is not None:
            found["ratio"] = ratio
        return BatchFeature(found)

    def _turn(self, question: str, answer: str | None) -> tuple[Tensor, Tensor]:
        """Ids and labels of one question, with its answer where there is one."""
        import torch

        if answer is None:
            ids = torch.tensor(self.prompt.question(question))
            return ids, torch.full_like(ids, IGNORE)
        suffix = self.prompt.training([(question, answer)])
        return torch.tensor(suffix.ids), torch.tensor(suffix.labels)

    def decode(self, token_ids: Any, **kwargs: Any) -> str:
        """The text of an answer's ids."""
        return self.tokenizer.decode(token_ids, skip_special_tokens=True, **kwargs).strip()

    def batch_decode(self, token_ids: Any, **kwargs: Any) -> list[str]:
        """The texts of answers' ids [B, T], as `generate` gives them."""
        return [self.decode(row, **kwargs) for row in token_ids]

    def save_pretrained(self, save_directory: Any, push_to_hub: bool = False, **kwargs: Any) -> list[str]:
        """Write feature extractor and tokenizer; nothing in the files says where they were loaded from."""
        for name in WHERE:
            self.tokenizer.init_kwargs.pop(name, None)
        return super().save_pretrained(save_directory, push_to_hub, **kwargs)

    @property
    def model_input_names(self) -> list[str]:
        return ["input_values", "input_lengths", "input_ids", "attention_mask", "ratio"]


def samples_of(audio: Any, rate: float | None) -> Tensor:
    """One audio as samples [S], float32 at 16 kHz, one channel."""
    import torch

    from speech_xl.inference.audio_input import Intake, is_file, opened

    if is_file(audio):
        with opened(audio) as file:
            return torch.cat(list(file.chunks()))
    intake = Intake()
    return torch.cat([intake.push(audio, rate or SAMPLE_RATE), intake.flush()])


def _each(name: str, given: str | Sequence[str], count: int | None) -> list[str]:
    """One text for each of `count` rows, of one for all or of as many."""
    if isinstance(given, str):
        return [given] * (count or 1)
    if count not in (None, len(given)):
        raise ValueError(f"{name}: {len(given)} texts for {count} rows; give one for all, or one for each")
    return list(given)


AutoProcessor.register(SpeechXLConfig, SpeechXLProcessor, exist_ok=True)
