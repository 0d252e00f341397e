"""A transcript of any length is made in parts, the same whatever the chunks, and goes on from a file."""

import json

import numpy as np
import pytest
import soundfile
import torch

from experiments.random_models import audio
from speech_xl.data.transcript import Transcript
from speech_xl.data.windows import Windows
from speech_xl.extensions.timestamps.transcript import Timestamps
from speech_xl.inference import Transcriber
from speech_xl.inference.parts import most_seconds, quietest
from speech_xl.model.listener import Listener
from speech_xl.model.memory_file import MemoryFileError
from tests.listening_models import tiny_model

RATE = 16_000
PART = 2.0  # seconds
SOUND = audio(7.3)


class Timed(Transcript):
    """Says that one word is spoken every second, whatever the model writes."""

    step_seconds, by_words = 1.0, True

    def timed(self, transcript):
        return [(float(number), f"w{ord(letter)}") for number, letter in enumerate(transcript[:3])]

    def words(self, transcript):
        return " ".join(word for _, word in self.timed(transcript))

    def last_second(self, transcript):
        return 2.0


@pytest.fixture(scope="module")
def model():
    return tiny_model(transcript=Timed())


def transcribed(model, samples, size, rate=RATE, **options):
    transcriber, segments = Transcriber(model, part_seconds=PART, **options), []
    for start in range(0, len(samples), size):
        segments += transcriber.push(samples[start : start + size], rate)
    segments += transcriber.finish()
    assert segments == transcriber.transcription.segments
    return transcriber.transcription


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_the_transcript_is_the_same_whatever_the_chunks(model, rate):
    samples = audio(samples=round(7.3 * rate))
    whole = model.transcribe(samples, rate=rate, part_seconds=PART)
    assert whole.parts >= 4 and whole.audio_seconds_heard == pytest.approx(7.3) and whole.text
    for size in (997, 70_001):
        assert transcribed(model, samples, size, rate) == whole


def test_a_file_and_its_samples_have_one_transcript(model, tmp_path):
    soundfile.write(tmp_path / "a.wav", SOUND.numpy(), RATE, subtype="FLOAT")
    told = []
    found = model.transcribe(tmp_path / "a.wav", part_seconds=PART, progress=lambda *seconds: told.append(seconds))
    assert found == model.transcribe(SOUND, rate=RATE, part_seconds=PART)
    assert told[-1] == (pytest.approx(7.3), pytest.approx(7.3))


def test_a_part_ends_where_it_is_quietest_and_is_what_its_audio_alone_would_be(model):
    sound = SOUND.clone()
    quiet = slice(round(1.4 * RATE), round(1.7 * RATE))
    sound[quiet] *= 0.01
    transcriber = Transcriber(model, part_seconds=PART)
    transcriber.push(sound, RATE)
    transcriber.finish()
    ends = [round(one.end_seconds * RATE) for one in transcriber.results]
    assert quiet.start + 0.1 * RATE <= ends[0] <= quiet.stop - 0.1 * RATE, "no sound within 0.1 s of the cut"
    assert ends[-1] == len(sound) and max(np.diff([0, *ends])) <= PART * RATE
    texts, segments, kept, full = [], [], [], []
    for start, end in zip([0, *ends], ends, strict=False):
        memory = model.listen(sound[start:end], rate=RATE)
        answer = memory.ask(model.transcript.instruction)
        texts.append(model.transcript.words(answer.text))
        segments += [
            round(min(start / RATE + second, end / RATE), 3) for second, _ in model.transcript.timed(answer.text)
        ]
        kept.append(answer.kept_kv_bytes)
        full.append(answer.full_kv_bytes)
    found = transcriber.transcription
    assert found.text == " ".join(texts) and found.parts == len(texts)
    assert [start for start, _ in found.words] == segments
    assert found.kept_kv_bytes == max(kept) and found.full_kv_bytes == max(full)


