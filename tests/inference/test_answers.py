"""Pieces of an answer come as its tokens do, end between characters, and are the answer when joined."""

import threading
import time

import pytest

from experiments.random_models import audio
from speech_xl.inference import Answer, AnswerStream, answers
from speech_xl.model.generation import TokenWatch
from tests.listening_models import tiny_model

WHAT = "what was said?"


@pytest.fixture(scope="module")
def memory():
    return tiny_model().listen(audio(2.9), rate=16_000)


def test_joined_pieces_are_the_answer(memory):
    whole = memory.ask(WHAT, 30)
    stream = memory.ask_stream(WHAT, 30)
    memory.fork().push(audio(1.0), 16_000)
    pieces = list(stream)
    assert "".join(pieces) == whole.text and stream.answer == whole and len(pieces) > 5
    assert memory.ask_stream(WHAT, 30).answer == whole, "whether anybody reads it or not"


def test_what_cannot_be_asked_is_refused_at_once(memory):
    with pytest.raises(ValueError, match="question"):
        memory.ask_stream(" ")


def test_a_closed_stream_ends_early(memory):
    with memory.ask_stream(WHAT, 4_000) as stream:
        first = next(stream)
    assert stream.answer.text.startswith(first) and stream.answer.new_tokens < 4_000 and not stream.answer.finished


def test_no_thread_is_left_behind(memory):
    """One that is in torch when Python ends aborts the process."""
    with memory.ask_stream(WHAT, 4_000) as closed:
        next(closed)
    whole, left = memory.ask_stream(WHAT, 5), memory.ask_stream(WHAT, 4_000)
    next(left)
    assert whole.answer and not closed._thread.is_alive() and not whole._thread.is_alive() and left._thread.is_alive()
    answers._stop_all()  # as Python does at its end
    assert not left._thread.is_alive()


def test_a_stream_can_be_closed_by_its_own_thread():
    made = threading.Event()

    def text_of(ids):
        made.wait(10)
        stream.close()
        return bytes(ids).decode()

    stream = written([97] * 9, text_of)
    made.set()
    next(stream)
    stream._thread.join(10)
    assert not stream._thread.is_alive()


def test_a_piece_is_written_when_it_is_asked_for(memory):
    tokens = []
    answer = memory.ask(WHAT, 30, lambda token: tokens.append(token) or True)
    assert len(tokens) == answer.new_tokens > 5
    assert memory.ask(WHAT, 30, lambda token: False).new_tokens <= 2
    read = []
    stream = written([97] * 9, lambda ids: (read.append(len(ids)), bytes(ids).decode())[1])
    for number in range(1, 4):
        next(stream)
        time.sleep(0.02)
        assert max(read) == number
    stream.close()


def written(tokens, text_of):
    """A stream whose answer is made of these tokens."""

    def write(watch: TokenWatch) -> Answer:
        import torch

        watch.put(torch.zeros(1, 3))
        given = []
        for token in tokens:
            watch.put(torch.tensor([token]))
            given.append(token)
        return Answer(text_of(given), 1.0, 4, 1, 1, 1, len(given), True)

    return AnswerStream(write, text_of)


def test_a_character_of_several_tokens_comes_whole():
    stream = written("häßlich 🙂 end".encode(), lambda ids: bytes(ids).decode(errors="replace").strip())
    pieces = list(stream)
    assert "".join(pieces) == stream.answer.text == "häßlich 🙂 end"
    assert "\ufffd" not in "".join(pieces) and "ä" in pieces and "🙂" in pieces


def test_an_answer_that_ends_amid_a_character_is_given_as_it_is():
    stream = written("é".encode()[:1], lambda ids: bytes(ids).decode(errors="replace"))
    assert "".join(stream) == stream.answer.text == "\ufffd"


def test_what_goes_wrong_while_it_is_written_is_raised_where_it_is_read():
    def broken(ids):
        raise RuntimeError("out of memory")

    stream = written([1], broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(stream)
    with pytest.raises(RuntimeError, match="the answer failed"):
        _ = stream.answer


def test_answers_written_at_once_do_not_mix():
    """SST rows of one pass never reach another's, whatever the threads do."""
    model = tiny_model()
    sounds = [audio(2.0, seed=seed) for seed in range(4)]
    alone = [model.listen(sound, rate=16_000, ratio=2).ask(WHAT, 20) for sound in sounds]
    found = [[] for _ in sounds]

    def client(number):
        for _ in range(5):
            memory = model.listen(sounds[number], rate=16_000, ratio=2)
            found[number].append(memory.ask(WHAT, 20))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, answer in enumerate(alone):
        assert found[number] == [answer] * 5
