"""SpeechXL: a trained model as transformers has them, which also listens, remembers and answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights

from speech_xl.checks import whole
from speech_xl.hub.answering import answer_ids
from speech_xl.hub.arguments import check_lineage, checked_config, number_format, one_device
from speech_xl.hub.config import SpeechXLConfig
from speech_xl.hub.folder import SHARD, own_state, write_folder
from speech_xl.hub.parts import WANTED, config_of, local_folder, processor_of
from speech_xl.hub.processor import SpeechXLProcessor
from speech_xl.hub.scoring import SpeechXLOutput, heard, loss_of, score
from speech_xl.inference import ListeningModel
from speech_xl.model import SpeechLLM
from speech_xl.run.lineage import sources_of
from speech_xl.run.trained_stage import TrainedStage
from speech_xl.storage.hub_folder import CARD, PREFIX
from speech_xl.storage.tensor_files import read_notes

# Arguments of `from_pretrained` that Auto classes hand on, or that ask for what is done anyway.
WITHOUT_EFFECT = {
    "_from_auto",
    "adapter_kwargs",
    "trust_remote_code",
    "use_safetensors",
    "low_cpu_mem_usage",
    "proxies",
}
GREEDY = {"do_sample": False, "num_beams": 1, "num_return_sequences": 1}  # what `generate` does, and may be told to


class SpeechXL(PreTrainedModel, ListeningModel):
    """A trained model: `from_pretrained` loads one, `listen` and `transcribe` use it (`ListeningModel`).

    model = SpeechXL.from_pretrained("my_model")
    memory = model.listen("talk.m4a", ratio=8)
    print(memory.ask("who speaks?").text)

    `forward` is one pass with the loss of labels, for training and scoring; `generate` answers inputs of the processor.
    """

    config_class = SpeechXLConfig
    base_model_prefix = PREFIX.rstrip(".")
    main_input_name = "input_values"
    input_modalities = ("audio", "text")  # pyright: ignore[reportAssignmentType]
    card: bytes | None = None  # the model card of the folder it was loaded from
    config: SpeechXLConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        config: SpeechXLConfig,
        backbone: SpeechLLM | None = None,
        processor: SpeechXLProcessor | None = None,
        stage: TrainedStage | None = None,
    ) -> None:
        """Use `from_pretrained` or `from_stage`: a config alone has no tokenizer and no feature extractor.

        stage: whose weights these are.
        """
        if backbone is None or processor is None or stage is None:
            raise TypeError(
                "SpeechXL: a config alone has no tokenizer and no feature extractor; load a folder with "
                "SpeechXL.from_pretrained, or a training run's with SpeechXL.from_stage"
            )
        super().__init__(config)
        self.backbone, self.processor = backbone, processor
        self.transcript, self.name = stage.transcript, stage.folder.resolve().name
        self.interval_seconds, self.default_ratio = config.interval_seconds, config.default_ratio
        noted = read_notes(stage.weights).get("untouched_pretrained", "[]")
        self.untouched = frozenset(json.loads(noted))  # pretrained tensors that no stage has trained
        with no_init_weights():
            self.post_init()

    # From and to a folder

    @classmethod
    def from_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        config: SpeechXLConfig | None = None,
        dtype: str | torch.dtype | None = None,
        device_map: Any = None,
        encoder: str | Path | None = None,
        llm: str | Path | None = None,
        force: bool = False,
        **options: Any,
    ) -> SpeechXL:
        """A model from the folder that `speech-xl export` or `save_pretrained` wrote, or from the hub.

        config        as `AutoConfig.from_pretrained` gave it; interval_seconds and default_ratio may differ
        dtype         number format of all weights; None or "auto": as in training
        device_map    one device for all of it: "cpu", "cuda:1", "auto" (a GPU if there is one)
        encoder, llm  where the base models lie that the folder names and doesn't hold: a folder, or a name on the hub
        force         use the weights even with other base models or settings than they were trained with
        options       revision, token, cache_dir, force_download, local_files_only, as of the hub

        Every tensor must be there, of its shape, and finite: else WeightsError or TensorFileError names it. ConfigError
        and HubFolderError say what is wrong with the folder, LineageError that weights or settings aren't those of the
        training. No code that comes with a folder is run, whatever is asked for.
        """
        for name in WITHOUT_EFFECT & options.keys():
            options.pop(name)
        dtype = options.pop("torch_dtype", None) if dtype is None else dtype
        hub = {name: options.pop(name) for name in WANTED if name in options}
        if options:
            raise TypeError(f"SpeechXL.from_pretrained: {', '.join(sorted(options))}: not an argument that it takes")
        folder = local_folder(pretrained_model_name_or_path, **hub)
        bases = {role: str(path) for role, path in (("encoder", encoder), ("llm", llm)) if path is not None}
        stage = TrainedStage.of(folder, force=force, bases=bases)
        own = SpeechXLConfig.from_pretrained(folder)
        check_lineage(own, stage)
        model = cls.of(stage, own if config is None else checked_config(config, own, folder), device_map, dtype)
        model.card = (folder / CARD).read_bytes() if (folder / CARD).is_file() else None
        model.name = (
            folder.resolve().name
            if folder == Path(pretrained_model_name_or_path)
            else str(pretrained_model_name_or_path)
        )
        return model

    @classmethod
    def from_stage(
        cls,
        folder: str | Path,
        *,
        dtype: str | torch.dtype | None = None,
        device_map: Any = None,
        trust_remote_code: bool = False,
        force: bool = False,
    ) -> SpeechXL:
        """A finished stage of a training run, such as ``runs/default/stage3``; arguments as of `from_pretrained`.

        trust_remote_code: run code that comes with the stage's encoder or LLM. Raises ConfigError where the folder
        holds no finished stage, LineageError where its weights were trained with other settings or models.
        """
        return cls.of(TrainedStage.of(folder, trust_remote_code, force), None, device_map, dtype)

    @classmethod
    def of(
        cls,
        stage: TrainedStage,
        config: SpeechXLConfig | None = None,
        device_map: Any = None,
        dtype: str | torch.dtype | None = None,
    ) -> SpeechXL:
        """A trained stage that was read already; arguments as of `from_pretrained`."""
        device, wanted = one_device(device_map), number_format(dtype)
        backbone = stage.model(device)
        model = cls(config or config_of(stage, backbone), backbone, processor_of(backbone), stage)
        if wanted is not None:
            model.to(wanted)  # pyright: ignore[reportArgumentType]
            backbone.llm.dtype = wanted
        return model.eval()

    def save_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        save_directory: str | Path,
        *,
        is_main_process: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        max_shard_size: int | str = SHARD,
        **options: Any,
    ) -> None:
        """Write config, weights, feature extractor, tokenizer, and the card where it was loaded with one; the same
        model gives the same bytes.

        Where `config.base_models` names any, their weights are left out; set it to {} to write all.

        state_dict      in place of the model's own, such as what a trainer gathered
        max_shard_size  most bytes of a weights file, as 2_000_000 or "5GB"

        Raises ValueError where a base model has been trained since it was loaded, and DivergedError where a tensor
        holds NaN or infinity.
        """
        if options:
            raise TypeError(f"save_pretrained: {', '.join(sorted(options))}: not an argument that it takes")
        if not is_main_process:
            return
        left = self.left_out()
        state = own_state(self.backbone)
        if state_dict is not None:
            given = {name.removeprefix(PREFIX): value for name, value in state_dict.items()}
            state = {name: given[name] for name in state if name in given or name not in left}
        self.config.architectures = [type(self).__name__]
        self.config.lineage = self._lineage(left)
        kept = {name: value for name, value in state.items() if name not in left}
        write_folder(Path(save_directory), self.config, kept, left, self.processor, max_shard_size, self.card)

    def left_out(self) -> set[str]:
        """Tensors of the base models that the config names, which no stage has trained."""
        return {name for name in self.untouched if name.partition(".")[0] in self.config.base_models}

    def _lineage(self, left: set[str]) -> dict[str, Any] | None:
        """The lineage with the fingerprints of what is left out."""
        lineage = self.config.lineage
        if lineage is None:
            return None
        sources = sources_of(self.backbone, left)
        for role, known in (lineage.get("sources") or {}).items():
            if role in sources and sources[role] != known:
                raise ValueError(
                    f"{role}: its weights aren't those of {self.config.base_models[role]['name']} any more "
                    f"({sources[role]}, not {known}), so they can't be left out; write all of them: "
                    "model.config.base_models = {}"
                )
        return {**lineage, "sources": sources}

    # Training and scoring

    def forward(
        self,
        input_values: Tensor,
        input_ids: Tensor,
        input_lengths: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        ratio: int | None = None,
        interval_seconds: float | None = None,
        return_dict: bool | None = None,
    ) -> SpeechXLOutput | tuple[Any, ...]:
        """One pass over audio and what follows it, as `SpeechXLProcessor` makes them.

        input_values    float32 [B, S] at 16 kHz, of which the first ``input_lengths[row]`` samples count (all, without)
        input_ids       int64 [B, T], question and perhaps answer; attention_mask says which count, at the left
        labels          int64 [B, T], the answer's ids where they count and -100 elsewhere
        ratio           speech frames that one SST stands for, 1: uncompressed; None: the model's own
        return_dict     False: the fields that are there, as a tuple

        The intervals' frames are seen within their interval alone, as in training. The loss is the mean over labels.
        """
        rows = self._rows(input_values, input_lengths)
        length = self.interval_seconds if interval_seconds is None else interval_seconds
        speech = heard(self.backbone, rows, length)
        ids = input_ids.to(self.backbone.device)
        counted = [ids.shape[1]] * len(ids) if attention_mask is None else attention_mask.sum(1).tolist()
        output = score(self.backbone, speech, self.default_ratio if ratio is None else int(ratio), ids, counted)
        if labels is not None:
            assert output.logits is not None
            output.loss = loss_of(output.logits, labels.to(ids.device))
        return output.to_tuple() if return_dict is False else output

    @torch.no_grad()
    def generate(
        self,
        input_values: Tensor,
        input_ids: Tensor | None = None,
        input_lengths: Tensor | None = None,
        attention_mask: Tensor | None = None,
        ratio: int | None = None,
        max_new_tokens: int | None = None,
        **options: Any,
    ) -> Tensor:
        """Greedy answers: new tokens alone, int64 [B, T], padded at the right with the token that ends an answer.

        Arguments as of `forward`; without input_ids the audio is transcribed. max_new_tokens: by default 512, of a
        transcript as many as its audio may need. The answer is that of ``listen(...).ask(...)``. Answers are greedy,
        by the rules that the model was trained with: other ways of decoding are refused with TypeError.
        """
        for name, value in options.items():
            if name not in GREEDY or value != GREEDY[name]:
                raise TypeError(f"generate: {name}={value!r}: answers are greedy, and it takes max_new_tokens alone")
        whole("max_new_tokens", 1 if max_new_tokens is None else max_new_tokens, least=1)
        answers = []
        for row, audio in enumerate(self._rows(input_values, input_lengths)):
            asked = None
            if input_ids is not None:
                count = input_ids.shape[1] if attention_mask is None else int(attention_mask[row].sum())
                asked = input_ids[row, :count].tolist()
            answers.append(answer_ids(self, audio, asked, ratio, max_new_tokens))
        return nn.utils.rnn.pad_sequence(answers, batch_first=True, padding_value=self.backbone.llm.prompt.end_id)

    def _rows(self, values: Tensor, lengths: Tensor | None) -> list[Tensor]:
        if values.dim() != 2:
            raise ValueError(f"input_values of shape {list(values.shape)}: give [B, S], as the processor makes them")
        counted = [values.shape[1]] * len(values) if lengths is None else lengths.tolist()
        return [row[:count].to(self.backbone.device) for row, count in zip(values, counted, strict=True)]

    # What transformers asks of a model

    def get_input_embeddings(self) -> nn.Module:
        return self.backbone.llm.embedding

    def get_output_embeddings(self) -> nn.Module:
        return self.backbone.llm.model.get_output_embeddings()
