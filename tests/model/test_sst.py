"""SSTs: they begin as the plain model, change their own rows alone, and leave the base model's weights in place."""

from inspect import signature

import pytest
import torch

from experiments.random_models import WIDTH, listener, llm_folder, speech, suffixes
from speech_xl.evaluation.compressors import MeanPooled
from speech_xl.model import LLM, Lora, SSTs
from speech_xl.model.layout import LayoutBatch
from speech_xl.model.positions import Kind
from speech_xl.model.sst import FORMS, effective_linear

FAMILIES = ["qwen2", "qwen3", "llama", "smollm3"]
LORA = Lora(r=2, alpha=6, target_modules=["q_proj", "v_proj"])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("llms")
    return {kind: llm_folder(root / kind, kind) for kind in FAMILIES}


def run(model, kind, embeds):
    """Hidden states of a plain causal pass in which the rows of kind SST are SSTs."""
    length = embeds.shape[1]
    mask = torch.ones(length, length, dtype=torch.bool).tril()[None, None].expand(len(embeds), 1, -1, -1)
    return model.decode(embeds, kind, torch.arange(length).expand(len(embeds), -1), mask, None)


def rows(*sst, length=9, batch=2):
    kind = torch.full((batch, length), int(Kind.SUFFIX))
    for row, column in sst:
        kind[row, column] = Kind.SST
    return kind


