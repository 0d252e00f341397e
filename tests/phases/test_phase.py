"""Phases: a loss divided by label tokens over the accumulated batches, cached frames, checkpoints, and their chain."""

import dataclasses
import json

import lightning.pytorch as pl
import pytest
import torch
from transformers import AutoTokenizer

from speech_xl.data.datamodule import SpeechDataModule
from speech_xl.data.dataset import Excerpt
from speech_xl.data.session_part import SessionPart
from speech_xl.extensions.time_code import SHARE, TimeCode
from speech_xl.model import LLM, Lora, SSTs
from speech_xl.model.prompt import Prompt, Suffix
from speech_xl.model.speech import OnePass, Speech
from speech_xl.model.sst import effective_linear
from speech_xl.phases import ModalAlignment, SemanticAlignment, SSTCompression
from speech_xl.phases.extension import AuxiliaryLoss, PhaseExtension
from speech_xl.phases.weights import WeightsError, read_weights, save_weights
from tests.data.conftest import TinyCorpus
from tests.phases.parts import Given, batch, fit, phase, weights

SHORT = ("short", 0.3, [("say", "a")])
LONG = ("long", 0.7, [("what was said, and by whom?", "ada said that bob was late again."), ("who?", "ada")])
ADAPTER = {"adapter.*": 0.5}
LORA = Lora(r=2, alpha=4)


class Sizing(PhaseExtension):
    """An extension that does all there is to do: it takes a text's last token away, and adds a loss with a weight."""

    def __init__(self):
        super().__init__()
        self.seen, self.scale = [], torch.nn.Parameter(torch.ones(()))

    def training_text(self, suffix, name, epoch, seed):
        self.seen.append((name, epoch, seed))
        return Suffix(suffix.ids[:-1], suffix.labels[:-1])

    def loss(self, backbone, batch, speech, step):
        self.seen.append(step)
        mean = self.scale * speech.frames.square().mean()
        return AuxiliaryLoss(3.0 * mean, {"size": mean.detach()}, len(batch))


def labels_of(folders, row):
    """Tokens of a row's answers and their ends."""
    prompt = Prompt(AutoTokenizer.from_pretrained(folders["llm"]))
    ids = [prompt.tokenizer(answer, add_special_tokens=False)["input_ids"] for _, answer in row[2]]
    return sum(len(answer) + 1 for answer in ids)


def moved(folders, tmp_path, batches, task_weights=None, **options):
    """How one optimizer step over `batches` moves the adapter."""
    model = phase(SemanticAlignment, folders, ADAPTER, task_weights=task_weights, cache_frames=False)
    data = Given(batches, tmp_path)
    fit(model, data, 0)
    before = weights(model, "backbone.adapter")
    fit(model, data, 1, accumulate_grad_batches=len(batches), **options)
    return {name: value - before[name] for name, value in weights(model, "backbone.adapter").items()}


def test_accumulated_batches_of_unequal_labels_step_like_one_big_batch(folders, tmp_path):
    short, long = batch(tmp_path, SHORT), batch(tmp_path, LONG)
    accumulated = moved(folders, tmp_path, [short, long])
    whole = moved(folders, tmp_path, [batch(tmp_path, SHORT, LONG)])
    averaged = {}  # what dividing each batch by its own labels would have given
    parts = [moved(folders, tmp_path, [one]) for one in (short, long)]
    for name in whole:
        averaged[name] = (parts[0][name] + parts[1][name]) / 2
    size = max(value.abs().max() for value in whole.values())
    assert size > 1e-4
    for name, value in whole.items():
        torch.testing.assert_close(accumulated[name], value, atol=1e-4 * size.item(), rtol=1e-3)
    assert max((averaged[n] - whole[n]).abs().max() for n in whole) > 0.05 * size
    labels = [labels_of(folders, row) for row in (SHORT, LONG)]  # the weighted mean, by the labels of each
    for name, value in whole.items():
        mean = (labels[0] * parts[0][name] + labels[1] * parts[1][name]) / sum(labels)
        torch.testing.assert_close(mean, value, atol=1e-4 * size.item(), rtol=1e-3)


