"""Launching through SLURM: its options, and jobs on a real SLURM of one node where one can be started."""

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
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
from milstore.training import TrainingConfig, resume
from tests.crossing import WHOLE
from tests.forking import fork
from tests.holding import Held
from tests.slurm_node import NoSlurmError, slurm_node
from tests.test_layout import ROOT
from tests.test_training_runs import assert_same_numbers
from tests.training_cohort import tiny_store
from tests.trainings import twin_of
from tests.waiting import wait_for

SHORT = TrainingConfig(hidden=8, attention_dim=4, epochs=6, min_epochs=6, patience=6, lr=0.01)
"""No two of its epochs are the same."""
WORDS = ["--hidden", "8", "--attention-dim", "4", "--lr", "0.01", "--threads", "1"]
SHORT_WORDS = [*WORDS, "--epochs", "6", "--min-epochs", "6", "--patience", "6"]


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


HELD = """
import os
if "SLURM_JOB_ID" in os.environ:
    from pathlib import Path
    from milstore.launching.task import _job_id
    from tests.holding import Held
    restarts = os.environ.get('SLURM_RESTART_COUNT', 0)
    Held(Path({!r}) / f'job-{{_job_id()}}-{{restarts}}').held(lambda: None)()
"""
"""Runs before a job does. Each of its starts stays, when it has trained two epochs, until it is let go or stopped."""


def start(folder: Path, job: str, restarts: int = 0) -> Held:
    """What holds a start of a job."""
    return Held(folder / f"job-{job}-{restarts}")


@pytest.fixture
def held_jobs(slurm: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Jobs of SLURM, each of which is held."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(HELD.format(str(tmp_path)))
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{ROOT}")


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


def ended(job: str) -> bool:
    return not ask_queue([job])


def row_of(store: Store, job: str) -> RunState:
    """What is known of a job."""
    (row,) = [row for row in states(store) if row.job_id == job]
    return row


Scenario = Iterator[Callable[[], object]]
"""Gives what it waits for, and goes on when that holds."""


def side_by_side(*scenarios: Scenario) -> None:
    """Bring scenarios to their ends: most of their time they wait for SLURM."""
    waiting = {scenario: next(scenario) for scenario in scenarios}

    def go_on() -> bool:
        for scenario in [scenario for scenario, holds in waiting.items() if holds()]:
            waiting[scenario] = next(scenario, lambda: False)
            if inspect.getgeneratorstate(scenario) == inspect.GEN_CLOSED:
                del waiting[scenario]
        return not waiting

    wait_for(go_on, "jobs of SLURM", seconds=300, every=0.05)


def warned(folder: Path, capsys: pytest.CaptureFixture[str]) -> Scenario:
    """`--split all` submits one array task a split and says how to follow them, and each commits its run.

    The first is warned, as at its time limit: it queues itself again, and commits the run of an unwarned training.
    """
    store = tiny_store(folder / "warned")
    jobs = submitted(store, "--split", "all", "--experiment", "limited", *SHORT_WORDS)
    out, err = capsys.readouterr()
    array = jobs[0].partition("_")[0]
    assert jobs == [f"{array}_{task}" for task in range(2)]
    assert all(f"{job}_0_log.out" in out for job in jobs)
    assert f"follow: milstore runs watch --store {store.root}" in err
    assert f"stop:   scancel {array}" in err
    assert {row.state for row in states(store)} <= {"waiting", "running", "done"}
    # Ends when the last job has: nothing is left that goes on by itself.
    watching = fork(folder, partial(main, ["runs", "watch", "--store", str(store.root), "--interval", "0.5"]))
    start(folder, jobs[1]).let_go()
    times = 2 if WHOLE else 1
    for restarts in range(times):
        yield start(folder, jobs[0], restarts).is_there
        row = row_of(store, jobs[0])
        assert (row.state, row.restarts, row.epoch, row.epochs) == ("running", restarts, 2, 6)
        run("scancel", "--signal=USR2", jobs[0])
        yield lambda: row_of(store, jobs[0]).state == "waiting"
    start(folder, jobs[0], times).let_go()
    yield watching.ended
    assert watching.code == 0, watching.text()
    assert sorted((row.state, row.split, row.job_id) for row in states(store)) == [
        ("done", split, job) for split, job in enumerate(jobs, start=1)
    ]
    runs = {facts["split"]: facts for facts in (read_run(store, run_id) for run_id in run_ids(store))}
    counts = {split: (facts["restarts"], facts["threads"]) for split, facts in runs.items()}
    assert counts == {1: (times, 1), 2: (0, 1)}
    assert_same_numbers(twin_of(SHORT), replace(twin_of(SHORT), folder=store.run_folder(runs[1]["run_id"])))


def cancelled(folder: Path) -> Scenario:
    """scancel ends a job for good; its run is interrupted, and continued it gives the numbers of an unstopped one."""
    store = tiny_store(folder / "cancelled")
    (job,) = submitted(store, "--split", "1", "--experiment", "cancelled", *SHORT_WORDS)
    yield start(folder, job).is_there
    run("scancel", job)
    yield lambda: ended(job)
    row = row_of(store, job)
    assert (row.state, row.epoch) == ("interrupted", 2)
    assert row.run_id is not None
    # In a process of its own, as others must not wait.
    resumed = fork(folder, lambda: resume(store, row.run_id or "") and None)
    yield resumed.ended
    assert resumed.code == 0, resumed.text()
    assert_same_numbers(twin_of(SHORT), replace(twin_of(SHORT), folder=store.run_folder(row.run_id)))


def of_ones_own(folder: Path) -> Scenario:
    """The script of docs/slurm.md, warned as by --signal=B:USR1, queues itself again and finishes its run."""
    store = tiny_store(folder / "own")
    (text,) = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "slurm.md").read_text(encoding="utf-8"), re.DOTALL)
    script = folder / "job.sh"
    script.write_text(text.replace("--experiment deep", f"--experiment deep {' '.join(SHORT_WORDS)}"))
    job = run("sbatch", "--parsable", f"--export=ALL,MILSTORE_STORE={store.root}", str(script)).strip()
    yield start(folder, job).is_there
    run("scancel", "--signal=USR1", "--batch", job)
    yield lambda: (ask_queue([job]) or {}).get(job) == "PENDING"
    start(folder, job, 1).let_go()
    yield lambda: len(run_ids(store)) == 1
    assert (list_drafts(store), read_run(store, run_ids(store)[0])["restarts"]) == ([], 1)


@pytest.mark.slurm
def test_jobs_of_slurm_go_on_through_their_limits_and_end_when_they_are_cancelled(
    tmp_path: Path, held_jobs: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `warned`, `cancelled` and `of_ones_own` say. Those that are warned are so once; by `make torture` some are twice."""
    side_by_side(warned(tmp_path, capsys), cancelled(tmp_path), of_ones_own(tmp_path))


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
    planned = plan_launch(store, SHORT, None, launcher="slurm", experiment="mine")
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
    planned = plan_launch(store, SHORT, [1], launcher="slurm")
    assert planned is not None
    with pytest.raises(UsageError, match="SLURM refuses the job: no"):
        submit(store, planned, SlurmOptions())
    assert list(launches(store)) == []
