"""Builds the demo cohort in a store, by the calls that a group would make for a cohort of its own.

Patches are drawn into `images/`, one file each; labels, places and splits are written as files into `demo/`; then labels,
patches and splits are ingested and the patches encoded. Besides, the store gets the table `planted` (where the atypical
nests are), the annotated region `atypical nest` of the same patches, and the question `planted` (whether attention finds
them).
"""

import csv
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout

from milstore.demo.images import SliceFiles, SliceTask, write_slice
from milstore.demo.plan import CLASS_OF_GRADE, SEED, SPLIT_SET, CohortPlan, plan_cohort
from milstore.encoders.encode import encode_patches
from milstore.errors import ConflictError, StoreError
from milstore.ingest.labels import ingest_labels
from milstore.ingest.patches import ingest_patches
from milstore.ingest.splits import ingest_splits
from milstore.progress import Progress, silent
from milstore.store import Store, create_store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.io import write_json, write_text, write_whole
from milstore.store.plain import read_json
from milstore.workers import mapped

VERSION = 1
"""Changes whenever the same plan would be drawn otherwise."""

ENCODER = "hed"
"""The encoder of the demo's features."""

REGION = "atypical nest"
"""The annotated region that the planted patches lie in."""

_QUESTION = "planted"
_TABLE = "planted"


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoReport:
    """What `build_demo` did."""

    changed: bool
    """False where the demo was there already."""
    root: Path
    cases: int
    slices: int
    patches: int
    planted: int
    """Patches that planted nests cover."""
    n_splits: int

    def lines(self) -> list[str]:
        """The report, as lines of text."""
        if not self.changed:
            return [f"the demo is in {self.root} already: nothing changed"]
        return [
            f"made the demo in {self.root}: {self.cases} cases, {self.slices} slices, {self.patches} patches, "
            f"{self.n_splits} splits, features by {ENCODER}",
            f"{self.planted} patches of the high-grade cases hold planted nests of atypical cells (table {_TABLE})",
        ]


def build_demo(
    root: str | Path,
    *,
    seed: int = SEED,
    cases: Sequence[str] | None = None,
    jobs: int | None = None,
    progress: Progress = silent,
) -> DemoReport:
    """Make the demo cohort in a folder; the same seed gives the same bytes.

    A demo that is there is left as it is; one that was interrupted is finished.

    root: folder of the store; it may exist. cases: only these of the 86 cases (for tests). jobs: processes (default: one
    a processor).

    Raises:
        ConflictError: the store holds another cohort, or another process is making the demo there.
        StoreError: the folder cannot be written.
    """
    plan = plan_cohort(seed, cases)
    store = create_store(root)
    try:
        with _alone(store):
            is_new = _claim(store, plan)
            if not is_new and _is_finished(store):
                return _report(store, changed=False)
            planted = _draw(store, plan, jobs, progress)
            _ingest(store, plan, jobs, progress)
            _plant(store, planted)
            return _report(store, changed=True)
    except OSError as error:
        raise StoreError(f"the demo cannot be written to {store.root}: {error.strerror}") from error


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    folder = store.root / "demo"
    folder.mkdir(exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0, mode=0o664):
            yield
    except Timeout:
        raise ConflictError(f"another milstore demo is at work in {store.root}: wait for it") from None


def _claim(store: Store, plan: CohortPlan) -> bool:
    """Say in the store whose the cohort is going to be; whether this is the first time.

    ConflictError if the store holds another cohort.
    """
    path = store.root / "demo" / "demo.json"
    ours = {"version": VERSION, "seed": plan.seed, "cases": [case.case_id for case in plan.cases]}
    if path.is_file():
        if _claimed(path) != ours:
            raise ConflictError(
                f"the store at {store.root} holds a demo of another version or seed: make this one elsewhere, by --store"
            )
        return False
    if read_cohort(store).table("cases").num_rows or read_cohort(store).table("split_sets").num_rows:
        raise ConflictError(f"the store at {store.root} holds a cohort of its own: make the demo elsewhere, by --store")
    write_json(path, ours)
    return True