@pytest.mark.parametrize("accumulate", [False, True])
def test_a_tasks_weight_is_what_its_label_tokens_count(folders, tmp_path, accumulate):
    short, long, both = batch(tmp_path, SHORT), batch(tmp_path, LONG), batch(tmp_path, SHORT, LONG)
    for given in (short, both):
        given.turns[0] = [dataclasses.replace(turn, task="qa") for turn in given.turns[0]]
    parts = [moved(folders, tmp_path, [one]) for one in (short, long)]
    whole = moved(folders, tmp_path, [short, long] if accumulate else [both], {"qa": 5.0})
    counts = [5.0 * labels_of(folders, SHORT), labels_of(folders, LONG)]
    size = max(value.abs().max().item() for value in whole.values())
    for name, value in whole.items():
        mean = (counts[0] * parts[0][name] + counts[1] * parts[1][name]) / sum(counts)
        torch.testing.assert_close(mean, value, atol=1e-4 * size, rtol=1e-3)


@pytest.mark.parametrize(
    ("weights", "message"), [({"asrr": 1.0}, ": unknown task 'asrr'"), ({"qa": 0.0}, r"\.qa: got 0\.0; give")]
)
def test_refuses_bad_task_weights(folders, weights, message):
    with pytest.raises(ValueError, match=f"model.task_weights{message}"):
        phase(SemanticAlignment, folders, ADAPTER, task_weights=weights)


def test_a_step_is_counted_for_the_callbacks(folders, tmp_path):
    model = phase(SSTCompression, folders, {"sst.*": 0.1}, sst=SSTs(), ratios=[2])
    fit(model, Given([batch(tmp_path, SHORT, LONG)], tmp_path))
    step = model.observations.step
    # 0.3 s and 0.7 s at 50 Hz by 4: 4 frames in intervals of 3 and 1, 9 in 3, 3 and 3.
    assert (step.total_kv_tokens, step.kept_kv_tokens) == (13, 2 + 1 + 2 + 2 + 2)
    assert step.audio_seconds == pytest.approx(1.0)
    assert step.label_tokens == labels_of(folders, SHORT) + labels_of(folders, LONG)
    assert step.llm_tokens > step.label_tokens + 13
    llm = model.backbone.llm
    table = llm.embedding.weight.numel()  # looked up, not multiplied with; the head is of that size too
    layers = sum(p.numel() for p in llm.decoder.parameters()) - table
    assert step.model_flops == 4 * (layers * step.llm_tokens + table * step.label_tokens)  # frozen: no weight gradients
    assert step.kv_bytes_per_token == 2 * 2 * 2 * 8 * 4  # k and v, layers, heads, width, bytes


def test_gradient_checkpointing_runs_layers_again_in_a_fit(folders, tmp_path, monkeypatch):
    runs = []
    for again in (False, True):
        llm = LLM(folders["llm"], gradient_checkpointing=again)
        model = phase(SemanticAlignment, folders, ADAPTER, llm=llm)
        data = Given([batch(tmp_path, SHORT)], tmp_path)
        fit(model, data, 0)
        count = []
        hook = model.backbone.llm.decoder.layers[0].mlp.register_forward_pre_hook(lambda *_, c=count: c.append(1))
        fit(model, data, 1)
        hook.remove()
        runs.append(len(count))
    assert runs == [1, 2]


@pytest.mark.parametrize("scheduler", ["cosine", "linear"])
def test_the_schedule_falls_from_its_warmup_to_the_last_step(folders, tmp_path, scheduler):
    model = phase(SemanticAlignment, folders, ADAPTER, scheduler=scheduler, warmup_steps=2)
    rates = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    fit(model, Given([batch(tmp_path, SHORT)] * 6, tmp_path), 6, callbacks=[Watch()])
    assert rates[0] == pytest.approx(0.25) and rates[1] == pytest.approx(0.5) and rates[-1] == pytest.approx(0.0)
    assert sorted(rates[1:], reverse=True) == rates[1:]


def test_a_schedule_that_ends_needs_the_last_step(folders, tmp_path):
    data = Endless([batch(tmp_path, SHORT)] * 2, tmp_path)
    with pytest.raises(ValueError, match=r"model\.scheduler=cosine must know when.*set trainer\.max_steps"):
        fit(phase(SemanticAlignment, folders, ADAPTER, scheduler="cosine"), data, -1, max_epochs=2)
    trainer = fit(phase(SemanticAlignment, folders, ADAPTER), data, -1, max_epochs=2)  # constant
    assert trainer.global_step == 4


