"""The text around the audio: prefix, instructions and answers as token ids, from the tokenizer's own chat template."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from transformers import PreTrainedTokenizerBase

from speech_xl.model.text_tokens import TextTokens

DATE = datetime(2024, 7, 26)  # "today" in templates that say it: the same prompt in training and whenever it is used
_DATED = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")
IGNORE = -100  # a label that carries no loss


@dataclass(frozen=True)
class Suffix:
    """Token ids after the audio, and their labels: `IGNORE` except on answers and the token that ends them.

    view: first and last interval that it sees of the audio; None: all of it
    """

    ids: list[int]
    labels: list[int]
    view: tuple[int, int] | None = None

    @classmethod
    def joined(cls, several: Sequence["Suffix"]) -> "Suffix":
        """One behind the other."""
        return cls([i for one in several for i in one.ids], [label for one in several for label in one.labels])


class Prompt:
    """Renders ``[prefix] audio [instruction] [answer]`` the way the LLM was trained to read a chat.

    The template is rendered once around a placeholder, and the audio takes the place just before the instruction (the
    paper puts frames before the text). A tokenizer without a chat template gets ``audio instruction\\n answer<eos>``.

    Special tokens come from the template alone: instructions and answers that spell one are text. Raises ValueError
    for a template that doesn't say an instruction and an answer once each, as they are.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if tokenizer.eos_token_id is None:
            raise ValueError("the tokenizer has no eos_token: an answer could not be ended. Set one in its config.")
        self.tokenizer = tokenizer
        self.before, self.after, self.between, self.end = self._pieces()
        self.prefix = self._ids(self.before)
        self.end_id = self._ids(self.end)[0]
        self.text_ids = TextTokens(tokenizer, self.end_id)

    def _pieces(self) -> tuple[str, str, str, str]:
        """Text before the audio, after an instruction, from an answer's end to the next instruction, and the end."""
        eos = str(self.tokenizer.eos_token)
        if self.tokenizer.chat_template is None:
            return str(self.tokenizer.bos_token or ""), "\n", "\n", eos
        ask, say = "\x01ask\x01", "\x01say\x01"
        one = [{"role": "user", "content": ask}]
        two = [*one, {"role": "assistant", "content": say}, *one]
        before, after = self._split(self._render(one), ask, 1)
        _, middle, _ = self._split(self._render(two), ask, 2)
        _, between = self._split(middle, say, 1)
        if not between.startswith(eos):  # some templates end a turn with a token that isn't eos
            first = str(self.tokenizer.decode(self._ids(between)[:1]))
            return before, after, between[len(first) :], first
        return before, after, between[len(eos) :], eos

    def _render(self, messages: list[dict[str, str]]) -> str:
        """What the chat template makes of a dialogue, at the beginning of an answer."""
        render = self.tokenizer.apply_chat_template
        try:
            template = _DATED.sub(lambda call: repr(DATE.strftime(call[2])), self.tokenizer.get_chat_template())
            if "strftime_now(" in template:
                raise ValueError("it writes today's date, in a format that only it knows")
            return str(render(messages, chat_template=template, tokenize=False, add_generation_prompt=True))
        except Exception as error:  # whatever jinja, or the template by itself, raises
            raise ValueError(
                f"llm {self.tokenizer.name_or_path}: its chat template can't write a dialogue of a user who asks and "
                f"an assistant who answers ({error}); give the tokenizer a chat_template that needs no more than that"
            ) from error

    def _split(self, rendered: str, text: str, times: int) -> list[str]:
        """The parts of a rendered dialogue around a text that it must hold so many times."""
        parts = rendered.split(text)
        if len(parts) != times + 1:
            raise ValueError(
                f"llm {self.tokenizer.name_or_path}: its chat template must write instructions and answers once and "
                f"unchanged, and wrote one {len(parts) - 1} times where {times} are due: {rendered[:200]!r}; give the "
                "tokenizer another chat_template"
            )
        return parts

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []

    def training(self, turns: Sequence[tuple[str, str]]) -> Suffix:
        """(instruction, answer) turns as one dialogue with labels on the answers and their ends."""
        ids: list[int] = []
        labels: list[int] = []
        for number, (instruction, answer) in enumerate(turns):
            asked = self.text_ids.within(self.between if number else "", instruction, self.after)
            answer_ids = [*self.text_ids(answer), self.end_id]
            ids += asked + answer_ids
            labels += [IGNORE] * len(asked) + answer_ids
        return Suffix(ids, labels)

    def question(self, instruction: str) -> list[int]:
        """Ids that ask for an answer to `instruction`."""
        return self.text_ids.within("", instruction, self.after)

    def text(self, ids: Sequence[int]) -> str:
        """Generated ids as text, up to the end token, special tokens left out."""
        ids = list(ids)
        if self.end_id in ids:
            ids = ids[: ids.index(self.end_id)]
        text = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text).strip()
