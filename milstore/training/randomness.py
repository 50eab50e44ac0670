"""Random numbers as functions of (seed, purpose, epoch, position), so that there is no state to keep or to lose.

A training that goes on after an interruption draws what it would have drawn, whatever was drawn in between.
"""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What random numbers are for. The numbers are part of a run's reproducibility: never change one."""

    WEIGHTS = 0
    ORDER = 1
    DROPOUT = 2
    CAP = 3


def generator(seed: int, purpose: Purpose, *place: int) -> np.random.Generator:
    """A generator for one purpose at one place, such as (epoch, position)."""
    return np.random.default_rng((seed, purpose, *place))


def torch_seed(seed: int, purpose: Purpose, *place: int) -> int:
    """A seed for torch's generators, for one purpose at one place."""
    return int(np.random.SeedSequence((seed, purpose, *place)).generate_state(1, np.uint64)[0])
