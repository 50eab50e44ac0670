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

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reliability.md"
PARTS = ("kills", "takeovers", "faults", "inputs")
SCENARIOS = ("signals", "twice", "contended", "raced", "suspended", "suspended-at-every-operation")


def program(*words: object) -> str:
    """What a program of the tests prints, given a fresh folder. SystemExit if it fails."""
    module, *options = map(str, words)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", module, folder, *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            # One thread: the programs fork.
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    if done.returncode:
        sys.exit(f"{module} {' '.join(options)}: a promise is broken, see above")
    return done.stdout


def figures(part: str, options: argparse.Namespace) -> dict[str, Any]:
    """What came of one part."""
    began = time.monotonic()
    if part == "kills":
        made = json.loads(program("tests.killing", options.kills, options.seed))
    elif part == "takeovers":
        made = {"suspended": json.loads(program("tests.interrupting", *SCENARIOS))["suspended-at-every-operation"]}
    elif part == "faults":
        said = program("tests.faults", options.step)
        made = {"by": said.partition(", together")[0].strip(), "faults": int(said.split()[-2])}
    else:
        made = json.loads(program("tests.fuzzing", options.inputs, options.seed))
    return {**made, "seconds": round(time.monotonic() - began)}


def page(made: dict[str, dict[str, Any]], options: argparse.Namespace) -> str:
    """docs/reliability.md."""
    kills, takeovers, faults, inputs = (made[part] for part in PARTS)
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
| trainers suspended at an operation of their commit, taken over and woken | {takeovers["suspended"]} | 0 | {takeovers["seconds"] / 60:.1f} |
| faults injected into writes | {faults["faults"]} | 0 | {faults["seconds"] / 60:.1f} |
| damaged files read | {inputs["inputs"]} | 0 | {inputs["seconds"] / 60:.1f} |

## Kills
{kills["trainings"]} trainings were killed {kills["kills"]} times ({where}), the unluckiest {kills["most_kills_of_one"]}
times, and continued by the same call until they completed. Each was compared with a twin that nobody killed: predictions,
probabilities, attention, coverage, weights and epochs (but for their seconds) were equal **to the last bit**. No run was
there twice, and at the end `doctor` found no damage, and no leftover after `doctor --mend`. A training is four
configurations in turn (the three poolings, a cap on patches, dropout, penalties, early stopping), some with a checkpoint
after every case.

## Signals, contenders and sleepers
- SIGTERM, SIGINT, SIGUSR1 and SIGUSR2: exit 75, a line that says how to go on, and the same command ends in the twin's bits.
- A second Ctrl-C stops within the case, with exit 75; nothing but the epoch is lost.
- A run that a living process trains is refused to others by the owner's name; of several that take over a dead one's run
  at the same moment, one gets it.
- A trainer was suspended at each of the {takeovers["suspended"]} operations of its commit on the disk, another took its
  run over and finished it, and the first woke: it wrote nothing, said so and ended; or it had committed before, and then
  that run stood.

## Faults
At {every} that changes the disk (write, fsync, rename, mkdir, chmod, unlink) during {faults["by"]}: the disk is full,
the disk is broken, the process is killed. After each, the store opens and holds wholly what it held before or wholly what
was to be written, `doctor` finds no damage, mending removes leftovers alone, and the work can be done again.

## Damaged files
{inputs["inputs"]} files, of {inputs["readers"]} kinds, with one to four random changes (bytes set, inserted, zeroed, cut
off): {inputs["refused"]} were refused by one line, the others read as what they say; no reader ended in any other way.

## What is not promised
A disk that says that bytes are safe when they are not; a file system on which rename is not atomic. Bits are the same on
the same kind of CPU with the same number of threads, which a run records and a continued run keeps.
"""


def main() -> None:
    """Read the options, do every part, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500, help="trainings to kill")
    parser.add_argument("--step", type=int, default=1, help="inject a fault at one operation in so many")
    parser.add_argument("--inputs", type=int, default=2000, help="damaged files for each reader")
    parser.add_argument("--seed", type=int, default=0, help="of kills and damage")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part alone; the page is not written then")
    parser.add_argument("--output", type=Path, default=PAGE, help="the page")
    options = parser.parse_args()
    made = {}
    for part in options.only or PARTS:
        print(f"{part} …", file=sys.stderr)
        made[part] = figures(part, options)
        print(f"{part}: {json.dumps(made[part])}")
    if not options.only:
        options.output.write_text(page(made, options), encoding="utf-8")
        print(f"{options.output} is written", file=sys.stderr)


if __name__ == "__main__":
    main()
