"""Spelling: an LLM's tokens that are a single letter, and texts in them: any word can be heard letter by letter."""

from transformers import PreTrainedTokenizerBase

SPACES = ("Ġ", "▁")  # how byte-level BPE and SentencePiece write the space that a token begins with
APOSTROPHE = "'"


class Spelling:
    """Tokens of lower-case letters and the apostrophe, each as a word begins (with a space before) and within one.

    ids  their numbers in the LLM's vocabulary, ascending

    Raises ValueError for a tokenizer that lacks one of the letters a to z in either form. Letters that take more than
    one token, as most with accents do in byte-level vocabularies, have none here and are left out of texts.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        begin: dict[str, int] = {}
        inside: dict[str, int] = {}
        for token, number in tokenizer.get_vocab().items():
            forms, letter = (begin, token[1:]) if token.startswith(SPACES) else (inside, token)
            alone = letter == APOSTROPHE or (len(letter) == 1 and letter.islower())
            if alone and tokenizer.decode([number]).strip() == letter:  # else a part of a letter, in bytes
                forms[letter] = number
        if missing := sorted(set("abcdefghijklmnopqrstuvwxyz") - (begin.keys() & inside.keys())):
            raise ValueError(
                f"adapter.letters: this LLM's tokenizer has no token for the letter {missing[0]!r} both with a space "
                "before it and without; leave letters out, and frames are scored against all its tokens"
            )
        self.ids = sorted({*begin.values(), *inside.values()})
        place = {token: number for number, token in enumerate(self.ids)}
        self.begin = {letter: place[token] for letter, token in begin.items()}
        self.inside = {letter: place[token] for letter, token in inside.items()}

    def __call__(self, text: str) -> list[int]:
        """What spells a text, as places in `ids`, each word's first letter in the form that has a space before it."""
        found: list[int] = []
        for word in text.lower().split():
            known = [letter for letter in word if letter in self.begin and letter in self.inside]
            found += [(self.inside if number else self.begin)[letter] for number, letter in enumerate(known)]
        return found
