"""A stage that was given away, whole, merged or apart, is the same model: tensors, logits, answers, bytes."""

import filecmp
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from speech_xl import SpeechXL
from speech_xl.hub.export import export
from speech_xl.inference import load_stage
from speech_xl.storage.hub_folder import INDEX, WEIGHTS
from tests.hub.giving import QUESTIONS, answers, given_by, logits, sound

ROOT = Path(__file__).parents[2]
NAMES = {"encoder": "tiny/encoder", "llm": "tiny/llm"}
FORMS = {"whole": {}, "merged": {"merge_lora": True}, "apart": {"apart": True, "names": NAMES}}


def bases(run: Path) -> dict[str, str]:
    """Where the base models of a tiny stage lie."""
    return {role: str(run.parents[2] / role) for role in NAMES}


@pytest.fixture(scope="module")
def given(lora_run, tmp_path_factory):
    """The stage with LoRA in each form, and the model itself."""
    place = tmp_path_factory.mktemp("given")
    told = {form: export(lora_run, place / form, **options).remarks for form, options in FORMS.items()}
    return place, SpeechXL.from_stage(lora_run), told


def loaded(folder: Path, run: Path) -> SpeechXL:
    return SpeechXL.from_pretrained(folder, **(bases(run) if folder.name.startswith("apart") else {}))


@pytest.fixture(scope="module")
def fresh(given, lora_run, tmp_path_factory):
    """What each folder gives in another process, through an Auto class or SpeechXL itself."""
    place, out = given[0], tmp_path_factory.mktemp("fresh")
    more = "".join(f",{role}={path}" for role, path in bases(lora_run).items())
    words = [f"{place / form}{more if form == 'apart' else ''}" for form in FORMS]
    subprocess.run([sys.executable, "-m", "tests.hub.fresh", str(out), *words], cwd=ROOT, check=True, timeout=300)
    return {
        form: (load_file(out / f"{form}.safetensors"), json.loads((out / f"{form}.json").read_text())) for form in FORMS
    }


@pytest.mark.parametrize("form", FORMS)
def test_a_fresh_process_has_equal_tensors_logits_and_answers(given, fresh, lora_run, form):
    place, model, _ = given
    found, said = fresh[form]
    own, own_said = given_by(model if form != "merged" else loaded(place / form, lora_run))
    assert found.keys() == own.keys() and all(found[name].equal(value) for name, value in own.items())
    assert said == own_said == answers(model) and any(said)