def test_audio_that_fits_is_one_part_and_a_sample_more_are_two(model):
    length = round(PART * RATE)
    assert transcribed(model, SOUND[:length], 5_000).parts == 1
    assert transcribed(model, SOUND[: length + 1], 5_000).parts == 2
    assert transcribed(model, SOUND[:1], 5_000).parts == 1
    assert transcribed(model, SOUND[:0], 5_000).parts == 0
    assert transcribed(model, SOUND[: length // 2], 5_000).audio_seconds_heard == PART / 2


def test_the_quietest_moment_is_the_middle_of_the_last_such():
    sound = torch.ones(20_000)
    sound[5_000:9_000] = 0.1
    assert 6_600 <= quietest(sound) <= 7_400
    assert quietest(torch.zeros(16_000)) == pytest.approx(16_000 - 1_600, abs=160)
    assert quietest(torch.ones(100)) == 100


@pytest.mark.parametrize("samples", [1, 399])
def test_a_click_is_not_transcribed_and_told(model, samples):
    click = torch.zeros(2 * RATE)
    click[5_000 : 5_000 + samples] = 0.5
    found = model.transcribe(click, rate=RATE)
    assert not found.text and "s of sound, a click; nothing was written for it" in found.remarks[0]
    click[5_000:5_400] = 0.5
    assert not model.transcribe(click, rate=RATE).remarks, "25 ms may be speech"


def test_silence_is_not_transcribed_and_told(model):
    sound = torch.cat([torch.zeros(round(PART * RATE)), SOUND[: 2 * RATE]])
    found = transcribed(model, sound, 7_000)
    assert found.remarks[0] == "0.0 to 1.9 s is digital silence; nothing was written for it"
    assert found.segments and found.segments[0].start_seconds >= 1.9


@pytest.mark.parametrize("at", [0, 28_000, len(SOUND)])
def test_a_transcriber_goes_on_from_its_file(model, tmp_path, at):
    path, samples = tmp_path / "half.safetensors", audio(samples=len(SOUND))
    first = Transcriber(model, ratio=2, part_seconds=PART)
    first.push(samples[:at], 22_050)
    first.save(path)
    again = Transcriber.load(path, model)
    for one in (first, again):
        one.push(samples[at:], 22_050)
        one.finish()
    assert again.transcription == first.transcription == transcribed(model, samples, 5_000, 22_050, ratio=2)
    first.save(path)
    ended = Transcriber.load(path, model)
    assert ended.transcription == first.transcription and ended.finish() == []
    with pytest.raises(ValueError, match="the audio has ended"):
        ended.push(samples, 22_050)
    with pytest.raises(MemoryFileError, match=r"Transcriber\.load"):
        model.load_memory(path)
    model.listen(samples, rate=RATE).save(path)
    with pytest.raises(MemoryFileError, match="no transcriber's file"):
        Transcriber.load(path, model)


def test_a_new_ratio_holds_for_what_comes_later(model):
    transcriber = Transcriber(model, ratio=1, part_seconds=PART)
    transcriber.push(SOUND[: 3 * RATE], RATE)
    transcriber.ratio = 4
    transcriber.push(SOUND[3 * RATE :], RATE)
    transcriber.finish()
    kept = [one.kept_kv_bytes for one in transcriber.results]
    assert kept[0] == transcriber.results[0].full_kv_bytes and kept[-1] < transcriber.results[-1].full_kv_bytes
    with pytest.raises(ValueError, match="ratio"):
        transcriber.ratio = 0
    assert transcriber.ratio == 4


def test_a_model_without_timestamps_gives_a_segment_a_part():
    found = transcribed(tiny_model(), SOUND, 9_000)
    assert len(found.segments) == found.parts and not found.words
    assert found.segments[-1].end_seconds == pytest.approx(7.3)
    assert not found.finished and "was cut at" in found.remarks[0], "a random model doesn't end"


@pytest.mark.parametrize("positions", ["compact", "shared"])
def test_a_part_has_room_in_the_context_and_within_the_timestamps(positions):
    plain = tiny_model(positions=positions)
    context = plain.backbone.llm.model.config.max_position_embeddings
    for ratio in (1, 4):
        most = most_seconds(plain, ratio)
        memory = plain.listen(audio(most), rate=RATE, ratio=ratio)
        memory.finish()
        positions = int(memory.listener.memory.position[0]) + plain.answer_limit("transcribe the speech", most)
        assert positions + len(plain.backbone.llm.prompt.question("transcribe the speech")) <= context * 8
    with pytest.raises(ValueError, match=r"part_seconds: got 1e\+06; at ratio 4 this LLM has room for"):
        Transcriber(plain, part_seconds=1e6)
    with pytest.raises(ValueError, match="part_seconds"):
        Transcriber(plain, part_seconds=0.1)
    timed = tiny_model(llm="experiments/models/tiny/llm", transcript=Timestamps(0.2))
    timed.backbone.llm.model.config.max_position_embeddings = 10**6
    reached = timed.backbone.processors([timed.transcript.instruction], [1e9])[0].reached[0]
    assert most_seconds(timed, 4) == reached


def test_ssts_at_shared_positions_take_no_room_of_the_context():
    shared = tiny_model(positions="shared")
    assert most_seconds(shared, 4) == most_seconds(shared, 1) > most_seconds(tiny_model(positions="original"), 4)


def test_a_transcription_is_plain_data(model):
    found = transcribed(model, SOUND, 9_000)
    plain = json.loads(json.dumps(found.as_dict()))
    assert plain["text"] == found.text and plain["parts"] == found.parts
    assert set(plain["segments"][0]) == {"start_seconds", "end_seconds", "text"}
    assert set(plain["words"][0]) == {"start_seconds", "word"}
    assert found.as_text() == f"{found.text}\n" and found.as_srt().startswith("1\n00:00:00,000 --> ")
    assert found.as_vtt().startswith("WEBVTT\n\n00:00:00.000 --> ")


def test_a_fork_writes_what_it_hears_alone(model):
    sound = audio(4.0).numpy()
    one = Transcriber(model, part_seconds=1.5)
    one.push(sound[:RATE], RATE)
    fork = one.fork()
    one.push(np.zeros(3 * RATE, np.float32), RATE)
    one.finish()
    fork.push(sound[RATE:], RATE)
    fork.finish()
    whole = Transcriber(model, part_seconds=1.5)
    whole.push(sound, RATE)
    whole.finish()
    assert fork.transcription == whole.transcription != one.transcription


def test_writing_can_be_watched_and_stopped():
    model, found = tiny_model(seed=6), []
    for most in (1_000, 3):
        transcriber, tokens = Transcriber(model), []
        transcriber.on_step = lambda tokens=tokens, most=most: tokens.append(1) or len(tokens) < most
        transcriber.push(audio(2.0), RATE)
        transcriber.finish()
        found.append((len(tokens), transcriber.transcription.text))
    assert found[0][0] > 4 > found[1][0] and found[0][1].startswith(found[1][1])


def test_a_transcript_is_asked_for_in_windows_where_the_model_knows_them(monkeypatch):
    """By the command's way and by a question alike, in one batch or in several."""
    model = tiny_model(transcript=Transcript(Windows(1.0, multiple_of=1.0)))
    transcriber = Transcriber(model, part_seconds=PART)
    transcriber.push(SOUND, RATE)
    transcriber.finish()
    memory = model.listen(SOUND, rate=RATE)
    memory.finish()
    instructions = model.transcript.instructions(memory.seconds)
    assert len(instructions) == 8
    listener, each = memory.listener, []
    frames = [interval.frames for interval in listener.intervals]
    for one in instructions:
        view = model.transcript.view(model.transcript.span_of(one), frames, model.backbone.frame_rate)
        each += listener.answers([one], [model.answer_limit(one, memory.seconds)], None, [view])
    asked = memory.ask(model.transcript.instruction, 10_000)
    assert asked.text == " ".join(one.text for one in each if one.text)
    assert asked.new_tokens == sum(one.new_tokens for one in each)
    monkeypatch.setattr("speech_xl.inference.windows.MOST_AT_ONCE", 3)
    assert memory.ask(model.transcript.instruction, 10_000) == asked
    assert "".join(memory.ask_stream(model.transcript.instruction, 10_000)) == asked.text
    short = memory.ask(model.transcript.instruction, 5)
    assert not short.finished and short.new_tokens == 5
    whole = tiny_model()
    texts = [whole.transcribe(SOUND, rate=RATE, part_seconds=PART).text, transcriber.transcription.text]
    assert texts[0] != texts[1] and "" not in texts, "parts are asked for in windows too"


def test_windows_are_asked_with_their_views_and_none_behind_the_last_timestamp(monkeypatch):
    """A question about one window too, as it was trained."""
    model = tiny_model(transcript=Transcript(Windows(1.0, multiple_of=1.0)))
    memory = model.listen(SOUND, rate=RATE)
    memory.finish()
    instructions, asked = model.transcript.instructions(memory.seconds), []
    frames, answers = [one.frames for one in memory.listener.intervals], Listener.answers

    def spy(self, instructions, limits, watch=None, views=()):
        asked.extend(zip(instructions, views, strict=True))
        return answers(self, instructions, limits, watch, views)

    monkeypatch.setattr(Listener, "answers", spy)
    seen = {
        one: model.transcript.view(model.transcript.span_of(one), frames, model.backbone.frame_rate)
        for one in instructions
    }
    memory.ask(instructions[2], 4)
    assert asked == [(instructions[2], seen[instructions[2]])]
    asked.clear()
    monkeypatch.setattr(Listener, "reach", lambda self, instruction: 2.5)
    memory.ask(model.transcript.instruction, 4)
    assert asked == [(one, seen[one]) for one in instructions[:3]]
