"""SpeechDataModule: every session once an epoch, budgets kept, the same order everywhere, and exact resumes."""

import contextlib
import itertools
import logging
import re
import tempfile
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
from lhotse import CutSet
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from experiments.random_models import encoder_folder
from speech_xl.data.audio import AudioError
from speech_xl.data.datamodule import SpeechDataModule
from speech_xl.data.dataset import Excerpt
from speech_xl.data.encoder_frames import EncoderFrames
from speech_xl.data.loaders import TrainPosition
from speech_xl.model import HFEncoder

TASKS = {"asr": 1.0, "qa": 1.0}
EXCERPT = Excerpt(0.4, 0.9)


def module_of(corpus, **options):
    options = {"tasks": TASKS, "max_duration": 4.0, "num_workers": 0, "num_buckets": 3, **options}
    return SpeechDataModule(corpus, **options)


def epoch_of(module, epoch=0):
    module.epoch = epoch
    return list(module.train_dataloader())


def seen_in(batches):
    """What was heard and asked, batch by batch."""
    return [list(zip(b.ids, [tuple(turns) for turns in b.turns], strict=True)) for b in batches]


# Training batches


@pytest.mark.parametrize("sessions", [1, 2, 3, 12])
@pytest.mark.parametrize("num_buckets", [1, 2, 8])
def test_every_session_once_an_epoch(tiny_corpus, sessions, num_buckets):
    module = module_of(tiny_corpus(sessions=sessions), num_buckets=num_buckets)
    for epoch in range(3):
        ids = [i for batch in epoch_of(module, epoch) for i in batch.ids]
        assert sorted(ids) == sorted(f"train{i}" for i in range(sessions))


def test_batches_fill_the_budget(tiny_corpus):
    """lhotse closes a batch when one more row as long as its longest would be too much."""
    batches = epoch_of(module_of(tiny_corpus(sessions=60)))
    padded = [len(b) * max(c.duration for c in b.cuts) for b in batches]
    full = padded[:-3]  # what is left in the 3 buckets comes last
    assert 3.0 < sum(full) / len(full) <= 4.0
    # a last row may be longer than those before it, but only by the spread of its bucket
    assert max(padded) < 5.0


def test_a_session_over_the_budget_is_a_batch_of_its_own(tiny_corpus):
    with pytest.warns(UserWarning, match="exceeded the max_duration"):
        batches = epoch_of(module_of(tiny_corpus(), max_duration=0.3))
    assert sorted(len(b) for b in batches) == [1] * 12


def test_quadratic_duration_makes_batches_of_long_sessions_smaller(tiny_corpus):
    corpus = tiny_corpus(sessions=40)
    plain, quadratic = (epoch_of(module_of(corpus, max_duration=8.0, quadratic_duration=q)) for q in (None, 2.0))

    def rows(batches):
        """Rows of the first full batch of the longest and of the shortest sessions."""
        sizes = {max(c.duration for c in b.cuts): len(b) for b in batches[:-3]}
        return sizes[max(sizes)], sizes[min(sizes)]

    assert rows(quadratic)[0] < rows(plain)[0]  # long ones are charged up to twice and more
    assert rows(quadratic)[1] / rows(plain)[1] > rows(quadratic)[0] / rows(plain)[0]


def test_order_and_turns_change_with_epoch_and_seed_only(tiny_corpus):
    corpus = tiny_corpus()
    first = seen_in(epoch_of(module_of(corpus)))
    assert seen_in(epoch_of(module_of(corpus, num_workers=2))) == first
    for other in (epoch_of(module_of(corpus), epoch=1), epoch_of(module_of(corpus, seed=1))):
        assert seen_in(other) != first
        assert [b.ids for b in other] != [[i for i, _ in rows] for rows in first]


