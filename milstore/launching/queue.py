"""Asks SLURM for the states of jobs.

submitit asks sacct, which answers only where accounting is set up; squeue is there wherever jobs are submitted.
"""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterable

WAITING = frozenset(
    {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "SUSPENDED", "RESV_DEL_HOLD"}
)
"""States of a job that is in the queue and does not run."""
_TIMEOUT = 10.0

Ask = Callable[[Iterable[str]], dict[str, str] | None]
"""Something that answers like `ask_queue`."""


def ask_queue(jobs: Iterable[str]) -> dict[str, str] | None:
    """State of those of some jobs that are still in SLURM's queue, by id; None if SLURM cannot be asked from here."""
    squeue = shutil.which("squeue")
    whole = sorted({job.partition("_")[0] for job in jobs})
    if squeue is None or not whole:
        return None
    command = [squeue, "--noheader", "--array", "--format=%i|%T", f"--jobs={','.join(whole)}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)  # noqa: S603 - our words
    except (OSError, subprocess.SubprocessError):
        return None
    if done.returncode and "Invalid job id" not in done.stderr:
        return None
    pairs = (line.strip().partition("|") for line in done.stdout.splitlines())
    return {job: state for job, _, state in pairs if state}


def patient(ask: Ask = ask_queue, *, seconds: float = 20.0) -> Ask:
    """Like `ask`, but queries the same jobs at most once in so many seconds, to spare the cluster."""
    kept: tuple[float, frozenset[str], dict[str, str] | None] = (0.0, frozenset(), None)

    def ask_rarely(jobs: Iterable[str]) -> dict[str, str] | None:
        nonlocal kept
        wanted = frozenset(jobs)
        if wanted != kept[1] or time.monotonic() - kept[0] > seconds:
            kept = (time.monotonic(), wanted, ask(wanted))
        return kept[2]

    return ask_rarely
