"""Time marks rise: what may come next after which marks, and an LLM that would go round in circles doesn't."""

from functools import cache

import pytest
import torch
from transformers import LogitsProcessor

from experiments import random_models as tiny
from experiments.random_models import tokenizer as characters
from experiments.tiny_models.tokenizer import make_tokenizer
from speech_xl.data.windows import Windows
from speech_xl.extensions.timestamps.marks import time_mark
from speech_xl.extensions.timestamps.monotonic import SPARE, MonotonicTimestamps, unknown_marks
from speech_xl.extensions.timestamps.transcript import Timestamps
from speech_xl.model.prompt import Prompt


@cache
def of_seconds():
    """A tokenizer that has timestamps of whole seconds."""
    return make_tokenizer(["transcribe hello this is"] * 9, vocabulary=300, step=1.0)


def opened(ids, marks):
    """The same rows with another mark opened."""
    return torch.cat([ids, torch.full((len(ids), 1), marks[0][0])], dim=1)


def test_a_mark_is_later_than_the_last_and_within_the_audio():
    tokenizer = of_seconds()
    rule = MonotonicTimestamps.of(Prompt(tokenizer), [9.9, 9.9, 9.9], 8.0, torch.device("cpu"))
    texts = ["transcribe", "[0] hello [4] this is", "[0] hello [9] this is"]
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[tokenizer.eos_token_id] * (longest - len(row)) + row for row in rows])
    scores = rule(ids, torch.zeros(3, len(tokenizer) + 5))
    free = scores > -torch.inf
    marks = [tokenizer(time_mark(s), add_special_tokens=False)["input_ids"] for s in range(30)]
    inside = rule(opened(ids, marks), torch.zeros(3, len(tokenizer) + 5)) > -torch.inf
    for row, within, allowed in zip(free, inside, (range(10), range(5, 10), ()), strict=True):
        assert [s for s, (_, mark) in enumerate(marks) if within[mark]] == list(allowed)
        assert not row[[mark for _, mark in marks]].any(), "no second without an opening"
        assert row[marks[0][0]] == bool(allowed), "no mark may open where none can follow"
        words = tokenizer("this is hello", add_special_tokens=False)["input_ids"]
        assert row[[*words, tokenizer.eos_token_id]].all() and row[-5:].all()
    assert (scores[free] == 0).all(), "what is allowed keeps its score"


def test_a_tokenizer_that_spells_marks_has_no_such_rule():
    assert MonotonicTimestamps.of(Prompt(characters()), [5.0], 8.0, torch.device("cpu")) is None


def test_marks_may_have_steps_of_their_own():
    """Known up to 3.8 s in steps of 0.2 s: nothing may open once no known mark is later and within the audio."""
    tokenizer = make_tokenizer(["one two"] * 9, vocabulary=270, seconds=4, step=0.2)
    rule = MonotonicTimestamps.of(Prompt(tokenizer), [2.1, 9.0, 9.0], 8.0, torch.device("cpu"))
    rows = [tokenizer(f"[{said}]", add_special_tokens=False)["input_ids"] for said in ("1.6", "3.4", "3.8")]
    free = rule(torch.tensor(rows), torch.zeros(3, len(tokenizer))) > -torch.inf
    known = {f"{n / 5:.1f}": tokenizer(f"[{n / 5:.1f}]", add_special_tokens=False)["input_ids"] for n in range(20)}
    inside = rule(opened(torch.tensor(rows), list(known.values())), torch.zeros(3, len(tokenizer))) > -torch.inf
    allowed = [[name for name, (_, mark) in known.items() if row[mark]] for row in inside]
    assert allowed == [["1.8", "2.0"], ["3.6", "3.8"], []]
    assert free[:, rows[0][0]].tolist() == [True, True, False]


def test_audio_beyond_the_last_known_mark_is_out_of_reach():
    """Known up to 3.8 s: a transcript of 3.9 s can say when all of it was spoken, one of 4.5 s can't."""
    tokenizer = make_tokenizer(["one two"] * 9, vocabulary=270, seconds=4, step=0.2)
    rule = MonotonicTimestamps.of(Prompt(tokenizer), [2.1, 3.9, 4.5, 393.5], 8.0, torch.device("cpu"))
    assert rule.reached == [None, None, pytest.approx(3.8), pytest.approx(3.8)]


def test_an_answer_whose_marks_end_before_the_audio_is_not_finished(tmp_path):
    model = tiny.listener(tiny.llm_folder(tmp_path / "llm"))
    memory = model.prefill(tiny.speech([5, 4]), [[2, 2]])

    class Reach(LogitsProcessor):
        def __init__(self, *reached):
            self.reached = list(reached)

        def __call__(self, input_ids, scores):
            return scores.index_fill(1, torch.tensor([model.llm.prompt.end_id]), 1e9)

    for reached, finished in ((None, True), (319.8, False)):
        (answer,) = model.generate(memory, [0], ["why?"], [8], [Reach(reached)])
        assert (answer.finished, answer.reached_seconds) == (finished, reached)