def test_ranks_share_the_epoch(tiny_corpus, monkeypatch):
    corpus = tiny_corpus(sessions=13)
    shares = []
    for rank in range(2):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", str(rank))
        shares.append(epoch_of(module_of(corpus)))
    ids = [[i for batch in share for i in batch.ids] for share in shares]
    assert len(shares[0]) == len(shares[1])
    assert {re.sub("_dup0$", "", i) for i in ids[0] + ids[1]} == {f"train{i}" for i in range(13)}
    # a last batch of fewer rows than ranks is filled up with a copy, under another id; nothing else is seen twice
    assert len(ids[0]) + len(ids[1]) <= 14 and len(set(ids[0] + ids[1])) == len(ids[0]) + len(ids[1])


def test_excerpts_fill_the_budget_with_their_own_length(tiny_corpus):
    corpus = tiny_corpus(sessions=30)
    module = module_of(corpus, excerpt=Excerpt(0.3, 0.6))
    batches = epoch_of(module)
    assert sum(len(b) for b in batches) == 30
    assert len(batches) < len(epoch_of(module_of(corpus)))
    assert max(len(b) * max(c.duration for c in b.cuts) for b in batches) < 5.0
    excerpts = [(i, turns) for b in batches for i, turns in zip(b.ids, b.turns, strict=True) if "-" in i]
    assert len(excerpts) > 20
    assert all([t.task for t in turns] == ["asr"] for _, turns in excerpts)
    assert {i for b in epoch_of(module, epoch=1) for i in b.ids} != {i for b in batches for i in b.ids}


def test_fixed_excerpts_are_the_same_every_epoch(tiny_corpus):
    module = module_of(tiny_corpus(), excerpt=Excerpt(0.3, 0.6, fixed=True))
    first, second = (sorted(i for b in epoch_of(module, epoch) for i in b.ids) for epoch in (0, 1))
    assert first == second


def test_excerpts_without_weight_for_asr(tiny_corpus):
    with pytest.raises(ValueError, match="excerpt makes samples of the task asr"):
        module_of(tiny_corpus(), tasks={"qa": 1.0}, excerpt=Excerpt(1, 2))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_cached_frames_are_used_in_workers(tiny_corpus, tmp_path, num_workers):
    encoder = HFEncoder(encoder_folder(tmp_path / "encoder"))
    encoder.build([-1])
    frames = EncoderFrames(encoder.requires_grad_(False))
    module = module_of(tiny_corpus(), num_workers=num_workers, frames=frames, cache_dir=str(tmp_path))
    loader = module.train_dataloader()
    assert all(row is None for batch in loader for row in batch.frames)
    frames.open()
    for i, cut in enumerate(module.cuts("train")):
        frames.cache.store(cut, torch.full((3, 2), float(i)))
    for batch in loader:
        assert batch.audio == [None] * len(batch)
        assert [f"train{int(row[0, 0])}" for row in batch.frames] == batch.ids


# Evaluation


def test_evaluation_is_the_same_every_time(tiny_corpus):
    module = module_of(tiny_corpus(), num_workers=0)
    loader = module.val_dataloader()
    first = seen_in(loader)
    assert seen_in(loader) == first and len(loader) == len(first)
    rows = list(itertools.chain(*first))
    assert [i for i, _ in rows] == [f"dev{i}" for i in range(12)]
    assert all([t.task for t in turns] == ["asr", "qa", "qa", "qa", "qa"] for _, turns in rows)
    assert seen_in(module_of(tiny_corpus(), seed=7).val_dataloader()) == first
    assert [i for b in module.test_dataloader() for i in b.ids] == [f"test{i}" for i in range(12)]
    assert [i for b in module.predict_dataloader() for i in b.ids] == [f"test{i}" for i in range(12)]


