"""How many processors there are to compute with."""

import os


def processors() -> int:
    """Processors that this process may use: those given to it, where the system tells, else those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # pragma: no cover - not on Linux
