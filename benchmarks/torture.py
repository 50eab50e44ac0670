"""`make torture`: kills, faults and damaged files by the hundred, and what came of them as docs/reliability.md.

`python -m benchmarks.torture --kills 20 --step 9 --inputs 50` is the same in minutes. Each part is a program of the
tests, in a process of its own; the first one that breaks a promise ends this with its words.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reliability.md"
PARTS = (
    "kills",
    "commands",
    "takeovers",
    "leases",
    "faults",
    "disk",
    "repairs",
    "inputs",
    "stores",
    "crossed",
    "attacks",
    "slurm",
)
DUCKDB = ("1.5.6", "2.0.0", "2.0.1")
"""Versions of DuckDB that SQL is checked against: those that milstore/asking/allowed.txt is written for."""
SCENARIOS = (
    *("signals", "signals-to-all", "twice", "twice-side-by-side", "contended", "raced", "suspended"),
    "suspended-at-every-operation",
)


def program(*words: object, first: str = "") -> str:
    """What a program of the tests prints, given a fresh folder; `first` holds packages that come before those installed.

    SystemExit if it fails.
    """
    module, *options = map(str, words)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", module, folder, *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            # One thread: the programs fork.
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": first},
        )
    if done.returncode:
        sys.exit(f"{module} {' '.join(options)}: a promise is broken, see above")
    return done.stdout


def figures(part: str, options: argparse.Namespace) -> dict[str, Any]:
    """What came of one part."""
    began = time.monotonic()
    if part == "kills":
        made = json.loads(program("tests.killing", options.kills, options.seed))
    elif part == "commands":
        made = json.loads(program("tests.killing_commands", options.command_kills, options.seed))
    elif part == "takeovers":
        made = {"suspended": json.loads(program("tests.interrupting", *SCENARIOS))["suspended-at-every-operation"]}
    elif part == "faults":
        said = program("tests.faults", options.step)
        made = {"by": said.partition(", together")[0].strip(), "faults": int(said.split()[-2])}
    elif part == "leases":
        made = {"tests": passed("tests/test_training_lease.py", "tests/test_launching_local.py")}
    elif part == "disk":
        made = {"fillings": full_disk()}
    elif part == "repairs":
        made = {"kinds": passed(REPAIRS)}
    elif part == "stores":
        made = {"stores": passed(*STORES)}
    elif part == "crossed":
        made = {"tests": passed(*crossing())}
    elif part == "attacks":
        made = {"by": {version: attacks(version) for version in DUCKDB}}
    elif part == "slurm":
        made = slurm()
    else:
        made = json.loads(program("tests.fuzzing", options.inputs, options.seed)) | {"tried": tried()}
    return {**made, "seconds": round(time.monotonic() - began)}


def tests(*words: str) -> ElementTree.Element:
    """What some tests came to. SystemExit if one fails."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        # What is drawn by chance is drawn anew.
        drawn = "--hypothesis-profile=default"
        command = [sys.executable, "-m", "pytest", "-q", drawn, f"--junitxml={report}", *words]
        # Every combination of what the tests otherwise try in part: tests/crossing.py.
        every = {**os.environ, "MILSTORE_WHOLE": "1"}
        if subprocess.run(command, cwd=ROOT, stdout=sys.stderr, env=every, check=False).returncode:
            sys.exit(f"{' '.join(words)}: a promise is broken, see above")
        return ElementTree.parse(report).getroot()


STORES = tuple(
    f"tests/test_{name}.py"
    for name in (
        *("store_foreign_input", "broken_in_store", "store_catalog_foreign", "store_strangers", "store_verified"),
        *("odd_files", "case_names", "names_and_cells"),
    )
)
"""Tests of stores that somebody else made or spoiled."""


def passed(*words: str) -> int:
    """How many tests passed. SystemExit if one fails."""
    found = tests(*words)
    return len(found.findall(".//testcase")) - len(found.findall(".//skipped"))


def crossing() -> list[str]:
    """Files of tests that otherwise try a part of their combinations or pictures, or the same draws, but those of other parts."""
    others = {*STORES, *INPUTS, REPAIRS}
    files = (path for path in sorted((ROOT / "tests").glob("test_*.py")) if f"tests/{path.name}" not in others)
    parts = ("from tests.crossing import", "from tests.drawing import", "from hypothesis import")
    return [f"tests/{path.name}" for path in files if any(part in path.read_text(encoding="utf-8") for part in parts)]


INPUTS = ("tests/test_broken_files.py", "tests/test_ingest_bad_input.py")
"""Tests of files that are offered to the commands."""
REPAIRS = "tests/test_doctor_advice.py"
"""Tests of what the doctor advises."""


def tried() -> int:
    """Files of every kind with every kind of damage, and hostile ones made by hand, offered to the commands."""
    return passed(*INPUTS)


