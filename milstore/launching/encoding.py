"""Encoding by several processes: jobs of SLURM, or processes of this machine. Each computes some of the slices.

What a job has computed lies in the store, slice by slice; whoever comes last, or the same command again, puts it together.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milstore._version import PACKAGE_PARENT
from milstore.encoders.computing import compute
from milstore.encoders.encode_folder import encode_by_folder, store_shards
from milstore.encoders.encoder_folder import EncoderFolder, read_encoder_folder
from milstore.encoders.encoding_plan import FolderOptions, Plan, plan_encoding
from milstore.encoders.report import EncodeReport
from milstore.errors import ConflictError, DataError, MilstoreError, StoreError, in_a_line
from milstore.launching.child import WATCHES, log, watch_launcher
from milstore.launching.local import threads_each
from milstore.launching.records import new_folder
from milstore.launching.slurm import SlurmOptions, check_slurm, refused_by_slurm, slurm_executor
from milstore.progress import Progress, silent
from milstore.store import Store, open_store
from milstore.store.io import write_json
from milstore.store.plain import read_object

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

JOBS = 2
"""Jobs, unless it is said."""
_REQUEST = "encode.json"
_FINISHING = "finishing"
_LOOK_EVERY = 0.3
_TELL_EVERY = 30.0


def encode_side_by_side(
    store: Store, folder: EncoderFolder, options: FolderOptions, jobs: int = JOBS, *, progress: Progress = silent
) -> EncodeReport:
    """Encode by some processes of this machine, and put what they computed into the store.

    When this one ends, they end; the same command goes on.

    Raises:
        MilstoreError: as `encode_by_folder`; of the processes, the first that failed, with its log.
    """
    started = time.perf_counter()
    plan = plan_encoding(store, folder, options)
    if plan.todo.patches.num_rows:
        jobs = min(jobs, len(plan.missing))
        shared = options.threads or threads_each(max(1, jobs))
        launch = begin_encoding(store, folder, options, jobs, threads=shared) if jobs else None
        running = {part: _start(launch, part) for part in range(jobs)} if launch else {}
        try:
            _follow(plan, running, launch, progress)
        finally:
            for process in running.values():
                process.kill()
                process.wait()
        return store_shards(plan, started)
    return encode_by_folder(store, folder, options, progress=progress)


def submit_encoding(
    store: Store, folder: EncoderFolder, options: FolderOptions, slurm: SlurmOptions, jobs: int = JOBS
) -> tuple[Path, list[str]] | None:
    """Submit the jobs. The last of them puts the features into the store.

    Returns:
        The folder with their logs, and their ids; None if there is nothing to compute.

    Raises:
        MilstoreError: as `plan_encoding`; this machine cannot submit jobs, or SLURM refuses.
    """
    check_slurm()
    plan = plan_encoding(store, folder, options)
    if not plan.todo.patches.num_rows:
        return None
    jobs = max(1, min(jobs, len(plan.missing)))
    launch = begin_encoding(store, folder, options, jobs, threads=options.threads or slurm.cpus_per_task)
    executor = slurm_executor(launch, f"milstore-encode-{folder.name}", slurm)
    tasks = [EncodeTask(launch=str(launch), part=part) for part in range(jobs)]
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        # submitit copies to stderr what sbatch says, and says it in its error too.
        with redirect_stderr(StringIO()), executor.batch():
            submitted = [executor.submit(task) for task in tasks]
    except (FailedJobError, FailedSubmissionError, subprocess.SubprocessError, OSError) as error:
        raise refused_by_slurm(launch, error) from error
    return launch, [job.job_id for job in submitted]


@dataclass(frozen=True, kw_only=True)
class EncodeTask:
    """Some of the slices, as a job finds them: two plain values, which is all that submitit's pickle holds."""

    launch: str
    part: int

    def __call__(self) -> str:
        """Compute or continue them; when nothing is missing, store the features. Returns a message.

        Raises:
            MilstoreError: as `encode_by_folder`; the encoder's folder was changed since.
        """
        launch = Path(self.launch)
        request, plan = _plan(launch)
        if not plan.todo.patches.num_rows:
            return "the features are in the store"
        compute(plan, part=(self.part, request["jobs"]), progress=_lines())
        if plan.missing or not _is_last(launch):
            return "computed; other jobs go on"
        return store_shards(plan, time.perf_counter()).lines()[0]

    def checkpoint(self) -> "DelayedSubmission":
        """What submitit submits at the time limit: the same task, which continues where this one stopped."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def begin_encoding(
    store: Store, folder: EncoderFolder, options: FolderOptions, jobs: int, *, threads: int | None
) -> Path:
    """The folder of a launch, which says what its jobs are to do. StoreError if the disk refuses."""
    try:
        launch = new_folder(store, f"encode-{folder.name}")
        request = {
            "store": str(store.root),
            "folder": str(folder.path),
            "name": folder.name,
            "fp16": folder.fp16,
            "identity": folder.weights_sha256,
            "options": {**asdict(options), "threads": threads},
            "jobs": jobs,
        }
        write_json(launch / _REQUEST, request)
    except OSError as error:
        raise StoreError(f"no launch can be written to {store.root / 'logs'}: {error.strerror}") from error
    return launch


def _plan(launch: Path) -> tuple[dict[str, Any], Plan]:
    """What a launch asks for, and what of it is to be done."""
    try:
        request = read_object(launch / _REQUEST)
        options = FolderOptions(**request["options"])
        folder = read_encoder_folder(request["folder"], name=request["name"], fp16=request["fp16"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{launch / _REQUEST} cannot be read ({in_a_line(error)}): encode again") from error
    if folder.weights_sha256 != request["identity"]:
        raise ConflictError(f"the encoder in {folder.path} was changed since it was launched: encode again")
    return request, plan_encoding(open_store(request["store"]), folder, options)


def _is_last(launch: Path) -> bool:
    """Whether this job is the one that puts the features into the store: the first that asks."""
    try:
        (launch / _FINISHING).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


# --- processes of this machine ----------------------------------------------------------------------------------------


def _start(launch: Path, part: int) -> "subprocess.Popen[bytes]":
    found = os.pathsep.join(each for each in (str(PACKAGE_PARENT), os.environ.get("PYTHONPATH", "")) if each)
    with _log(launch, part).open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "milstore.launching.encoding", str(launch), str(part), WATCHES],
            # Nothing is ever written to it: it closes when this process ends, however that ends.
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": found},
            start_new_session=True,
        )


def _log(launch: Path, part: int) -> Path:
    return launch / f"job-{part}.log"


def _follow(plan: Plan, running: "dict[int, subprocess.Popen[bytes]]", launch: Path | None, progress: Progress) -> None:
    """Wait until all have ended. DataError for the first that failed."""
    total = sum(len(shard.places) for shard in plan.shards)
    waiting = set(running)
    while True:
        done = sum(len(shard.places) for shard in plan.shards if shard.path.is_file())
        progress("encoding", done, total)
        for part in sorted(waiting):
            code = running[part].poll()
            if code is None:
                continue
            waiting.discard(part)
            if code and launch is not None:
                raise DataError(_said(_log(launch, part), code))
        if not waiting:
            return
        time.sleep(_LOOK_EVERY)


def _said(log: Path, code: int) -> str:
    """The last line that a process left, as its error."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.is_file() else []
    if code == 2 and lines and lines[-1].startswith("error: "):
        return lines[-1].removeprefix("error: ")
    return f"a process that encoded died (exit {code}): its log is {log}"


def _lines() -> Callable[[str, int, int], None]:
    """Tells a log how far it is, every half minute."""
    begun: dict[str, float] = {}

    def tell(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if not begun:
            begun.update(at=now, told=now, done=done)
        elif now - begun["told"] >= _TELL_EVERY or done == total:
            begun["told"] = now
            speed = (done - begun["done"]) / max(now - begun["at"], 1e-9)
            left = (total - done) / speed if speed else 0.0
            log(f"{what}: {done:,} of {total:,} patches, {speed:,.0f} a second, {left / 60:.0f} minutes left")

    return tell


def main(words: list[str]) -> int:
    """The program of a process of this machine: computes its slices, and leaves it to the launcher to store them."""
    launch, part, *further = words
    # What was computed is kept, slice by slice.
    watch_launcher(further, lambda: os._exit(1))
    try:
        request, plan = _plan(Path(launch))
        compute(plan, part=(int(part), request["jobs"]), progress=_lines())
    except MilstoreError as error:
        log(f"error: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
