"""How fast runs are committed and names are stored."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.bench import Bench, ratio_row
from benchmarks.make_runs import Shape, make_runs, maker_of, run_facts
from benchmarks.page import Row
from benchmarks.patch_files import make_empty, patch_names
from benchmarks.rounds import in_rounds
from milstore.ingest.file_discovery import find_files
from milstore.ingest.patches import ingest_patches
from milstore.store import Store, create_store
from milstore.store.cohort import read_cohort
from milstore.store.commit import checked_tables
from milstore.store.io import parquet_options, sync_file
from milstore.store.run_writer import begin_run, mint_run_id
from milstore.store.write_run import write_run


def commit_rows(bench: Bench) -> Iterator[Row]:
    """A run of many patches, against the writing of its largest table."""
    shape = Shape(runs=0, cases=bench.sizes.cases, patches=bench.sizes.patches)
    store = make_runs(bench.folder / f"runs-{shape.cases}x{shape.patches}", shape)
    given = maker_of(store, shape).tables(0)
    attention = checked_tables(**given).attention.table
    # A run begins long before its commit.
    drafts = [begin_run(store, mint_run_id("timed", 1, 0), {}) for _ in range(bench.rounds + 1)]
    folders: list[Path] = []
    with bench.place() as place:
        path = place / "attention.parquet"

        def write() -> None:
            pq.write_table(attention, path, **parquet_options(attention))

        def write_and_sync() -> None:
            write()
            sync_file(path)

        def commit() -> None:
            folders.append(write_run(drafts.pop(), given, run_facts(0)))

        timed = in_rounds({"write": write, "write and sync": write_and_sync, "commit": commit}, bench.rounds)
    per_row = (folders[0] / path.name).stat().st_size / attention.num_rows
    for folder in folders:
        folder.chmod(0o755)
        shutil.rmtree(folder)
    what = f"committing a run of {attention.num_rows:,} patches / `pyarrow.parquet.write_table` of its attention"
    yield ratio_row(timed, "commit", "write", what, 2)
    yield ratio_row(timed, "commit", "write and sync", f"{what} and `fsync`", None)
    yield Row("attention on the disk", f"{per_row:.1f} bytes a row", "≤ 12", per_row <= 12, "–")


def names_rows(bench: Bench) -> Iterator[Row]:
    """Names of patch images, from the walk through the folder to the refreshed milstore.duckdb."""
    cases, patches = bench.sizes.cases, bench.sizes.patches
    folder = bench.made(f"names-{cases}x{patches}", lambda folder: make_empty(folder, patch_names(cases, patches)))
    stores: list[Store] = []
    with bench.place() as place:

        def ingest() -> None:
            stores.append(create_store(place / str(len(stores))))
            ingest_patches(stores[-1], folder, names_only=True)

        timed = in_rounds({"walk": lambda: find_files(folder, ("png",)), "ingest": ingest}, bench.rounds)
        stored = read_cohort(stores[-1]).table("patches").num_rows
    seconds, walk = timed.seconds("ingest"), timed.seconds("walk")
    yield Row(
        f"`milstore ingest patches --names-only` of {stored:,} files into a new store",
        f"{seconds:.1f} s, {walk:.1f} s of it the walk through the folder",
        "< 10 s",
        seconds < 10,
        f"{seconds:.1f}",
    )
