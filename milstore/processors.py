"""How many processors there are to compute with, and how threads wait for each other on them."""

import os

SMALL_TABLE = 100_000
"""Rows up to which threads cost more than the copying or reading that they share."""


def processors() -> int:
    """Processors that this process may use: those given to it, where the system tells, else those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # pragma: no cover - not on Linux


def wait_asleep() -> None:
    """Let threads that wait for each other sleep, unless the user says how they wait. Works before torch is imported.

    By default they spin, each on a processor: where others need these, every wait lasts until the spinning thread has used
    up its turn, and an epoch of a second takes ten. What is computed stays the same.
    """
    if "GOMP_SPINCOUNT" not in os.environ:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