def embeds(length=9, batch=2):
    generator = torch.Generator().manual_seed(4)
    return torch.randn(batch, length, WIDTH, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("lora", [None, LORA], ids=["plain", "peft"])
@pytest.mark.parametrize("projections", ["full", "lora"])
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_untrained_ssts_are_projected_as_the_plain_model_does(folders, family, projections, lora):
    kind = rows((0, 2), (0, 5), (1, 8))
    with_sst = listener(folders[family], projections, lora=lora, train_sst=False)
    plain = listener(folders[family], None, lora=lora)
    # A full copy passes through float32, as every parameter is made; the decoder's weights come from float32 files,
    # but a merged LoRA delta is rounded.
    torch.testing.assert_close(run(with_sst, kind, embeds()), run(plain, kind, embeds()), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("projections", ["full", "lora"])
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_only_sst_rows_are_changed(folders, family, projections):
    trained, plain = listener(folders[family], projections), listener(folders[family], None)
    kind = rows((0, 4), (0, 6))
    new, old = run(trained, kind, embeds()), run(plain, kind, embeds())
    moved = (new - old).abs().amax(-1) > 1e-9
    assert not moved[1].any(), "a row without SSTs is the plain model's"
    assert not moved[0, :4].any(), "what stands before the first SST can't see it"
    assert moved[0, 4:].all(), "the SST itself and what sees it"


@torch.no_grad()
def test_the_projections_themselves_replace_sst_rows_alone(folders):
    model = listener(folders["qwen2"], "full")
    attention = model.llm.decoder.layers[0].self_attn
    outputs = {}
    for name in ("q_proj", "k_proj", "v_proj"):
        keep = outputs.setdefault(name, [])
        getattr(attention, name).register_forward_hook(lambda m, args, out, keep=keep: keep.append((args[0], out)))
    kind = rows((0, 4), (1, 7))
    run(model, kind, embeds())
    for name, ((x, out),) in outputs.items():
        own, base = model.sst.layers[0][name], getattr(attention, name)
        wanted = torch.where(
            (kind == Kind.SST)[..., None], own(x), torch.nn.functional.linear(x, base.weight, base.bias)
        )
        torch.testing.assert_close(out, wanted, atol=1e-12, rtol=1e-10)


@torch.no_grad()
def test_rows_of_one_call_do_not_linger_into_the_next(folders):
    model, plain = listener(folders["qwen2"]), listener(folders["qwen2"], None)
    run(model, rows((0, 4), (1, 1)), embeds())
    torch.testing.assert_close(run(model, rows(), embeds()), run(plain, rows(), embeds()), atol=0, rtol=0)
    run(model, rows((0, 4), (1, 1)), embeds())
    # Also when the model is called as anyone would, without any of our arguments.
    mine, theirs = (m.llm.model(inputs_embeds=embeds()).logits for m in (model, plain))
    assert mine.equal(theirs)


@pytest.mark.parametrize("projections", ["full", "lora"])
def test_the_base_models_keys_stay_as_they_are(folders, projections):
    plain, with_sst = listener(folders["llama"], None), listener(folders["llama"], projections)
    own = {name for name in with_sst.state_dict() if name.startswith("sst.")}
    assert set(with_sst.state_dict()) - own == set(plain.state_dict())
    assert with_sst.llm.state_dict().keys() == plain.llm.state_dict().keys()
    suffix = "weight" if projections == "full" else "up.weight"
    # Every layer has k and v, every layer but the last q; and nothing else.
    assert {n for n in own if n.endswith(suffix)} == {
        *(f"sst.layers.0.{p}_proj.{suffix}" for p in "qkv"),
        *(f"sst.layers.1.{p}_proj.{suffix}" for p in "kv"),
    }


def test_the_embedding_begins_as_the_mean_of_the_texts(folders):
    model = listener(folders["qwen2"], train_sst=False)
    torch.testing.assert_close(model.sst.embedding, model.llm.embedding.weight.mean(0), atol=1e-6, rtol=1e-5)


def test_a_lora_delta_is_merged_into_the_copy(folders):
    model = listener(folders["qwen2"], lora=LORA, train_sst=False)
    attention = model.llm.decoder.layers[0].self_attn
    for name in ("q_proj", "v_proj"):
        module = getattr(attention, name)
        a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
        merged = module.base_layer.weight + 3.0 * b @ a  # alpha / r
        assert (merged - module.base_layer.weight).abs().max() > 0.1
        torch.testing.assert_close(model.sst.layers[0][name].weight, merged, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(effective_linear(module)[0].double(), merged, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.sst.layers[0]["k_proj"].weight, attention.k_proj.weight, atol=1e-6, rtol=1e-6)


def test_the_copy_is_a_copy(folders):
    model = listener(folders["qwen2"], train_sst=False)
    before = model.sst.layers[0]["k_proj"].weight.clone()
    with torch.no_grad():
        model.llm.decoder.layers[0].self_attn.k_proj.weight.zero_()
    assert model.sst.layers[0]["k_proj"].weight.equal(before) and before.abs().max() > 0


def test_frozen_llm_leaves_the_ssts_training(folders):
    model = listener(folders["qwen2"])
    model.llm.requires_grad_(False)
    model(speech([6, 4]), [[2, 4]], suffixes(model, [("ask", "say")])).loss_sum.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.sst.parameters())
    assert all(p.grad is None for p in model.llm.parameters())


def test_fused_projections_are_refused(tmp_path):
    llm = LLM(llm_folder(tmp_path / "phi3", "phi3"))
    llm.build()
    with pytest.raises(ValueError, match=r"0 of 2 layers have separate q_proj, k_proj and v_proj\. .* fused"):
        SSTs().build(llm.decoder, llm.embedding)


def test_unknown_projections_are_refused():
    with pytest.raises(ValueError, match=r"sst\.projections='half': choose 'full' or 'lora'"):
        SSTs("half")


@torch.no_grad()
def test_an_untrained_sst_may_start_as_the_pooled_frame(folders):
    model, heard = listener(folders["qwen2"], train_sst=False, start="mean"), speech([5, 3])
    layout = LayoutBatch.collate(model.layouts(heard, [[2, 4]], [0]))
    rows = model.embed(layout, heard, torch.zeros(1, 0, dtype=torch.long))[0, layout.kind[0] == Kind.SST]
    torch.testing.assert_close(rows, MeanPooled().shortened(model, heard, [[2, 4]]).frames[0])
    assert not model.sst.embedding.any()


def test_the_papers_form_is_spelled_out_whatever_the_defaults():
    assert set(FORMS["paper"]) == set(signature(SSTs).parameters) - {"rank"}  # which is of low-rank projections
    paper = SSTs.named("paper")
    assert (paper.projections, paper.positions) == ("full", "original")
    assert (paper.placement, paper.start) == ("interleaved", "embedding")
    for other in ("papers", None):
        with pytest.raises(ValueError, match=r"model\.sst: got .*; give paper, for SSTs as in Speech-XL, or SSTs' own"):
            SSTs.named(other)


def test_an_unknown_start_is_refused():
    with pytest.raises(ValueError, match=r"sst\.start='zero': choose 'embedding' or 'mean'"):
        SSTs(start="zero")
