"""The drills: tables without holes, outcomes judged as they should be, and a few cases of them run for real."""

import json
import pickle
import sys
import warnings

import pytest
import torch

from experiments.drills import bad_audio, bad_configs, bad_inputs, bad_manifests
from experiments.drills.__main__ import DRILLS, main
from experiments.drills.attempt import Attempt, attempt
from experiments.drills.bad_listening import run_listening
from experiments.drills.cases import WANTED, judged, run_case
from experiments.drills.checkpoints import differences
from experiments.drills.hostile_files import Command
from experiments.drills.kill_cases import KILLS, KINDS, setup
from experiments.drills.kills import trained_on
from experiments.drills.results import merge, sections
from experiments.drills.rows import Row, chosen, figure
from experiments.drills.runs import DROPOUT, Setup
from experiments.drills.trial import make_models

COUNTS = {
    "kills": 16,
    "damaged": 10,  # nine kinds of damage, and a whole file
    "hostile": 55,
    "bad_inputs": 245,
    "two_processes": 16,
    "poisoned": 6,  # four with NaN, two without memory
    "at_once": 3,
    "signals": 8,
    "retrained": 3,
    "serving": 72,
}


@pytest.mark.parametrize("name", DRILLS)
def test_a_drill_has_its_cases_each_under_its_own_name(name):
    cases = DRILLS[name].cases()
    assert len(cases) == len(set(cases)) == COUNTS[name]


def test_bad_inputs_are_split_by_area_and_say_what_is_due():
    areas = {"audio": bad_audio, "manifest": bad_manifests, "config": bad_configs}
    assert [len(areas[area].CASES) for area in areas] == [38, 72, 96]
    for area, module in areas.items():
        for case in module.CASES:
            assert case.name.startswith(f"{area}: ") and case.due in WANTED
            assert case.names or case.due != "refused", f"{case.name}: what must the message name?"
    assert all(case.names for case in bad_inputs.LISTEN if case.due == "refused" and "os.system" not in case.name)


def test_every_kill_has_dropout_and_all_kinds_are_killed(tmp_path):
    assert {kill.kind for kill in KILLS} == set(KINDS)
    for kind in KINDS:
        adapter = setup(kind, tmp_path, "run").model["adapter"]
        assert adapter["init_args"]["dropout"] == DROPOUT > 0


@pytest.mark.parametrize(
    ("status", "ending", "output", "due", "outcome", "ok"),
    [
        (2, "exited", "error: cut a: start is nan", "refused", "refused", True),
        (2, "exited", "error: something", "refused", "vague", False),
        (2, "exited", "error: cut a: start is nan", "handled", "refused", False),
        (1, "traceback", "", "either", "traceback", False),
        (1, "exited", "went wrong", "refused", "traceback", False),
        (-1, "endless", "", "either", "endless", False),
        (0, "exited", "", "refused", "silent", False),
        (0, "exited", "", "handled", "handled", True),
        (0, "exited", "", "either", "ran", True),
        (0, "exited", "UserWarning: cut a: odd", "reported", "warned", True),
        (0, "exited", "", "reported", "silent", False),
    ],
)
def test_an_outcome_is_judged_by_what_was_due(status, ending, output, due, outcome, ok):
    row = judged("case", Attempt(status, ending, output, "ValueError"), ["cut a"], due)
    assert (row.outcome, row.ok) == (outcome, ok)


def test_a_run_with_losses_that_are_no_numbers_is_silent_whatever_was_due():
    assert judged("case", Attempt(0, "exited", ""), [], "handled", [1.0, float("nan")]).outcome == "silent"


def test_an_attempt_says_how_a_command_ended_and_what_it_wrote():
    def warns():
        print("hello")
        warnings.warn("odd", UserWarning, stacklevel=1)

    def fails():
        print("error: file x is empty", file=sys.stderr)
        sys.exit(2)

    def never_ends():
        while True:
            pass

    done = attempt(warns)
    assert (done.status, done.ending) == (0, "exited") and "hello" in done.output and "odd" in done.output
    done = attempt(fails)
    assert (done.status, done.message) == (2, "error: file x is empty")
    done = attempt(lambda: [].pop())
    assert done.ending == "traceback" and "IndexError" in done.exception
    assert attempt(never_ends, seconds=0.2).ending == "endless"


