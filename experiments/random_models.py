"""Tiny random Hugging Face models, saved as folders: encoders, decoders and a character tokenizer, all offline."""

import string
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GraniteConfig,
    HubertConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    ParakeetCTCConfig,
    ParakeetFeatureExtractor,
    Phi3Config,
    PreTrainedTokenizerFast,
    Qwen2_5OmniConfig,
    Qwen2AudioConfig,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    WavLMConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
)

from speech_xl.model import LLM, Adapter, Encoder, FrameCode, Lora, SpeechLLM, SSTs
from speech_xl.model.front_end import class_of
from speech_xl.model.layout import Placement
from speech_xl.model.positions import Scheme
from speech_xl.model.prompt import Suffix
from speech_xl.model.speech import Speech

CHATML = (
    "{{ '<|im_start|>system\nbe brief<|im_end|>\n' }}{% for m in messages %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ["<pad>", "<bos>", "<|im_start|>", "<|im_end|>", "<eot>"]
CHARACTERS = string.ascii_letters + string.digits + " \n.,?!'<|>_:-"
VOCABULARY = len(SPECIAL) + len(CHARACTERS)
WIDTH = 32
HOP = 320  # samples a frame, of every tiny encoder
DECODERS = {
    "qwen2": Qwen2Config,
    "qwen3": Qwen3Config,
    "llama": LlamaConfig,
    "llama3": LlamaConfig,
    "yarn": LlamaConfig,
    "mistral": MistralConfig,
    "smollm3": SmolLM3Config,
    "gemma3": Gemma3TextConfig,
    "olmo2": Olmo2Config,
    "granite": GraniteConfig,
    "phi3": Phi3Config,
}
ROPE = {"rope_theta": 1000.0, "original_max_position_embeddings": 64}
PECULIAR: dict[str, dict[str, Any]] = {
    "granite": {"logits_scaling": 3.0, "embedding_multiplier": 2.0, "residual_multiplier": 0.7},
    "llama3": {
        "rope_parameters": ROPE
        | {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    },
    "yarn": {"rope_parameters": ROPE | {"rope_type": "yarn", "factor": 8.0}},
    "mistral": {"sliding_window": 4},  # shorter than an interval: it must not matter
    "smollm3": {"no_rope_layer_interval": 2},  # the second layer has no positions
    "gemma3": {
        "sliding_window": 4,
        "layer_types": ["sliding_attention", "full_attention"],
        "query_pre_attn_scalar": 8,
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
            "full_attention": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 4.0},
        },
    },
}
ENCODERS = {
    "whisper": WhisperConfig,
    "whisper128": WhisperConfig,
    "wav2vec2": Wav2Vec2Config,
    "hubert": HubertConfig,
    "wavlm": WavLMConfig,
    "parakeet": ParakeetCTCConfig,
    "qwen2_audio": Qwen2AudioConfig,
    "qwen2_5_omni": Qwen2_5OmniConfig,
}


def tokenizer(
    template: str | None = CHATML, eos: str = "<|im_end|>", bos: str | None = None
) -> PreTrainedTokenizerFast:
    """One token a character; what it encodes it decodes to the letter."""
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *CHARACTERS])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    core.decoder = decoders.Fuse()
    made = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=eos, bos_token=bos, pad_token="<pad>")
    made.add_special_tokens({"additional_special_tokens": SPECIAL})
    made.chat_template = template
    return made


def llm_folder(folder: Path, kind: str = "qwen2", template: str | None = CHATML, **changes: Any) -> str:
    """A two-layer decoder of `kind` with its tokenizer, weights large enough for attention to matter."""
    options: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "initializer_range": 0.2,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": 3,
        "tie_word_embeddings": False,
    }
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(DECODERS[kind](**(options | PECULIAR.get(kind, {}) | changes)))
    model.save_pretrained(folder)
    tokenizer(template).save_pretrained(folder)
    return str(folder)


def encoder_folder(folder: Path, kind: str = "whisper", seed: int = 0, **changes: Any) -> str:
    """A two-layer encoder of `kind` with its feature extractor; Whisper's window is 0.5 s.

    Of a larger model (Qwen2-Audio, Qwen2.5-Omni, Parakeet) the config is whole, and of its weights there is the audio
    tower's part, under the names it has there.
    """
    torch.manual_seed(seed)
    if kind in TOWERS:
        return tower_folder(folder, kind)
    if kind.startswith("whisper"):
        options: dict[str, Any] = {
            "vocab_size": 20,
            "num_mel_bins": 128 if kind == "whisper128" else 8,
            "d_model": 16,
            "encoder_layers": 2,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
            "max_source_positions": 25,
            "max_target_positions": 8,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
            "init_std": 0.2,
        }
        extractor: Any = WhisperFeatureExtractor(feature_size=options["num_mel_bins"])
    else:
        options = {
            "vocab_size": 20,
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "conv_dim": (8, 8, 8),
            "conv_kernel": (10, 9, 6),
            "conv_stride": (8, 8, 5),
            "num_feat_extract_layers": 3,
            "num_conv_pos_embeddings": 8,
            "num_conv_pos_embedding_groups": 2,
            "initializer_range": 0.2,
        }
        extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False)
    model = AutoModel.from_config(ENCODERS[kind](**(options | changes)))
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return str(folder)


