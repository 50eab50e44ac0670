"""Launching through SLURM: its options, and jobs on a real SLURM of one node where one can be started."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from milstore.cli.main import main
from milstore.errors import UsageError
from milstore.launching import slurm as launcher
from milstore.launching.planning import plan_launch
from milstore.launching.queue import ask_queue
from milstore.launching.records import launches, logs_folder
from milstore.launching.slurm import SlurmOptions, minutes_of, setting, submit, warning_seconds
from milstore.launching.states import RunState, states
from milstore.store import Store
from milstore.store.run_reader import read_run, run_ids
from milstore.store.run_writer import list_drafts
from milstore.training import RunResult, TrainingConfig, resume, train
from tests.making import make_splits
from tests.slurm_node import NoSlurmError, slurm_node
from tests.test_layout import ROOT
from tests.test_training_runs import assert_same_numbers
from tests.training_cohort import LABELS, tiny_store
from tests.waiting import wait_for

LONG = TrainingConfig(hidden=8, attention_dim=4, epochs=60, min_epochs=60, patience=60, lr=0.01)
"""Trains for as long as it takes to interrupt it, and no two of its epochs are the same."""
WORDS = ["--hidden", "8", "--attention-dim", "4", "--lr", "0.01", "--threads", "1"]
LONG_WORDS = [*WORDS, "--epochs", "60", "--min-epochs", "60", "--patience", "60"]


@pytest.fixture(scope="module")
def node() -> Iterator[dict[str, str]]:
    """A running SLURM, or a skip that says why there is none."""
    try:
        with slurm_node() as variables:
            yield variables
    except NoSlurmError as error:
        pytest.skip(str(error))


@pytest.fixture
def slurm(node: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The clients of SLURM find the node, and its jobs find this milstore."""
    for name in list(os.environ):
        if name.startswith(("SLURM_", "SBATCH_", "SUBMITIT_")):
            monkeypatch.delenv(name)
    for name, value in node.items():
        monkeypatch.setenv(name, value)
    program = tmp_path / "bin" / "milstore"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'from milstore.cli.main import main; main()' \"$@\"\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # Where sbatch is called from is where the job works, and the tests must not write into the checkout.
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def unlimited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunResult]:
    """What the jobs train, trained here without a limit: in memory where that can be, as the disk only costs time."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else tmp_path_factory.getbasetemp()))
    yield train(tiny_store(folder / "store"), LONG, 1, threads=1)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tiny_store(tmp_path / "store")


def run(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def submitted(store: Store, *words: str) -> list[str]:
    """Launch, and give the ids of the jobs."""
    assert main(["train", "--store", str(store.root), "--launcher", "slurm", "--slurm-cpus-per-task", "1", *words]) == 0
    *_, launch = launches(store)
    return list(launch.jobs.values())


def until(holds: Callable[[], bool], what: str) -> None:
    wait_for(holds, what, seconds=120, every=0.05)


def epochs_done(store: Store) -> int:
    return max((len(draft.epochs()) for draft in list_drafts(store)), default=0)


def trains_on(store: Store, job: str) -> None:
    """Wait until the job runs and has trained some more epochs."""
    before = epochs_done(store)
    until(lambda: epochs_done(store) >= before + 2, f"job {job} trains")


def ended(job: str) -> bool:
    return not ask_queue([job])


def unfinished(store: Store) -> list[RunState]:
    return [row for row in states(store) if row.state != "done"]


@pytest.mark.slurm
@pytest.mark.slow
def test_a_job_goes_on_through_its_limits_with_the_numbers_of_an_unlimited_one(
    store: Store, slurm: None, request: pytest.FixtureRequest
) -> None:
    """Warned twice, as at its time limit, a job queues itself again and commits the run of an unwarned training."""
    (job,) = submitted(store, "--split", "1", "--experiment", "limited", *LONG_WORDS)
    for restarts in (0, 1):
        trains_on(store, job)
        (row,) = unfinished(store)
        assert (row.state, row.job_id, row.restarts, row.epochs) == ("running", job, restarts, 60)
        run("scancel", "--signal=USR2", job)
        until(lambda: unfinished(store)[0].state == "waiting", "the job is queued again")
    # Trained while the job waits to begin again.
    unlimited: RunResult = request.getfixturevalue("unlimited")
    until(lambda: len(run_ids(store)) == 1, "the run is committed")
    (run_id,) = run_ids(store)
    assert read_run(store, run_id)["restarts"] == 2
    until(lambda: ended(job), "the job has ended")
    assert [(row.state, row.job_id) for row in states(store)] == [("done", job)]
    assert_same_numbers(unlimited, replace(unlimited, folder=store.run_folder(run_id)))


@pytest.mark.slurm
@pytest.mark.slow
def test_five_splits_as_an_array_commit_five_runs(
    store: Store, slurm: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--split all` submits one array task a split, says how to follow them, and each commits its run."""
    cases = list(LABELS)
    turned = [cases[2 * turn :] + cases[: 2 * turn] for turn in range(5)]
    splits = [{"train": order[:6], "val": order[6:8], "test": order[8:]} for order in turned]
    make_splits(store, "five", splits)
    jobs = submitted(store, "--split", "all", "--epochs", "2", "--min-epochs", "1", *WORDS)
    out, err = capsys.readouterr()
    array = jobs[0].partition("_")[0]
    assert jobs == [f"{array}_{task}" for task in range(5)]
    assert all(f"{job}_0_log.out" in out for job in jobs)
    assert f"follow: milstore runs watch --store {store.root}" in err
    assert f"stop:   scancel {array}" in err
    assert {row.state for row in states(store)} <= {"waiting", "running", "done"}
    # Ends when the last job has: nothing is left that goes on by itself.
    assert main(["runs", "watch", "--store", str(store.root), "--interval", "0.5"]) == 0
    assert sorted((row.state, row.split, row.job_id) for row in states(store)) == [
        ("done", split, job) for split, job in enumerate(jobs, start=1)
    ]
    assert {read_run(store, run_id)["threads"] for run_id in run_ids(store)} == {1}


