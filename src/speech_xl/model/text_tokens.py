"""Token ids of users' texts: what is spelled like a special token there is text, not a token that controls anything."""

import re
from functools import partial

from transformers import PreTrainedTokenizerBase


class TextTokens:
    """Text to ids that hold none of the tokenizer's special tokens. Texts that spell none have the ids they always had.

    end      id of the token that ends an answer, which not every tokenizer calls special; None where there is none
    special  ids that no text becomes
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, end: int | None = None) -> None:
        self.tokenizer, self.end = tokenizer, end
        declared = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
        ending = set() if end is None else {end}
        self.special: frozenset[int] = frozenset(declared | set(tokenizer.all_special_ids) | ending)

    def __call__(self, text: str) -> list[int]:
        """Raises ValueError where the tokenizer can't write a text without a token that isn't text."""
        encode = partial(self.tokenizer, add_special_tokens=False)
        ids = encode(text)["input_ids"] if text else []
        if self.special.isdisjoint(ids):
            return ids
        ids = encode(text, split_special_tokens=True)["input_ids"]
        if self.special.isdisjoint(ids):
            return ids
        # The end isn't declared special, or the tokenizer's own model knows the name: no part of a name is the token.
        ids = [i for part in self._parts(text) for i in encode(part, split_special_tokens=True)["input_ids"]]
        kept = self.special.intersection(ids)
        if any(i == self.end or i != self.tokenizer.unk_token_id for i in kept):
            names = ", ".join(map(str, self.tokenizer.convert_ids_to_tokens(sorted(kept))))
            raise ValueError(
                f"the tokenizer {self.tokenizer.name_or_path} writes the text {text[:80]!r} with its special token "
                f"{names}, which would end or change the dialogue; take these words out of the text"
            )
        return ids

    def within(self, before: str, text: str, after: str) -> list[int]:
        """Ids of a text between two pieces of a chat template, whose special tokens are meant."""
        encode = partial(self.tokenizer, add_special_tokens=False)
        around = [encode(piece)["input_ids"] if piece else [] for piece in (before, after)]
        ids = encode(before + text + after)["input_ids"] if before or text or after else []
        if [i for i in ids if i in self.special] == [i for piece in around for i in piece if i in self.special]:
            return ids  # as one string: a tokenizer may join what meets at the text's borders
        return [*around[0], *self(text), *around[1]]

    def _parts(self, text: str) -> list[str]:
        """The text, each name of a special token in it cut in two."""
        names = sorted(map(str, self.tokenizer.convert_ids_to_tokens(sorted(self.special))), key=len, reverse=True)
        cut = re.sub("|".join(map(re.escape, names)), lambda found: f"{found[0][:1]}\0{found[0][1:]}", text)
        return [part for part in cut.split("\0") if part]
