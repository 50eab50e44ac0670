"""How fast runs are committed, names are stored and vectors are packed, as ratios to bounds timed in the same run.

    python -m benchmarks.storing [FOLDER] [--rounds 5] [--only commit,names,vectors]

FOLDER keeps the runs' cohort and the files from one time to the next. Every row is printed as it is measured; with
--page the rows are put into the storing part of docs/performance.md.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.bare import Readers, load_tensors, read_bytes
from benchmarks.make_runs import Shape, make_runs, maker_of, run_facts
from benchmarks.page import HEAD, Row, machine, put_on_page, table
from benchmarks.rounds import Timed, in_rounds
from milstore.ingest.features import ingest_features
from milstore.ingest.patches import ingest_patches
from milstore.ingest.walk import find_files
from milstore.ingest.workers import processors
from milstore.store import Store, create_store
from milstore.store.cohort import read_cohort
from milstore.store.features import VECTORS, open_features
from milstore.store.files import parquet_options, sha256_of, sync_file
from milstore.store.runs import begin_run, mint_run_id
from milstore.store.staging import checked_tables

SLICES = ("match_1_h&e", "match_2_h&e", "match_1_melan", "match_2_melan", "match_1_sox10")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is stored."""

    cases: int = 1000
    patches: int = 1_000_000
    """Of a run, and names of files."""
    vectors: int = 100_000
    """Files of one vector each."""
    features: int = 4096
    """Numbers of a vector."""


