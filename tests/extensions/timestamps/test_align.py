"""Alignment: the likeliest of all CTC paths, and word times that a stage writes for its own corpus."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from lhotse.testing.dummies import dummy_cut, dummy_supervision
from transformers import AutoTokenizer

from speech_xl.extensions.ctc.token_scores import greedy_text
from speech_xl.extensions.timestamps.align import first_frames, word_starts
from speech_xl.model.prompt import Prompt

BLANK = 3


def collapsed(path):
    return [symbol for symbol, _ in itertools.groupby(path) if symbol != BLANK]


@pytest.mark.parametrize("tokens", [[0], [0, 1], [1, 1], [2, 2, 0], [0, 1, 0]])
def test_the_path_is_the_likeliest_of_all(tokens):
    """Against every path of six frames over three tokens and the blank."""
    for seed in range(5):
        scores = torch.randn(6, 4, generator=torch.Generator().manual_seed(seed)).log_softmax(-1)
        paths = [p for p in itertools.product(range(4), repeat=6) if collapsed(p) == tokens]
        best = max(paths, key=lambda path: sum(scores[n, symbol].item() for n, symbol in enumerate(path)))
        begins = [n for n in range(6) if best[n] != BLANK and (n == 0 or best[n] != best[n - 1])]
        assert first_frames(scores, tokens, BLANK) == begins


def test_too_few_frames_have_no_path():
    scores = torch.zeros(3, 4)
    assert first_frames(scores, [0, 1, 2], BLANK) == [0, 1, 2]
    assert first_frames(scores, [0, 0, 1], BLANK) is None, "a blank has to stand between two like tokens"
    assert first_frames(scores, [0, 1, 2, 0], BLANK) is None


class Model:
    """As much of a SpeechLLM as `word_starts` asks for."""

    frame_rate = 12.5
    llm = SimpleNamespace(prompt=Prompt(AutoTokenizer.from_pretrained("experiments/models/tiny/llm")))


def test_words_begin_where_their_first_token_does():
    """Spoken in frames 30 to 60: "rome" at 2.48 s, "zebu", which is spelled in several tokens, from 3.2 s on."""
    tokenizer = Model.llm.prompt.tokenizer
    ids = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in ("rome", "zebu")]
    assert len(ids[0]) == 1 and len(ids[1]) > 1
    blank = len(tokenizer)
    spoken = [blank] * 80
    spoken[31] = ids[0][0]
    for place, token in enumerate(ids[1]):
        spoken[40 + 2 * place] = token
    scores = torch.full((80, blank + 1), -9.0)
    scores[torch.arange(80), torch.tensor(spoken)] = -0.01
    told = dummy_supervision(0, start=2.4, duration=2.4, text="rome zebu")
    short = dummy_supervision(1, start=5.0, duration=0.08, text="rome " * 20)
    found = word_starts(Model(), dummy_cut(0, duration=6.4, supervisions=[told, short]), scores)
    assert list(found) == [told.id], "20 words have no room in a tenth of a second"
    assert found[told.id] == pytest.approx([31 / 12.5 - 2.4, 40 / 12.5 - 2.4])
    assert math.isclose(found[told.id][0], 0.08)
    assert greedy_text(tokenizer, scores).split() == ["rome", "zebu"]
