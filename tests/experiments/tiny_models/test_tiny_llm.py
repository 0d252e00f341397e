"""Pretraining of the tiny LLM: where it looks, how it begins, and its weights come back as they were."""

import json
import math
import random
import shutil
from dataclasses import replace
from itertools import accumulate, islice
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from data_recipes.session_truths import NOWHERE, Asked
from experiments.tiny_models.guidance import Guidance, answers_begin
from experiments.tiny_models.pretraining import learning_rate
from experiments.tiny_models.pretraining_texts import GrammarReadings
from experiments.tiny_models.pseudo_frames import FRAME_RATE, SILENCE, Reading, Stretched
from experiments.tiny_models.tiny_llm import (
    TIME_CODE,
    as_speech,
    asked_about,
    held_out,
    in_windows,
    intervals_of,
    longest_words,
    main,
    pretrain,
    stretched,
    suffixes_of,
)
from experiments.tiny_models.tiny_llm_weights import (
    begin_as,
    begin_as_stage,
    layers_without_rope,
    marks,
    start_copying,
    write_stage,
)
from experiments.tiny_models.tokenizer import SECONDS, STEP, make_tokenizer, write_config
from speech_xl.data.windows import Windows
from speech_xl.extensions.answer_noise import corrupt_answer_tokens
from speech_xl.extensions.time_code import time_code, with_time_code
from speech_xl.extensions.timestamps.marks import TIMED_ASR_INSTRUCTION, time_mark
from speech_xl.extensions.timestamps.monotonic import marks_of
from speech_xl.extensions.timestamps.transcript import Timestamps
from speech_xl.model import LLM, Adapter, Encoder, SpeechLLM
from speech_xl.model.prompt import IGNORE, Suffix
from speech_xl.phases.weights import WeightsError, read_weights, save_weights
from speech_xl.run.configs import ConfigError

TINY = Path(__file__).parents[3] / "experiments" / "models" / "tiny" / "llm"


def without_weights(place):
    """A copy of the tiny LLM's folder to be trained in."""
    return shutil.copytree(TINY, place / "llm", ignore=shutil.ignore_patterns("*.safetensors"))


def joined(llm, asked):
    return Suffix.joined(suffixes_of(llm, asked))


def test_slips_are_read_back_wrong_and_still_said_right():
    llm = LLM(str(TINY), pretrained=False)
    llm.build()
    suffix = llm.prompt.training([("say it", "i met peter at the garden"), ("who", "peter")] * 20)
    slipped = corrupt_answer_tokens(suffix, 0.2, random.Random(0))
    assert slipped.labels == suffix.labels
    wrong = [i for i, (a, b) in enumerate(zip(slipped.ids, suffix.ids, strict=True)) if a != b]
    said = [i for i, label in enumerate(suffix.labels) if label >= 0]
    assert set(wrong) <= set(said) and 0.1 < len(wrong) / len(said) < 0.3
    assert corrupt_answer_tokens(suffix, 0.0, random.Random(0)) == suffix


def test_frames_without_noise_point_where_their_embedding_does():
    table = torch.randn(11, 32, generator=torch.Generator().manual_seed(0))
    rows = [Stretched([3, SILENCE, 4], [0, SILENCE, 1], [0], [0]), Stretched([7], [0], [0], [0], offset=9)]
    speech = as_speech(rows, table, torch.ones(32) + table[0], noise=0.0)
    assert speech.frames.shape == (2, 3, 32)
    assert speech.lengths.tolist() == [3, 1] and speech.intervals == [[3], [1]]
    size = table.square().mean().sqrt()
    torch.testing.assert_close(speech.frames[1, :, 28:], TIME_CODE * size * time_code(12, 32)[9:])
    nearest = torch.nn.functional.cosine_similarity(speech.frames[..., None, :28], table[:, :28], dim=-1).argmax(-1)
    assert (nearest[0, 0], nearest[0, 2], nearest[1, 0]) == (3, 4, 7)


def test_the_learning_rate_rises_stays_and_ends_at_nothing():
    rates = [learning_rate(step, step / 1000, 2e-3) for step in range(1001)]
    assert rates[0] == pytest.approx(2e-5) and rates[100] == rates[600] == pytest.approx(2e-3)
    assert rates[1000] == pytest.approx(0.0, abs=1e-9) and rates[800] == pytest.approx(1e-3)


