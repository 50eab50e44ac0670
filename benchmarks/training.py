"""How fast training is, as ratios to bounds and rivals timed in the same run.

    python -m benchmarks.training FOLDER [--threads 1] [--rounds 5] [--only epoch,rival,...]

FOLDER keeps the cohort and the rival's files from one time to the next. Every row is printed as it is measured; with
--page the rows are put into the training part of docs/performance.md.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.computing import epoch_rows, gpu_rows, linear_rows, rival_rows
from benchmarks.feeding import loading_rows, memory_rows, split_rows
from benchmarks.libraries import library_rows
from benchmarks.make_cohort import Shape
from benchmarks.page import HEAD, Row, machine, put_on_page, table
from benchmarks.parts import add_only
from benchmarks.trainings import Bench
from milstore.training.provenance import repeatable_arithmetic

PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "epoch": epoch_rows,
    "rival": rival_rows,
    "libraries": library_rows,
    "loading": loading_rows,
    "memory": memory_rows,
    "splits": split_rows,
    "linear": linear_rows,
    "gpu": gpu_rows,
}


NOTES = """\
- **The bound** of an epoch is what no training can leave out: two products of matrices a case, on float32 features that
  lie in memory. It is timed by both libraries that torch carries. oneDNN is the faster on some processors, and there the
  harder bound; milstore gives it what is large and leaves the rest to `torch.nn.Linear` (`milstore/models/products.py`).
  Turning float16 into float32, the attention, the optimiser and all else is in the epoch and not in the bound.
- **The rival** (`benchmarks/rival.py`) is the same model with the same optimiser and one step a case, written as it
  commonly is: a module a level, a loop over slices, `torch.nn.Linear`. Files are read by a DataLoader of two workers from
  a page cache that is warm; on a cold disk or a cluster's file system they take longer. In memory, its slices are float32
  already. Ours begins from float16 both times.
- **torchmil's ABMIL and plain torch** (`benchmarks/libraries.py`) have the same widths, optimiser and one step a case, and
  their features lie in memory as float32; ours begins from float16. Small bags show what a step costs beside its products.
- **Loading** is compared with bare `readinto` of the same bytes. `touch` and what runs before each contender only keep
  fresh memory from being found by the system at one contender's cost.
- **Memory**: `--memory` limits what features take; weights, gradients, moments of the optimiser and activations come on
  top, some 0.2 GB however large the store is. Hence the peak is measured at full size, and once, as it takes minutes.
- **Splits** of one command are trained one after another over features that are loaded once. With `--launcher local`
  each split is a process of its own: the disk is read once, as the page cache is common, but each process holds its
  features itself, so give each its `--memory` where they would not fit together.
- **On a GPU**: rows appear where there is one; where none is named above, nothing was measured on one.
"""


def about(bench: Bench, load_before: float) -> str:
    """The machine, the sizes, and how busy it was."""
    return (
        f"{machine('torch')}; "
        f"{bench.threads} thread{'s' if bench.threads > 1 else ''}; {bench.shape.cases} cases, "
        f"{bench.packed.patches.num_rows:,} patches of {bench.shape.features} float16 features, "
        f"{len(bench.cases.of('train'))} cases in training; medians of {bench.rounds} rounds; "
        f"load average {load_before:.1f} before and {os.getloadavg()[0]:.1f} after."
    )


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(tempfile.gettempdir()) / "milstore-benchmarks")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", type=int, default=Shape.cases)
    parser.add_argument("--features", type=int, default=Shape.features)
    parser.add_argument("--slice-patches", type=int, nargs=2, default=Shape.slice_patches, metavar=("LEAST", "MOST"))
    add_only(parser, PARTS)
    parser.add_argument("--page", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args(words)
    low, high = options.slice_patches
    shape = Shape(
        cases=options.cases,
        features=options.features,
        slice_patches=(low, high),
        large_slice=500 if high == 160 else 3 * high,
    )
    bench = Bench(options.folder, shape, options.threads, options.rounds)
    # As `milstore train` does, before anything is timed: rivals and bounds have it as well.
    load = os.getloadavg()[0]
    print(HEAD)
    rows = []
    with repeatable_arithmetic(options.threads):
        for part in options.only:
            for row in PARTS[part](bench):
                print(row, flush=True)
                rows.append(row)
    print(f"\n{about(bench, load)}")
    if options.page:
        put_on_page("Training", table(about(bench, load), rows, NOTES.rstrip()))


if __name__ == "__main__":
    main()
