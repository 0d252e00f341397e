"""What an adapter's token scores are of: an LLM's tokens, or its single letters, in which any word is spelled."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from speech_xl.model.text_tokens import TextTokens

SPACES = ("Ġ", "▁")  # how byte-level BPE and SentencePiece write the space that a token begins with
APOSTROPHE = "'"


class Spelling:
    """All of an LLM's tokens: a token's place among the scores is its number."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._text_ids = TextTokens(tokenizer)

    def __call__(self, text: str) -> list[int]:
        """A text as places among the scores."""
        return self._text_ids(text)

    def table(self, embeddings: Tensor) -> Tensor:
        """What is scored, in order: of an LLM's embeddings [all, D] the rows [V, D]."""
        return embeddings

    def text_of(self, places: Sequence[int]) -> str:
        """The text of what stands at these places among the scores."""
        return str(self.tokenizer.decode(list(places)))

    def greedy_text(self, scores: Tensor) -> str:
        """The text of the likeliest CTC path through scores [N, V + 1]: what the adapter hears by itself."""
        path = scores.argmax(-1).unique_consecutive()
        return self.text_of(path[path != scores.shape[1] - 1].tolist()).strip()


class Letters(Spelling):
    """Tokens of lower-case letters and the apostrophe, each as a word begins (with a space before) and within one.

    ids  their numbers in the LLM's vocabulary, ascending

    Raises ValueError for a tokenizer that lacks one of the letters a to z in either form. Letters that take more than
    one token, as most with accents do in byte-level vocabularies, have none here and are left out of texts.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(tokenizer)
        begin: dict[str, int] = {}
        inside: dict[str, int] = {}
        for token, number in tokenizer.get_vocab().items():
            forms, letter = (begin, token[1:]) if token.startswith(SPACES) else (inside, token)
            alone = letter == APOSTROPHE or (len(letter) == 1 and letter.islower())
            if alone and str(tokenizer.decode([number])).strip() == letter:  # else a part of a letter, in bytes
                forms[letter] = number
        if missing := sorted(set("abcdefghijklmnopqrstuvwxyz") - (begin.keys() & inside.keys())):
            raise ValueError(
                f"adapter.letters: this LLM's tokenizer has no token for the letter {missing[0]!r} both with a space "
                "before it and without; leave letters out, and frames are scored against all its tokens"
            )
        self.ids = sorted({*begin.values(), *inside.values()})
        self._index = torch.tensor(self.ids)
        place = {token: number for number, token in enumerate(self.ids)}
        self.begin = {letter: place[token] for letter, token in begin.items()}
        self.inside = {letter: place[token] for letter, token in inside.items()}

    def __call__(self, text: str) -> list[int]:
        """Each word's first letter in the form that has a space before it."""
        found: list[int] = []
        for word in text.lower().split():
            known = [letter for letter in word if letter in self.begin and letter in self.inside]
            found += [(self.inside if number else self.begin)[letter] for number, letter in enumerate(known)]
        return found

    def table(self, embeddings: Tensor) -> Tensor:
        self._index = self._index.to(embeddings.device)
        return embeddings[self._index]

    def text_of(self, places: Sequence[int]) -> str:
        return super().text_of([self.ids[place] for place in places])
