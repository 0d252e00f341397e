"""Pretrained parts load whole or not at all, and whatever is wrong with a model's folder is one message."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, Wav2Vec2ForCTC

from experiments.random_models import encoder_folder, llm_folder
from speech_xl.model import LLM, HFEncoder, Lora
from speech_xl.model.pretrained import PretrainedError
from speech_xl.run.user_errors import message_of

QUERY = "model.layers.0.self_attn.q_proj.weight"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    made = {kind: encoder_folder(root / kind, kind) for kind in ("whisper", "wav2vec2", "qwen2_audio")}
    made["tied"] = llm_folder(root / "tied", tie_word_embeddings=True)
    return made | {"llm": llm_folder(root / "llm")}


@pytest.fixture
def changed(models, tmp_path):
    """A copy of a model, with other tensors: `changed(kind, state -> state)`."""

    def change(kind, make=lambda state: state):
        folder = tmp_path / kind
        shutil.copytree(models[kind], folder, dirs_exist_ok=True)
        state = make(load_file(folder / "model.safetensors"))
        save_file({n: v.clone() for n, v in state.items()}, folder / "model.safetensors", {"format": "pt"})
        return str(folder)

    return change


def llm(name, **options):
    made = LLM(name, **options)
    made.build()
    return made


def encoder(name):
    made = HFEncoder(name, window_seconds=0.5 if "wav2vec2" in name else None)
    made.build([-1])
    return made


def refusal(build, *args) -> str:
    """The message of the refusal, which is shown without a traceback."""
    with pytest.raises(PretrainedError) as refused:
        build(*args)
    assert message_of(refused.value) == str(refused.value)
    return str(refused.value)


def test_what_was_loaded_is_counted(models, changed):
    assert llm(models["llm"]).loaded == f"llm {models['llm']}: 27 tensors matched, 0 new, 0 missing"
    assert llm(models["tied"]).loaded.endswith("27 tensors matched, 0 new, 0 missing"), "the head is the embedding"
    assert llm(models["llm"], lora=Lora(r=2)).loaded.endswith("0 missing; 16 new of LoRA")
    assert llm(models["llm"], pretrained=False).loaded == ""
    assert encoder(models["wav2vec2"]).loaded.endswith("47 tensors matched, 0 new, 0 missing")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: {n: v for n, v in s.items() if n != QUERY}, f"missing: {QUERY}"),
        (lambda s: {n: v for n, v in s.items() if n != "lm_head.weight"}, "missing: lm_head.weight"),
        (lambda s: s | {"backdoor": torch.zeros(3)}, "not in this model: backdoor"),
        (lambda s: s | {QUERY: torch.zeros(3, 3)}, f"another shape: {QUERY} [3, 3] for [32, 32]"),
        (lambda s: s | {QUERY: s[QUERY] * float("nan")}, f"NaN or infinite: {QUERY}"),
        (lambda s: s | {QUERY: s[QUERY].index_fill(0, torch.tensor(3), -float("inf"))}, f"NaN or infinite: {QUERY}"),
        (lambda s: {}, " and 22 more"),
    ],
)
def test_an_llm_whose_tensors_do_not_fill_it_is_refused_with_a_list(changed, change, said):
    folder = changed("llm", change)
    message = refusal(llm, folder)
    assert said in message and message.startswith(f"llm.name={folder}: ") and "Fetch both again" in message


def test_what_transformers_makes_itself_may_stand_in_a_file(changed):
    extra = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(4)}
    assert "0 missing" in llm(changed("llm", lambda state: state | extra)).loaded
    head = changed("tied", lambda state: state | {"lm_head.weight": state["model.embed_tokens.weight"]})
    assert "0 missing" in llm(head).loaded


def test_an_encoder_is_whole_and_the_rest_of_its_model_need_not_be(models, changed, tmp_path):
    """Whisper's decoder and a head for CTC are no part of what listens."""
    own = encoder(models["whisper"]).loaded
    bare = changed(
        "whisper", lambda s: {n: v for n, v in s.items() if "decoder." not in n} | {"proj_out.weight": s[n0(s)]}
    )
    assert encoder(bare).loaded.split(":")[1].split(",")[0] == own.split(":")[1].split(",")[0]
    name = "encoder.layers.0.self_attn.q_proj.weight"
    message = refusal(encoder, changed("whisper", lambda s: {n: v for n, v in s.items() if not n.endswith(name)}))
    assert f"missing: {name}" in message and "encoder.name=" in message
    for kind, stem in (("whisper", "model."), ("wav2vec2", "wav2vec2."), ("qwen2_audio", "audio_tower.")):
        more = ("" if kind == "qwen2_audio" else "encoder.") + "layers.7.fc1.weight"
        within = changed(kind, lambda s, n=stem + more: s | {n: torch.zeros(2, 2)})
        assert f"{more}" in refusal(encoder, within), "of a layer that the config doesn't have"
    beside = changed(
        "qwen2_audio", lambda s: {n: v for n, v in s.items() if ".7." not in n} | {"language_model.x": torch.zeros(2)}
    )
    assert "1 of another part left in the file (language_model)" in encoder(beside).loaded
    broken = changed(
        "qwen2_audio", lambda s: s | {"audio_tower.conv1.bias": s["audio_tower.conv1.bias"] * float("nan")}
    )
    assert "NaN or infinite: conv1.bias" in refusal(encoder, broken)