SHORT = {"encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "num_mel_bins": 8, "d_model": 16}
SHORT |= {"initializer_range": 0.2}
# Where the tower's config lies, what is short about it, its weights' prefix in the whole model, its feature extractor.
TOWERS: dict[str, tuple[str, dict[str, Any], str, Any]] = {
    "qwen2_audio": (
        "audio_config",
        SHORT | {"max_source_positions": 26},
        "audio_tower.",
        partial(WhisperFeatureExtractor, feature_size=8),
    ),
    "qwen2_5_omni": (
        "thinker_config.audio_config",
        SHORT | {"n_window": 4, "output_dim": 24},
        "thinker.audio_tower.",
        partial(WhisperFeatureExtractor, feature_size=8),
    ),
    "parakeet": (
        "encoder_config",
        {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "subsampling_conv_channels": 8,
            "num_mel_bins": 16,
            "initializer_range": 0.2,
        },
        "encoder.",
        partial(ParakeetFeatureExtractor, feature_size=16),
    ),
}


def tower_folder(folder: Path, kind: str) -> str:
    """The whole model's config, and the weights of its audio tower."""
    path, short, prefix, extractor = TOWERS[kind]
    config: Any = ENCODERS[kind]()
    *outer, last = path.split(".")
    parent = config
    for step in outer:
        parent = getattr(parent, step)
    tower = type(getattr(parent, last))(**short)
    setattr(parent, last, tower)
    config.save_pretrained(folder)
    state = class_of(tower)(tower).state_dict()
    save_file({prefix + n: v.contiguous() for n, v in state.items()}, folder / "model.safetensors", {"format": "pt"})
    extractor().save_pretrained(folder)
    return str(folder)


def listener(
    folder: str,
    projections: Any = "full",
    lora: Lora | None = None,
    checkpointing: bool = False,
    train_sst: bool = True,
    positions: Scheme = "original",
    attention: Literal["auto", "flex", "sdpa"] = "auto",
    placement: Placement = "interleaved",
    start: Literal["embedding", "mean"] = "embedding",
    frame_code: FrameCode | None = None,
    carried_frames: int = 0,
) -> SpeechLLM:
    """A float64 backbone without encoder and adapter, for speech frames made by `speech`; every parameter trains.

    `train_sst` moves the SSTs away from their start as the LLM's own projections; a LoRA is moved from zero as well.
    What `frame_code` writes into frames is in those that `speech` makes; SSTs take it from there.
    """
    llm = LLM(folder, dtype="float64", lora=lora, gradient_checkpointing=checkpointing, attention=attention)
    model = SpeechLLM(Encoder(), Adapter(), llm, frame_code=frame_code)
    model.llm.build()
    model.double()
    for module in model.modules():
        if type(module).__name__ == "Gemma3RMSNorm":  # it computes in float32 whatever it is given
            module.forward = partial(_wide_norm, module)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.2, generator=generator)
    if projections is not None:
        torch.manual_seed(2)
        model.add_sst(SSTs(projections, 3, positions, placement, start, carried_frames))
        model.double()
        if train_sst:
            with torch.no_grad():
                for parameter in model.sst.parameters():
                    parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.2)
    return model.requires_grad_(True)


def _wide_norm(norm: Any, x: Tensor) -> Tensor:
    """Gemma 3's norm in the number format of its input."""
    return norm._norm(x) * (1.0 + norm.weight)


def speech(*intervals: list[int], seed: int = 3, dtype: torch.dtype = torch.float64) -> Speech:
    """Random speech frames, a row for each list of interval lengths; rows are right-padded with noise."""
    lengths = torch.tensor([sum(row) for row in intervals])
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randn(len(intervals), int(lengths.max()), WIDTH, generator=generator, dtype=dtype)
    return Speech(frames, lengths, list(intervals))


def row_of(batch: Speech, row: int) -> Speech:
    """One row of a batch, alone and without padding."""
    length = int(batch.lengths[row])
    return Speech(batch.frames[row : row + 1, :length], batch.lengths[row : row + 1], [batch.intervals[row]])


def suffixes(model: SpeechLLM, *turns: list[tuple[str, str]]) -> list[Suffix]:
    return [model.llm.prompt.training(row) for row in turns]


def audio(seconds: float = 0.0, samples: int = 0, seed: int = 0) -> Tensor:
    """Noise at 16 kHz."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples or round(seconds * 16_000), generator=generator) * 0.1
