"""Prompts of judges, each a version with a name, and how a label is read from a reply."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

LABELS = ("YES", "PARTIALLY", "NO")
Messages = list[dict[str, str]]  # of a chat: {"role": ..., "content": ...}
_LABEL = re.compile(rf"\b({'|'.join(LABELS)})\b", re.IGNORECASE)
_LEADING = re.compile(rf"\W*({'|'.join(LABELS)})\b", re.IGNORECASE)
_THINKING = re.compile(r"<think>.*?</think>", re.DOTALL)
_MEANINGS = """\
- YES: the candidate states the same facts as the reference. Other words and extra detail that agrees are fine.
- PARTIALLY: the candidate states a part of the reference's facts, or all of them beside a wrong one.
- NO: the candidate misses the reference's facts, contradicts them, or gives no answer."""


@dataclass(frozen=True)
class JudgePrompt:
    """A version of what a judge is asked. Its name changes whenever a word of it does.

    max_tokens  the most tokens of a reply
    label       of a reply: one of `LABELS`, None where it holds none
    """

    name: str
    system: str
    max_tokens: int
    label: Callable[[str], str | None]

    def messages(self, question: str, reference: str, candidate: str) -> Messages:
        """The chat that asks about one answer."""
        user = f"Question:\n{question}\n\nReference answer:\n{reference}\n\nCandidate answer:\n{candidate}"
        return [{"role": "system", "content": self.system}, {"role": "user", "content": user}]


def leading_label(reply: str) -> str | None:
    """The label that a reply is, or begins with; None where it begins with anything else."""
    found = _LEADING.match(_THINKING.sub("", reply))
    return found[1].upper() if found else None


def any_label(reply: str) -> str | None:
    """The label under "judgment" of a reply that is JSON; of any other reply the first label anywhere in it. None
    without one."""
    text = _THINKING.sub("", reply)
    try:
        values = json.loads(text[text.index("{") : text.rindex("}") + 1])
        label = str(values["judgment"]).strip().upper()
    except (ValueError, KeyError, TypeError):
        label = ""
    if label in LABELS:
        return label
    found = _LABEL.search(text)
    return found[1].upper() if found else None


THREE_LABELS = JudgePrompt(
    "three-labels-1",
    "You compare a candidate answer about a recording with the reference answer, which is true. Judge the facts alone, "
    f"not style or length.\n{_MEANINGS}\nReply with exactly one of YES, PARTIALLY, NO, and nothing else.",
    8,
    leading_label,
)
JSON = JudgePrompt(
    "json-1",
    "You compare a candidate answer about a recording with the reference answer, which is true. Judge the facts alone, "
    f"not style or length.\n{_MEANINGS}\nClaims beyond the reference earn nothing.\nReply with one JSON object: "
    '{"judgment": "YES" | "PARTIALLY" | "NO", "reason": "one short sentence"}',
    128,
    any_label,
)
PROMPTS = {prompt.name: prompt for prompt in (THREE_LABELS, JSON)}


def find_prompt(name: str) -> JudgePrompt:
    """Raises ValueError, which lists all, where there is none of that name."""
    if name not in PROMPTS:
        raise ValueError(f"judge prompt {name!r}: there is none of this name; there are {', '.join(PROMPTS)}")
    return PROMPTS[name]