def test_a_session_named_like_a_samplers_copy_is_asked(tiny_corpus, monkeypatch):
    """Of two ranks one gets a copy of dev0, which lhotse calls dev0_dup0, as a session is called here."""
    corpus = tiny_corpus(sessions=3)
    names = ["dev0_dup1", "dev0_dup0", "dev0"]
    cuts = CutSet.from_cuts(cut.with_id(name) for cut, name in zip(corpus.cuts("dev"), names, strict=True))
    durations = {cut.id: cut.duration for cut in cuts}
    monkeypatch.setattr(corpus, "cuts", lambda split: cuts)
    asked, given = [], 0
    for rank in range(2):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", str(rank))
        for batch in module_of(corpus, eval_max_duration=0.1, num_workers=1).val_dataloader():
            given += len(batch)
            asked += [cut for cut, turns in zip(batch.cuts, batch.turns, strict=True) if turns]
    assert given == 4 and sorted(cut.id for cut in asked) == sorted(names)
    assert {cut.id: cut.duration for cut in asked} == durations  # and each with its own audio


@pytest.mark.parametrize("sessions", [4, 5])
def test_evaluation_on_ranks_asks_every_session_once(tiny_corpus, monkeypatch, sessions):
    """A rank left without a batch is given a copy of a session, to keep step; the copy is asked nothing."""
    corpus = tiny_corpus(sessions=sessions)
    asked = []
    for rank in range(2):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", str(rank))
        batches = list(module_of(corpus, eval_max_duration=0.1).val_dataloader())
        assert len(batches) == (sessions + 1) // 2
        asked += [i for b in batches for i, turns in zip(b.ids, b.turns, strict=True) if turns]
    assert sorted(asked) == [f"dev{i}" for i in range(sessions)]


def test_limits_are_spread_and_said(tiny_corpus, caplog):
    module = module_of(tiny_corpus(), limit_dev=4, limit_test=100)
    with caplog.at_level(logging.INFO):
        module.setup()
    assert [cut.id for cut in module.cuts("dev")] == ["dev0", "dev3", "dev6", "dev9"]
    assert len(list(module.cuts("test"))) == 12
    assert "4 of the 12 dev sessions are used (limit_dev)" in caplog.text
    assert "16 of the 24 dev questions are asked (eval_questions)" in caplog.text
    assert "limit_test" not in caplog.text


def test_a_corpus_without_questions(tiny_corpus):
    module = module_of(tiny_corpus(questions=False), tasks={"asr": 1.0})
    assert {t.task for b in module.val_dataloader() for turns in b.turns for t in turns} == {"asr"}
    with pytest.raises(ValueError, match="corpus tiny: no dev session has truth for eval_tasks qa"):
        module_of(tiny_corpus(questions=False), eval_tasks=["qa"]).setup("validate")


def test_sessions_that_are_asked_nothing_are_told(tiny_corpus, monkeypatch):
    corpus = tiny_corpus()
    cuts = corpus.cuts("dev")
    for cut in itertools.islice(cuts, 3):
        cut.custom = None
    monkeypatch.setattr(corpus, "cuts", lambda split: cuts)
    with pytest.warns(UserWarning, match="3 of 12 dev sessions have no truth for eval_tasks caption"):
        module_of(corpus, eval_tasks=["caption"]).setup("validate")


def test_sessions_without_speech_are_asked_and_told(tiny_corpus, monkeypatch):
    corpus = tiny_corpus(sessions=3, questions=False)
    some = CutSet.from_cuts([*corpus.cuts("dev").subset(first=2), corpus.cuts("test")[2].drop_supervisions()])
    none = CutSet.from_cuts(cut.drop_supervisions() for cut in corpus.cuts("dev"))
    monkeypatch.setattr(corpus, "cuts", lambda split: some)
    module = module_of(corpus, tasks={"asr": 1.0})
    with pytest.warns(UserWarning, match="1 of 3 dev sessions have no supervisions, .* sessions without speech"):
        module.setup("validate")
    assert [turn.answer for batch in module.val_dataloader() for turns in batch.turns for turn in turns][2] == ""
    monkeypatch.setattr(corpus, "cuts", lambda split: none)
    with pytest.raises(ValueError, match="no dev session has speech"):
        module_of(corpus, tasks={"asr": 1.0}).setup("validate")
    with pytest.warns(UserWarning, match="3 of 3 test sessions"):
        module_of(corpus, tasks={"asr": 1.0}).setup("test")


