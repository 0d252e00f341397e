"""Strategies that aren't tested are refused by name, with those that work."""

from types import SimpleNamespace

import pytest

from speech_xl.run.command import ConfigError
from speech_xl.run.strategies import checked_strategy, some_uncompressed

UNTESTED = ["ddp_spawn", "ddp_fork", "ddp_notebook", "fsdp", "deepspeed", "deepspeed_stage_2", "xla", "no_such"]


@pytest.mark.parametrize("strategy", [*UNTESTED, "lightning.pytorch.strategies.ModelParallelStrategy"])
def test_an_untested_strategy_is_refused_by_name(strategy):
    for value in (strategy, SimpleNamespace(class_path=strategy)):
        with pytest.raises(ConfigError, match=rf"trainer.strategy={strategy}: not tested .*ddp_find_unused_param"):
            checked_strategy(value, False)


@pytest.mark.parametrize("strategy", ["auto", "ddp", "ddp_find_unused_parameters_true"])
def test_a_tested_one_is_taken_and_ddp_allows_what_has_no_gradient(strategy):
    assert checked_strategy(strategy, False) == strategy
    assert checked_strategy("ddp", True) == "ddp_find_unused_parameters_true"
    given = SimpleNamespace(class_path="lightning.pytorch.strategies.DDPStrategy")
    assert checked_strategy(given, False) is given


def test_a_curriculum_that_is_uncompressed_somewhere():
    def curriculum(*ratios):
        return SimpleNamespace(schedule=[SimpleNamespace(ratios=list(one)) for one in ratios])

    assert some_uncompressed(curriculum([1], [2]), None) and some_uncompressed(None, (1, 2))
    assert not some_uncompressed(curriculum([2], [4]), (1,)) and not some_uncompressed(None, None)
