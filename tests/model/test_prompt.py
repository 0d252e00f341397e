"""The prompt: around the audio stands what the chat template says, and only answers and their ends are learned."""

import pytest

from speech_xl.model.prompt import IGNORE, Prompt
from tests.model.tiny import CHATML, tokenizer

TURNS = [("who spoke?", "ada"), ("how many?", "two"), ("bye", "bye")]
EOT = CHATML.replace("<|im_end|>", "<eot>")  # a template whose turns end with a token that isn't eos


def said(prompt, suffix):
    """The text of every run of labelled tokens."""
    runs, run = [], []
    for token, label in zip(suffix.ids, suffix.labels, strict=True):
        if label == IGNORE:
            runs += [run] if run else []
            run = []
        else:
            assert label == token, "a label is the token itself; shifting it is the model's business"
            run.append(token)
    return [prompt.tokenizer.decode(run) for run in [*runs, run] if run]


def whole(prompt, suffix):
    return prompt.tokenizer.decode([*prompt.prefix, *suffix.ids])


def test_with_a_template_prefix_and_dialogue_read_as_the_template_renders_them():
    tok = tokenizer()
    prompt = Prompt(tok)
    messages = []
    for instruction, answer in TURNS:
        messages += [{"role": "user", "content": instruction}, {"role": "assistant", "content": answer}]
    rendered = tok.apply_chat_template(messages, tokenize=False)
    # The last turn stops at its end token: what follows would be the next question's business.
    assert whole(prompt, prompt.training(TURNS)) + "\n" == rendered
    assert prompt.tokenizer.decode(prompt.prefix) == "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\n"
    assert prompt.end_id == tok.eos_token_id


@pytest.mark.parametrize("template", [CHATML, EOT, None], ids=["chatml", "other end", "none"])
def test_labels_stand_on_answers_and_their_ends_alone(template):
    prompt = Prompt(tokenizer(template))
    end = "<eot>" if template == EOT else "<|im_end|>"
    assert said(prompt, prompt.training(TURNS)) == ["ada" + end, "two" + end, "bye" + end]
    assert said(prompt, prompt.training(TURNS[:1])) == ["ada" + end]
    assert prompt.tokenizer.convert_ids_to_tokens([prompt.end_id]) == [end]


def test_without_a_template_it_is_plain_lines():
    prompt = Prompt(tokenizer(None))
    assert prompt.prefix == []
    assert whole(prompt, prompt.training(TURNS[:2])) == "who spoke?\nada<|im_end|>\nhow many?\ntwo<|im_end|>"
    assert prompt.tokenizer.decode(prompt.question("who spoke?")) == "who spoke?\n"


def test_a_beginning_of_text_token_stands_before_the_audio():
    prompt = Prompt(tokenizer(None, bos="<bos>"))
    assert prompt.tokenizer.convert_ids_to_tokens(prompt.prefix) == ["<bos>"]


@pytest.mark.parametrize("template", [CHATML, EOT, None], ids=["chatml", "other end", "none"])
def test_a_question_is_how_the_first_training_turn_begins(template):
    prompt = Prompt(tokenizer(template))
    asked = prompt.question(TURNS[0][0])
    suffix = prompt.training(TURNS)
    assert suffix.ids[: len(asked)] == asked
    assert suffix.labels[: len(asked)] == [IGNORE] * len(asked) and suffix.labels[len(asked)] != IGNORE


def test_another_end_token_ends_turns_in_the_middle_as_well():
    prompt = Prompt(tokenizer(EOT))
    assert whole(prompt, prompt.training(TURNS[:2])).count("<eot>\n<|im_start|>user\nhow many?") == 1


@pytest.mark.parametrize("template", [CHATML, EOT, None], ids=["chatml", "other end", "none"])
def test_text_stops_at_the_end_and_leaves_special_tokens_out(template):
    prompt = Prompt(tokenizer(template))
    hello, more = (prompt.tokenizer(text)["input_ids"] for text in (" hello you ", "more"))
    special = prompt.tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert prompt.text([*hello, prompt.end_id, *more]) == "hello you"
    assert prompt.text([special, *hello]) == "hello you"
    assert prompt.text([prompt.end_id]) == prompt.text([]) == ""


def test_an_instruction_of_special_characters_stays_text():
    prompt = Prompt(tokenizer())
    odd = "ask 'a', <b> | _c_?"
    assert odd in whole(prompt, prompt.training([(odd, "x")]))


def test_a_tokenizer_without_an_end_is_refused():
    tok = tokenizer()
    tok.eos_token = None
    with pytest.raises(ValueError, match="no eos_token: an answer could not be ended"):
        Prompt(tok)