class Endless(Given):
    """A loader that doesn't know its length, as lhotse's samplers don't."""

    def train_dataloader(self):
        batches = self.batches

        class Batches(torch.utils.data.IterableDataset):
            def __iter__(self):
                return iter(batches)

        return torch.utils.data.DataLoader(Batches(), batch_size=None, collate_fn=lambda one: one)


# The frame cache


@pytest.fixture
def encodings(monkeypatch):
    """Counts the rows that reach the encoder."""
    from speech_xl.model import HFEncoder

    rows, encode = [], HFEncoder.encode
    monkeypatch.setattr(HFEncoder, "encode", lambda self, audio: rows.extend(audio) or encode(self, audio))
    return rows


def test_frames_from_the_cache_change_nothing(folders, tmp_path, encodings):
    results, cache = [], None
    for hit in (False, True):
        given = batch(tmp_path, SHORT, LONG)
        if hit:
            given.frames = [cache.load(cut) for cut in given.cuts]
            assert all(frames.dtype == torch.float16 for frames in given.frames)
            given.audio = [None, None]
        model = phase(SemanticAlignment, folders, ADAPTER)
        trainer = fit(model, Given([given], tmp_path))
        cache = model.frames.cache
        results.append((trainer.callback_metrics["train/loss"], weights(model, "backbone.adapter")))
        assert len(encodings) == 2, "the second fit never asks the encoder"
    assert results[0][0].equal(results[1][0])
    assert all(results[0][1][name].equal(value) for name, value in results[1][1].items())


def test_a_batch_half_from_the_cache_stays_in_order(folders, tmp_path, encodings):
    data = Given([batch(tmp_path, SHORT, LONG)], tmp_path)
    model = phase(SemanticAlignment, folders, ADAPTER)
    first = fit(model, data).callback_metrics["train/loss"]
    for cached in (0, 1):
        given = batch(tmp_path, SHORT, LONG)
        given.frames[cached] = model.frames.cache.load(given.cuts[cached])
        given.audio[cached] = None
        encodings.clear()
        again = phase(SemanticAlignment, folders, ADAPTER)
        assert fit(again, Given([given], tmp_path)).callback_metrics["train/loss"].equal(first)
        assert len(encodings) == 1


def test_sessions_are_encoded_once_and_their_excerpts_never(folders, tmp_path, encodings, monkeypatch):
    corpus = TinyCorpus(tmp_path / "corpus", sessions=5)
    made = {split: corpus.cuts(split) for split in ("train", "dev")}
    monkeypatch.setattr(corpus, "cuts", made.get)  # it writes its audio anew every time it is asked
    for heard in (5, 0):  # sessions that the encoder hears in the first fit, and in a second one
        model = phase(SemanticAlignment, folders, ADAPTER)
        data = SpeechDataModule(
            corpus,
            str(tmp_path),
            {"asr": 1.0},
            max_duration=2.0,
            excerpt=Excerpt(0.3, 0.8, per_session=3),
            num_workers=0,
            frames=model.frames,
        )
        trainer = fit(model, data, steps=12, limit_val_batches=0)
        assert trainer.current_epoch > 0, "further epochs draw further excerpts"
        assert len(encodings) == heard
        encodings.clear()


@pytest.mark.parametrize("case", ["a training encoder", "switched off"])
def test_no_frames_are_kept_of(folders, tmp_path, case):
    trainable = {"encoder.model.layers.1.*": 0.1} if case == "a training encoder" else ADAPTER
    model = phase(SemanticAlignment, folders, trainable, cache_frames=case != "switched off")
    data = Given([batch(tmp_path, SHORT)], tmp_path)
    fit(model, data, 0)
    before = weights(model, "backbone.encoder")
    fit(model, data)
    assert model.frames.cache is None and not (tmp_path / "frames").exists()
    changed = {name for name, value in weights(model, "backbone.encoder").items() if not value.equal(before[name])}
    assert bool(changed) == (case == "a training encoder")
    assert all("layers.1." in name for name in changed)


def test_all_but_a_frozen_encoder_trains_in_training_mode(folders, tmp_path):
    """Hugging Face hands pretrained parts over in eval mode."""
    model = phase(SemanticAlignment, folders, ADAPTER)
    fit(model, Given([batch(tmp_path, SHORT)], tmp_path))
    assert model.backbone.adapter.training and model.backbone.llm.training
    assert not any(module.training for module in model.backbone.encoder.modules())


