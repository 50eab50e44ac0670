"""Freed memory that is kept."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from milstore.training.memory import keep_freed_memory
keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def once():
    return torch.ones(6 << 20), torch.ones(5 << 20), torch.ones(4 << 20)
once()
before = faults()
for _ in range(20):
    once()
print((faults() - before) * resource.getpagesize())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has this")
def test_what_is_freed_is_not_asked_for_again() -> None:
    """Pieces of 24, 20 and 16 MiB, allocated and freed over and over, are not found anew each time, as by default."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True, text=True)
    assert int(done.stdout) < 20 * (60 << 20) / 10
