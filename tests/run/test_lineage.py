"""Lineage: what weights mean travels with them, and whoever uses them otherwise is told by key."""

import pytest
import torch

from experiments.random_models import encoder_folder, llm_folder
from speech_xl.model import LLM, HFEncoder, SemanticAdapter, SpeechLLM
from speech_xl.model.fingerprint import fingerprint
from speech_xl.phases.weights import save_weights
from speech_xl.run.lineage import (
    Lineage,
    LineageError,
    Parent,
    differences,
    read_lineage,
    refuse,
    settings_of,
    sources_of,
    stale_because,
    weights_digest,
)

MODEL = {
    "class_path": "speech_xl.phases.SSTCompression",
    "init_args": {
        "encoder": {"class_path": "speech_xl.model.HFEncoder", "init_args": {"name": "e", "overlap_seconds": 1.0}},
        "adapter": {"class_path": "speech_xl.model.SemanticAdapter", "init_args": {"stride": 4, "dropout": 0.1}},
        "llm": {"class_path": "speech_xl.model.LLM", "init_args": {"name": "l", "lora": {"alpha": 64, "dropout": 0.1}}},
        "sst": {"class_path": "speech_xl.model.SSTs", "init_args": {"positions": "compact"}},
        "trainable": {"sst.*": 1e-3},
    },
}
DATA = {
    "transcript": {"class_path": "Timestamps", "init_args": {"step_seconds": 1.0, "max_gap_seconds": 3.0}},
    "partition": {"class_path": "speech_xl.data.partition.FixedWindows", "init_args": {"seconds": 4.0}},
}


def made(stage: str, parent: Parent | None = None) -> Lineage:
    return Lineage("run", stage, "32-true", 0, {"data.transcript": "Timestamps"}, parent=parent)


def save(path, value: float, lineage: Lineage | None):
    import json

    notes = {} if lineage is None else {"lineage": json.dumps(lineage.plain())}
    save_weights({"w": torch.full((2,), value)}, path, **notes)


@pytest.mark.parametrize(("shortest", "differ"), [(4.0, False), (None, True)])
def test_the_length_of_windows_in_use_is_free_where_training_draws_its_own(shortest, differ):
    def of(seconds: float) -> dict:
        windows = {"seconds": seconds, "shortest": shortest, "longest": 12.0, "context": 4.0}
        transcript = {"class_path": "Timestamps", "init_args": {"windows": windows}}
        return settings_of(MODEL, DATA | {"transcript": transcript})

    found = differences(of(8.0), of(12.0))
    assert found == (["data.transcript.windows.seconds: trained with 8.0, here 12.0"] if differ else [])
    earlier = of(8.0) | {"data.transcript.windows.seconds": 8.0}
    assert differences(earlier, of(12.0)) == found


def test_settings_are_what_changes_the_meaning_and_nothing_else():
    assert settings_of(MODEL, DATA) == {
        "model": "SSTCompression",
        "model.encoder": "HFEncoder",
        "model.encoder.overlap_seconds": 1.0,
        "model.adapter": "SemanticAdapter",
        "model.adapter.stride": 4,
        "model.frame_code": None,
        "model.llm": "LLM",
        "model.llm.lora.alpha": 64,
        "model.sst": "SSTs",
        "model.sst.positions": "compact",
        "data.transcript": "Timestamps",
        "data.transcript.step_seconds": 1.0,
        "data.partition": "FixedWindows",
        "data.partition.seconds": 4.0,
    }


def test_a_plain_name_has_its_classes_defaults():
    named = {"class_path": "SSTCompression", "init_args": {**MODEL["init_args"], "encoder": "openai/whisper-base"}}
    assert "model.encoder.overlap_seconds: trained with 1.0, here 0.0" in differences(
        settings_of(MODEL, DATA), settings_of(named, DATA)
    )


def test_ssts_of_a_form_have_its_settings():
    named = {"class_path": "SSTCompression", "init_args": {**MODEL["init_args"], "sst": "paper"}}
    found = settings_of(named, DATA)
    assert found["model.sst"] == "SSTs" and found["model.sst.projections"] == "full"
    assert "model.sst.positions: trained with 'compact', here 'original'" in differences(
        settings_of(MODEL, DATA), found
    )


