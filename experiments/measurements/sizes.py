"""Published sizes of the models the benchmarks reckon with, and models of them with random weights: no download."""

import shutil
import tempfile
from pathlib import Path

import torch
from transformers import LlamaConfig, PreTrainedConfig, Qwen2Config, WhisperConfig, WhisperFeatureExtractor

from experiments.measurements.record import ROOT
from speech_xl.model import LLM, Adapter, Encoder, SpeechLLM, SSTs

TOKENIZER = ROOT / "experiments" / "models" / "tiny" / "llm"


def qwen2_5_7b() -> Qwen2Config:
    """Qwen/Qwen2.5-7B-Instruct, which is also the size of the language model in Qwen2.5-Omni-7B."""
    return Qwen2Config(
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        vocab_size=152064,
        max_position_embeddings=32768,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        tie_word_embeddings=False,
    )


def smollm2_135m(layers: int = 30, vocabulary: int = 49152) -> LlamaConfig:
    """HuggingFaceTB/SmolLM2-135M-Instruct."""
    return LlamaConfig(
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        vocab_size=vocabulary,
        max_position_embeddings=8192,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        tie_word_embeddings=True,
    )


def whisper(width: int, layers: int, heads: int) -> WhisperConfig:
    """openai/whisper-base is (512, 6, 8), openai/whisper-small (768, 12, 12)."""
    return WhisperConfig(
        d_model=width,
        encoder_layers=layers,
        encoder_attention_heads=heads,
        encoder_ffn_dim=4 * width,
        decoder_layers=1,
        decoder_attention_heads=heads,
        decoder_ffn_dim=4 * width,
    )


def llm_folder(folder: Path, config: PreTrainedConfig) -> str:
    """A folder that `LLM(name, pretrained=False)` takes: the config, and the tiny models' tokenizer."""
    config.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / name, folder)
    return str(folder)


def encoder_folder(folder: Path, config: WhisperConfig) -> str:
    """A folder that `HFEncoder(name, pretrained=False)` takes."""
    config.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=config.num_mel_bins).save_pretrained(folder)
    return str(folder)


def speech_llm_of(config: PreTrainedConfig, device: torch.device, dtype: str, sst: SSTs) -> SpeechLLM:
    """A backbone for speech frames, its random weights made where they stay."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder, torch.device(device):
        model = SpeechLLM(Encoder(), Adapter(), LLM(llm_folder(Path(folder), config), pretrained=False, dtype=dtype))
        model.llm.build()
        model.add_sst(sst)
    return model
