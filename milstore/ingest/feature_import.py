"""The ways in which features come in, each ending in a pack: what they share, files of patches, and tables of bags."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import ConflictError, DataError, UsageError
from milstore.formats.bag_table import Bags, read_bags
from milstore.formats.feature_reading import (
    FormatOf,
    Piece,
    pack_piece,
    read_vector,
)
from milstore.formats.interface import Vectors
from milstore.formats.missing_marks import UNSAID, Marks
from milstore.formats.registry import APART
from milstore.ingest.cohort_update import put_patches
from milstore.ingest.encoder_grid import EncoderGrid, put_encoder_facts
from milstore.ingest.file_discovery import Found
from milstore.ingest.file_names import ReadNames, read_names
from milstore.ingest.label_edit import put_labels
from milstore.ingest.label_map import LABEL_ADVICE, Labelled, as_classes
from milstore.ingest.labels import told_unknown
from milstore.ingest.patch_reconcile import Side, in_pack_order, sorted_side
from milstore.ingest.place_numbers import with_numbers
from milstore.ingest.slices import SliceBook
from milstore.ingest.understood import Understood
from milstore.ingest.units import refuse_mixed_units
from milstore.ingest.unread_names import none_is_read
from milstore.progress import Progress
from milstore.store import Store
from milstore.store.case_ids import CaseIds
from milstore.store.cohort_edit import CohortEdit, edit_cohort
from milstore.store.features import FeaturePack, open_features, other_features
from milstore.store.io import write_text
from milstore.store.names import clip, named, natural_key
from milstore.store.paths import SETTINGS_FILE
from milstore.store.pattern import PLACES
from milstore.store.settings import DEFAULT_STAINS, settings_text
from milstore.workers import Crew

BAG_STAIN = "all"
"""Name of the one stain of a store of bags, where nobody has named any."""
BAG_SLICE = "bag"
"""Name of the one slice of a case that was a bag."""
_FEW = 2000
"""Files of a vector each for which starting a process takes longer than reading them."""
_PIECE_BYTES = 1 << 23
_PIECES = 8
"""Pieces for each process, if they are neither much smaller nor much larger than that."""


@dataclass(frozen=True, slots=True)
class Job:
    """What the three ways have in common."""

    store: Store
    plan: CohortEdit
    """The cohort as it was at the beginning. It is not committed: files are read without keeping others from the store."""
    encoder: str
    source: str
    create: bool
    replace: bool
    jobs: int | None
    progress: Progress
    slide_mpp: float | None = None
    """Micrometres a pixel of level 0 of slides that the store knows no resolution of."""
    mixed: bool = False
    """Whether patches of several sizes or resolutions may be one encoder's."""
    dry_run: bool = False
    """Whether nothing is to be read beyond what is said of it, and nothing written."""
    companion: Path | None = None
    """Folder of the files that say how large patches are, where it does not lie beside the features."""
    notes: list[str] = field(default_factory=list)
    """What is to be told of what was read."""
    heed: Callable[[list[str]], None] = lambda _: None
    """Called with the cases before anything of them is stored; raises where they are not wanted."""


@dataclass(frozen=True, slots=True)
class Packed:
    """What a way has packed."""

    n_features: int
    dtype: str
    patches: pa.Table
    created: int
    dropped: list[str]
    edit: CohortEdit
    """What was committed."""
    skipped: tuple[tuple[str, str], ...] = ()
    """File and reason of each whose name was not read."""
    zeros: tuple[str, ...] = ()
    """The file, and the patch, of each vector that is zero throughout: a job that died may have left it so."""
    understood: Understood | None = None
    """What was understood of a folder, a file a slice."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Patches of features, found in a cohort or made in it."""

    rows: pa.Table
    """With their slice_idx, in the order of a pack."""
    created: int
    """How many were made."""
    dropped: list[str]
    """Encoders that were dropped for it."""
    edits: bool
    """Whether the cohort was edited for it."""
    grid: str | None = None
    """Name of the grid that they lie on; None if unknown."""
    seen: EncoderGrid | None = None
    """What the encoder saw; None where nothing is said of it."""


Put = Callable[[CohortEdit], Placed]
"""Finds the patches of a job's features in an edit, and puts in what is to be put in with them."""