def test_marks_may_be_kept_from_jumping_ahead():
    tokenizer = of_seconds()
    rule = MonotonicTimestamps.of(Prompt(tokenizer), [30.0, 30.0, 5.5], 8.0, torch.device("cpu"), max_gap_seconds=3.0)
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("hello this", "[7]", "[4]")]
    marks = [tokenizer(time_mark(s), add_special_tokens=False)["input_ids"] for s in range(30)]
    free = rule(opened(torch.tensor(rows), marks), torch.zeros(3, len(tokenizer))) > -torch.inf
    assert [[s for s, (_, mark) in enumerate(marks) if row[mark]] for row in free] == [[0, 1, 2, 3], [8, 9, 10], [5]]


def test_an_opened_mark_is_closed():
    """By a second that may follow, however likely a word or a second that is ruled out."""
    tokenizer = of_seconds()
    rule = MonotonicTimestamps.of(Prompt(tokenizer), [30.0], 8.0, torch.device("cpu"), max_gap_seconds=3.0)
    marks = [tokenizer(time_mark(s), add_special_tokens=False)["input_ids"] for s in range(30)]
    ids = torch.tensor([[*marks[7], tokenizer("hello", add_special_tokens=False)["input_ids"][0], marks[8][0]]])
    scores = torch.zeros(1, len(tokenizer) + 5)
    scores[0, tokenizer("hello", add_special_tokens=False)["input_ids"][0]] = 9.0
    scores[0, marks[20][1]] = 10.0
    scores[0, marks[9][1]] = 1.0
    free = rule(ids, scores)
    assert free.argmax() == marks[9][1]
    assert (free > -torch.inf).nonzero()[:, 1].tolist() == sorted(marks[s][1] for s in (8, 9, 10))


def test_marks_of_other_steps_than_the_tokenizers_are_noticed():
    default, spelling = Prompt(of_seconds()), Prompt(characters())
    finer = Prompt(make_tokenizer(["one two"] * 9, vocabulary=270, seconds=4, step=0.2))
    assert unknown_marks(default, 1.0) is unknown_marks(finer, 0.2) is unknown_marks(spelling, 0.2) is None
    assert "step_seconds=0.2" in unknown_marks(default, 0.2) and "steps of 1 s" in unknown_marks(default, 0.2)
    assert "steps of 0.2 s" in unknown_marks(finer, 1.0)


class Circles(LogitsProcessor):
    """Wants "[", the second 1, "[", the second 1, and so on for ever."""

    def __init__(self, opening, second):
        self.wishes = [opening, second]

    def __call__(self, input_ids, scores):
        scores = scores.clone()
        scores[:, self.wishes[input_ids.shape[1] % 2]] += 1e4
        return scores


def test_circles_end():
    """What wants one mark again and again gets it once."""
    tokenizer = of_seconds()
    opening, second = tokenizer("[1]", add_special_tokens=False)["input_ids"]
    rule = MonotonicTimestamps.of(Prompt(tokenizer), [3.0], 100.0, torch.device("cpu"))
    torch.manual_seed(0)
    ids = torch.empty(1, 0, dtype=torch.long)
    for _ in range(40):
        if not ids.shape[1]:
            ids = torch.tensor([[opening]])
        scores = rule(ids, Circles(opening, second)(ids, torch.randn(1, len(tokenizer))))
        ids = torch.cat([ids, scores.argmax(-1, keepdim=True)], dim=1)
    assert ids[0].tolist().count(second) == 1


def test_an_answer_ends_where_no_audio_is_left_for_more():
    """After "[2]" of 4.5 s there is room for three seconds' tokens and a few to spare, then only the end may follow."""
    tokenizer = of_seconds()
    rule = MonotonicTimestamps.of(Prompt(tokenizer), [4.5, 4.5], 2.0, torch.device("cpu"))
    word = tokenizer(" hello", add_special_tokens=False)["input_ids"][-1:]
    mark = tokenizer("[2]", add_special_tokens=False)["input_ids"]
    for said in range(2 * 3 + SPARE + 3):
        ids = torch.tensor([[*mark, *word * said], [*word * 2, *word * said]])
        free = rule(ids, torch.zeros(2, len(tokenizer))) > -torch.inf
        assert free[0, tokenizer.eos_token_id] and free[1, word].all(), "without a mark it has its whole limit"
        assert bool(free[0, word]) == (said <= 2 * 3 + SPARE)


