"""Listening to a stream: the memory of the whole, questions on the way, forks, a memory that outlives its process."""

import json
from itertools import pairwise

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from experiments.random_models import audio, encoder_folder, llm_folder
from speech_xl.data.partition import window_ends
from speech_xl.extensions.ctc import PosteriorAdapter
from speech_xl.extensions.time_code import TimeCode
from speech_xl.model import LLM, HFEncoder, Listener, SpeechLLM, SSTs
from speech_xl.model.layout import interval_frames
from speech_xl.model.memory_file import MEMORY, MemoryFileError
from speech_xl.model.speech import Speech
from speech_xl.storage.tensor_files import read_tensors, write_tensors

SECONDS = 2.9
INTERVAL = 0.48  # 12 frames
WHO, WHAT = "who?", "what was said, and by whom, from the first word to the last?"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("parts")
    return {
        "encoder": encoder_folder(root / "encoder", "whisper"),
        "llm": llm_folder(root / "llm", "llama3"),
        "wider": llm_folder(root / "wider", "llama3", num_hidden_layers=3),
    }


def backbone(folders, positions="original", llm="llm", sst=True, projections="lora", dtype="float32", carried=0):
    torch.manual_seed(5)
    encoder = HFEncoder(folders["encoder"], overlap_seconds=0.1)
    model = SpeechLLM(encoder, PosteriorAdapter(stride=2), LLM(folders[llm], dtype=dtype), frame_code=TimeCode())
    model.build()
    if sst:
        model.add_sst(SSTs(projections, rank=2, positions=positions, carried_frames=carried))
        with torch.no_grad():
            for parameter in model.sst.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape))
    return model.eval()


@torch.no_grad()
def at_once(model, sound, ratios, interval=INTERVAL):
    """The memory of a whole file: the batch path, in the windows of training and evaluation."""
    adapted = model.adapt(model.encoder.encode([sound]))
    ends = window_ends(0.0, len(sound) / 16_000, interval, 16_000)
    intervals = interval_frames(ends, int(adapted.lengths[0]), model.frame_rate)
    speech = Speech(adapted.frames, adapted.lengths, [intervals])
    return model.prefill(speech, [[None if ratios(n) == 1 else ratios(n) for n in range(len(intervals))]])


def compress_interval(listener, sound, size):
    for piece in sound.split(size):
        listener.push(piece)


