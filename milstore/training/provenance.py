"""Provenance of a run's numbers: machine, code and arithmetic settings."""

import contextlib
import os
import platform
import subprocess
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch
import torch.utils.deterministic

from milstore._version import PACKAGE_PARENT, __version__
from milstore.errors import UsageError
from milstore.processors import processors


@cache
def code_version() -> str:
    """milstore's version, and its commit (with -dirty where files differ from it) if it runs from a checkout.

    Looked for once a process, as what it runs was read once.
    """
    version = __version__
    root = PACKAGE_PARENT
    if not (root / ".git").exists():
        return version
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603 - our words
    except (OSError, subprocess.SubprocessError):
        return version
    return f"{version}+{found.stdout.strip()}"


def cpu_model() -> str:
    """Model of the processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def find_device(wanted: str) -> torch.device:
    """The device for auto, cpu or cuda. UsageError if it is not there."""
    if wanted not in {"auto", "cpu", "cuda"}:
        raise UsageError(f"--device {wanted!r}: give auto, cpu or cuda")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch finds no GPU here, train with --device cpu")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def device_name(device: torch.device) -> str:
    """cpu, or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def usable_threads() -> int:
    """Threads to compute with if none are asked for: torch's choice, and at most the CPUs given to this process."""
    return max(1, min(torch.get_num_threads(), processors()))


@contextlib.contextmanager
def repeatable_arithmetic(threads: int, *, allow_nondeterministic: bool = False) -> Iterator[None]:
    """Within this block, compute with that many threads and deterministic algorithms; former settings are restored.

    torch's global random state is left as it was found.

    Args:
        threads: for torch.
        allow_nondeterministic: let operations that have no deterministic algorithm run all the same.
    """
    # cuBLAS is deterministic only with a fixed workspace, and reads this when it is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.allow_tf32,
    )
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=allow_nondeterministic)
    # A GPU's convolutions are of float32 too, as its other products are.
    torch.backends.cudnn.allow_tf32 = False
    # On by default with the above: fills every new tensor with NaN, which costs time and guards nothing here.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            # Whoever allows it need not be warned of it.
            warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation")
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1], warn_only=before[3])
        torch.backends.cudnn.allow_tf32 = before[4]
        torch.utils.deterministic.fill_uninitialized_memory = before[2]  # type: ignore[attr-defined]
