"""Random numbers as functions of (seed, purpose, epoch, position), so that there is no state to keep or to lose.

The model's layers draw from torch's own generators, which are seeded again before each step. A training that goes on
after an interruption draws what it would have drawn, whatever was drawn in
between.
"""

from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What random numbers are for. The numbers are part of a run's reproducibility: never change one."""

    WEIGHTS = 0
    ORDER = 1
    DROPOUT = 2
    CAP = 3
    SLICES = 4


def generator(seed: int, purpose: Purpose, *place: int) -> np.random.Generator:
    """A generator for one purpose at one place, such as (epoch, position)."""
    return np.random.default_rng((seed, purpose, *place))


def seed_torch(device: torch.device, seed: int, purpose: Purpose, *place: int) -> None:
    """Seed torch's generators, those of the CPU and of the device, for one purpose at one place."""
    number = int(np.random.SeedSequence((seed, purpose, *place)).generate_state(1, np.uint64)[0])
    # Not torch.manual_seed, which looks at every kind of device that torch knows, each time.
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(number)
