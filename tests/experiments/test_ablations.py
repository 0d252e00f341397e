"""The ablations' flags: each parses over stage 3, changes what its name says, and nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest

from experiments.benchmarks.ablations import BASE, FEWEST_STEPS, RATIOS, compared, main, picture, variants
from speech_xl.run.command import parse_command
from tests.predictions import make_prediction

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


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


def test_too_few_steps_for_a_curriculum_are_refused(parser, monkeypatch, capsys):
    assert settings(parser, variants(FEWEST_STEPS)[BASE])
    monkeypatch.setattr("sys.argv", ["ablations.py", "--base", "runs/stage1", "--steps", str(FEWEST_STEPS - 1)])
    with pytest.raises(SystemExit):
        main()
    assert "--steps 5: the curriculum rises in sixths" in capsys.readouterr().err


def test_variants_are_set_beside_the_base_on_the_same_sessions(tmp_path):
    said = {BASE: ["one two", "one two"], "compact": ["one two", "six six"]}
    found = {
        name: {
            seed: [
                make_prediction(f"s{n}", ratio, reference="one two", hypothesis=text)
                for ratio in RATIOS
                for n, text in enumerate(texts[::order] * 2)
            ]
            for seed, order in ((1, 1), (2, -1))
        }
        for name, texts in said.items()
    }
    found["compact"][1][0] = replace(found["compact"][1][0], hypothesis="six six")
    rows = compared(found)
    assert [(row["method"], row["ratio"]) for row in rows] == [(name, ratio) for name in said for ratio in RATIOS]
    assert all("more_errors" not in row for row in rows if row["method"] == BASE)
    compact = [row for row in rows if row["method"] == "compact"]
    assert [row["wer_cut_by_seed"] for row in compact] == [[0.75, 0.5], [0.5, 0.5], [0.5, 0.5]]
    assert [row["more_errors_by_seed"] for row in compact] == [row["wer_cut_by_seed"] for row in compact]
    assert [row["more_errors"] for row in compact] == [0.625, 0.5, 0.5] == [row["wer_cut"] for row in compact]
    one = compared(found | {"compact": {2: found["compact"][2]}})[-1]
    assert one["more_errors_by_seed"] == [0.5], "a seed alone is set beside the base's own"
    del found[BASE][2]
    assert "more_errors" not in compared(found)[-1], "other seeds are no comparison"
    picture(rows, tmp_path / "ablations.png")
    assert (tmp_path / "ablations.png").stat().st_size
