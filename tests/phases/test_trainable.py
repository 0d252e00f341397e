"""What trains is what a pattern names, and a pattern that names nothing is an error."""

import pytest
from torch import nn

from speech_xl.phases.trainable import select_trainable


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