# Bad input


def test_empty_manifest(tiny_corpus):
    with pytest.raises(ValueError, match="corpus tiny: the split 'train' has no sessions; delete the corpus folder"):
        module_of(tiny_corpus(sessions=0)).setup("fit")


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_bad_file_is_named_from_workers_too(tiny_corpus, num_workers):
    module = module_of(tiny_corpus(), num_workers=num_workers)
    path = list(module.cuts("train"))[5].recording.sources[0].source
    with open(path, "wb"):
        pass
    with pytest.raises(AudioError, match=re.escape(path)):
        epoch_of(module)


@pytest.mark.parametrize(
    "setting",
    [
        {"max_duration": 0},
        {"quadratic_duration": -1.0},
        {"eval_max_duration": float("nan")},
        {"limit_dev": 0},
        {"limit_test": -3},
        {"num_buckets": 0},
        {"num_workers": -1},
    ],
)
def test_bad_settings_are_named(tiny_corpus, setting):
    ((name, value),) = setting.items()
    with pytest.raises(ValueError, match=rf"data\.{name}: got {value}; give a (whole )?number"):
        module_of(tiny_corpus(), **setting)


# Training and resuming


class Recorder(pl.LightningModule):
    """Learns nothing, remembers every batch."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen = []

    def training_step(self, batch, batch_idx):
        assert batch.epoch == self.trainer.current_epoch == self.trainer.datamodule.epoch
        self.seen.append((batch.epoch, seen_in([batch])[0]))
        return self.layer(torch.ones(1)).sum()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


class Killed(RuntimeError):
    pass


class KillBefore(Callback):
    """Ends the run by an error before its `batches` + 1st batch: with workers, more have been fetched by then."""

    def __init__(self, batches):
        self.left = batches

    def on_train_batch_start(self, *_):
        self.left -= 1
        if self.left < 0:
            raise Killed


def trained(module, callbacks=(), ckpt_path=None, **options):
    """Train on `module`; returns what was seen, also if killed."""
    recorder = Recorder()
    trainer = pl.Trainer(
        max_epochs=-1,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=1,
        callbacks=list(callbacks) or None,
        enable_checkpointing=bool(callbacks),
        **options,
    )
    with contextlib.suppress(Killed):
        trainer.fit(recorder, module, ckpt_path=ckpt_path)
    return recorder.seen


def checkpointing(**options):
    return ModelCheckpoint(tempfile.mkdtemp(), save_top_k=-1, **options)


def test_epochs_roll_over(tiny_corpus):
    corpus = tiny_corpus()
    seen = trained(module_of(corpus), max_steps=20)
    assert corpus.prepared == 1
    epochs = [epoch for epoch, _ in seen]
    assert epochs == sorted(epochs) and epochs[-1] == 2
    for epoch in (0, 1):
        assert sorted(i for e, rows in seen if e == epoch for i, _ in rows) == sorted(f"train{i}" for i in range(12))
        assert [rows for e, rows in seen if e == epoch] == seen_in(epoch_of(module_of(corpus), epoch))


@pytest.mark.parametrize("excerpt", [None, Excerpt(0.4, 0.9)])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_resume_goes_on_with_the_next_batch(tiny_corpus, num_workers, excerpt):
    corpus = tiny_corpus()

    def module():
        return module_of(corpus, num_workers=num_workers, excerpt=excerpt)

    whole = trained(module(), max_steps=16)
    first_epoch = sum(epoch == 0 for epoch, _ in whole)
    # in the middle of the first epoch, at its end, and in the middle of the second
    for batches in (1, first_epoch, first_epoch + 2):
        saving = checkpointing(every_n_train_steps=1)
        before = trained(module(), [saving, KillBefore(batches)], max_steps=16)
        assert len(before) == batches
        after = trained(module(), ckpt_path=saving.best_model_path, max_steps=16)
        assert before + after == whole


def test_resume_from_validation_in_the_middle_of_an_epoch(tiny_corpus):
    corpus = tiny_corpus()
    options = {"max_steps": 16, "val_check_interval": 3, "check_val_every_n_epoch": None}
    whole = trained(module_of(corpus), **options)
    for batches in (4, 10):  # the last validation was after 3 and after 9
        saving = checkpointing(save_on_train_epoch_end=False)
        before = trained(module_of(corpus), [saving, KillBefore(batches)], **options)
        after = trained(module_of(corpus), ckpt_path=saving.best_model_path, **options)
        assert before[: batches // 3 * 3] + after == whole


@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 2}, {"limit_train_batches": 4}])
def test_resumed_again_and_again(tiny_corpus, options):
    """Killed every three batches: also where Lightning's own count within the epoch is wrong after a resume."""
    corpus = tiny_corpus()
    options = {"max_steps": 10, **options}
    whole = trained(module_of(corpus), **options)
    seen, path = [], None
    for _ in range(30):
        saving = checkpointing(every_n_train_steps=1)
        part = trained(module_of(corpus), [saving, KillBefore(3)], ckpt_path=path, **options)
        path = saving._last_checkpoint_saved or path
        done = torch.load(path, weights_only=True)["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"]
        seen = (seen + part)[:done]  # batches after the last checkpoint are trained on again
        if len(part) < 3:
            break
    assert seen == whole