def _claimed(path: Path) -> object:
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None


def _is_finished(store: Store) -> bool:
    return _TABLE in read_cohort(store).names()


def _draw(store: Store, plan: CohortPlan, jobs: int | None, progress: Progress) -> list[SliceFiles]:
    """Draw every slice into its folder below images/; incomplete folders are drawn again."""
    images = store.root / "images"
    for left_over in images.glob("*/.*.tmp"):
        shutil.rmtree(left_over)
    tasks = [
        SliceTask(folder=images / f"case_{case.case_id}", case_id=case.case_id, label=case.label, planned=planned)
        for case in plan.cases
        for planned in case.slices
    ]
    drawn: list[SliceFiles] = []
    for result in mapped(write_slice, tasks, jobs=jobs):
        drawn.append(result)
        progress("drawing slices", len(drawn), len(tasks))
    _write_csv(store.root / "demo" / "coordinates.csv", ("file", "x", "y"), (r for d in drawn for r in d.places))
    return drawn


def _ingest(store: Store, plan: CohortPlan, jobs: int | None, progress: Progress) -> None:
    """Ingest and encode the files, as `milstore ingest` and `milstore encode` would."""
    folder = store.root / "demo"
    labels = ((case.case_id, case.grade) for case in plan.cases)
    _write_csv(folder / "labels.csv", ("Case", "Class"), labels)
    subsets = ((str(i), case, subset) for i, split in enumerate(plan.splits, 1) for case, subset in split.items())
    _write_csv(folder / f"{SPLIT_SET}.csv", ("split", "case_id", "subset"), subsets)
    grades = {case.grade for case in plan.cases}
    label_map = {grade: name for grade, name in CLASS_OF_GRADE.items() if grade in grades}
    ingest_labels(store, folder / "labels.csv", case_column="Case", label_column="Class", label_map=label_map)
    ingest_patches(store, store.root / "images", coordinates=folder / "coordinates.csv", jobs=jobs, progress=progress)
    ingest_splits(store, [folder / f"{SPLIT_SET}.csv"], split_set=SPLIT_SET)
    encode_patches(store, ENCODER, jobs=jobs, progress=progress)


def _plant(store: Store, drawn: Sequence[SliceFiles]) -> None:
    """Store the table of planted patches and the question that asks for them; the last step, which ends the demo."""
    text = files("milstore.demo").joinpath(f"{_QUESTION}.sql").read_text(encoding="utf-8")
    store.queries.mkdir(exist_ok=True)
    write_text(store.queries / f"{_QUESTION}.sql", text)
    case_id, stain, slice_idx, patch_idx = np.array([row for d in drawn for row in d.planted], object).reshape(-1, 4).T
    table = pa.table(
        {
            "case_id": pa.array(case_id, pa.string()),
            "stain": pa.array(stain, pa.string()),
            "slice_idx": pa.array(slice_idx, pa.int32()),
            "patch_idx": pa.array(patch_idx, pa.int32()),
        }
    )
    with edit_cohort(store) as edit:
        edit.replace(_TABLE, table)
        # As if a pathologist had drawn round them.
        edit.replace("patch_regions", table.append_column("region", pa.array([REGION] * table.num_rows, pa.string())))


def _report(store: Store, *, changed: bool) -> DemoReport:
    cohort = read_cohort(store)
    return DemoReport(
        changed=changed,
        root=store.root,
        cases=cohort.table("cases").num_rows,
        slices=cohort.table("slices").num_rows,
        patches=cohort.table("patches").num_rows,
        planted=cohort.table(_TABLE).num_rows,
        n_splits=sum(cohort.table("split_sets")["n_splits"].to_pylist()),
    )


def _write_csv(path: Path, header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)

    write_whole(path, write)