def test_marks_of_a_window_lie_in_it_whatever_its_question_says():
    tokenizer = of_seconds()
    prompt, transcript = Prompt(tokenizer), Timestamps(1.0, windows=Windows(8.0))
    instructions = transcript.instructions(21.5)
    assert [transcript.span_of(one) for one in instructions] == [(0, 8), (8, 16), (16, 22)]
    (rule,) = transcript.processors(prompt, instructions, [21.5] * 3, 8.0, torch.device("cpu"))
    asked = [prompt.question(one) for one in instructions]
    longest = max(map(len, asked))
    marks = [tokenizer(time_mark(s), add_special_tokens=False)["input_ids"] for s in range(30)]
    for said, allowed in (([], (range(8), range(8, 16), range(16, 22))), ([10], ((), range(11, 16), range(16, 22)))):
        ids = torch.tensor([[prompt.end_id] * (longest - len(row)) + row for row in asked])
        for second in said:
            ids = torch.cat([ids, torch.tensor([marks[second]] * 3)], dim=1)
        scores = rule(opened(ids, marks), torch.zeros(3, len(tokenizer)))
        for row, seconds in zip(scores > -torch.inf, allowed, strict=True):
            if seconds:
                assert [s for s, (_, mark) in enumerate(marks) if row[mark]] == list(seconds)
        free = rule(ids, torch.zeros(3, len(tokenizer)))[:, marks[0][0]] > -torch.inf
        assert free.tolist() == [bool(seconds) for seconds in allowed]


def test_an_answer_ends_where_the_likeliest_next_second_lies_behind_its_window():
    """It says the window's end, and no more: else it would have to say a second that it doesn't believe in."""
    tokenizer = of_seconds()
    prompt, transcript = Prompt(tokenizer), Timestamps(1.0, max_gap_seconds=6.0, windows=Windows(8.0))
    marks = [tokenizer(time_mark(s), add_special_tokens=False)["input_ids"] for s in range(30)]
    instructions = transcript.instructions(30.0)[:3]
    (rule,) = transcript.processors(prompt, instructions, [30.0] * 3, 8.0, torch.device("cpu"))
    asked = [prompt.question(one) for one in instructions]
    longest = max(map(len, asked))
    ids = torch.tensor([[prompt.end_id] * (longest - len(row)) + row for row in asked])
    ids = torch.cat([ids, torch.tensor([marks[5], marks[9], marks[17]])], dim=1)
    scores = torch.zeros(3, len(tokenizer))
    scores[0, marks[9][1]], scores[1, marks[12][1]], scores[2, marks[26][1]] = 3.0, 3.0, 3.0  # 26 is too far from 17
    scores = rule(opened(ids, marks), scores)
    assert (scores[0] > -torch.inf).nonzero().flatten().tolist() == [marks[8][1]]
    assert scores[1].argmax() == marks[12][1] and scores[2].argmax() in [marks[s][1] for s in range(18, 24)]
    ended = rule(torch.cat([ids, torch.tensor([marks[8], marks[12], marks[24]])], dim=1), torch.zeros_like(scores))
    only = [(row > -torch.inf).nonzero().flatten().tolist() == [prompt.end_id] for row in ended]
    assert only == [True, False, True]
    assert transcript.joined(["[2] one [8]", "", "[9] two", "three [24]"]) == "[2] one [9] two three"
    last = torch.tensor([[*asked[0], *marks[7], *tokenizer(" hello", add_special_tokens=False)["input_ids"][-1:]]])
    rule.starts, rule.stops, rule.ends = rule.starts[:1], rule.stops[:1], rule.ends[:1]
    rule.asked = len(asked[0])
    scores = torch.zeros(1, len(tokenizer))
    scores[0, marks[0][0]] = 9.0
    assert rule(last, scores).argmax() == marks[0][0], "behind its last second the window can still be closed"
    assert (rule(opened(last, marks), scores) > -torch.inf).nonzero().flatten().tolist() == [0, marks[8][1]]


def test_an_answer_ends_where_its_window_has_no_room_for_more():
    """Of an hour's audio 8 s to 16 s, and what begins there last: not as many tokens as the hour has room for."""
    tokenizer = of_seconds()
    prompt, transcript = Prompt(tokenizer), Timestamps(1.0, windows=Windows(8.0))
    (rule,) = transcript.processors(prompt, transcript.instructions(3600.0)[1:2], [3600.0], 2.0, torch.device("cpu"))
    rule.asked = 0
    mark = tokenizer("[8]", add_special_tokens=False)["input_ids"]
    word = tokenizer(" hello", add_special_tokens=False)["input_ids"][-1:]
    for said, ended in ((20, False), (60, True)):
        free = rule(torch.tensor([[*mark, *word * said]]), torch.zeros(1, len(tokenizer))) > -torch.inf
        assert (free[0].nonzero().flatten().tolist() == [prompt.end_id]) == ended


def test_windows_beside_another_question_have_no_such_rule():
    prompt, transcript = Prompt(of_seconds()), Timestamps(1.0, windows=Windows(8.0))
    instructions = [*transcript.instructions(10.0), "who speaks?"]
    assert transcript.processors(prompt, instructions, [10.0] * 3, 8.0, torch.device("cpu")) == []