def test_texts_grow_from_short_to_the_longest():
    lengths = [longest_words(step / 1000, 80) for step in range(1000)]
    assert lengths[0] == lengths[100] == 16 and lengths[600] == lengths[999] == 80
    assert lengths == sorted(lengths)


def test_what_the_second_head_without_rope_attends_to_passes_through():
    llm = LLM(str(TINY), pretrained=False)
    llm.build()
    start_copying(llm)
    for layer in (llm.decoder.layers[number] for number in layers_without_rope(llm)):
        own = slice(64, 128)
        through = layer.self_attn.v_proj.weight[own] @ layer.self_attn.o_proj.weight[:, own]
        torch.testing.assert_close(through, 2.0 * torch.eye(64), atol=1e-5, rtol=0)


def test_a_time_mark_looks_at_its_frames_and_the_word_there_becomes_likelier_from_the_start():
    """Without a step of training, a good part of the words that follow their time are the likeliest of all words."""
    torch.manual_seed(0)
    llm = LLM(str(TINY), pretrained=False)
    llm.build()
    start_copying(llm)
    backbone, rng = SpeechLLM(Encoder(), Adapter(), llm), random.Random(0)
    known = marks_of(llm.prompt.tokenizer)[1] >= 0
    hits = []
    for reading in islice(GrammarReadings(mark_words=True).transcripts(rng, 20), 6):
        row = stretched(llm, reading, rng)
        speech = as_speech([row], llm.embedding.weight.detach(), torch.zeros(llm.width), 0.3)
        [suffix] = suffixes_of(llm, asked_about(row, reading, marks(llm)[1]))
        logits = {}
        hook = llm.model.lm_head.register_forward_hook(lambda _module, _given, out, to=logits: to.update(out=out))
        with torch.no_grad():
            backbone(speech, speech.throughout(None), [[suffix]])
        hook.remove()
        answer = [label for label in suffix.labels if label != IGNORE]
        scores = logits["out"].reshape(-1, len(known))[-len(answer) :].masked_fill(known, -math.inf)
        after_a_time = [i for i in range(1, len(answer)) if known[answer[i - 1]] and not known[answer[i]]]
        hits += [scores[i].argmax().item() == answer[i] for i in after_a_time]
    assert len(hits) > 20 and sum(hits) > 0.2 * len(hits)