def full_disk() -> int:
    """How often a real disk was filled under a training; 0 where none can be mounted."""
    words = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=6m none "$0" && exec "$@"']
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run([*words, folder, "true"], capture_output=True, check=False).returncode:
            return 0
        line = [*words, folder, sys.executable, "-m", "tests.full_disk", folder]
        done = subprocess.run(line, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit("tests.full_disk: a promise is broken, see above")
    return int(json.loads(done.stdout)["fillings"])


def attacks(version: str) -> int:
    """How many statements one version of DuckDB refused. SystemExit if it answers one, or cannot be had."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, f"duckdb=={version}"]
        subprocess.run(pip, check=True)
        made = json.loads(program("tests.attacking", first=folder))
    if made["duckdb"] != version:
        sys.exit(f"DuckDB {made['duckdb']} was asked in the place of {version}")
    return int(made["attacks"])


def slurm() -> dict[str, Any]:
    """How many tests on a real SLURM of one node passed, and why others did not run."""
    found = tests("-m", "slurm", "tests/test_launching_slurm.py")
    skipped = found.findall(".//skipped")
    reasons = {str(each.get("message")) for each in skipped}
    return {"jobs": len(found.findall(".//testcase")) - len(skipped), "skipped": "; ".join(sorted(reasons))}


def page(made: dict[str, dict[str, Any]], options: argparse.Namespace) -> str:
    """docs/reliability.md."""
    kills, commands, takeovers, leases, faults, disk, repairs, inputs, stores, crossings, attacks, cluster = (
        made[part] for part in PARTS
    )
    by_command = ", ".join(f"{name} {count}" for name, count in sorted(commands["by"].items()))
    statements = sum(attacks["by"].values())
    by_version = ", ".join(f"{count} on DuckDB {each}" for each, count in attacks["by"].items())
    full = f"{disk['fillings']} times" if disk["fillings"] else "not tried here: no disk could be mounted"
    on_slurm = f"{cluster['jobs']} tests passed" if cluster["jobs"] else f"not tried here: {cluster['skipped']}"
    where = ", ".join(f"{count} {place}" for place, count in sorted(kills["where"].items()))
    every = "every operation" if options.step == 1 else f"one operation in {options.step}"
    machine = f"{platform.system()} on {platform.machine()}, {os.cpu_count()} CPUs"
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "pyarrow", "duckdb"))
    return f"""# How reliable milstore is, and how that is known

Written by `make torture` on {datetime.now(UTC):%Y-%m-%d} ({machine}, Python {platform.python_version()}, {versions}).
Do not edit: run it again. The tests do the same with smaller numbers.

| what was tried | how often | what was lost | minutes |
|---|---:|---:|---:|
| trainings killed by SIGKILL | {kills["kills"]} | 0 | {kills["seconds"] / 60:.1f} |
| other commands killed by SIGKILL | {commands["kills"]} | 0 | {commands["seconds"] / 60:.1f} |
| trainers suspended at an operation of their commit, taken over and woken | {takeovers["suspended"]} | 0 | {takeovers["seconds"] / 60:.1f} |
| faults injected into writes | {faults["faults"]} | 0 | {faults["seconds"] / 60:.1f} |
| real disks filled under a training | {disk["fillings"]} | 0 | {disk["seconds"] / 60:.1f} |
| kinds of damage repaired as `doctor` says | {repairs["kinds"]} | 0 | {repairs["seconds"] / 60:.1f} |
| damaged files read | {inputs["inputs"]:,} | 0 | {inputs["seconds"] / 60:.1f} |
| stores that somebody else made or spoiled | {stores["stores"]} | 0 | {stores["seconds"] / 60:.1f} |
| tests with every combination that `make test` tries in part | {crossings["tests"]} | 0 | {crossings["seconds"] / 60:.1f} |
| SQL statements that try to do more than read | {statements:,} | 0 | {attacks["seconds"] / 60:.1f} |

## Kills
{kills["trainings"]} trainings were killed {kills["kills"]} times ({where}), the unluckiest {kills["most_kills_of_one"]}
times, and continued by the same call until they completed. Each was compared with a twin that nobody killed: predictions,
probabilities, attention, coverage, weights and epochs (but for their seconds) were equal **to the last bit**. No run was
there twice, and at the end `doctor` found no damage, and no leftover after `doctor --repair`. A training is four
configurations in turn (the three poolings, a cap on patches, dropout, penalties, early stopping), some with a checkpoint
after every case.

Every other command that writes was killed {commands["kills"]} times ({by_command}), at a random operation on the disk or
at a random time. The store then held wholly what it held before or wholly what the command was to write, `doctor` found no
damage and repaired what was left over, and the same command, given again, came to what it comes to where nobody kills it.

## Signals, contenders and sleepers
- SIGTERM, SIGINT, SIGUSR1 and SIGUSR2, to one split, to all in one process and to splits side by side: exit 75, a line
  that says how to go on, and the same command ends in the twin's bits.
- A second Ctrl-C stops within the case, with exit 75, one process or several; nothing but the epoch is lost.
- A training (experiment, split set, split, seed) is done by one process at a time, also with `--fresh`: whoever else is asked
  for it is refused by the owner's name; of several that take over a dead one's run at the same moment, one gets it. A
  launcher that is killed ends its trainings at a checkpoint, and the same command, given again, makes one run a split.
- How long ago a trainer on another host gave a sign of life is told by the disk's clock alone, and one that looks dead is
  watched for half a minute before its run is taken over: a clock that is ten minutes ahead takes over nothing. A job that
  SLURM queues again goes on at once.
- These promises are {leases["tests"]} tests of leases and launchers, clocks that jump and launchers that are killed among them.
- A trainer was suspended at each of the {takeovers["suspended"]} operations of its commit on the disk, another took its
  run over and finished it, and the first woke: it wrote nothing, said so and ended; or it had committed before, and then
  that run stood.

## Faults
At {every} that changes the disk (write, fsync, rename, mkdir, chmod, unlink) during an
ingest, a packing of features and a commit ({faults["by"]} faults): the disk is full, the disk is broken, the process
is killed. After each, the store opens and holds wholly what it held before or wholly what
was to be written, `doctor` finds no damage, repairing removes leftovers alone, and the work can be done again.

A disk of six megabytes was filled under a training ({full}), so that a checkpoint or an epoch found no room: exit 2, one line that
calls it a full disk and says that what was written before is kept; with room again, the same command ended in the twin's bits.

## Repairs
For each kind of damage, leftover and note that `doctor` names (every table of the cohort, the manifest, packs, runs, what was
derived, unfinished runs, the empty files that views need, the database; {repairs["kinds"]} kinds), a test does to the letter what it says to do:
then `doctor` is content, and the store holds what it held, but for a run, which is trained again. A killed `init` is completed
by `init`. `doctor --repair` removes under the cohort's lock, after a second look: what an ingest is about to name, features
that are being packed and features that a living training reads stay. Beside ingests and deletions it calls nothing damaged.
What it cannot tell: on a disk without locks, whether a folder of features that has not changed for an hour is still being filled.

## Damaged files
{inputs["inputs"]:,} files, of {inputs["readers"]} kinds, with one to four random changes (bytes set, inserted, zeroed, cut
off): {inputs["refused"]:,} were refused by one line, the others read as what they say; no reader ended in any other way.
Besides, {inputs["tried"]} files, of every kind that a command reads and with every kind of damage (empty, cut at every
tenth, of another kind, a pickle, huge declared shapes, no numbers, duplicates, other encodings, endless names, loops of
links, not to be read), were offered to the commands: exit 2, one line and a store that is as it was; or, where what was
left is still a file of its kind, it was read.

Of files *within* a store, each kind was emptied, cut, filled with noise, or given other JSON, other columns and other types
(also with a hash that fits), and a pipe, a link to elsewhere, JSON that is too deep and a file of 10 GB were put in its
place; databases held views, macros and defaults that are programs, and tables under milstore's names; bits were flipped;
and names were scripts, control characters and paths: of {stores["stores"]} such
stores every command that reads answered, or ended in a line that names the file and what repairs it, and nothing of them was run.

## Hostile SQL
{statements:,} statements ({by_version}): writing, reading other files, network, extensions, settings, hidden SQL, endless time
and memory, each as it stands and in seven disguises (behind comments, as one of two statements, within another, explained, in
capitals). Each was refused in one line, and not a byte of the store changed.

## SLURM
On a real SLURM of one node, {on_slurm}: a job that is warned twice, as at its limit, queues itself again and commits the
run of an unlimited training, bit by bit; five splits as an array commit five runs; a cancelled job stays resumable; a
batch script of one's own goes on through its limit; what SLURM refuses is a line.

## What is not promised
A disk that says that bytes are safe when they are not; a file system on which rename is not atomic. Bits are the same on
the same kind of CPU with the same number of threads, which a run records and a continued run keeps.
"""


def main() -> None:
    """Read the options, do every part, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500, help="trainings to kill")
    parser.add_argument("--command-kills", type=int, default=150, help="other commands to kill")
    parser.add_argument("--step", type=int, default=1, help="inject a fault at one operation in so many")
    parser.add_argument("--inputs", type=int, default=2000, help="damaged files for each reader")
    parser.add_argument("--seed", type=int, default=0, help="of kills and damage")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part alone; the page is not written then")
    parser.add_argument("--figures", type=Path, help="keep each part's figures here, and do only what this file lacks")
    parser.add_argument("--output", type=Path, default=PAGE, help="the page")
    options = parser.parse_args()
    made: dict[str, dict[str, Any]] = {}
    if options.figures is not None and options.figures.exists():
        made = json.loads(options.figures.read_text(encoding="utf-8"))
    for part in options.only or [each for each in PARTS if each not in made]:
        print(f"{part} …", file=sys.stderr)
        made[part] = figures(part, options)
        print(f"{part}: {json.dumps(made[part])}", flush=True)
        if options.figures is not None:
            options.figures.write_text(json.dumps(made), encoding="utf-8")
    if not options.only:
        options.output.write_text(page(made, options), encoding="utf-8")
        print(f"{options.output} is written", file=sys.stderr)


if __name__ == "__main__":
    main()
