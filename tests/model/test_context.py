"""What is longer than an LLM's context: text is refused before its mask is made, audio is told of once."""

import warnings

import pytest
from transformers import LlamaConfig, Qwen2Config

from experiments.random_models import listener, llm_folder, speech, suffixes
from speech_xl.model import context
from speech_xl.model.context import check_texts, context_of

ROPE = {"rope_theta": 1000.0}


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        (LlamaConfig(max_position_embeddings=512), 512),
        (
            Qwen2Config(
                max_position_embeddings=32_768,
                rope_parameters=ROPE | {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768},
            ),
            131_072,
        ),
        (
            LlamaConfig(
                max_position_embeddings=131_072,
                rope_parameters=ROPE
                | {
                    "rope_type": "llama3",
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 8_192,
                },
            ),
            131_072,
        ),
    ],
)
def test_how_far_positions_reach(config, positions):
    assert context_of(config) == positions


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An LLM of 120 positions."""
    return llm_folder(tmp_path_factory.mktemp("llm"), max_position_embeddings=120)


@pytest.mark.parametrize("scheme", ["original", "compact", "shared"])
def test_positions_beyond_the_context_are_told_once_with_a_mend(folder, scheme):
    model = listener(folder, positions=scheme).eval()
    heard, ratios = speech([8] * 20), [[8] * 20]
    asked = suffixes(model, [("why?", "yes")])
    memory = model.prefill(heard, ratios)
    if scheme == "compact":  # 20 SSTs where 160 frames were heard
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model(heard, ratios, asked)
            model.generate(memory, [0], ["why?"], [2])
        return
    with pytest.warns(UserWarning, match=r"\d+ positions are taken, and the LLM was made for 120.*positions: compact"):
        model.generate(memory, [0], ["why?"], [2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(heard, ratios, asked)
    with pytest.warns(UserWarning, match="the LLM was made for 120"):
        listener(folder)(heard, ratios, asked)


def test_a_question_is_refused_before_its_mask_is_made(folder, monkeypatch):
    model = listener(folder).eval()
    memory = model.prefill(speech([8]), [[2]])
    monkeypatch.setattr(model.llm.model, "generate", lambda **_: pytest.fail("the question was read"))
    with pytest.raises(ValueError, match=r"the question has 100,0\d\d tokens; the LLM's context is 120: ask a shorter"):
        model.generate(memory, [0], ["a" * 100_000], [2])
    monkeypatch.setattr(context, "MASK_ENTRIES", 100)
    with pytest.raises(ValueError, match="their mask of .* entries takes too much memory"):
        model.generate(memory, [0], ["why?"], [2])


def test_a_training_text_beyond_the_context_is_refused_by_its_cut(folder):
    llm = listener(folder).llm
    check_texts(llm, ["a", "b"], [120, 3])
    with pytest.raises(ValueError, match=r"cut b: its questions and answers have 100,003 tokens; .* is 120: shorten"):
        check_texts(llm, ["a", "b"], [120, 100_003])