def test_a_word_that_is_asked_about_looks_at_its_frames_from_the_start():
    torch.manual_seed(0)
    llm = LLM(str(TINY), pretrained=False)
    llm.build()
    start_copying(llm)
    guidance, layer = Guidance(llm), layers_without_rope(llm)[0]
    reading = Reading(["i met peter", "hello", "the train to athens"])
    row = stretched(llm, reading, random.Random(0))
    speech = as_speech([row], llm.embedding.weight.detach(), torch.zeros(llm.width), 0.3)
    [suffix] = suffixes_of(llm, [Asked("was peter mentioned", "yes")])
    [peter] = llm.prompt.tokenizer(" peter", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        SpeechLLM(Encoder(), Adapter(), llm)(speech, [[None]], [[suffix]])
    fourth, first = slice(3 * guidance.head, 4 * guidance.head), len(llm.prompt.prefix)
    queries, keys = (guidance.seen[layer, name][0, :, fourth] for name in ("q_proj", "k_proj"))
    query = queries[first + len(row) + suffix.ids.index(peter)]
    looks = (query @ keys[first : first + len(row)].T * guidance.head**-0.5).softmax(-1)
    share = looks[torch.tensor(row.ids) == peter].sum()
    assert share > 0.9


def test_a_time_mark_is_embedded_nearest_to_the_frames_of_its_second():
    llm = LLM(str(TINY), pretrained=False)
    llm.build()
    start_copying(llm)
    seconds = [
        llm.prompt.tokenizer(time_mark(s * STEP, STEP), add_special_tokens=False)["input_ids"]
        for s in range(round(SECONDS / STEP))
    ]
    assert {opening for opening, _ in seconds} == set(llm.prompt.tokenizer("[", add_special_tokens=False)["input_ids"])
    codes = time_code(1000, llm.width)
    scores = with_time_code(torch.zeros(1000, llm.width), codes) @ llm.embedding.weight[torch.tensor(seconds)[:, 1]].T
    nearest = scores.argmax(1)
    off = (nearest - (torch.arange(1000) / FRAME_RATE / STEP).long()).abs()
    assert off.max() <= 1 and (off == 0).float().mean() > 0.6


def test_the_same_vocabulary_reads_on(tmp_path):
    llm, other = LLM(str(TINY), pretrained=False), LLM(str(TINY))
    for one in (llm, other):
        one.build()
    begin_as(llm, TINY)
    for name, weight in other.model.state_dict().items():
        torch.testing.assert_close(llm.model.state_dict()[name], weight, msg=name)


def test_at_twice_the_frame_rate_a_mark_stands_for_twice_the_frames(tmp_path):
    make_tokenizer(["i met hilda"] * 9, vocabulary=400, seconds=40, step=1.0).save_pretrained(tmp_path)
    write_config(AutoTokenizer.from_pretrained(tmp_path), tmp_path)
    llm = LLM(str(tmp_path), pretrained=False)
    llm.build()
    begin_as(llm, TINY, rate=2 * FRAME_RATE)
    _, mark = llm.prompt.tokenizer(time_mark(30), add_special_tokens=False)["input_ids"]
    scores = with_time_code(torch.zeros(1000, llm.width), time_code(1000, llm.width)) @ llm.embedding.weight[mark]
    assert 30 <= scores.argmax().item() / (2 * FRAME_RATE) < 31


def test_time_marks_of_steps_that_hold_no_frame_have_a_place_too():
    """At 4 frames a second one step of 0.2 s in five holds none."""
    llm = LLM(str(TINY), pretrained=False)
    llm.build()
    start_copying(llm, rate=4.0)
    assert llm.embedding.weight.isfinite().all()


def test_heads_that_a_time_code_does_not_fit_are_refused(tmp_path, monkeypatch, capsys):
    folder = without_weights(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"num_attention_heads": 8, "num_key_value_heads": 8, "head_dim": 32})
    )
    llm = LLM(str(folder), pretrained=False)
    llm.build()
    with pytest.raises(ConfigError, match=r"config\.json: 8 heads .* a tiny LLM has four to seven"):
        start_copying(llm)
    monkeypatch.setattr("sys.argv", ["tiny_llm", str(folder), "--steps", "1"])
    with pytest.raises(SystemExit):
        main()
    assert "config.json: 8 heads" in capsys.readouterr().err


def test_another_vocabulary_begins_with_what_is_known(tmp_path):
    """Everything but the embeddings is the other LLM's, and of those the tokens that both have."""
    make_tokenizer(["i met hilda"] * 9, vocabulary=400, seconds=20, step=0.2).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    write_config(tokenizer, tmp_path)
    llm, other = LLM(str(tmp_path), pretrained=False), LLM(str(TINY))
    for one in (llm, other):
        one.build()
    begin_as(llm, TINY)
    tables = {"model.embed_tokens.weight", "lm_head.weight"}
    theirs = other.model.state_dict()
    for name, weight in llm.model.state_dict().items():
        if name not in tables:
            torch.testing.assert_close(weight, theirs[name], msg=name)
    number = tokenizer.convert_tokens_to_ids
    known = other.prompt.tokenizer.convert_tokens_to_ids
    met, hilda, mark = (llm.embedding.weight[number(token)] for token in ("Ġmet", "Ġhilda", "3.4]"))
    torch.testing.assert_close(met, other.embedding.weight[known("Ġmet")])
    assert hilda[:-32].abs().max() > 0 and hilda[-32:].abs().max() == 0, "no token is a time but marks"
    assert mark[1:-32].abs().max() == 0 and mark[0] > met[0].abs()
    words = marks_of(other.prompt.tokenizer)[1] < 0
    loud = other.embedding.weight[words, 1:-32].std()
    assert 0.8 < hilda[1:-32].std() / loud < 1.2, "a new word is as large as the words that are known"
    nearest = (with_time_code(torch.zeros(250, llm.width), time_code(250, llm.width)) @ mark).argmax().item()
    assert 3.4 <= nearest / FRAME_RATE < 3.6
    assert marks(llm) == (20.0, 0.2)