def test_merged_lora_is_in_the_weights_and_told_of(given, lora_run):
    place, model, told = given
    merged = loaded(place / "merged", lora_run)
    assert not any("lora" in name for name in merged.state_dict()) and merged.config.llm["init_args"]["lora"] is None
    difference, largest = (logits(merged) - logits(model)).abs().max(), logits(model).abs().max()
    assert 0 < difference < 1e-5 * largest
    (remark,) = told["merged"]
    assert remark.startswith("LoRA was merged into 6 layers") and "the logits differ by" in remark
    weights = model.backbone.state_dict()
    stem = "llm.model.model.layers.0.self_attn.q_proj"
    delta = 2.0 * weights[f"{stem}.lora_B.default.weight"] @ weights[f"{stem}.lora_A.default.weight"]  # alpha / r
    held = merged.backbone.state_dict()[f"{stem}.weight"]
    assert torch.allclose(held, weights[f"{stem}.base_layer.weight"] + delta, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_saved_again_it_has_the_same_bytes(given, lora_run, form, tmp_path):
    place, _, _ = given
    loaded(place / form, lora_run).save_pretrained(tmp_path / "again")
    again = {path.name for path in (tmp_path / "again").iterdir()}
    assert again == {path.name for path in (place / form).iterdir()}
    assert not [name for name in again if not filecmp.cmp(place / form / name, tmp_path / "again" / name, False)]


def test_an_apart_folder_holds_what_was_trained_alone(given):
    place, _, _ = given
    names = load_file(place / "apart" / WEIGHTS)
    assert all(name.startswith(("backbone.sst.", "backbone.adapter.")) or "lora_" in name for name in names)
    assert any("lora_" in name for name in names) and any(".sst." in name for name in names)


def test_nothing_says_where_anything_lay(given, lora_run):
    place, _, _ = given
    root = str(lora_run.parents[2]).encode()
    for path in (path for path in place.rglob("*") if path.is_file()):
        assert root not in path.read_bytes(), path


@pytest.mark.parametrize("form", ["whole", "apart"])
def test_weights_in_several_files_and_tied_ones(full_run, form, tmp_path):
    options = {"apart": True, "names": {"encoder": "tiny/encoder"}} if form == "apart" else {}
    export(full_run, tmp_path / "one", **options)
    export(full_run, tmp_path / "many", max_shard_size=30_000, **options)
    assert len(list((tmp_path / "many").glob("model-*.safetensors"))) > 2 and (tmp_path / "many" / INDEX).is_file()
    assert "backbone.llm.model.lm_head.weight" not in load_file(tmp_path / "one" / WEIGHTS)
    given = {"encoder": bases(full_run)["encoder"]} if form == "apart" else {}
    one, many = (SpeechXL.from_pretrained(tmp_path / name, **given) for name in ("one", "many"))
    own = SpeechXL.from_stage(full_run).state_dict()
    for model in (one, many):
        assert all(model.state_dict()[name].equal(value) for name, value in own.items())
    head = many.backbone.llm.model.get_output_embeddings().weight
    assert head is many.backbone.llm.embedding.weight
    many.save_pretrained(tmp_path / "again", max_shard_size=30_000)
    for path in (tmp_path / "again").iterdir():
        assert filecmp.cmp(path, tmp_path / "many" / path.name, False), path.name
    many.save_pretrained(tmp_path / "again")
    assert not (tmp_path / "again" / INDEX).exists() and not list((tmp_path / "again").glob("model-*"))


def test_half_precision_is_a_smaller_file_of_the_same_model(full_run, tmp_path):
    export(full_run, tmp_path / "half", dtype="float16")
    model = SpeechXL.from_pretrained(tmp_path / "half")
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert {value.dtype for value in load_file(tmp_path / "half" / WEIGHTS).values()} == {torch.float16}
    own = SpeechXL.from_stage(full_run).state_dict()
    assert all(value.equal(own[name].half().float()) for name, value in model.state_dict().items())
    model.save_pretrained(tmp_path / "again")
    assert filecmp.cmp(tmp_path / "half" / WEIGHTS, tmp_path / "again" / WEIGHTS, False)
    with torch.no_grad():
        model.backbone.llm.embedding.weight.add_(1e-6)  # trained on: half precision would lose it
    model.save_pretrained(tmp_path / "again")
    trained = SpeechXL.from_pretrained(tmp_path / "again").backbone.llm.embedding.weight
    assert trained.equal(model.backbone.llm.embedding.weight)


def test_a_memory_of_the_stage_is_understood_by_the_folder(given, lora_run, tmp_path):
    place, _, _ = given
    memory = load_stage(lora_run).listen(sound(0), rate=16_000, ratio=2)
    memory.save(tmp_path / "heard.safetensors")
    for form in ("whole", "apart"):
        again = loaded(place / form, lora_run).load_memory(tmp_path / "heard.safetensors")
        assert again.ask(QUESTIONS[0], 12).text == memory.ask(QUESTIONS[0], 12).text


def test_generate_answers_as_a_memory_does(given, lora_run):
    place, _, _ = given
    model = loaded(place / "whole", lora_run)
    inputs = model.processor(audio=[sound(0), sound(1)], text=QUESTIONS[0], ratio=2, sampling_rate=16_000)
    said = model.processor.batch_decode(model.generate(**inputs, max_new_tokens=12))
    heard = [model.listen(sound(seed), rate=16_000, ratio=2) for seed in (0, 1)]
    assert said == [memory.ask(QUESTIONS[0], 12).text for memory in heard] and any(said)
    transcript = model.generate(inputs["input_values"][:1], input_lengths=inputs["input_lengths"][:1], ratio=2)
    assert model.processor.decode(transcript[0]) == heard[0].ask(model.transcript.instruction).text
    with pytest.raises(TypeError, match="do_sample=True: answers are greedy"):
        model.generate(**inputs, do_sample=True)


def test_the_loss_of_labels_is_that_of_training(given, lora_run):
    place, _, _ = given
    model = loaded(place / "whole", lora_run)
    inputs = model.processor(audio=sound(0), text="how many", answer="two", ratio=2, sampling_rate=16_000)
    output = model(**inputs)
    suffix = model.backbone.llm.prompt.training([("how many", "two")])
    from speech_xl.hub.scoring import heard

    speech = heard(model.backbone, [sound(0)], model.interval_seconds)
    due = model.backbone(speech, speech.throughout(2), [suffix])
    assert torch.allclose(output.loss, due.loss_sum / due.label_weight) and due.label_tokens == 4
    assert output.kept_kv_tokens.tolist() == [due.kept_kv_tokens]
    model.requires_grad_(True)
    model(**inputs).loss.backward()
    assert model.backbone.sst.embedding.grad.abs().sum() > 0


def test_an_apart_folder_is_made_whole_again_from_where_its_bases_lie(lora_run, tmp_path):
    apart = export(lora_run, tmp_path / "apart", apart=True, names=NAMES).folder
    again = export(apart, tmp_path / "whole", bases=bases(lora_run)).folder
    whole = export(lora_run, tmp_path / "direct").folder
    mine, theirs = (SpeechXL.from_pretrained(one).backbone.state_dict() for one in (again, whole))
    assert mine.keys() == theirs.keys() and all(mine[name].equal(theirs[name]) for name in mine)
