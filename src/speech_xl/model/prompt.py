"""The text around the audio: prefix, instructions and answers as token ids, from the tokenizer's own chat template."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

IGNORE = -100  # a label that carries no loss


@dataclass(frozen=True)
class Suffix:
    """Token ids after the audio, and their labels: `IGNORE` except on answers and the token that ends them."""

    ids: list[int]
    labels: list[int]


class Prompt:
    """Renders ``[prefix] audio [instruction] [answer]`` the way the LLM was trained to read a chat.

    The template is rendered once around a placeholder, and the audio takes the place just before the instruction (the
    paper puts frames before the text). A tokenizer without a chat template gets ``audio instruction\\n answer<eos>``.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if tokenizer.eos_token_id is None:
            raise ValueError("the tokenizer has no eos_token: an answer could not be ended. Set one in its config.")
        self.tokenizer = tokenizer
        self.before, self.after, self.between, self.end = self._pieces()
        self.prefix = self._ids(self.before)
        self.end_id = self._ids(self.end)[0]

    def _pieces(self) -> tuple[str, str, str, str]:
        """Text before the audio, after an instruction, from an answer's end to the next instruction, and the end."""
        eos = str(self.tokenizer.eos_token)
        if self.tokenizer.chat_template is None:
            return str(self.tokenizer.bos_token or ""), "\n", "\n", eos
        ask, say = "\x01ask\x01", "\x01say\x01"
        one = [{"role": "user", "content": ask}]
        two = [*one, {"role": "assistant", "content": say}, *one]
        render = self.tokenizer.apply_chat_template
        before, after = str(render(one, tokenize=False, add_generation_prompt=True)).split(ask)
        between = str(render(two, tokenize=False, add_generation_prompt=True)).split(say)[1].split(ask)[0]
        if not between.startswith(eos):  # some templates end a turn with a token that isn't eos
            first = str(self.tokenizer.decode(self._ids(between)[:1]))
            return before, after, between[len(first) :], first
        return before, after, between[len(eos) :], eos

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []

    def training(self, turns: Sequence[tuple[str, str]]) -> Suffix:
        """(instruction, answer) turns as one dialogue with labels on the answers and their ends."""
        ids: list[int] = []
        labels: list[int] = []
        for number, (instruction, answer) in enumerate(turns):
            asked = self._ids((self.between if number else "") + instruction + self.after)
            said = [*self._ids(answer), self.end_id]
            ids += asked + said
            labels += [IGNORE] * len(asked) + said
        return Suffix(ids, labels)

    def question(self, instruction: str) -> list[int]:
        """Ids that ask for an answer to `instruction`."""
        return self._ids(instruction + self.after)

    def text(self, ids: Sequence[int]) -> str:
        """Generated ids as text, up to the end token, special tokens left out."""
        ids = list(ids)
        if self.end_id in ids:
            ids = ids[: ids.index(self.end_id)]
        return self.tokenizer.decode(ids, skip_special_tokens=True).strip()


def with_slips(suffix: Suffix, share: float, rng: random.Random) -> Suffix:
    """A share of the answers' tokens replaced by others of theirs where they are read back, right where they are to be
    said: who once said a wrong word has to go on from it."""
    said = [i for i, label in enumerate(suffix.labels) if label != IGNORE]
    ids = list(suffix.ids)
    for place in said:
        if rng.random() < share:
            ids[place] = suffix.labels[rng.choice(said)]
    return Suffix(ids, suffix.labels)