def test_a_stage_is_given_back_with_what_its_llm_has_read(tmp_path):
    backbone = SpeechLLM(Encoder(), Adapter(), LLM(str(TINY)))
    backbone.llm.build()
    tied = "llm.model.lm_head.weight"
    state = {name: value for name, value in backbone.state_dict().items() if name != tied} | {
        "adapter.x": torch.ones(2)
    }
    save_weights(state, tmp_path / "stage.safetensors", stage="stage1", untouched_pretrained="[]")
    llm = LLM(str(TINY), pretrained=False)
    llm.build()
    begin_as_stage(llm, tmp_path / "stage.safetensors")
    assert all(torch.equal(value, backbone.llm.state_dict()[name]) for name, value in llm.state_dict().items())
    with torch.no_grad():
        llm.embedding.weight += 1.0
    written, notes = read_weights(write_stage(llm, tmp_path / "stage.safetensors", tmp_path))
    assert notes["stage"] == "stage1" and notes["untouched_pretrained"] == "[]" and set(written) == set(state)
    changed = {name for name in state if not torch.equal(written[name], state[name])}
    assert changed == {"llm.model.model.embed_tokens.weight"}
    other = {name: value for name, value in state.items() if "layers.0." not in name}
    save_weights(other, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="missing: model.model.layers.0"):
        begin_as_stage(llm, tmp_path / "other.safetensors")


def test_words_of_several_tokens_have_a_mark_each():
    llm = LLM(str(TINY), pretrained=False)
    llm.build()
    reading = Reading(["zebu met", "peter"], by_words=True)
    row = stretched(llm, reading, random.Random(1))
    spelled = len(llm.prompt.tokenizer("zebu", add_special_tokens=False)["input_ids"])
    assert spelled > 1 and row.firsts == [0, spelled, spelled + 1]
    (asked,) = asked_about(row, reading, 0.2)
    said = asked.answer.split()
    assert said[1::2] == ["zebu", "met", "peter"]
    times = [(row.offset + row.begins[first]) / FRAME_RATE for first in row.firsts]
    assert said[::2] == [time_mark(seconds, 0.2) for seconds in times]
    assert asked.evidence[:2] == [[0], [0]] and asked.evidence[spelled + 2] == [spelled]


@pytest.mark.parametrize("by_words", [True, False])
def test_windows_of_a_reading_see_their_seconds_and_say_what_begins_in_them(by_words):
    llm = LLM(str(TINY), pretrained=False)
    llm.build()
    reading = Reading(["i met peter", "hello", "in rome"] * 12, by_words=by_words)
    windows, transcript = Windows(4.0, shortest=4.0, longest=12.0, context=4.0), Timestamps(1.0)
    lengths, several = set(), 0
    for seed in range(20):
        row = stretched(llm, reading, random.Random(seed))
        row = replace(row, offset=row.offset - row.offset % 50)
        begin, ends = row.seconds[0], list(accumulate(intervals_of(row, windows)))
        assert ends[-1] == len(row) and set(intervals_of(row, windows)[:-1]) == {50}
        found, whole = in_windows(row, reading, 1.0, windows, random.Random(seed)), row.transcript(reading.marked, 1.0)
        several += len(found) > 1
        for asked, view in found:
            first, end = transcript.span_of(asked.instruction)
            assert asked.answer in whole.answer
            assert all(first <= second < end for second, _ in transcript.timed(asked.answer))
            frames = [0, *ends][view[0]], ends[view[1]]
            assert frames[0] == (first - begin) * FRAME_RATE  # it begins where an interval does
            assert frames[1] == min(len(row), (end + 4.0 - begin) * FRAME_RATE)
            told = {row.begins[place] for places in asked.evidence for place in places}
            assert told and min(told) >= frames[0] and (not by_words or max(told) < frames[1])
            lengths.add(end - first)
    assert len(lengths) > 1 and several
    assert not in_windows(row, Reading(["hello"], [Asked("who", "peter")]), 1.0, windows, random.Random(0))