def n0(state):
    return next(iter(state))


def test_a_head_is_left_and_the_fill_of_masks_may_be_new(models, tmp_path):
    folder = tmp_path / "wav2vec2"
    shutil.copytree(models["wav2vec2"], folder)
    Wav2Vec2ForCTC(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    assert encoder(str(folder)).loaded.endswith(
        "47 tensors matched, 0 new, 0 missing; 2 of another part left in the file (lm_head)"
    )
    state = load_file(folder / "model.safetensors")
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    for new, name in old.items():  # as files had it before torch 2.1
        state = {key.replace(new, name): value for key, value in state.items() if "masked_spec_embed" not in key}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    assert "46 tensors matched, 1 new, 0 missing" in encoder(str(folder)).loaded


class Evil:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize(("kind", "build"), [("llm", llm), ("whisper", encoder)])
def test_a_pickle_with_code_in_it_is_named_and_not_run(changed, tmp_path, kind, build):
    folder = Path(changed(kind))
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({**state, "x": Evil(f"touch {tmp_path / 'ran'}")}, folder / "pytorch_model.bin")
    message = refusal(build, str(folder))
    assert str(folder / "pytorch_model.bin") in message and "nothing was run" in message
    assert not (tmp_path / "ran").exists()
    torch.save(state, folder / "pytorch_model.bin")
    assert "0 missing" in build(str(folder)).loaded, "tensors alone are welcome"


@pytest.mark.parametrize(("kind", "build", "role"), [("llm", llm, "llm"), ("whisper", encoder, "encoder")])
def test_code_that_comes_with_a_model_is_not_run(changed, tmp_path, kind, build, role):
    folder = Path(changed(kind))
    config = json.loads((folder / "config.json").read_text())
    maps = {"AutoConfig": "evil.C", "AutoModel": "evil.M", "AutoModelForCausalLM": "evil.M"}
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": maps, "model_type": "evil"}))
    (folder / "evil.py").write_text(f"import os\nos.system('touch {tmp_path / 'ran'}')\n")
    message = refusal(build, str(folder))
    assert f"{role}.name={folder}: it brings code of its own" in message
    assert f"--model.{role}.init_args.trust_remote_code true" in message and not (tmp_path / "ran").exists()


def test_a_model_of_another_kind_is_told_in_one_message(models, changed):
    assert "WhisperConfig is of an encoder with a decoder" in refusal(llm, models["whisper"])
    message = refusal(llm, models["wav2vec2"])
    assert f"llm.name={models['wav2vec2']}: " in message and "as a causal language model" in message
    message = refusal(encoder, models["llm"])
    assert f"encoder.name={models['llm']}: " in message and "no feature extractor" in message
    for build, role in ((llm, "llm"), (encoder, "encoder")):
        message = refusal(build, "somebody/unheard-of")
        assert f"{role}.name=somebody/unheard-of: " in message and "while the hub can be reached" in message


@pytest.mark.parametrize(("kind", "build"), [("llm", llm), ("whisper", encoder)])
@pytest.mark.parametrize("content", [b"", b"hello", b"[]", b"{}", b'{"model_type": 7}', b"\xff\xfe"])
def test_a_config_json_that_is_none_is_told_in_one_message(changed, kind, build, content):
    folder = Path(changed(kind))
    (folder / "config.json").write_bytes(content)
    assert f".name={folder}: " in refusal(build, str(folder))


@pytest.mark.parametrize(("kind", "build"), [("llm", llm), ("whisper", encoder)])
def test_damaged_weights_are_told_in_one_message(changed, kind, build):
    folder = Path(changed(kind))
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"hello", (2**62).to_bytes(8, "little") + whole[8:]):
        file.write_bytes(content)
        assert f".name={folder}: " in refusal(build, str(folder))
