"""Work takes turns: a short question between the blocks of a long file; what is stopped stops, and stops whole."""

import asyncio
import threading
import time

import pytest

from speech_xl.serving.compute import Compute, Stop
from speech_xl.serving.errors import ApiError, Stopped
from speech_xl.serving.turns import in_turns


@pytest.fixture
def compute():
    made = Compute(most=4)
    yield made
    made.close()


def steps(number, seconds, log, name):
    for _ in range(number):
        time.sleep(seconds)
        log.append(name)
        yield name
    return f"{name} done"


def test_who_has_used_least_goes_next(compute):
    log: list[str] = []

    async def both():
        long = asyncio.ensure_future(compute.run(steps(5, 0.03, log, "long"), Stop()))
        await asyncio.sleep(0.04)
        short = await compute.run(steps(10, 0.001, log, "short"), Stop())
        assert short == "short done" and log.count("long") <= 3
        return await long

    assert asyncio.run(both()) == "long done" and len(log) == 15


def test_new_work_comes_before_work_that_took_long(compute, monkeypatch):
    """Its steps are as long as the other's: were both of one age, the other's would come between."""
    monkeypatch.setattr("speech_xl.serving.compute.AHEAD_SECONDS", 0.1)
    log: list[str] = []

    async def both():
        long = asyncio.ensure_future(compute.run(steps(15, 0.03, log, "long"), Stop()))
        while log.count("long") < 7:
            await asyncio.sleep(0.001)
        before = log.count("long")
        await compute.run(steps(3, 0.02, log, "short"), Stop())
        assert log.count("long") <= before + 1  # the one whose turn it was
        await long

    asyncio.run(both())


def test_what_steps_give_and_raise_comes_to_the_event_loop(compute):
    given: list[str] = []

    def broken():
        yield "a"
        raise KeyError("b")

    async def run():
        assert await compute.run(steps(2, 0, [], "x"), Stop(), given.append) == "x done"
        assert await compute.call(lambda: 7) == 7
        with pytest.raises(KeyError, match="b"):
            await compute.run(broken(), Stop(), given.append)

    asyncio.run(run())
    assert given == ["x", "x", "a"] and compute.jobs == 0


def test_stopped_work_ends_before_its_next_step_and_is_closed(compute):
    stop, log = Stop(), []

    def work():
        try:
            for number in range(100):
                time.sleep(0.005)
                log.append(number)
                yield number
        finally:
            log.append("closed")

    async def run():
        with pytest.raises(Stopped):
            await compute.run(work(), stop, lambda number: stop() if number == 3 else None)

    asyncio.run(run())
    assert log[-1] == "closed" and len(log) < 50


def test_an_error_of_whoever_listens_stops_the_work(compute):
    def refuse(value):
        raise ApiError(413, "too_large", "too much")

    async def run():
        with pytest.raises(ApiError, match="too much"):
            await compute.run(steps(100, 0.001, log, "x"), Stop(), refuse)

    log: list[str] = []
    asyncio.run(run())
    assert len(log) < 50


def test_too_much_work_is_refused_and_none_is_taken_at_the_end(compute):
    async def run():
        jobs = [asyncio.ensure_future(compute.run(steps(100, 0.01, [], "x"), Stop())) for _ in range(4)]
        await asyncio.sleep(0.02)
        with pytest.raises(ApiError) as refused:
            await compute.call(lambda: 1)
        assert refused.value.status == 429
        compute.end()
        assert [type(one) for one in await asyncio.gather(*jobs, return_exceptions=True)] == [Stopped] * 4
        with pytest.raises(Stopped):
            await compute.call(lambda: 1)

    asyncio.run(run())


def turning(log, number=3):
    def work(turn):
        for count in range(number):
            log.append((count, threading.current_thread().name))
            if not turn():
                return "cut"
        return "whole"

    return work


def test_work_in_a_thread_runs_only_when_it_is_asked():
    log: list[tuple[int, str]] = []
    generator = in_turns(turning(log))
    for count in range(3):
        next(generator)
        time.sleep(0.01)
        assert [one for one, _ in log] == list(range(count + 1)) and log[-1][1] == "speech-xl-turns"
    with pytest.raises(StopIteration) as end:
        next(generator)
    assert end.value.value == "whole"


@pytest.mark.parametrize("stoppable", [True, False])
def test_closed_work_is_cut_where_it_may_be_and_else_is_finished(stoppable):
    log: list[tuple[int, str]] = []
    generator = in_turns(turning(log, 50), stoppable)
    next(generator)
    generator.close()
    assert len(log) == (1 if stoppable else 50)
    assert not any(thread.name == "speech-xl-turns" for thread in threading.enumerate())


def test_an_error_in_the_thread_is_raised_where_it_is_asked():
    def broken(turn):
        turn()
        raise KeyError("x")

    generator = in_turns(broken)
    next(generator)
    with pytest.raises(KeyError):
        next(generator)
