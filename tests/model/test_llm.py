"""What a Hugging Face decoder brings along: kept where streaming can follow it, refused by name where it can't."""

import json
from pathlib import Path

import pytest
import torch
from transformers import Gemma2Config, GptOssConfig, LlamaConfig

from experiments.measurements.two_paths import RATIOS, TURNS, sample, streamed
from experiments.random_models import DECODERS, listener, llm_folder, speech, suffixes
from speech_xl.model import LLM, Adapter, Encoder, Lora, SpeechLLM, SSTs
from speech_xl.model.llm import rope_types

ONE = speech([6, 5])


@torch.no_grad()
def test_answers_are_greedy_whatever_the_model_would_generate_with(tmp_path):
    """Qwen2.5-Instruct, for one, comes with a penalty on words said before, and sampling."""
    folder = llm_folder(tmp_path / "llm", "qwen2")
    model = listener(folder)
    wanted = model.generate(model.prefill(ONE, [[2, 2]]), [0], ["who?"], [12])
    (Path(folder) / "generation_config.json").write_text(
        json.dumps({"repetition_penalty": 1.7, "do_sample": True, "no_repeat_ngram_size": 1, "suppress_tokens": [9]})
    )
    again = listener(folder)
    assert again.generate(again.prefill(ONE, [[2, 2]]), [0], ["who?"], [12]) == wanted


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
@pytest.mark.parametrize("nested", [False, True])
def test_rope_that_changes_old_keys_is_refused(tmp_path, kind, nested):
    scaling = {"rope_type": kind, "factor": 2.0, "rope_theta": 10_000.0, "original_max_position_embeddings": 64}
    scaling |= {"long_factor": [2.0] * 4, "short_factor": [1.0] * 4} if kind == "longrope" else {}
    if nested:
        config = LlamaConfig()
        config.rope_parameters = {"full_attention": scaling, "sliding_attention": {"rope_type": "default"}}
        assert kind in rope_types(config)
        return
    folder = llm_folder(tmp_path / "llm", "llama", rope_scaling=scaling)
    with pytest.raises(ValueError, match=f"{kind} RoPE changes old keys as audio grows"):
        LLM(folder).build()


@pytest.mark.parametrize(
    ("config", "changes", "term"),
    [(Gemma2Config, {"query_pre_attn_scalar": 8}, "softcap"), (GptOssConfig, {"num_local_experts": 2}, "s_aux")],
)
def test_attention_with_terms_of_its_own_is_refused_by_name(tmp_path, monkeypatch, config, changes, term):
    monkeypatch.setitem(DECODERS, "peculiar", config)
    model = listener(llm_folder(tmp_path / "llm", "peculiar", **changes))
    with pytest.raises(ValueError, match=f"asks for {term}, .*: choose an LLM without it"):
        model(ONE, [[2, 2]], suffixes(model, [("who?", "ada")]))
    with pytest.raises(ValueError, match=f"asks for {term}"):
        model.prefill(ONE, [[2, 2]])


def narrow(folder: str) -> SpeechLLM:
    """A bfloat16 LLM whose LoRA has learned something, with SSTs."""
    torch.manual_seed(0)
    model = SpeechLLM(Encoder(), Adapter(), LLM(folder, dtype="bfloat16", lora=Lora(r=2, alpha=4)))
    model.llm.build()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.2)
    model.add_sst(SSTs("full"))
    return model


def test_what_trains_beside_a_bfloat16_llm_is_float32(tmp_path):
    model = narrow(llm_folder(tmp_path / "llm"))
    own = {name: p.dtype for name, p in model.named_parameters() if "lora_" in name or name.startswith("sst.")}
    assert set(own.values()) == {torch.float32} and sum("lora_" in name for name in own) == 16
    others = {p.dtype for name, p in model.named_parameters() if name not in own}
    assert others == {torch.bfloat16}, "the LLM's own weights stay small"
    assert (
        model.llm.decoder(inputs_embeds=model.llm.embedding.weight[None, :4]).last_hidden_state.dtype == torch.bfloat16
    )
    deltas = {name: p for name, p in model.named_parameters() if "lora_" in name}
    before = {name: p.detach().clone() for name, p in deltas.items()}
    optimizer = torch.optim.AdamW(deltas.values(), lr=2.5e-5, weight_decay=0.0)
    model(sample(dtype=torch.float32), RATIOS, suffixes(model, *TURNS)).loss_sum.backward()
    optimizer.step()
    moved = [(p != before[name]).float().mean().item() for name, p in deltas.items()]
    assert min(moved) > 0.95, "in bfloat16 half of them would stay where they are"


@torch.no_grad()
def test_one_pass_is_streaming_with_a_float32_lora_on_a_bfloat16_llm(tmp_path):
    model = narrow(llm_folder(tmp_path / "llm"))
    heard, asked = sample(dtype=torch.float32), suffixes(model, *TURNS)
    apart = streamed(model, heard, RATIOS, asked)
    torch.testing.assert_close(model(heard, RATIOS, asked).loss_sum.float(), apart.float(), rtol=0.01, atol=0.0)