# Checkpoints


def test_frozen_pretrained_weights_stay_out_of_checkpoints_and_come_back(folders, tmp_path):
    model = phase(SemanticAlignment, folders, ADAPTER | {"llm.*lora_*": 0.1}, lora=LORA)
    data = Given([batch(tmp_path, LONG)], tmp_path)
    fit(model, data).save_checkpoint(tmp_path / "one.ckpt")
    checkpoint = torch.load(tmp_path / "one.ckpt", weights_only=True)  # plain containers and tensors alone
    names = set(checkpoint["state_dict"])
    assert names and all(n.startswith("backbone.adapter.") or "lora_" in n for n in names)
    assert any("lora_B" in n for n in names)
    again = phase(SemanticAlignment, folders, ADAPTER | {"llm.*lora_*": 0.1}, lora=LORA)
    fit(again, data, ckpt_path=tmp_path / "one.ckpt")  # one step was done: it loads and ends
    new, old = again.state_dict(), model.state_dict()
    assert new.keys() == old.keys() and all(new[name].equal(value) for name, value in old.items())


def test_trained_pretrained_weights_are_saved(folders, tmp_path):
    model = phase(SemanticAlignment, folders, {"llm.model.model.layers.0.mlp.*": 0.1})
    fit(model, Given([batch(tmp_path, LONG)], tmp_path)).save_checkpoint(tmp_path / "one.ckpt")
    names = set(torch.load(tmp_path / "one.ckpt", weights_only=True)["state_dict"])
    llm = {name for name in names if name.startswith("backbone.llm.")}
    assert llm == {f"backbone.llm.model.model.layers.0.mlp.{p}_proj.weight" for p in ("gate", "up", "down")}


