"""Random numbers of a training step, from what it trains on: a resumed run draws what it would have drawn."""

import hashlib
import random
from collections.abc import Sequence

import numpy as np
import torch


def seed_step(seed: int, epoch: int, ids: Sequence[str]) -> None:
    """Seed every generator that dropout and masks draw from: torch's (CPU and GPUs), Python's and numpy's.

    The cuts of a batch are met once an epoch and on one rank alone, so that no two steps of a run draw alike; and
    nothing of it depends on when a run was stopped, on validations in between, or on the number of workers.
    """
    digest = hashlib.sha256(repr((seed, epoch, list(ids))).encode()).digest()
    number = int.from_bytes(digest[:8], "little") >> 1  # torch takes 64 bits with a sign
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)