@dataclass(frozen=True)
class Bench:
    """What the measurements share."""

    folder: Path
    sizes: Sizes
    rounds: int

    @contextmanager
    def place(self) -> Iterator[Path]:
        """A folder for what contenders write, removed at the end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="timed-", dir=self.folder) as place:
            yield Path(place)

    def made(self, name: str, fill: Callable[[Path], None]) -> Path:
        """A folder of files to read, filled unless it was before."""
        folder, done = self.folder / name, self.folder / f"{name}.made"
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            fill(folder)
            done.touch()
        return folder


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
            folders.append(drafts.pop().commit(run_facts(0), **given))

        timed = in_rounds({"write": write, "write and sync": write_and_sync, "commit": commit}, bench.rounds)
    per_row = (folders[0] / path.name).stat().st_size / attention.num_rows
    for folder in folders:
        folder.chmod(0o755)
        shutil.rmtree(folder)
    what = f"committing a run of {attention.num_rows:,} patches / `pyarrow.parquet.write_table` of its attention"
    yield _ratio(timed, "commit", "write", what, 2)
    yield _ratio(timed, "commit", "write and sync", f"{what} and `fsync`", None)
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


def vectors_rows(bench: Bench) -> Iterator[Row]:
    """Vectors in a file each, against reading those files."""
    vectors, features, processes = bench.sizes.vectors, bench.sizes.features, processors()
    names = patch_names(max(1, vectors // 1000), vectors)
    folder = bench.made(f"vectors-{vectors}x{features}", lambda folder: make_vectors(folder, names, features))
    files = [f"{name}.pt" for name in names]
    packed: list[Path] = []
    with bench.place() as place, Readers(processes) as readers:
        store = create_store(place / "store")
        make_empty(place / "images", names)
        ingest_patches(store, place / "images", names_only=True)

        def hash_last() -> None:
            if packed:
                sha256_of(packed[-1] / VECTORS)

        def touch() -> None:
            """Have the system find the memory that the pack gets: on a virtual machine that can take longest."""
            if packed:
                (packed[-1] / VECTORS).unlink()
            room, block = place / "room", bytes(1 << 20)
            with room.open("wb", buffering=0) as stream:
                for _ in range(1 + (2 * vectors * features >> 20)):
                    stream.write(block)
            room.unlink()

        def pack() -> None:
            encoder = f"e{len(packed)}"
            report = ingest_features(store, folder, encoder=encoder, jobs=processes)
            assert report.patches == vectors
            packed.append(open_features(store, read_cohort(store), encoder).folder)

        contenders: dict[str, Callable[[], object]] = {
            "bytes": lambda: readers.read(read_bytes, str(folder), files),
            "load": lambda: readers.read(load_tensors, str(folder), files),
            "hash": hash_last,
            "touch": touch,
            "pack": pack,
        }
        timed = in_rounds(contenders, bench.rounds)
    bare = f"the bytes of each file read and thrown away, {processes} processes"
    what = f"`milstore ingest features` of {vectors:,} .pt files of {features} float16 numbers"
    yield _ratio(timed, "pack", "load", f"{what} / `torch.load` of each file, {processes} processes", 1.2)
    yield _ratio(timed, "pack", "bytes", f"{what} / {bare}", 1.2)
    yield _ratio(timed, "hash", "bytes", f"one of the two hashes that are within / {bare}", None)


def _ratio(timed: Timed, name: str, to: str, what: str, most: float | None) -> Row:
    """A line for a contender's seconds over a bound's."""
    ratio = timed.ratio(name, to)
    return Row(
        what,
        f"{ratio:.2f} ×",
        "–" if most is None else f"≤ {most:g} ×",
        None if most is None else ratio <= most,
        f"{timed.seconds(name):.2f} against {timed.seconds(to):.2f}",
    )


def patch_names(cases: int, patches: int) -> list[str]:
    """Names of patches, in a folder a case, without an extension."""
    of_case = -(-patches // cases)
    return [
        f"{1 + i // of_case}/case_{1 + i // of_case}_{SLICES[(1 + i % of_case) % len(SLICES)]}_patch{1 + i % of_case}"
        for i in range(patches)
    ]


def make_empty(folder: Path, names: list[str]) -> None:
    """Images without a byte."""
    for place in {name.partition("/")[0] for name in names}:
        (folder / place).mkdir(parents=True)
    for name in names:
        os.close(os.open(f"{folder}/{name}.png", os.O_CREAT | os.O_WRONLY))


def make_vectors(folder: Path, names: list[str], features: int) -> None:
    """Vectors as pooled activations are: float16, zero or above."""
    # Not above: each process that packs imports this module again, and users' processes import no torch.
    import torch

    rng = np.random.default_rng(0)
    for place in {name.partition("/")[0] for name in names}:
        (folder / place).mkdir(parents=True)
    for name in names:
        vector = np.maximum(rng.standard_normal(features, dtype=np.float32), 0).astype(np.float16)
        torch.save(torch.from_numpy(vector), f"{folder}/{name}.pt")


PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "commit": commit_rows,
    "names": names_rows,
    "vectors": vectors_rows,
}


NOTES = """A commit checks every invariant, ranks and sorts, writes five tables, hashes them and brings them to the
disk; its bound writes the largest of the tables, with the same compression, and waits for no disk. Patches are stored
with their slices and cases, and milstore.duckdb is refreshed. Packing checks names, checksums and numbers, writes the
matrix, hashes it twice, brings it to the disk and refreshes milstore.duckdb; the processes of both its bounds are
started, and have imported what they need, before the clock starts, while its own are started within. All files are in
the page cache, and no bound keeps what it reads."""


def about(bench: Bench, load_before: float) -> str:
    """The machine, the sizes, and how busy it was."""
    return (
        f"{machine('pyarrow', 'duckdb', 'torch')}; medians of {bench.rounds} rounds; "
        f"load average {load_before:.1f} before and {os.getloadavg()[0]:.1f} after."
    )


def main(words: list[str] | None = None) -> None:
    sizes = Sizes()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(tempfile.gettempdir()) / "milstore-benchmarks" / "storing"
    parser.add_argument("folder", type=Path, nargs="?", default=default)
    parser.add_argument("--rounds", type=int, default=5)
    for name, number in asdict(sizes).items():
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--only", default=",".join(PARTS), help="parts to measure, with commas between")
    parser.add_argument("--page", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args(words)
    bench = Bench(options.folder, Sizes(**{name: getattr(options, name) for name in asdict(sizes)}), options.rounds)
    load = os.getloadavg()[0]
    print(HEAD)
    rows = []
    for part in options.only.split(","):
        for row in PARTS[part](bench):
            print(row, flush=True)
            rows.append(row)
    print(f"\n{about(bench, load)}")
    if options.page:
        put_on_page("Storing", table(about(bench, load), rows, NOTES))


if __name__ == "__main__":
    main()