def read_patch_names(job: Job, found: Found, *, whole_slices: bool, needed: bool = True) -> ReadNames:
    """What the files' names say; those that do not fit are left out. DataError if none does, and some are `needed`."""
    ids = CaseIds.of(job.plan)
    names = read_names(job.store.settings, found.files, found.stems, ids, whole_slices=whole_slices)
    if not names.table.num_rows and needed:
        kind = "slice" if whole_slices else "patch"
        what = f"{len(names.unread)} of {len(found.files)} files do not say by their name which {kind} they are of"
        raise none_is_read(job.store, what, found, names.unread)
    job.notes.extend(names.notes)
    return names


def placed_in(job: Job, edit: CohortEdit, table: pa.Table) -> Placed:
    """The patches of a table with the columns of `read_names`, whose files are those of the features."""
    known, slices = edit.table("patches"), edit.table("slices")
    refuse_mixed_units(table, known, slices)
    table = with_numbers(table, known, slices)
    book = SliceBook()
    old = sorted_side(book, book.ids_by_idx(known, slices), known)
    new = sorted_side(book, book.ids_by_name(table), table)
    unknown = ~np.isin(new.keys, old.keys)
    barred = unknown & ~_of_slides(table, new) if not job.create else np.zeros_like(unknown)
    if barred.any():
        file = new.table["file"][int(np.argmax(barred))].as_py()
        raise DataError(
            f"{int(barred.sum())} features have no patch in the store, such as {clip(file, 200)}: "
            "ingest the patches first, or use --create-patches where there are no images"
        )
    created, dropped = 0, list[str]()
    edits = bool(unknown.any()) or any(table[name].null_count < table.num_rows for name in PLACES)
    if edits:
        without_files = table.set_column(
            table.column_names.index("file"), "file", pa.nulls(table.num_rows, pa.string())
        )
        result, dropped = put_patches(job.store, edit, without_files, None, replace=job.replace, whole=False)
        created = result.new
    return Placed(in_pack_order(book, new, edit.table("slices")), created, dropped, edits)


def _of_slides(table: pa.Table, side: Side) -> npt.NDArray[np.bool_]:
    """Which patches of a side are of files of slides, as the table says: these are made where they are not known."""
    if "slide_id" not in table.column_names:
        return np.zeros(side.table.num_rows, bool)
    files = table.filter(table["slide_id"].is_valid())["file"]
    return np.asarray(pc.is_in(side.table["file"], value_set=pc.unique(files)))


class NotHalf(Exception):  # noqa: N818 - a turn of the work, not a fault
    """A vector is not float16, so that the pack must be float32."""


def crew_for(jobs: int | None, format_of: FormatOf) -> Crew:
    """Processes that read files, in any case of their own where a format needs it."""
    apart = next((APART[name] for name in format_of.values() if name in APART), None)
    return Crew(jobs, apart or pack_piece.__module__, apart=apart is not None)


def pack_patch_files(job: Job, found: Found, format_of: FormatOf) -> Packed:
    """(a) one file a patch."""
    with crew_for(1 if len(found.files) < _FEW else job.jobs, format_of) as crew:
        names = read_patch_names(job, found, whole_slices=False)
        put: Put = partial(placed_in, job, table=names.table)
        placed = put(job.plan)
        files = placed.rows["file"].to_pylist()
        (first,) = crew.mapped(read_vector, [(str(found.root), files[0], format_of)])
        if job.dry_run:
            return _planned(job, placed, len(first), names.unread, next(iter(dict.fromkeys(format_of.values()))))
        refuse_others(job, placed, 0, first)

        def packed_as(dtype: str) -> Packed:
            with new_pack(job, placed, len(first), dtype) as pack:
                pack_vectors(pack, found.root, files, format_of, crew=crew, progress=job.progress)
                crew.dismiss()
                return dataclasses.replace(commit(job, pack, put, placed), skipped=tuple(names.unread))

        if first.dtype == np.float16:
            # One that is not half may show when much is done, but is rare.
            with contextlib.suppress(NotHalf):
                return packed_as("float16")
        return packed_as("float32")


