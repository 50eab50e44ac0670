"""Memory: how much features may take, as people write it."""

import re

from milstore.errors import UsageError

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_memory(text: str) -> int:
    """Bytes that a text such as 1GB, 1.5 GiB, 800M or 1000000 stands for. UsageError if it is none, or 0.

    >>> parse_memory("1.5GB"), parse_memory("512 MiB")
    (1500000000, 536870912)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", text.strip().lower())
    n_bytes = int(float(found[1]) * _UNITS[found[2] or ""]) if found else 0
    if not n_bytes:
        raise UsageError(f"--memory {text!r}: give a size above 0, such as 1GB or 512MiB")
    return n_bytes


def memory_text(n_bytes: int) -> str:
    """Bytes as a text that `parse_memory` reads, in whole megabytes, rounded up.

    >>> memory_text(1_000_001)
    '2MB'
    """
    return f"{-(-n_bytes // 10**6)}MB"