def same(memory, other):
    left, right = memory.tensors(), other.tensors()
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        torch.testing.assert_close(tensor, right[name], atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize("positions", ["original", "compact", "interpolated", "shared"])
@pytest.mark.parametrize("size", [160, 5_000, 100_000])
def test_pieces_give_the_memory_of_the_whole(folders, positions, size):
    model, sound = backbone(folders, positions), audio(SECONDS)
    listener = Listener(model, ratio=4, interval_seconds=INTERVAL)
    compress_interval(listener, sound, size)
    listener.flush()
    whole = at_once(model, sound, lambda _: 4)
    same(listener.memory, whole)
    assert listener.kept == 5 * 3 + 4 and listener.frames == 73  # the last two hundredths join the sixth window
    assert listener.ask(WHO, limit=9) == model.generate(whole, [0], [WHO], [9])[0]


def test_the_ratio_may_change_from_one_interval_to_the_next(folders):
    model, sound = backbone(folders, "compact"), audio(SECONDS)
    listener = Listener(model, ratio=1, interval_seconds=INTERVAL)
    ratios = [1, 2, 16, 3, 1, 2, 2]
    adapted = model.adapt(model.encoder.encode([sound]))
    frames = adapted.frames[0]
    for number, ratio in enumerate(ratios):
        listener.ratio = ratio
        listener.push_frames(frames[number * 12 : (number + 1) * 12])
    listener.flush()
    speech = Speech(adapted.frames, adapted.lengths, [[12] * 6 + [1]])
    same(listener.memory, model.prefill(speech, [[None if ratio == 1 else ratio for ratio in ratios]]))


@pytest.mark.parametrize("interval", [0.3, 0.55, 0.7, 1.0])
@pytest.mark.parametrize("samples", [72_000, 73_000, 74_000, 75_200])
def test_intervals_are_the_windows_of_training(folders, interval, samples):
    """Seconds without an exact binary fraction, and last windows shorter and longer than the shortest."""
    model, sound = backbone(folders), audio(samples=samples)
    listener = Listener(model, ratio=3, interval_seconds=interval)
    compress_interval(listener, sound, 5_000)
    listener.flush()
    same(listener.memory, at_once(model, sound, lambda _: 3, interval))


def test_who_has_heard_the_end_hears_no_more(folders):
    listener = Listener(backbone(folders), 4, INTERVAL)
    listener.push(audio(1.0))
    fork = listener.fork()
    listener.flush()
    memory = listener.memory.tensors()
    listener.flush()  # nothing more to hear
    assert listener.memory.tensors()["valid"].equal(memory["valid"])
    for push in (listener.push, listener.push_frames):
        with pytest.raises(ValueError, match=r"the audio has ended \(flush\)"):
            push(audio(1.0))
    fork.push(audio(1.0))


def test_an_llm_without_prompt_listens_from_the_first_second(folders, tmp_path):
    """No chat template, no beginning of text: nothing is read before the first interval ends."""
    model, sound = backbone(folders), audio(0.3)
    model.llm.prompt.prefix = []
    listener = Listener(model, 4, INTERVAL)
    with pytest.raises(ValueError, match="nothing was heard yet"):
        listener.ask(WHO)
    with pytest.raises(ValueError, match=r"freeze\('static'\): nothing was heard yet"):
        listener.memory.freeze("static")
    listener.push(sound)
    answer = listener.ask(WHO, limit=5)
    assert answer == model.generate(at_once(model, sound, lambda _: 4), [0], [WHO], [5])[0]
    listener.save(tmp_path / "memory.safetensors")
    again = Listener.load(tmp_path / "memory.safetensors", model)
    assert again.memory.bytes == 0 and again.ask(WHO, limit=5) == answer


def test_a_question_on_the_way_is_answered_from_what_was_heard_and_leaves_no_trace(folders):
    model, sound = backbone(folders), audio(SECONDS)
    asked, silent = (Listener(model, ratio=4, interval_seconds=INTERVAL) for _ in range(2))
    answers = []
    for number, piece in enumerate(sound.split(4_000)):
        asked.push(piece)
        silent.push(piece)
        answers.append(asked.ask(WHAT, limit=6))
        heard = at_once(model, sound[: (number + 1) * 4_000], lambda _: 4)
        assert answers[-1] == model.generate(heard, [0], [WHAT], [6])[0]
    asked.flush()
    silent.flush()
    same(asked.memory, silent.memory)
    assert len({answer.text for answer in answers}) > 1, "the model must answer from what it heard"


@pytest.mark.parametrize("projections", ["full", "lora"])
def test_a_bfloat16_llm_listens_without_autocast(folders, projections):
    """SSTs stay in float32, as they were trained."""
    model = backbone(folders, "compact", projections=projections, dtype="bfloat16")
    listener = Listener(model, 4, INTERVAL)
    listener.push(audio(SECONDS))
    assert isinstance(listener.ask(WHO, 4).text, str)
    full = Listener(backbone(folders, "compact", projections=projections), 4, INTERVAL)
    full.push(audio(SECONDS))
    mine, theirs = (one.memory.cache.layers[1].keys for one in (listener, full))
    assert mine.dtype == torch.bfloat16
    torch.testing.assert_close(mine.float(), theirs, atol=0.1, rtol=0.1)


def test_forks_go_on_alone(folders):
    model, sound = backbone(folders), audio(SECONDS)
    listener = Listener(model, ratio=2, interval_seconds=INTERVAL)
    compress_interval(listener, sound[:20_000], 3_000)
    fork = listener.fork()
    compress_interval(fork, audio(2.0, seed=9), 3_000)
    fork.flush()
    compress_interval(listener, sound[20_000:], 3_000)
    listener.flush()
    same(listener.memory, at_once(model, sound, lambda _: 2))


@pytest.mark.parametrize("at", [0, 100, 20_000, 46_400])
def test_a_saved_memory_goes_on_where_it_stopped(folders, tmp_path, at):
    model, sound = backbone(folders, "compact"), audio(SECONDS)
    listener = Listener(model, ratio=4, interval_seconds=INTERVAL)
    compress_interval(listener, sound[:at], 7_000)
    listener.save(tmp_path / "memory.safetensors")
    again = Listener.load(tmp_path / "memory.safetensors", backbone(folders, "compact"))
    assert (again.ratio, again.seconds, again.frames) == (4, at / 16_000, listener.frames)
    compress_interval(again, sound[at:], 7_000)
    again.flush()
    same(again.memory, at_once(model, sound, lambda _: 4))
    assert again.memory.peak >= listener.memory.peak > 0


@pytest.mark.parametrize("at", [100, 20_000])
def test_a_saved_memory_carries_frames_on(folders, tmp_path, at):
    model, sound, path = backbone(folders, "compact", carried=2), audio(SECONDS), tmp_path / "memory.safetensors"
    listener = Listener(model, ratio=4, interval_seconds=INTERVAL)
    compress_interval(listener, sound[:at], 7_000)
    listener.save(path)
    again = Listener.load(path, backbone(folders, "compact", carried=2))
    compress_interval(again, sound[at:], 7_000)
    again.flush()
    same(again.memory, at_once(model, sound, lambda _: 4))
    assert again.kept == int(at_once(backbone(folders, "compact"), sound, lambda _: 4).kept[0]) - len(
        model.llm.prompt.prefix
    )
    for other in (0, 3):
        with pytest.raises(MemoryFileError, match="heard through other weights or settings"):
            Listener.load(path, backbone(folders, "compact", carried=other))
    again.memory.carried_valid = again.memory.carried_valid[:, :1]
    again.save(path)
    with pytest.raises(MemoryFileError, match=r"not a whole memory \(carried\."):
        Listener.load(path, model)


def test_without_carried_frames_memories_of_earlier_versions_are_this_models(folders):
    model = backbone(folders)
    now = model.identity()
    del model.sst.carried_frames  # which earlier versions had not
    assert model.identity() == now != backbone(folders, carried=1).identity()


def test_an_interval_can_be_ended_early(folders):
    model = backbone(folders)
    listener = Listener(model, ratio=4, interval_seconds=INTERVAL)
    frames = torch.randn(40, model.llm.width)
    listener.push_frames(frames[:17])
    listener.end_interval()  # 12 and 5
    listener.push_frames(frames[17:])
    listener.flush()  # 12 from the pause on, and 11
    speech = Speech(frames[None], torch.tensor([40]), [[12, 5, 12, 11]])
    same(listener.memory, model.prefill(speech, [[4] * 4]))


ACTIONS = st.one_of(
    st.tuples(st.just("push"), st.integers(1, 9_000)),
    st.tuples(st.just("push"), st.integers(1, 9_000)),
    st.tuples(st.just("ratio"), st.sampled_from([1, 2, 4])),
    st.tuples(st.just("end"), st.none()),
    st.tuples(st.sampled_from(["fork", "save", "ask"]), st.none()),
)


def act(model, actions, sound, path):
    """A listener who was used so, and has heard the end."""
    listener, taken = Listener(model, ratio=4, interval_seconds=INTERVAL), 0
    for action, value in actions:
        if action == "push":
            listener.push(sound[taken : taken + value])
            taken += value
        elif action == "ratio":
            listener.ratio = value
        elif action == "end":
            listener.end_interval()
        elif action == "fork":
            before, listener = listener, listener.fork()
            before.end_interval()
            before.ratio = 2
        elif action == "save":
            listener.save(path)
            listener = Listener.load(path, model)
        elif taken:
            listener.ask(WHO, limit=1)
    listener.flush()
    return listener


def merged(actions):
    """The same requests at the same seconds, with all the audio between two of them in one piece."""
    found = []
    for action, value in actions:
        if action == "push" and found and found[-1][0] == "push":
            found[-1] = ("push", found[-1][1] + value)
        elif action in ("push", "ratio", "end"):
            found.append((action, value))
    return found


def intervals_of(actions):
    """(end in seconds, ratio) of every interval, by the partition of training between the ends that were asked for."""
    seconds, borders, ratios = 0.0, [0.0], [(-1.0, 4)]
    samples = 0
    for action, value in actions:
        if action == "push":
            samples += value
            seconds = samples / 16_000
        elif action == "ratio":
            ratios.append((seconds, value))
        elif action == "end" and seconds > borders[-1]:
            borders.append(seconds)
    borders += [seconds] if seconds > borders[-1] else []
    ends = [end for start, stop in pairwise(borders) for end in window_ends(start, stop, INTERVAL, 16_000)]
    return [(end, [ratio for since, ratio in ratios if since < end - 1e-6][-1]) for end in ends]


@pytest.fixture(scope="module")
def streamed(folders):
    return backbone(folders, "compact")


@settings(max_examples=20, deadline=None)
@example(actions=[("push", 641), ("end", None)])
@given(actions=st.lists(ACTIONS, min_size=1, max_size=14))
def test_an_end_and_a_ratio_hold_from_their_second_on_whatever_the_pieces(streamed, tmp_path_factory, actions):
    """While the encoder's window of 0.5 s isn't full too: its frames come later than the requests."""
    samples = sum(value for action, value in actions if action == "push")
    if not samples:
        return
    model, sound = streamed, audio(samples=samples)
    listener = act(model, actions, sound, tmp_path_factory.getbasetemp() / "memory.safetensors")
    once = act(model, merged(actions), sound, None)
    left, right = listener.memory.tensors(), once.memory.tensors()
    assert all(torch.equal(tensor, right[name]) for name, tensor in left.items()), "bit by bit"

    with torch.no_grad():
        adapted = model.adapt(model.encoder.encode([sound]))
    frames, first, lengths, ratios = int(adapted.lengths[0]), 0, [], []
    for number, (end, ratio) in enumerate(wanted := intervals_of(actions)):
        last = frames if number == len(wanted) - 1 else round(end * model.frame_rate)
        if last > first:
            lengths.append(last - first)
            ratios.append(None if ratio == 1 else ratio)
            first = last
    speech = Speech(adapted.frames, adapted.lengths, [lengths])
    with torch.no_grad():
        same(listener.memory, model.prefill(speech, [ratios]))


def test_an_end_asked_for_before_the_first_frames_are_there(folders):
    """All of 0.4 s lies in the encoder's first window: nothing was released, and the end is where it was asked for."""
    model = backbone(folders)
    listener = Listener(model, ratio=4, interval_seconds=INTERVAL)
    sound = audio(1.0)
    listener.push(sound[:6_400])
    listener.end_interval()
    listener.ratio = 2
    assert not listener.frames
    listener.push(sound[6_400:])
    listener.flush()
    adapted = model.adapt(model.encoder.encode([sound]))
    speech = Speech(adapted.frames, adapted.lengths, [[10, 12, 3]])
    same(listener.memory, model.prefill(speech, [[4, 2, 2]]))


def test_a_memory_moves_between_devices(folders):
    listener = Listener(backbone(folders), ratio=4, interval_seconds=INTERVAL)
    compress_interval(listener, audio(1.0), 16_000)
    moved = listener.memory.to("cpu")
    same(moved, listener.memory)
    assert listener.memory.to("meta").tensors()["valid"].device.type == "meta"


def test_what_cannot_be_is_refused(folders, tmp_path):
    model = backbone(folders)
    with pytest.raises(ValueError, match=r"audio of shape \[2, 50\]: give one channel"):
        Listener(model).push(torch.zeros(2, 50))
    with pytest.raises(ValueError, match=r"audio of type torch\.int16"):
        Listener(model).push(torch.zeros(50, dtype=torch.int16))
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not finite"):
            Listener(model).push(torch.tensor([0.0, wrong, -wrong]))
    listener = Listener(model)
    listener.push(audio(0.1))
    with pytest.raises(ValueError, match="frames behind audio"):
        listener.push_frames(torch.zeros(3, model.llm.width))
    listener = Listener(model)
    listener.push_frames(torch.zeros(3, model.llm.width))
    with pytest.raises(ValueError, match="audio behind frames"):
        listener.push(audio(0.1))
    with pytest.raises(ValueError, match="nothing was heard yet"):
        Listener(model).ask(WHO)
    with pytest.raises(ValueError, match="interval_seconds: got 0"):
        Listener(model, interval_seconds=0)
    with pytest.raises(ValueError, match="ratio"):
        Listener(model, ratio=0)
    with pytest.raises(ValueError, match="no SSTs: train stage 3 first"):
        Listener(backbone(folders, sst=False), ratio=2)
    assert Listener(backbone(folders, sst=False), ratio=1).kept == 0


def test_a_memory_of_another_llm_is_refused_by_name(folders, tmp_path):
    path = tmp_path / "memory.safetensors"
    Listener(backbone(folders)).save(path)
    for other in (backbone(folders, llm="wider"), backbone(folders, "compact")):
        with pytest.raises(MemoryFileError, match=r"memory\.safetensors: heard through other weights or settings"):
            Listener.load(path, other)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(MemoryFileError, match=r"memory\.safetensors: not a listener's memory"):
        Listener.load(path, backbone(folders))


def without(name):
    return lambda tensors, about: ({n: t for n, t in tensors.items() if n != name}, about)


def with_tensor(name, change):
    return lambda tensors, about: ({n: change(t) if n == name else t for n, t in tensors.items()}, about)


def with_header(change):
    def changed(tensors, about):
        change(about)
        return tensors, about

    return changed


SPOILT = {
    "no layer": (without("layers.0.keys"), "not a whole memory"),
    "wrong shape": (with_tensor("layers.1.values", lambda t: t[:, :, :1]), "not a whole memory"),
    "flat": (with_tensor("valid", lambda t: t.flatten()), "not a whole memory"),
    "NaN": (with_tensor("layers.0.keys", lambda t: t * torch.nan), "aren't finite"),
    "no listener": (with_header(lambda about: about.pop("listener")), "it has no listener"),
    "no clock": (with_header(lambda about: about["listener"].pop("clock")), "it has no clock"),
    "bad clock": (with_header(lambda about: about["listener"].update(clock={})), "its intervals were changed by hand"),
    "bad count": (with_header(lambda about: about["stream"].update(dropped="x")), "its counts"),
    "no model": (with_header(lambda about: about.pop("model")), "other weights"),
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_memory_that_was_spoilt_is_named(folders, tmp_path, spoilt):
    model, path = backbone(folders), tmp_path / "memory.safetensors"
    listener = Listener(model, ratio=2, interval_seconds=0.4)
    listener.push(torch.randn(16_000) * 0.1)
    listener.save(path)
    tensors, notes = read_tensors(path)
    change, reason = SPOILT[spoilt]
    tensors, about = change(tensors, json.loads(notes[MEMORY]))
    write_tensors(tensors, path, {MEMORY: json.dumps(about)})
    with pytest.raises(RuntimeError, match=rf"memory\.safetensors.*{reason}"):
        Listener.load(path, model)


def test_a_single_wrong_byte_in_a_memory_is_noticed(folders, tmp_path):
    path = tmp_path / "memory.safetensors"
    Listener(backbone(folders)).save(path)
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(raw)
    with pytest.raises(RuntimeError, match=r"memory\.safetensors is damaged"):
        Listener.load(path, backbone(folders))