def _planned(job: Job, placed: Placed, width: int, unread: Sequence[tuple[str, str]], format: str) -> Packed:
    """What would be packed of files of patches, or of a table of bags."""
    slices = placed.rows.group_by(["case_id", "stain", "slice_idx"]).aggregate([])
    understood = Understood(
        tool=format,
        n_slides=slices.num_rows,
        of_slides=False,
        n_cases=len(pc.unique(placed.rows["case_id"])),
        n_patches=placed.rows.num_rows,
        width=width,
        size="",
        uncertain=(),
    )
    return Packed(width, "", placed.rows, placed.created, placed.dropped, job.plan, tuple(unread), (), understood)


def pack_vectors(
    pack: FeaturePack, root: Path, files: Sequence[str], format_of: FormatOf, *, crew: Crew, progress: Progress
) -> None:
    """Put the vectors of files (one a row of `pack.patches`, in that order) into a pack, read by a crew.

    Raises:
        DataError: a file is damaged, its vector has another length than the pack's, or holds NaN or infinity.
        NotHalf: the pack is float16 and a vector is not.
    """
    least = max(64, _PIECE_BYTES // (pack.n_features * pack.dtype.itemsize))
    # A process waits a little for each piece, and at the end for whoever has the last: neither too many nor too few.
    rows = min(max(least, len(files) // (_PIECES * crew.jobs)), 4 * least)
    tasks = [
        Piece(str(root), files[i : i + rows], format_of, i, files[0], pack.target) for i in range(0, len(files), rows)
    ]
    for task, half in zip(tasks, crew.mapped(pack_piece, tasks), strict=True):
        if not half and pack.dtype == np.float16:
            raise NotHalf
        pack.accept(task.first_row, len(task.files))
        progress("packing features", task.first_row + len(task.files), len(files))


def new_pack(job: Job, placed: Placed, n_features: int, dtype: str) -> FeaturePack:
    """Room for the vectors of patches that were found."""
    return FeaturePack(job.store, encoder=job.encoder, n_features=n_features, dtype=dtype, patches=placed.rows)


def refuse_others(job: Job, placed: Placed, row: int, vector: Vectors) -> None:
    """ConflictError if one vector tells that the store has other features of the encoder, before all are packed."""
    known = next((each for each in job.plan.table("encoders").to_pylist() if each["encoder"] == job.encoder), None)
    if job.replace or known is None:
        return
    if open_features(job.store, job.plan.base, job.encoder).cannot_be(placed.rows, row, vector):
        raise other_features(known)


def commit(job: Job, pack: FeaturePack, put: Put, placed: Placed) -> Packed:
    """Put what was packed without the cohort's lock into the cohort as it is by now.

    `placed` is what `put` gave for the cohort as it was. Others wait for the lock, so what holds still is not asked anew.
    """
    job.heed(pc.unique(placed.rows["case_id"]).to_pylist())
    job.progress("storing", 0, 1)
    pack.finish()
    with edit_cohort(job.store, rebuild=job.plan.rebuilds) as edit:
        same = edit.base.fingerprint == job.plan.base.fingerprint and not placed.edits
        now = placed if same else put(edit)
        if not now.rows.equals(placed.rows):
            raise ConflictError(
                f"the patches of the store were changed while features of {job.encoder} were packed: ingest them again"
            )
        pack.commit(edit, source=job.source, replace=job.replace)
        if placed.seen is not None:
            put_encoder_facts(edit, job.encoder, placed.seen, now.grid)
    job.progress("storing", 1, 1)
    return Packed(pack.n_features, pack.dtype.name, now.rows, now.created, now.dropped, edit)


def pack_bags(
    job: Job,
    path: Path,
    bag_column: str,
    index_column: str,
    label_column: str | None,
    label_map: Mapping[str, str] | None,
    stain: str | None,
    marks: Marks = UNSAID,
    format: str | None = None,
    feature_columns: Sequence[str] = (),
) -> Packed:
    """(c) one table of a benchmark."""
    settings = job.store.settings
    unsaid = stain is None and _may_name_stain(job)
    canonical = BAG_STAIN if unsaid else next(iter(settings.stains)) if stain is None else settings.stain_of(stain)
    if canonical is None:
        raise UsageError(
            f"stain {clip(stain or '')!r} is not in this store ({', '.join(settings.stains)}): "
            "add it under [stains] in milstore.toml"
        )
    bags = read_bags(
        path,
        bag_column=bag_column,
        index_column=index_column,
        label_column=label_column,
        known=CaseIds(job.plan.table("cases")["case_id"].to_pylist()),
        marks=marks,
        format=format,
        labels_known={
            row["case_id"]: row["class_name"]
            for row in job.plan.table("cases").to_pylist()
            if row["class_name"] is not None
        },
        feature_columns=feature_columns,
    )
    job.notes.extend(bags.notes)
    count = len(bags.patch_idx)
    columns: dict[str, pa.Array] = {
        "case_id": bags.case_id,
        "stain": pa.repeat(canonical, count),
        "slice_name": pa.repeat(BAG_SLICE, count),
        "patch_idx": pa.array(bags.patch_idx, pa.int32()),
        **{name: pa.nulls(count, pa.int32()) for name in PLACES},
        # The row's place in the table, for messages and to find its vector again.
        "file": pc.binary_join_element_wise(
            "row", pc.cast(pa.array(np.arange(1, count + 1)), pa.string()), f"of {path.name}", " "
        ),
    }

    def put(edit: CohortEdit) -> Placed:
        if unsaid:
            _put_bag_stain(job, edit)
        if bags.labels:
            _put_bag_labels(job, edit, path, label_column or "", bags, label_map, marks)
        placed = placed_in(dataclasses.replace(job, create=True), edit, pa.table(columns))
        return dataclasses.replace(placed, edits=placed.edits or bool(bags.labels))

    placed = put(job.plan)
    order = np.array([int(file.split()[1]) - 1 for file in placed.rows["file"].to_pylist()])
    if job.dry_run:
        return _planned(job, placed, bags.features.shape[1], (), path.name)
    refuse_others(job, placed, 0, bags.features[order[0]])
    with new_pack(job, placed, bags.features.shape[1], bags.features.dtype.name) as pack:
        pack.write(0, bags.features[order])
        return commit(job, pack, put, placed)


def _may_name_stain(job: Job) -> bool:
    """Whether nobody has said anything of the store's stains: then a table of bags need not be of h&e."""
    settings, path = job.store.settings, job.store.root / SETTINGS_FILE
    untouched = not path.exists() or path.read_text(encoding="utf-8") == settings_text(settings)
    return untouched and settings.stains == DEFAULT_STAINS and not job.plan.table("slices").num_rows


def _put_bag_stain(job: Job, edit: CohortEdit) -> None:
    """Let the store have one stain, whose name says nothing of staining; and those that others have used meanwhile."""
    used = set(edit.table("slices")["stain"].to_pylist()) - {BAG_STAIN}
    stains = {stain: names for stain, names in job.store.settings.stains.items() if stain in used} | {BAG_STAIN: ()}
    edit.replace("stains", pa.table({"stain": list(stains), "stain_order": pa.array(range(len(stains)), pa.int32())}))
    if edit is not job.plan:
        settings = dataclasses.replace(job.store.settings, stains=stains)
        write_text(job.store.root / SETTINGS_FILE, settings_text(settings))
        # Whoever has the store open reads them anew.
        vars(job.store).pop("settings", None)
        edit.notes.append(f"the one stain of the store is called {BAG_STAIN}: bags say nothing of staining")


def _put_bag_labels(
    job: Job,
    edit: CohortEdit,
    path: Path,
    column: str,
    bags: Bags,
    label_map: Mapping[str, str] | None,
    marks: Marks,
) -> None:
    labels = {case: label for case, label in bags.labels.items() if not marks.mean_missing(label)}
    present = sorted(set(labels.values()), key=natural_key)
    if label_map is None:
        marks.refuse(path, column, bags.label_lines, bags.label_lines.values(), LABEL_ADVICE)
        label_map = as_classes(edit, path, column, bags.label_lines.items(), marks)
    absent = [label for label in label_map if label not in present]
    unmapped = [label for label in present if label not in label_map]
    if absent or unmapped:
        wrong = f"names label {named(absent)}, which no bag has" if absent else f"lacks the label {named(unmapped)}"
        raise DataError(f"--map {wrong}: {path} has {named(present)}")
    labelled = Labelled(
        class_of={case: label_map[label] for case, label in labels.items()},
        source=labels,
        unknown=dict.fromkeys(case for case in bags.labels if case not in labels),
    )
    put = put_labels(edit, labelled, list(dict.fromkeys(label_map.values())), str(path), replace=job.replace)
    edit.notes.extend(told_unknown(put.unknown, put.kept))
