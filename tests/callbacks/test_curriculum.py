"""RatioCurriculum: the right ratios in force at every step, in TensorBoard, over a resume, and clear refusals."""

import re

import lightning.pytorch as pl
import pytest
import torch

from speech_xl.callbacks import RatioCurriculum, RatioStage

RISING = [RatioStage(0, [2]), RatioStage(2, [2, 4]), RatioStage(5, [2, 4, 8])]


def expected(step):
    return (2,) if step < 2 else (2, 4) if step < 5 else (2, 4, 8)


def test_ratios_follow_the_steps(train):
    run = train(RatioCurriculum(RISING), batches=4, epochs=2)
    assert run.phase.seen == [(step, expected(step)) for step in range(8)]


def test_ratios_follow_the_epochs(train):
    run = train(RatioCurriculum([RatioStage(0, [2]), RatioStage(1, [4])], unit="epoch"), batches=3, epochs=2)
    assert [ratios for _, ratios in run.phase.seen] == [(2,)] * 3 + [(4,)] * 3


def test_steps_are_optimizer_steps_under_accumulation(train):
    run = train(RatioCurriculum(RISING), batches=12, accumulate_grad_batches=2)
    assert [step for step, _ in run.phase.seen] == [index // 2 for index in range(12)]
    assert all(ratios == expected(step) for step, ratios in run.phase.seen)


def test_curves_have_steps_and_rises_are_told(train):
    events = train(RatioCurriculum(RISING), batches=8).events
    points = dict(events.scalars("curriculum/max_ratio"))
    # The old value stands right before each change, so that TensorBoard's straight lines look like steps.
    assert points == {0: 2.0, 1: 2.0, 2: 4.0, 4: 4.0, 5: 8.0, 8: 8.0}
    assert dict(events.scalars("curriculum/stage"))[5] == 2.0
    assert dict(events.scalars("curriculum/n_ratios"))[5] == 3.0
    assert [step for step, _ in events.texts("curriculum")] == [0, 2, 5]
    assert "ratios 2, 4, 8" in events.texts("curriculum")[-1][1]


def test_scalars_come_every_n_steps(train):
    events = train(RatioCurriculum([RatioStage(0, [2])], every_n_steps=3), batches=8).events
    assert [step for step, _ in events.scalars("curriculum/max_ratio")] == [0, 3, 6, 8]


def test_resume_goes_on_in_the_same_stage_without_announcing_it_again(train, tmp_path):
    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 3:
                trainer.save_checkpoint(tmp_path / "mid.ckpt")
                trainer.should_stop = True

    train(RatioCurriculum(RISING), Stop(), batches=8, version="first")
    torch.load(tmp_path / "mid.ckpt", weights_only=True)  # plain values only, or Lightning couldn't load it safely
    run = train(RatioCurriculum(RISING), batches=8, ckpt_path=tmp_path / "mid.ckpt", version="second")
    assert run.phase.seen[0] == (3, (2, 4))
    assert all(ratios == expected(step) for step, ratios in run.phase.seen)
    assert [step for step, _ in run.events.texts("curriculum")] == [5]


def test_a_changed_schedule_is_told_at_resume():
    state = RatioCurriculum(RISING).state_dict()
    with pytest.warns(UserWarning, match="was trained with"):
        RatioCurriculum([RatioStage(0, [4])]).load_state_dict(state)


def test_needs_a_phase_that_compresses(train, toy_phase):
    with pytest.raises(ValueError, match="ToyPhase doesn't; use the phase SSTCompression"):
        train(RatioCurriculum(RISING), phase=toy_phase(compresses=False))


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ([], "schedule: the list is empty"),
        ([RatioStage(0, [2]), RatioStage(3, [2, 0])], "schedule[1].ratios[1]: got 0"),
        ([RatioStage(0, [2.5])], "schedule[0].ratios[0]: got 2.5"),
        ([RatioStage(0, [True])], "schedule[0].ratios[0]: got True"),
        ([RatioStage(0, [])], "schedule[0].ratios: the list is empty"),
        ([RatioStage(5, [2])], "schedule[0].start: got 5; the first stage must begin at 0"),
        ([RatioStage(0, [2]), RatioStage(9, [4]), RatioStage(9, [8])], "schedule[2].start: got 9 after 9"),
    ],
)
def test_bad_schedules_are_refused_by_key_and_value(schedule, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        RatioCurriculum(schedule)


def test_can_be_written_in_yaml():
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(pl.Callback, "callback")
    config = {"class_path": "speech_xl.callbacks.RatioCurriculum", "init_args": {"unit": "epoch"}}
    config["init_args"]["schedule"] = [{"start": 0, "ratios": [2]}, {"start": 3, "ratios": [2, 4]}]
    callback = parser.instantiate(parser.parse_object({"callback": config})).callback
    assert (callback.unit, callback.stage_at(2), callback.stage_at(3)) == ("epoch", 0, 1)
