"""The ablations' flags: each parses over stage 3, changes what its name says, and nothing else."""

from pathlib import Path

import pytest

from experiments.benchmarks.ablations import BASE, variants
from speech_xl.stages import parse_command
from tests.test_configs import Parsed

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture(scope="module")
def parser():
    return Parsed(parse_command(["fit", "-c", "stage3.yaml"], EXPERIMENTS), None).parser


def settings(parser, flags):
    """Stage 3 with these flags, flat."""
    command = parse_command(["fit", "-c", "stage3.yaml", *flags], EXPERIMENTS)
    config = parser.parse_args(command.argv()).fit
    return {key: str(value) for key, value in vars(config.as_flat()).items() if "config" not in key}


@pytest.mark.parametrize("name", sorted(set(variants(300)) - {BASE}))
def test_an_ablation_changes_one_thing(parser, name):
    base, changed = settings(parser, variants(300)[BASE]), settings(parser, variants(300)[name])
    different = {key for key in base.keys() | changed.keys() if base.get(key) != changed.get(key)}
    assert len(different) == 1, different


def test_the_curriculum_rises_in_half_of_the_steps(parser):
    schedule = settings(parser, variants(300)[BASE])["curriculum.init_args.schedule"]
    assert [f"start={start}" in schedule or f"'start': {start}" in schedule for start in (0, 50, 100)] == [True] * 3