@pytest.mark.parametrize("mark_words", [True, False])
def test_an_llm_is_pretrained_on_windows_also_where_an_utterance_goes_on_behind_what_they_see(tmp_path, mark_words):
    shutil.copytree(TINY, tmp_path / "llm", ignore=shutil.ignore_patterns("*.safetensors"))
    windows = Windows(4.0, context=0.0)
    readings = GrammarReadings(mark_words=mark_words)
    options = {"steps": 3, "frames": 120, "longest": 30, "highest": 1e-3, "seed": 0, "questions": 0.0}
    llm = pretrain(tmp_path / "llm", readings, windows=windows, begin=TINY, **options)
    assert all(weight.isfinite().all() for weight in llm.parameters())


def test_guidance_is_what_a_head_misses_of_the_words_frames():
    """Queries and keys set by hand: the last layer's head looks where it should, the other one everywhere."""
    llm = LLM(str(TINY), pretrained=False)
    llm.build()
    guidance = Guidance(llm)
    row = Stretched([3, SILENCE, 4, 4], [0, SILENCE, 1, 1], [0], [0])
    prefix, asked = len(llm.prompt.prefix), len(llm.prompt.question(TIMED_ASR_INSTRUCTION))
    first, total = prefix + 4 + asked - 1, prefix + 4 + asked + 4
    assert guidance.layers == [2, 4]
    for layer in guidance.layers:
        queries, keys = torch.zeros(1, total, llm.width), torch.zeros(1, total, llm.width)
        if layer == 4:
            queries[0, first : first + 3, 0] = queries[0, first + 3, 1] = 1e3  # the mark, then its first word
            keys[0, prefix, 0] = keys[0, prefix + 2, 1] = 1e3  # one of the second word's two frames is enough
        guidance.seen |= {(layer, "q_proj"): queries, (layer, "k_proj"): keys}
    everywhere = [math.log(prefix + 4)] * 3 + [math.log((prefix + 4) / 2)]
    asked = [row.transcript(["i met"], 1.0)]
    missed = guidance([row], [suffixes_of(llm, asked)], [asked], [[len(row)]])
    assert missed.item() == pytest.approx(sum(everywhere) / 8, abs=1e-4)
    untold = [Asked("how many speakers are there", "one")]
    assert guidance([row], [suffixes_of(llm, untold)], [untold], [[len(row)]]).item() == 0.0
    # Of what a window doesn't see nothing counts: neither as a place to look at, nor as a word that was missed.
    seen = [replace(one, view=(1, 1)) for one in suffixes_of(llm, asked)]
    first_missed = guidance([row], [seen], [asked], [[2, len(row) - 2]])
    assert first_missed.item() < missed.item()


def test_guidance_sends_what_was_not_said_to_the_first_token_and_a_number_to_who_gives_it():
    llm = LLM(str(TINY), pretrained=False)
    llm.build()
    guidance, prefix = Guidance(llm), len(llm.prompt.prefix)
    other = Stretched([5], [0], [0], [0])
    row = Stretched([3, 3, SILENCE, 4, 6], [0, 0, SILENCE, 1, 2], [0, 3, 4], [0], links={1: 0})
    asked = [[Asked("how many", "one")], [Asked("was rome mentioned", "no", [[NOWHERE]])]]
    suffixes = [suffixes_of(llm, turns) for turns in asked]
    answers = prefix + 5 + answers_begin(suffixes[1][0])[0] - 1
    total = prefix + 5 + len(suffixes[1][0].ids)
    looks = {"no": (answers, 0), "number": (prefix + 3, prefix + 1)}  # from where to where

    def missed(known: set[tuple[str, int]]) -> float:
        for layer in guidance.layers:
            queries, keys = torch.zeros(2, total, llm.width), torch.zeros(2, total, llm.width)
            for dimension, (kind, (at, to)) in enumerate(looks.items()):
                queries[1, at, dimension] = keys[1, to, dimension] = 1e2 * ((kind, layer) in known)
            keys[1, prefix + 4, 1] = 1e3  # a later frame would be looked at, could the number see it
            guidance.seen |= {(layer, "q_proj"): queries, (layer, "k_proj"): keys}
        return guidance([other, row], suffixes, asked, [[1], [5]]).item()

    number, no = math.log((prefix + 4) / 2) / 3, math.log(prefix + 5) / 3  # a head that looks everywhere it may
    assert missed(set()) == pytest.approx(number + 2 * no, abs=1e-4)
    assert missed({("no", 2)}) == pytest.approx(number + no, abs=1e-4)
    assert missed({("no", 4), ("number", 4)}) == pytest.approx(number + no, abs=1e-4), "numbers are the first layer's"
    # Both frames of who gives it are right, and one has all the attention.
    assert missed({("number", 2)}) == pytest.approx(2 * no, abs=1e-4)