def test_structures_differ_where_a_bit_does():
    one = {"a": [torch.zeros(2), 1], "b": {"c": 1.0}}
    assert differences(one, {"a": [torch.zeros(2), 1], "b": {"c": 1.0}}) == []
    assert differences(one, {"a": [torch.tensor([0.0, 1e-30]), 1], "b": {"c": 2.0}}) == ["/a/0", "/b/c (1.0 and 2.0)"]
    assert differences(one, {"a": [torch.zeros(2)], "b": {}}) == ["/a", "/b/c"]


def test_steps_that_are_done_again_after_a_resume_count_once():
    batch = {"event": "batch", "epoch": 0, "turns": "t", "ratios": []}
    begin = {"event": "train_begin"}
    whole = [begin | {"step": 0}, *(batch | {"into": n, "ids": [str(n)]} for n in (1, 2, 3))]
    killed = [*whole[:3], begin | {"step": 1}, *(batch | {"into": n, "ids": [str(n)]} for n in (2, 3))]
    assert trained_on(killed) == trained_on(whole)
    other = [*killed[:-1], batch | {"into": 3, "ids": ["4"]}]
    assert trained_on(other) != trained_on(whole)


def test_a_drills_section_replaces_its_own_and_leaves_the_others(tmp_path):
    out = tmp_path / "reliability.json"
    place = tmp_path / "work"
    merge(out, "kills", [Row("a", True, "equal")], {"kills": 1}, place, 2.0)
    merge(out, "hostile", [Row("b", False, "silent", f"{place}/x is bad")], {"hostile": 1}, place, 3.0)
    merge(out, "kills", [Row("a", True, "equal"), Row("c", True, "equal")], {"kills": 2}, place, 2.0)
    assert {name: len(section["rows"]) for name, section in sections(out).items()} == {"hostile": 1, "kills": 2}
    whole = json.loads(out.read_text())
    assert whole["summary"] == {"hostile": 1, "kills": 2} and whole["items"] == 3
    assert sections(out)["hostile"]["rows"][0]["message"] == "DRILL/x is bad"


def test_parts_choose_cases_and_a_part_that_fits_none_is_refused():
    assert chosen(["a one", "b two"], []) == ["a one", "b two"]
    assert chosen(["a one", "b two"], ["two"]) == ["b two"]
    with pytest.raises(ValueError, match="nothing like it"):
        chosen(["a one"], ["nothing like it"])
    rows = [Row("a", True, "equal"), Row("b", False, "differs")]
    assert figure("kills", rows, {"kills": 2}) == "kills: 1 of 2 as wanted (kills 2)"


def test_help_lists_every_drill(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0 and all(drill.about in shown for drill in DRILLS.values())


def test_an_overlay_makes_a_run_small_and_watches_it(tmp_path):
    setup = Setup(tmp_path, "name", "stage1", workers=2)
    text = setup.overlay().read_text()
    assert "num_workers: 2" in text and "experiments.drills.callbacks.Watcher" in text
    assert setup.events() == []


def test_a_pickle_of_the_drills_does_run_a_command_where_it_is_read_carelessly(tmp_path):
    pickle.loads(pickle.dumps(Command(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()


FAST = ("config: a list", "config: unknown key", "manifest: empty", "audio: 8000 Hz")


def test_a_few_bad_inputs_run_for_real(tmp_path):
    models = make_models(tmp_path / "models")
    cases = [case for case in bad_inputs.FIT if case.name in FAST]
    rows = [run_case(case, tmp_path, models) for case in cases]
    assert len(rows) == len(FAST) and all(row.ok for row in rows), [row.line for row in rows]


@pytest.mark.slow
def test_a_few_bad_inputs_to_listen_run_for_real(tmp_path):
    models = make_models(tmp_path / "models")
    wanted = ("listen: good", "listen: ratio 0", "listen: text named .wav")
    rows = list(run_listening([case for case in bad_inputs.LISTEN if case.name in wanted], tmp_path, models))
    assert len(rows) == len(wanted) and all(row.ok for row in rows), [row.line for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("drill", "part"),
    [
        ("kills", "06 stage 2"),
        ("damaged", "cut in half"),
        ("hostile", "pickle: whole"),
        ("poisoned", "a batch of NaN, stage1"),
        ("at_once", "two runs in one folder"),
        ("signals", "SIGTERM"),
        ("retrained", "together"),
        ("two_processes", "an epoch's uneven end"),
    ],
)
def test_a_case_of_each_drill_comes_out_as_wanted(drill, part, tmp_path, capsys):
    assert main([drill, part, "--work", str(tmp_path), "--out", str(tmp_path / "none.json")]) == 0, capsys.readouterr()
    assert not (tmp_path / "none.json").exists()  # a part is no result
