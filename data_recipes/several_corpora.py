"""SeveralCorpora: corpora side by side, to train on all of them at once."""

from __future__ import annotations

from lhotse import CutSet

from speech_xl.data.corpus import Corpus, check_split


class SeveralCorpora(Corpus):
    """The sessions of several corpora as one corpus, those of each in their order. Session ids begin with its name.

    Args:
        corpora: name -> corpus. An overlay names all that it wants; arguments that it leaves out stay.
    """

    name = "several_corpora"

    def __init__(self, corpora: dict[str, Corpus]) -> None:
        if not corpora:
            raise ValueError("SeveralCorpora.corpora: there is none; name one corpus at least")
        self.corpora = corpora

    def check(self) -> None:
        for corpus in self.corpora.values():
            corpus.check()

    def prepare(self) -> None:
        for corpus in self.corpora.values():
            corpus.prepare()

    def cuts(self, split: str) -> CutSet:
        check_split(split, self.name)
        return CutSet.from_cuts(
            cut.with_id(f"{name}/{cut.id}") for name, corpus in self.corpora.items() for cut in iter(corpus.cuts(split))
        )