def test_guidance_leads_the_last_layer_to_a_number_by_way_of_the_name_in_the_layer_before():
    llm = LLM(str(TINY), pretrained=False)
    llm.build()
    guidance, prefix = Guidance(llm), len(llm.prompt.prefix)
    row = Stretched([3, SILENCE, 4, 5], [0, SILENCE, 1, 2], [0, 2, 3], [0])
    asked = [Asked("what number did ann give", "thirty two", [[1], [2]], via=[0])]
    suffixes = suffixes_of(llm, asked)
    first = prefix + 4 + answers_begin(suffixes[0])[0] - 1
    looks = {2: {first: prefix, first + 1: prefix + 3}, 4: {first: prefix + 2, first + 1: prefix + 3}}
    for layer, found in looks.items():
        queries, keys = (torch.zeros(1, prefix + 4 + len(suffixes[0].ids), llm.width) for _ in range(2))
        for dimension, (at, to) in enumerate(found.items()):
            queries[0, at, dimension] = keys[0, to, dimension] = 1e2
        guidance.seen |= {(layer, "q_proj"): queries, (layer, "k_proj"): keys}
    assert guidance([row], [suffixes], [asked], [[len(row)]]).item() == pytest.approx(0.0, abs=1e-4)
    elsewhere = [replace(asked[0], via=[])]
    assert guidance([row], [suffixes], [elsewhere], [[len(row)]]).item() > 1.0
    unseen = [replace(suffixes[0], view=(1, 1))]  # the name lies before the view: the number itself is looked for
    assert (
        guidance([row], [unseen], [asked], [[2, 2]]).item() == guidance([row], [unseen], [elsewhere], [[2, 2]]).item()
    )


@pytest.mark.parametrize("change", [{"no_rope_layers": [1, 1, 1, 1, 0]}, {"bos": None}])
def test_an_llm_without_what_guidance_needs_is_refused(tmp_path, change):
    folder = without_weights(tmp_path)
    name = "tokenizer_config.json" if "bos" in change else "config.json"
    known = json.loads((folder / name).read_text())
    known = {key: value for key, value in known.items() if "bos" not in change or key != "bos_token"}
    (folder / name).write_text(json.dumps(known | {key: value for key, value in change.items() if key != "bos"}))
    llm = LLM(str(folder), pretrained=False)
    llm.build()
    with pytest.raises(ConfigError, match="a tiny LLM has two or more such layers"):
        Guidance(llm)


def test_a_tokenizer_that_spells_the_grammars_words_is_refused(tmp_path):
    make_tokenizer(["i met hilda"] * 9, vocabulary=400).save_pretrained(tmp_path)
    write_config(AutoTokenizer.from_pretrained(tmp_path), tmp_path)
    with pytest.raises(ConfigError, match="the tokenizer spells .* words of the grammar, such as"):
        pretrain(tmp_path, GrammarReadings(), steps=1, frames=60, longest=12, highest=1e-3, seed=0)


def test_links_come_along_with_frames():
    llm = LLM(str(TINY), pretrained=False)
    llm.build()
    reading = Reading(["ann here my number is two"], links={5: 0})
    assert stretched(llm, reading, random.Random(0)).links == {5: 0}


def test_every_answer_of_a_dialogue_is_found():
    llm = LLM(str(TINY), pretrained=False)
    llm.build()
    suffix = joined(llm, [Asked("who spoke first", "ann"), Asked("was rome mentioned", "yes")])
    answers = ["ann", "yes"]
    for begin, answer in zip(answers_begin(suffix), answers, strict=True):
        assert llm.prompt.text(suffix.ids[begin:]) == answer


