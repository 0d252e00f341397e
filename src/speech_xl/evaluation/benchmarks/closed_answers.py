"""Scores of short answers: right, wrong, or none of the possible ones found (unparsed)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from speech_xl.evaluation.benchmarks.answers import Failed, counted, hypothesis_of, reference_of
from speech_xl.evaluation.benchmarks.profile import Score, ratio_score
from speech_xl.evaluation.prediction import Prediction

Parser = Callable[[str], Hashable | None]


class Reader(NamedTuple):
    """What finds a value in an answer, None where there is none of the possible ones; and its rule in words."""

    find: Callable[..., Any]
    note: str


@dataclass(frozen=True)
class Parsed:
    """Answers with what a parser finds in them, and the truth in the same form.

    predictions   the answers
    found         by answer; None: nothing
    expected      by answer; never None
    left_out      answers left out, those whose reference doesn't parse among them
    no_reference  answers whose reference doesn't parse
    """

    predictions: list[Prediction]
    found: list[Hashable | None]
    expected: list[Hashable]
    left_out: int
    no_reference: int

    @property
    def right(self) -> list[bool]:
        return [found == expected for found, expected in zip(self.found, self.expected, strict=True)]

    @property
    def parsed(self) -> list[bool]:
        return [found is not None for found in self.found]

    @property
    def unparsed(self) -> int:
        return len(self.found) - sum(self.parsed)

    def share(self, metric: str, which: Sequence[bool], of: Sequence[bool] | None = None, **about) -> Score:
        """Percent of the answers (of those where `of`) for which `which` is true."""
        above = [float(one) for one in which]
        below = [1.0] * len(above) if of is None else [float(one) for one in of]
        counts = {"left_out": self.left_out, "unparsed": self.unparsed}
        return ratio_score(metric, self.predictions, above, below, **(counts | about))

    def note(self, text: str) -> str:
        """`text`, and how many references could not be read."""
        unread = f"; {self.no_reference} left out because their reference doesn't parse" if self.no_reference else ""
        return text + unread


def parse(
    predictions: Sequence[Prediction],
    failed: Failed,
    parser: Parser,
    truth: Callable[[Prediction], Hashable | None] | None = None,
) -> Parsed:
    """Read every answer by `parser`, and every reference by `truth` (the same parser where it is None)."""
    answers, left_out = counted(predictions, failed)
    expected = [parser(reference_of(one)) if truth is None else truth(one) for one in answers]
    texts = {one.id: hypothesis_of(one) for one in answers}
    read = {text: parser(text) for text in set(texts.values())}
    known = [(one, value) for one, value in zip(answers, expected, strict=True) if value is not None]
    unread = len(answers) - len(known)
    return Parsed(
        predictions=[one for one, _ in known],
        found=[read[texts[one.id]] for one, _ in known],
        expected=[value for _, value in known],
        left_out=left_out + unread,
        no_reference=unread,
    )