def test_a_fresh_run_does_not_go_on_from_an_older_one(tiny_corpus):
    module = module_of(tiny_corpus())
    whole = trained(module, max_steps=10)
    assert whole[-1][0] > 0  # it ended in a later epoch, the next begins with the first
    module._position.begin(module.trainer)  # as a loader that had fetched ahead when the run ended
    assert trained(module, max_steps=10) == whole


def test_loading_for_evaluation_does_not_move_training(tiny_corpus):
    corpus = tiny_corpus()
    saving = checkpointing(every_n_train_steps=1)
    trained(module_of(corpus), [saving, KillBefore(3)], max_steps=5)
    module = module_of(corpus)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.validate(Recorder(), module, ckpt_path=saving.best_model_path)
    assert trained(module, max_steps=5) == trained(module_of(corpus), max_steps=5)


@pytest.mark.parametrize(
    ("excerpt", "others"),
    [
        (None, [{"max_duration": 9.0}]),
        (None, [{"max_duration": 2.0}, {"num_buckets": 1}]),
        (EXCERPT, [{"max_duration": 9.0}]),
    ],
)
def test_resume_with_other_batches_hears_what_is_left_of_the_epoch(tiny_corpus, excerpt, others):
    """Every session once an epoch, however often the batches change in it, and no hang at its end."""
    corpus = tiny_corpus()
    whole = trained(module_of(corpus, excerpt=excerpt), max_steps=30)
    first = sorted(id for epoch, rows in whole if epoch == 0 for id, _ in rows)
    seen, path = [], None
    for part, options in enumerate([{}, *others]):
        saving = checkpointing(every_n_train_steps=1)
        last = part == len(others)
        asked = {"max_steps": 30} if last else {"max_steps": 2 + 2 * part}
        says = pytest.warns(UserWarning, match=r"was .* and is .*; epoch 0 goes on with the sessions that are left")
        with says if part else contextlib.nullcontext():
            seen += trained(module_of(corpus, excerpt=excerpt, **options), [saving], ckpt_path=path, **asked)
        path = saving._last_checkpoint_saved
    assert sorted(id for epoch, rows in seen if epoch == 0 for id, _ in rows) == first
    assert max(epoch for epoch, _ in seen) >= 1