def test_guidance_reads_the_latest_pass():
    llm = LLM(str(TINY), pretrained=False)
    llm.build()
    guidance, rng = Guidance(llm), random.Random(0)
    reading = Reading(["i met peter", "hello"])
    row = stretched(llm, reading, rng)
    speech = as_speech([row], llm.embedding.weight, torch.zeros(llm.width), 0.1)
    asked = asked_about(row, reading, marks(llm)[1])
    suffix = joined(llm, asked)
    assert len(asked[0].evidence) == len([label for label in suffix.labels if label >= 0]) - 1  # all but the end
    SpeechLLM(Encoder(), Adapter(), llm)(speech, [[None]], [suffix])
    guidance([row], [suffixes_of(llm, asked)], [asked], [[len(row)]]).backward()
    attentions = [llm.decoder.layers[number].self_attn for number in guidance.layers]
    for projection in (p for a in attentions for p in (a.q_proj, a.k_proj)):
        heads = projection.weight.grad.unflatten(0, (-1, guidance.head)).abs().sum((1, 2))
        assert heads[0] > 0
    assert attentions[1].q_proj.weight.grad[guidance.head :].abs().max() == 0  # the last layer's other heads are free


@pytest.mark.slow
def test_weights_are_written_where_from_pretrained_finds_them(tmp_path):
    folder = without_weights(tmp_path)
    trained = pretrain(folder, GrammarReadings(), steps=3, frames=60, longest=12, highest=1e-3, seed=0)
    loaded = LLM(str(folder))
    loaded.build()
    for name, weight in trained.model.state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[name], weight.half().float(), msg=name)


@pytest.mark.parametrize(("pretrained", "reads"), [(True, True), (False, False)])
@pytest.mark.parametrize("words", [8, 40])
def test_the_weights_that_come_along_read_sentences_of_another_split(pretrained, reads, words):
    llm = LLM(str(TINY), pretrained=pretrained)
    llm.build()
    backbone = SpeechLLM(Encoder(), Adapter(), llm)
    loss = held_out(backbone, GrammarReadings(mark_words=True), words)  # a word of the grammar at random costs 5.5
    assert (loss < 1.0) == reads
    assert math.isfinite(loss)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--few_words", "7"], "--few_words: got 7, a share; give a number from 0 to 1"),
        (["--questions", "nan"], "--questions: got nan"),
        (["--frames", "0"], "--frames: got 0; give 1 or more"),
        (["--lr", "nan"], "--lr: got nan; give a number above 0"),
        (["--minutes", "-1"], "--minutes: got -1; give a number above 0"),
        (["--windows", "4", "12", "0.9"], "--windows: utterances go on behind what a window sees; add --mark_words"),
        (["--mark_words", "--windows", "4", "10", "0.9"], "--windows: windows.seconds: got 10, which is no multiple"),
        (["--frame_rate", "0"], "--frame_rate: got 0; give a number above 0"),
        (["--lr", "inf"], "--lr: got inf; give a number above 0"),
        (["--corpus_dir", "x"], "--corpus_dir: is of a corpus; add --corpus YAML"),
        (["--blends", "0.5"], "--blends: is of a corpus"),
        (["--corpus", "nowhere.yaml"], "nowhere.yaml: No such file"),
        (["--begin", "nowhere", "--steps", "1"], "error: "),
        (["--corpus", "x.yaml", "--few_words", "0.5"], "--few_words: the texts of --corpus are drawn otherwise"),
    ],
)
def test_options_that_can_not_be_used_are_refused(flags, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tiny_llm", str(without_weights(tmp_path)), *flags])
    with pytest.raises(SystemExit):
        main()
    assert said in capsys.readouterr().err


def test_a_folder_without_a_tokenizer_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tiny_llm", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert "has no config.json and no tokenizer.json; copy them" in capsys.readouterr().err


def test_weights_are_not_replaced_unasked(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tiny_llm", str(TINY)])
    with pytest.raises(SystemExit):
        main()
    assert "model.safetensors: is there already; delete it, or go on from it with --begin" in capsys.readouterr().err
