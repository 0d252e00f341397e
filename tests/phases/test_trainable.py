"""What trains is what a pattern names, and a pattern that names nothing is an error."""

import pytest
from torch import nn

from speech_xl.model import LLM, Lora
from speech_xl.phases import SemanticAlignment
from speech_xl.phases.trainable import rounded_away, select_trainable
from tests.phases.parts import Given, batch, fit, phase


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.ModuleDict({"adapter": nn.Linear(2, 2), "llm": nn.ModuleDict({"a": nn.Linear(2, 2)})})
        self.head = nn.Linear(2, 2)


def training(net):
    return {name for name, parameter in net.named_parameters() if parameter.requires_grad}


def test_what_no_pattern_names_is_frozen():
    net = Net()
    (group,) = select_trainable(net, {"adapter.*": 0.1})
    assert training(net) == {"backbone.adapter.weight", "backbone.adapter.bias"}
    assert group["lr"] == 0.1 and group["name"] == "adapter.*"
    assert {id(p) for p in group["params"]} == {id(p) for p in net.backbone["adapter"].parameters()}


def test_the_first_pattern_that_matches_gives_the_rate():
    net = Net()
    groups = select_trainable(net, {"*.bias": 0.5, "llm.*": 0.1, "head.*": 0.2})
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    named = {name: rates.get(id(p)) for name, p in net.named_parameters()}
    assert named == {
        "backbone.adapter.weight": None,
        "backbone.adapter.bias": 0.5,
        "backbone.llm.a.weight": 0.1,
        "backbone.llm.a.bias": 0.5,
        "head.weight": 0.2,
        "head.bias": 0.5,
    }
    assert sum(len(group["params"]) for group in groups) == 5, "each in one group alone"


def test_a_pattern_behind_a_wider_one_is_no_error_though_it_gets_nothing():
    groups = select_trainable(Net(), {"*": 0.1, "llm.*": 0.2})
    assert [group["name"] for group in groups] == ["*"]


def test_choosing_again_replaces_the_choice():
    net = Net()
    select_trainable(net, {"*": 0.1})
    select_trainable(net, {"head.*": 0.1})
    assert training(net) == {"head.weight", "head.bias"}


@pytest.mark.parametrize("pattern", ["adaptor.*", "adapter", "ADAPTER.*", "backbone.adapter.*"])
def test_a_pattern_that_matches_nothing_is_an_error_with_names(pattern):
    with pytest.raises(
        ValueError, match="matches no parameter that can train. Names begin with: adapter.bias, adapter.weight"
    ) as error:
        select_trainable(Net(), {"llm.*": 0.1, pattern: 0.1})
    assert repr(pattern) in str(error.value)


def test_what_the_model_itself_keeps_fixed_stays_fixed():
    net = Net()
    net.head.bias.requires_grad_(False)
    net.head.bias.frozen_by_model = True
    (group,) = select_trainable(net, {"head.*": 0.1})
    assert training(net) == {"head.weight"} and [id(p) for p in group["params"]] == [id(net.head.weight)]
    with pytest.raises(ValueError, match="head.bias"):
        select_trainable(net, {"head.bias": 0.1})


def test_what_trains_in_less_than_float32_is_named():
    net = Net()
    net.backbone["llm"].bfloat16()
    select_trainable(net, {"adapter.*": 0.1})
    assert rounded_away(net) is None, "what is frozen may be small"
    select_trainable(net, {"llm.*": 0.1})
    said = rounded_away(net)
    assert said is not None and "2 parameters train in bfloat16" in said and "llm.a.weight, llm.a.bias" in said
    assert "model.llm.init_args.dtype to float32" in said


@pytest.mark.parametrize(
    ("trainable", "named"), [({"adapter.*": 0.1, "llm.*lora_*": 0.1}, False), ({"llm.*": 0.1}, True)]
)
def test_a_fit_warns_of_it_once_the_precision_is_settled(folders, tmp_path, recwarn, trainable, named):
    llm = LLM(folders["llm"], dtype="bfloat16", lora=None if named else Lora(r=2))
    fit(
        phase(SemanticAlignment, folders, trainable, llm=llm),
        Given([batch(tmp_path, ("a", 0.3, [("say", "a")]))], tmp_path),
    )
    assert any("round to none: llm.model." in str(one.message) for one in recwarn) == named