@pytest.mark.slurm
@pytest.mark.slow
def test_a_cancelled_job_stays_resumable(store: Store, slurm: None, unlimited: RunResult) -> None:
    """scancel ends a job for good; its run is interrupted, and continued it gives the numbers of an unstopped one."""
    (job,) = submitted(store, "--split", "1", "--experiment", "cancelled", *LONG_WORDS)
    trains_on(store, job)
    run("scancel", job)
    until(lambda: ended(job), "the job is gone")
    (row,) = unfinished(store)
    assert (row.state, row.job_id, row.epoch >= 2) == ("interrupted", job, True)
    assert row.run_id is not None
    assert_same_numbers(unlimited, resume(store, row.run_id))


@pytest.mark.slurm
@pytest.mark.slow
def test_a_batch_script_of_ones_own_goes_on_through_its_limit(
    store: Store, slurm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script of docs/slurm.md, warned as by --signal=B:USR1, queues itself again and finishes its run."""
    (text,) = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "slurm.md").read_text(encoding="utf-8"), re.DOTALL)
    script = tmp_path / "job.sh"
    script.write_text(text.replace("--experiment deep", f"--experiment deep {' '.join(LONG_WORDS)}"))
    monkeypatch.setenv("MILSTORE_STORE", str(store.root))
    job = run("sbatch", "--parsable", str(script)).strip()
    trains_on(store, job)
    run("scancel", "--signal=USR1", "--batch", job)
    until(lambda: (ask_queue([job]) or {}).get(job) == "PENDING", "the job is queued again")
    until(lambda: len(run_ids(store)) == 1, "the run is committed")
    assert (list_drafts(store), read_run(store, run_ids(store)[0])["restarts"]) == ([], 1)


@pytest.mark.slurm
def test_what_slurm_refuses_is_a_line(store: Store, slurm: None, capsys: pytest.CaptureFixture[str]) -> None:
    """sbatch's own words become the error, and nothing is left of the launch."""
    words = ["--split", "1", "--launcher", "slurm", "--slurm-partition", "absent", *WORDS]
    assert main(["train", "--store", str(store.root), *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: SLURM refuses the job: invalid partition specified: absent")
    assert (err.count("\n"), list(logs_folder(store).iterdir())) == (1, [])


@pytest.mark.parametrize(
    ("time", "minutes"),
    [
        ("1", 1),
        ("90", 90),
        ("0:30", 1),
        ("5:00", 5),
        ("5:01", 6),
        ("4:00:00", 240),
        ("2-0", 2880),
        ("1-12:30", 2190),
        ("1-00:00:01", 1441),
    ],
)
def test_time_limits_are_read_as_sbatch_reads_them(time: str, minutes: int) -> None:
    """Two numbers are minutes and seconds, after days they are hours and minutes; part of a minute is a minute."""
    assert minutes_of(time) == minutes


@pytest.mark.parametrize("time", ["", "soon", "-1", "0", "0:00", "1:2:3:4", "4h", "1-", "1.5"])
def test_other_times_are_refused(time: str) -> None:
    """What is no time is named, with what one looks like."""
    with pytest.raises(UsageError, match="--slurm-time"):
        minutes_of(time)


@pytest.mark.parametrize("text", ["", "=1", "a b=1", "Gres=gpu", "exclude=a\n#SBATCH --uid=0", "output=x", "--array=1"])
def test_settings_that_are_none_are_refused(text: str) -> None:
    """A name that sbatch cannot have, a line break, and what milstore sets itself."""
    with pytest.raises(UsageError, match="--slurm-opt"):
        setting(text)


def test_a_job_is_warned_in_time() -> None:
    """A quarter of the limit before it, from 15 seconds to two minutes."""
    assert [warning_seconds(minutes) for minutes in (1, 4, 8, 240)] == [15, 60, 120, 120]


def test_without_slurm_the_launcher_says_so(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where jobs cannot be submitted there is one line, and what to do instead."""
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["train", "--store", str(store.root), "--split", "1", "--launcher", "slurm"]) == 2
    err = capsys.readouterr().err
    assert err == (
        "error: --launcher slurm: there is no sbatch and no srun here: log in where jobs are submitted, "
        "or use --launcher local\n"
    )
    assert ask_queue(["1"]) is None


def test_options_reach_sbatch(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each setting is in the batch script, and the job may be queued again."""
    for name in ("sbatch", "srun"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\necho Submitted batch job 41\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    options = SlurmOptions(
        time="1:30:00",
        cpus_per_task=3,
        settings=dict(map(setting, ("partition=gpu", "exclusive", "gres=gpu:1", "comment=two words"))),
        setup=("module load cuda",),
        at_once=1,
    )
    planned = plan_launch(store, LONG, None, launcher="slurm", experiment="mine")
    assert planned is not None
    assert submit(store, planned, options).jobs == {1: "41_0", 2: "41_1"}
    script = next(planned.folder.glob("*submission*.sh")).read_text().splitlines()
    wanted = {
        "#SBATCH --array=0-1%1",
        "#SBATCH --comment='two words'",
        "#SBATCH --cpus-per-task=3",
        "#SBATCH --exclusive",
        "#SBATCH --gres=gpu:1",
        "#SBATCH --job-name=milstore-mine",
        "#SBATCH --open-mode=append",
        "#SBATCH --partition=gpu",
        "#SBATCH --requeue",
        "#SBATCH --signal=USR2@120",
        "#SBATCH --time=90",
        "module load cuda",
    }
    assert wanted - set(script) == set()
    (srun,) = [line for line in script if line.startswith("srun")]
    assert " --mpi=none --cpus-per-task=3 " in srun


def test_a_refused_job_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the submission fails half-way the launch is removed."""
    monkeypatch.setattr(launcher, "check_slurm", lambda: None)

    def refuse(*_: object) -> None:
        raise OSError("no")

    class Executor:
        def batch(self) -> "Executor":
            return self

        __enter__ = batch
        __exit__ = refuse

        def submit(self, task: object) -> None:
            """Takes it."""

    monkeypatch.setattr(launcher, "slurm_executor", lambda *_: Executor())
    planned = plan_launch(store, LONG, [1], launcher="slurm")
    assert planned is not None
    with pytest.raises(UsageError, match="SLURM refuses the job: no"):
        submit(store, planned, SlurmOptions())
    assert list(launches(store)) == []
