"""AnswerNoise: wrong tokens among those a training answer goes on from. docs/extensions/answer_noise.md.

At inference an LLM reads its own mistakes back. One that was trained on right answers alone doesn't know how to go on
from a wrong word. The remedy is that of scheduled sampling (arXiv 1506.03099), without running the model for it.
"""

import random

from speech_xl.checks import number
from speech_xl.model.prompt import IGNORE, Suffix
from speech_xl.phases.extension import PhaseExtension


class AnswerNoise(PhaseExtension):
    """A share of the answers' tokens is replaced by others of the same sample where they are read back in training.

    share  of an answer's tokens, from 0 to below 1
    """

    def __init__(self, share: float = 0.1) -> None:
        super().__init__()
        self.share = number("AnswerNoise.share", share, least=0, below=1)

    def training_text(self, suffix: Suffix, name: str, epoch: int, seed: int) -> Suffix:
        # The word "slips" only keeps the draws of earlier versions.
        return corrupt_answer_tokens(suffix, self.share, random.Random(f"slips-{seed}-{epoch}-{name}"))


def corrupt_answer_tokens(suffix: Suffix, share: float, rng: random.Random) -> Suffix:
    """Replace about `share` of the answers' tokens by others of theirs, in the ids alone: labels stay right."""
    answer_ids = [i for i, label in enumerate(suffix.labels) if label != IGNORE]
    ids = list(suffix.ids)
    for place in answer_ids:
        if rng.random() < share:
            ids[place] = suffix.labels[rng.choice(answer_ids)]
    return Suffix(ids, suffix.labels)