def test_resume_on_other_ranks_hears_what_is_left_of_the_epoch(tiny_corpus):
    corpus = tiny_corpus()
    cuts = corpus.cuts("train")
    sampling = module_of(corpus, max_duration=2.0).sampling
    on_two = [sampling.sampler(cuts, 0, (), 2, rank) for rank in (0, 1)]
    done = {cut.id for sampler in on_two for batch in itertools.islice(sampler, 2) for cut in batch}
    module = module_of(corpus, max_duration=2.0)
    state = module.state_dict()
    state |= {"batches_done": 2, "order": state["order"] | {"world_size": 2}}
    with pytest.warns(UserWarning, match="world_size was 2 and is 1; epoch 0 goes on with the sessions that are left"):
        module.load_state_dict(state)
    left = [id for batch in module.train_dataloader() for id in batch.ids]
    assert done and sorted([*done, *left]) == sorted(cuts.ids)


def test_resume_after_the_last_session_begins_the_next_epoch(tiny_corpus, tmp_path):
    """Without it the loader would leave out an epoch's batches again and again, and never end."""
    corpus = tiny_corpus()
    saving = checkpointing(every_n_train_steps=1)
    trained(module_of(corpus), [saving], max_steps=2)
    checkpoint = torch.load(saving._last_checkpoint_saved, weights_only=True)
    checkpoint["SpeechDataModule"]["batches_done"] = 99
    torch.save(checkpoint, tmp_path / "x.ckpt")
    with pytest.warns(UserWarning, match="nothing of epoch 0 is left to train on; epoch 1 begins"):
        seen = trained(module_of(corpus), ckpt_path=tmp_path / "x.ckpt", max_steps=5)
    assert [epoch for epoch, _ in seen] == [1, 1, 1]
    assert [rows for _, rows in seen] == seen_in(epoch_of(module_of(corpus), 1))[:3]


@pytest.mark.parametrize("change", ["corpus", "excerpt"])
def test_resume_with_other_sessions_begins_the_next_epoch(tiny_corpus, change):
    corpus = tiny_corpus()
    saving = checkpointing(every_n_train_steps=1)
    trained(module_of(corpus), [saving], max_steps=2)
    corpus.name = "other" if change == "corpus" else corpus.name
    module = module_of(corpus, excerpt=EXCERPT if change == "excerpt" else None)
    with pytest.warns(UserWarning, match=rf"{change} was .* and is .*; what is left of epoch 0 can't be told"):
        seen = trained(module, ckpt_path=saving._last_checkpoint_saved, max_steps=4)
    assert [epoch for epoch, _ in seen] == [1, 1]


def test_position_counts_batches_trained_on():
    batch_progress = SimpleNamespace(total=SimpleNamespace(ready=0), is_last_batch=False)
    fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=batch_progress))
    trainer = SimpleNamespace(fit_loop=fit_loop, current_epoch=0, num_training_batches=float("inf"))
    position = TrainPosition()
    assert position.reached(trainer) == (0, 0)
    position.resume(2, 5)
    assert position.reached(trainer) == (2, 5)
    batch_progress.total.ready = 40
    assert position.begin(trainer) == (2, 5)
    assert position.begin(trainer) == (2, 5)  # asked for again before anything was trained on: fetched batches are lost
    batch_progress.total.ready = 43
    assert position.reached(trainer) == (2, 8)
    batch_progress.is_last_batch = True
    assert position.reached(trainer) == (3, 0)
    assert position.begin(trainer) == (3, 0)


def test_state_is_plain(tiny_corpus):
    saving = checkpointing(every_n_train_steps=1)
    module = module_of(tiny_corpus(), excerpt=Excerpt(0.4, 0.9))
    trained(module, [saving, KillBefore(2)], max_steps=5)
    state = torch.load(saving.best_model_path, weights_only=True)["SpeechDataModule"]
    assert (state["epoch"], state["batches_done"]) == (0, 2)
    assert all(isinstance(v, str | int | float | None) for v in state["order"].values())
