"""Common to all forms of feature files: the job, its patches, and the pack that is committed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import ConflictError, DataError
from milstore.formats.feature_reading import FormatOf, pack_piece
from milstore.formats.interface import Vectors
from milstore.formats.registry import APART
from milstore.ingest.cohort_update import put_patches
from milstore.ingest.encoder_grid import EncoderGrid, put_encoder_facts
from milstore.ingest.file_discovery import Found
from milstore.ingest.file_names import ReadNames, read_names
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
from milstore.store.names import clip
from milstore.store.pattern import PLACES
from milstore.workers import Crew


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be ingested, and how: common to files of patches, files of slices and tables of bags."""

    store: Store
    plan: CohortEdit
    """The cohort as it was at the beginning.

    It is not committed: files are read without keeping others from the store.
    """
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
    """The result of packing features."""

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
    """The patches that features belong to, found in a cohort or created in it."""

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
"""Finds the patches of a job's features in an edit, and adds to the edit what belongs to them."""


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
    """Find or create the patches of a table with the columns of `read_names`; `file` names the features' files."""
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
    """Which patches come from files of slides: these are created where the store lacks them."""
    if "slide_id" not in table.column_names:
        return np.zeros(side.table.num_rows, bool)
    files = table.filter(table["slide_id"].is_valid())["file"]
    return np.asarray(pc.is_in(side.table["file"], value_set=pc.unique(files)))


def crew_for(jobs: int | None, format_of: FormatOf) -> Crew:
    """Processes that read files; at least one separate process where a format needs that."""
    apart = next((APART[name] for name in format_of.values() if name in APART), None)
    return Crew(jobs, apart or pack_piece.__module__, apart=apart is not None)


def planned(job: Job, placed: Placed, width: int, unread: Sequence[tuple[str, str]], format: str) -> Packed:
    """The result of a dry run, for files of patches or a table of bags."""
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


def new_pack(job: Job, placed: Placed, n_features: int, dtype: str) -> FeaturePack:
    """A new pack for the vectors of patches that were found."""
    return FeaturePack(job.store, encoder=job.encoder, n_features=n_features, dtype=dtype, patches=placed.rows)


def refuse_others(job: Job, placed: Placed, row: int, vector: Vectors) -> None:
    """Raises ConflictError, before everything is packed, if one vector shows that the store has other features of the encoder."""
    known = next((each for each in job.plan.table("encoders").to_pylist() if each["encoder"] == job.encoder), None)
    if job.replace or known is None:
        return
    if open_features(job.store, job.plan.base, job.encoder).cannot_be(placed.rows, row, vector):
        raise other_features(known)


def commit(job: Job, pack: FeaturePack, put: Put, placed: Placed) -> Packed:
    """Commit a pack, filled without the cohort's lock, to the cohort as it is now.

    `placed` is what `put` gave for the cohort as it was. Others wait for the lock, so what holds still is not asked again.
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
