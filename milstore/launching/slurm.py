"""Launching through SLURM: a task of a job array for each split, by submitit, which queues a task again at its limit."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from milstore.errors import UsageError
from milstore.launching.records import Launch
from milstore.launching.task import Task
from milstore.store import Store

MOST_REQUEUES = 10_000
"""The limit may come as often as it takes: each start trains at least one case, or gives up by itself."""
_OURS = {
    "array": "each split is a task of the array",
    "output": "the logs lie in the folder of the launch",
    "error": "the logs lie in the folder of the launch",
    "time": "use --slurm-time",
    "wrap": "milstore runs itself",
    "ntasks": "a split is trained by one process",
    "ntasks-per-node": "a split is trained by one process",
    "nodes": "a split is trained by one process",
    "cpus-per-task": "use --slurm-cpus-per-task",
}


@dataclass(frozen=True, kw_only=True)
class SlurmOptions:
    """How SLURM is to run the jobs."""

    time: str = "4:00:00"
    """Time limit of a job, as sbatch takes it; at the limit the job is queued again and goes on."""

    cpus_per_task: int | None = None
    """CPUs for each split; also the threads to train with."""

    settings: Mapping[str, str | bool] = field(default_factory=dict)
    """Further options of sbatch by their long names, such as {"partition": "gpu", "gres": "gpu:1"}; True for one
    without a value."""

    setup: tuple[str, ...] = ()
    """Lines of shell that a job runs first, such as `module load cuda`."""

    at_once: int | None = None
    """Most splits to train at the same time; None for as many as SLURM allows."""


def minutes_of(time: str) -> int:
    """Minutes of a time limit as sbatch takes it, rounded up.

    Takes minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes and
    days-hours:minutes:seconds. UsageError for anything else, and for no time at all.

    >>> minutes_of("4:00:00"), minutes_of("90"), minutes_of("1-12"), minutes_of("0:30")
    (240, 90, 2160, 1)
    """
    match = re.fullmatch(r"(?:(\d{1,4})-)?(\d{1,6})(?::(\d{1,4}))?(?::(\d{1,4}))?", time.strip())
    if match is None:
        raise UsageError(f"--slurm-time {time!r}: give a time such as 4:00:00, 90 (minutes) or 1-12:00 (days-hours)")
    days, first, second, third = (int(part or 0) for part in match.groups())
    if match[1] is not None or match[4] is not None:
        seconds = ((days * 24 + first) * 60 + second) * 60 + third
    else:
        seconds = first * 60 + second
    if seconds == 0:
        raise UsageError(f"--slurm-time {time!r}: give more than no time")
    return -(-seconds // 60)


def setting(text: str) -> tuple[str, str | bool]:
    """Name and value of an option of sbatch written `name=value`, or `name` for one without a value.

    Raises:
        UsageError: no such thing, or an option that milstore sets itself.

    >>> setting("gres=gpu:1"), setting("--exclusive")
    (('gres', 'gpu:1'), ('exclusive', True))
    """
    match = re.fullmatch(r"(?:--)?([a-z][a-z0-9_-]{1,40})(?:=(.+))?", text)
    if match is None or not text.isprintable():
        raise UsageError(f"--slurm-opt {text!r}: give name=value, such as gres=gpu:1")
    name = match[1].replace("_", "-")
    if name in _OURS:
        raise UsageError(f"--slurm-opt {text}: milstore sets {name} itself, {_OURS[name]}")
    return name, True if match[2] is None else match[2]


def warning_seconds(minutes: int) -> int:
    """How long before its limit a job is warned: a quarter of it, from 15 seconds to two minutes.

    A case must be finished and the checkpoint written within it.
    """
    return min(max(minutes * 15, 15), 120)


def check_slurm() -> None:
    """UsageError if this machine cannot submit jobs."""
    missing = [program for program in ("sbatch", "srun") if shutil.which(program) is None]
    if missing:
        raise UsageError(
            f"--launcher slurm: there is no {' and no '.join(missing)} here: log in where jobs are submitted, "
            "or use --launcher local"
        )


def submit(store: Store, launch: Launch, options: SlurmOptions) -> Launch:
    """Submit a job for each split of a launch. Returns the launch with the ids of the jobs.

    Raises:
        UsageError: this machine cannot submit jobs, an option does not fit, or SLURM refuses; nothing is left then.
    """
    check_slurm()
    executor = slurm_executor(launch.folder, f"milstore-{launch.facts['experiment']}", options)
    tasks = [Task(store=str(store.root), folder=str(launch.folder), split=split) for split in launch.facts["splits"]]
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        # submitit copies to stderr what sbatch says, and says it in its error too.
        with redirect_stderr(StringIO()), executor.batch():
            jobs = [executor.submit(task) for task in tasks]
    except (FailedJobError, FailedSubmissionError, subprocess.SubprocessError, OSError) as error:
        raise refused_by_slurm(launch.folder, error) from error
    return launch.update(jobs={str(task.split): job.job_id for task, job in zip(tasks, jobs, strict=True)})


def refused_by_slurm(folder: Path, error: Exception) -> UsageError:
    """That SLURM refuses a job, in its own words; the folder of the launch goes."""
    shutil.rmtree(folder, ignore_errors=True)
    return UsageError(f"SLURM refuses the job: {_sbatch_words(str(error))}")


def slurm_executor(folder: Path, name: str, options: SlurmOptions) -> Any:
    """What submits jobs of this name, by submitit, which keeps its files and their logs in the folder."""
    from submitit import SlurmExecutor

    minutes = minutes_of(options.time)
    executor = SlurmExecutor(folder=folder, max_num_timeout=MOST_REQUEUES)
    # Without an MPI plugin on the node srun fails, and nothing here is an MPI program.
    srun = ["--mpi=none"]
    parameters: dict[str, Any] = {"time": minutes, "job_name": name}
    if options.cpus_per_task is not None:
        parameters["cpus_per_task"] = options.cpus_per_task
        # Since 22.05 srun no longer takes this over from sbatch.
        srun.append(f"--cpus-per-task={options.cpus_per_task}")
    if options.at_once is not None:
        parameters["array_parallelism"] = options.at_once
    executor.update_parameters(
        **parameters,
        setup=list(options.setup) or None,
        signal_delay_s=warning_seconds(minutes),
        srun_args=srun,
        # SLURM itself queues a job again whose node has failed.
        additional_parameters={"requeue": True, **options.settings},
    )
    return executor


def _sbatch_words(text: str) -> str:
    """What sbatch itself said, out of what submitit made of it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    own = [line.removeprefix("sbatch: error:").strip() for line in lines if line.startswith("sbatch: error:")]
    return "; ".join(dict.fromkeys(own or lines[-1:])) or "no word from sbatch"