def test_a_resumed_run_goes_on_as_if_never_stopped(folders, tmp_path):
    class SaveInTheMiddle(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.global_step == 2:
                trainer.save_checkpoint(tmp_path / "half.ckpt")

    batches = [batch(tmp_path, SHORT), batch(tmp_path, LONG)]
    made = {"trainable": ADAPTER, "optimizer": torch.optim.AdamW}
    whole = phase(SemanticAlignment, folders, **made)
    fit(whole, Given(batches * 2, tmp_path), 4, max_epochs=1, callbacks=[SaveInTheMiddle()])
    # A plain loader begins its epoch anew on resuming, and its next two batches are the same again.
    rest = phase(SemanticAlignment, folders, **made)
    fit(rest, Given(batches * 2, tmp_path), 4, max_epochs=1, ckpt_path=tmp_path / "half.ckpt")
    for name, value in weights(whole, "backbone.adapter").items():
        torch.testing.assert_close(weights(rest)[name], value, atol=1e-6, rtol=1e-5)


def test_a_checkpoint_that_lacks_what_was_trained_is_refused(folders, tmp_path):
    model = phase(SemanticAlignment, folders, ADAPTER)
    fit(model, Given([batch(tmp_path, SHORT)], tmp_path), 0)
    with pytest.raises(WeightsError, match="missing: backbone.adapter.context.bias"):
        model.load_state_dict({})


def test_a_row_that_begins_later_in_its_session_has_the_sessions_time(folders, tmp_path):
    model = phase(SemanticAlignment, folders, ADAPTER, frame_code=TimeCode())
    given = batch(tmp_path, SHORT, LONG)
    fit(model, Given([given], tmp_path), 0)
    plain = model.speech(given).frames
    rate, coded = model.backbone.frame_rate, plain.shape[2] // SHARE
    begins = 2.32  # number 29 at 12.5 frames a second, though 2.32 * 12.5 is a little less
    assert begins * rate < round(begins * rate) == 29
    given.cuts[1] = SessionPart(0.0, 60.0, offset=begins).written(given.cuts[1])
    assert given.session_offsets == [0.0, begins]
    placed = model.speech(given).frames
    assert torch.equal(placed[0], plain[0]) and torch.equal(placed[1, :, :-coded], plain[1, :, :-coded])
    codes = model.backbone.frame_code(plain[1:], 29)[..., -coded:]
    assert torch.equal(placed[1:, :, -coded:], codes) and not torch.equal(codes, plain[1:, :, -coded:])


# The chain of stages


def stage2(folders, tmp_path):
    """A trained second stage with LoRA, and its checkpoint."""
    model = phase(ModalAlignment, folders, {"adapter.*": 0.1, "llm.*lora_*": 1.0}, lora=LORA)
    fit(model, Given([batch(tmp_path, LONG)], tmp_path), 2).save_checkpoint(tmp_path / "stage2.ckpt")
    return model, tmp_path / "stage2.ckpt"


def test_stage_3_begins_with_copies_of_the_trained_llm(folders, tmp_path):
    before, path = stage2(folders, tmp_path)
    model = phase(SSTCompression, folders, {"sst.*": 0.1}, lora=LORA, sst=SSTs())
    model.start_from(path)
    fit(model, Given([batch(tmp_path, LONG)], tmp_path), 0)
    old = before.backbone.state_dict()
    assert all(model.backbone.state_dict()[name].equal(value) for name, value in old.items())
    distance = 0.0
    for mine, layer in zip(model.backbone.sst.layers, before.backbone.llm.decoder.layers, strict=True):
        for name, projection in mine.items():
            theirs = getattr(layer.self_attn, name)
            weight, bias = effective_linear(theirs)
            torch.testing.assert_close(projection.weight, weight)
            torch.testing.assert_close(projection.bias, bias)
            distance = max(distance, (projection.weight - theirs.base_layer.weight).abs().max().item())
    assert distance > 1e-4, "the LoRA has moved, and the copies with it"


def test_every_epoch_seed_and_session_draws_ratios_of_its_own(folders, tmp_path):
    """And every draw comes again: a resumed run meets the ratios it would have met."""
    one = batch(tmp_path, ("a", 4.0, [("say", "a")]), ("b", 4.0, [("say", "a")]))

    def drawn(epoch, seed):
        model = phase(SSTCompression, folders, {"sst.*": 0.1}, sst=SSTs(), ratios=[2, 4, 8], seed=seed)
        speech = Speech(torch.zeros(2, 1, 1), torch.ones(2), [[3] * 16] * 2)
        one.epoch = epoch
        return model.drawn(one, speech)

    first = drawn(0, 0)
    assert first == drawn(0, 0) and first[0] != first[1]
    assert {ratio for row in first for ratio in row} == {2, 4, 8}
    assert first != drawn(1, 0) and first != drawn(0, 1)


def test_stage_3_goes_on_from_its_own_ssts(folders, tmp_path):
    model = phase(SSTCompression, folders, {"sst.*": 0.5}, sst=SSTs())
    data = Given([batch(tmp_path, LONG)], tmp_path)
    fit(model, data, 2).save_checkpoint(tmp_path / "stage3.ckpt")
    again = phase(SSTCompression, folders, {"sst.*": 0.5}, sst=SSTs())
    again.start_from(tmp_path / "stage3.ckpt")
    fit(again, data, 0)
    trained = weights(model, "backbone.sst")
    assert trained and all(weights(again)[name].equal(value) for name, value in trained.items())
    base = model.backbone.llm.decoder.layers[0].self_attn.v_proj.weight
    assert not trained["backbone.sst.layers.0.v_proj.weight"].equal(base)


def test_exported_weights_carry_the_same_as_the_checkpoint(folders, tmp_path):
    model, path = stage2(folders, tmp_path)
    state, notes = read_weights(path)
    save_weights(state, tmp_path / "weights.safetensors", **notes)
    again = phase(ModalAlignment, folders, ADAPTER, lora=LORA)
    again.start_from(tmp_path / "weights.safetensors")
    fit(again, Given([batch(tmp_path, LONG)], tmp_path), 0)
    assert all(again.state_dict()[name].equal(value) for name, value in model.state_dict().items())
    # The LoRA was trained by the stage before, so this stage's own files must hold it though it is frozen now.
    assert not any("lora_" in name for name in again.untouched)


def test_what_an_earlier_stage_trained_stays_in_later_files(folders, tmp_path):
    """Untouched means by any stage, not only by this one."""
    data = Given([batch(tmp_path, LONG)], tmp_path)
    first = phase(SemanticAlignment, folders, {"llm.model.lm_head.*": 0.5})
    fit(first, data).save_checkpoint(tmp_path / "first.ckpt")
    second = phase(ModalAlignment, folders, ADAPTER)
    second.start_from(tmp_path / "first.ckpt")
    fit(second, data).save_checkpoint(tmp_path / "second.ckpt")
    state, notes = read_weights(tmp_path / "second.ckpt")
    assert state["llm.model.lm_head.weight"].equal(first.backbone.llm.model.lm_head.weight)
    assert "llm.model.lm_head.weight" not in json.loads(notes["untouched_pretrained"])


def test_stage_1_with_an_extension_hands_its_backbone_on(folders, tmp_path):
    data = Given([batch(tmp_path, LONG)], tmp_path)
    first = phase(SemanticAlignment, folders, ADAPTER | {"extensions.Sizing.*": 0.1}, extensions=[Sizing()])
    trainer = fit(first, data)
    assert trainer.callback_metrics["train/size"] > 0
    trainer.save_checkpoint(tmp_path / "first.ckpt")
    second = phase(ModalAlignment, folders, ADAPTER)
    second.start_from(tmp_path / "first.ckpt")
    fit(second, data, 0)
    adapter = weights(first, "backbone.adapter")
    assert all(weights(second)[name].equal(value) for name, value in adapter.items())


def test_weights_of_another_shape_of_model_are_refused(folders, tmp_path):
    _, path = stage2(folders, tmp_path)
    model = phase(ModalAlignment, folders, ADAPTER)  # without the LoRA the stage before had
    model.start_from(path)
    with pytest.raises(WeightsError, match="not in this model: llm.*lora_A"):
        fit(model, Given([batch(tmp_path, SHORT)], tmp_path), 0)


def test_a_misspelt_pattern_stops_the_run(folders, tmp_path):
    with pytest.raises(ValueError, match="the pattern 'adapter.contxt' matches no parameter"):
        fit(phase(SemanticAlignment, folders, {"adapter.contxt": 0.1}), Given([batch(tmp_path, SHORT)], tmp_path))


# Extensions


def test_an_extension_changes_the_text_and_adds_its_loss(folders, tmp_path):
    data = Given([batch(tmp_path, LONG)], tmp_path)
    both = {name: [Sizing()] if name == "with" else None for name in ("without", "with")}
    trained, read = {}, {}
    for name, extensions in both.items():
        model = phase(
            SemanticAlignment, folders, ADAPTER | {"extensions.Sizing.*": 0.1} if extensions else ADAPTER,
            extensions=extensions, seed=4,
        )  # fmt: skip
        trainer = fit(model, data, 1)
        assert ("train/size" in trainer.callback_metrics) == (name == "with")
        trained[name], read[name] = weights(model, "backbone.adapter."), model.observations.step.label_tokens
        state = {"state_dict": dict(model.state_dict())}
        model.on_save_checkpoint(state)
        assert ("extensions.Sizing.scale" in state["state_dict"]) == (name == "with")
    assert both["with"][0].seen == [("long", 0, 4), 0]
    assert both["with"][0].scale.grad.item() > 0
    assert read["with"] == read["without"] - 1, "the last token of the text was taken away"
    assert any(not trained["with"][name].equal(value) for name, value in trained["without"].items())


def test_an_extension_is_given_once(folders):
    with pytest.raises(ValueError, match=r"model\.extensions: got Sizing, Sizing; give one of each class"):
        phase(SemanticAlignment, folders, ADAPTER, extensions=[Sizing(), Sizing()])


def test_random_parameters_that_nothing_trains_are_refused(folders, tmp_path):
    model = phase(SemanticAlignment, folders, ADAPTER, extensions=[Sizing()])
    mend = r'model\.extensions: Sizing has random parameters .*add "extensions\.Sizing\.\*" to model\.trainable'
    with pytest.raises(ValueError, match=mend):
        fit(model, Given([batch(tmp_path, SHORT)], tmp_path), 0)


def test_a_phase_has_no_extension_unless_one_is_given(folders, tmp_path):
    plain, given = phase(SemanticAlignment, folders, ADAPTER), batch(tmp_path, SHORT)
    fit(plain, Given([given], tmp_path), 0)
    out = OnePass(torch.zeros(()), 1.0, 1, 1, 1)
    assert plain.auxiliary_loss(given, plain.speech(given), out) == 0.0
    assert not any(name.startswith(("extensions.", "backbone.frame_code.")) for name in plain.state_dict())