def test_other_settings_are_refused_by_key_and_recorded_when_forced():
    found = differences({"a": 1, "b": 2, "only": 3}, {"a": 1, "b": 5, "other": 4})
    assert found == ["b: trained with 2, here 5"]
    with pytest.raises(LineageError, match=r"(?s)w\.safetensors.*b: trained with 2, here 5.*--force"):
        refuse(found, "w.safetensors", force=False)
    assert refuse(found, "w.safetensors", force=True) == found


def test_lineage_travels_in_weights_and_damage_to_it_is_named(tmp_path):
    path = tmp_path / "w.safetensors"
    lineage = made("two", Parent("../one/w.safetensors", "0" * 16, "r", "one"))
    save(path, 1.0, lineage)
    assert read_lineage(path) == lineage
    save(path, 1.0, None)
    assert read_lineage(path) is None
    for note, reason in (("[not json", "no JSON"), ('{"run": 1}', "changed by hand"), ("[1]", "changed by hand")):
        save_weights({"w": torch.zeros(1)}, path, lineage=note)
        with pytest.raises(LineageError, match=rf"w\.safetensors: .*{reason}"):
            read_lineage(path)


def test_children_of_a_parent_that_was_trained_again_are_stale_to_the_last_generation(tmp_path):
    one, two, three = (tmp_path / f"{name}/weights.safetensors" for name in ("one", "two", "three"))
    save(one, 1.0, made("one"))
    save(two, 2.0, made("two", Parent("../one/weights.safetensors", weights_digest(one), "r", "one")))
    save(three, 3.0, made("three", Parent("../two/weights.safetensors", weights_digest(two), "r", "two")))
    assert stale_because(three) == []
    save(one, 9.0, made("one"))
    assert [str(two) in line and str(one) in line for line in stale_because(three)] == [True]
    assert stale_because(two) == stale_because(three)
    one.unlink()  # what is gone can't be compared
    assert stale_because(three) == []


def test_a_fingerprint_changes_with_names_shapes_values_and_formats():
    weight = torch.arange(40_000, dtype=torch.float32).reshape(200, 200)
    variants = [
        [("w", weight)],
        [("v", weight)],
        [("w", weight.T)],
        [("w", weight + 1)],
        [("w", weight.double())],
        [("w", weight.reshape(-1))],
        [("w", weight), ("v", weight)],
    ]
    assert len({fingerprint(one) for one in variants}) == len(variants)
    assert fingerprint([("a", weight), ("b", weight)]) == fingerprint([("b", weight), ("a", weight)])


def test_a_head_tied_to_trained_embeddings_is_no_source(tmp_path):
    encoder = HFEncoder(encoder_folder(tmp_path / "encoder"))
    llm = LLM(llm_folder(tmp_path / "llm", tie_word_embeddings=True))
    model = SpeechLLM(encoder, SemanticAdapter(stride=4), llm)
    model.build()
    names = model.state_dict().keys()
    untrained = {name for name in names if name.startswith("encoder.") or name.endswith("lm_head.weight")}
    assert set(sources_of(model, names)) == {"encoder", "llm"}, "nothing of it is trained"
    before = sources_of(model, untrained)
    with torch.no_grad():
        model.llm.embedding.weight.add_(1.0)
    assert sources_of(model, untrained) == before and set(before) == {"encoder"}


def test_two_stages_that_were_trained_from_each_other_are_followed_once(tmp_path):
    one, two = (tmp_path / f"{name}/weights.safetensors" for name in ("one", "two"))
    save(one, 1.0, made("one"))
    save(two, 2.0, made("two", Parent("../one/weights.safetensors", weights_digest(one), "r", "one")))
    save(one, 3.0, made("one", Parent("../two/weights.safetensors", weights_digest(two), "r", "two")))
    assert [str(two) in line for line in stale_because(two)] == [True]
    assert stale_because(one) == []


def test_a_setting_of_the_data_that_was_left_out_is_a_difference():
    assert differences({"data.partition.seconds": 2.0, "model.sst.rank": 8}, {}) == [
        "data.partition.seconds: trained with 2.0, here nothing"
    ]


@pytest.mark.parametrize("key", ["run", "stage", "precision", "forced", "settings", "prompt", "parent"])
def test_a_lineage_whose_values_are_of_another_kind_is_named(key):
    with pytest.raises(LineageError, match="w: its lineage can't be read"):
        Lineage.of(made("one").plain() | {key: 1}, "w")
