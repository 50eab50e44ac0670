"""Adds patches to the cohort, with their slices and cases, and drops features that no longer fit."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import ConflictError
from milstore.ingest.kept_regions import keep_regions
from milstore.ingest.label_edit import write_cases
from milstore.ingest.patch_reconcile import Merged, common_root, merged, rooted, sorted_side
from milstore.ingest.place_numbers import with_numbers
from milstore.ingest.slices import SliceBook, with_slides
from milstore.ingest.units import refuse_mixed_units
from milstore.store import Store
from milstore.store.cohort_edit import CohortEdit
from milstore.store.cohort_repair import speak_of_others
from milstore.store.content_hash import content_hash
from milstore.store.features import is_as_stored, open_features
from milstore.store.names import clip, counted, named
from milstore.store.patch_index import PLACE
from milstore.store.patch_root import edited_patch_root, put_patch_root
from milstore.store.run_reader import run_ids
from milstore.store.run_writer import list_drafts
from milstore.store.slides import Slides

REBUILT = ("slices", "patches", "patch_roots")
"""Tables that patches make again where their files are damaged."""


def put_patches(
    store: Store, edit: CohortEdit, table: pa.Table, root: Path | None, *, replace: bool, whole: bool
) -> tuple[Merged, list[str]]:
    """Put patches into an edit. Returns the result, and the encoders whose features were dropped.

    Args:
        store: the store.
        edit: the edit.
        table: case_id, stain, slice_name, patch_idx (null where only the place is known), file, x, y, width, height, and
            perhaps unit and grid.
        root: the folder that the files lie below; None where the patches have no files.
        replace: take the table's word where the store says otherwise.
        whole: known patches that the table lacks go.

    Raises:
        DataError: two rows are one patch.
        ConflictError: a known patch has another file or place, or features or runs speak of slices that would lose
            patches (see `ingest_patches`).
    """
    known = edit.table("patches")
    if root is not None:
        before = None if replace else edited_patch_root(edit)
        common = common_root(str(before) if before else None, root)
        if before:
            known = _with_files(known, rooted(known["file"], before, common))
        table = _with_files(table, rooted(table["file"], root, common))
        put_patch_root(edit, common)
    refuse_mixed_units(table, known, edit.table("slices"))
    table = with_numbers(table, known, edit.table("slices"))
    book = SliceBook()
    new = sorted_side(book, book.ids_by_name(table), table)
    old = sorted_side(book, book.ids_by_idx(known, edit.table("slices")), known)
    result = merged(book, old, edit.table("slices"), new, replace=replace, whole=whole)
    if edit.is_lost("slices"):
        _write(edit, result)
        return result, _drop_unfitting(store, edit)
    dropped = _drop_features(store, edit, result, replace=replace)
    _write(edit, result)
    return result, dropped


def _drop_unfitting(store: Store, edit: CohortEdit) -> list[str]:
    """After slices and patches were rebuilt: drop encoders whose features may refer to other patches.

    Raises:
        ConflictError: runs may speak of other slices or patches, or are being trained on them.
    """
    entries = edit.base.manifest["tables"]
    # What a number stood for is known where the table of slices is again what it was, to the last value.
    same = content_hash(edit.table("slices")) == entries["slices"]["content"]
    patches = edit.table("patches")
    runs = speak_of_others(store, patches) if same else run_ids(store)
    if same and edit.base.manifest["tables"]["patches"]["content"] == content_hash(patches):
        return []
    if runs or (list_drafts(store) and not same):
        damaged = next(entries[name] for name in ("slices", "patches") if edit.base.damage(name))
        raise ConflictError(
            f"{damaged['file']} fails its check, and these are not the patches that were there "
            f"({counted(entries['patches']['rows'], 'patch', 'patches')} in "
            f"{counted(entries['slices']['rows'], 'slice')} then, {patches.num_rows} in {edit.table('slices').num_rows} "
            f"now), of which runs speak ({named(runs or list_drafts(store), 3)}): ingest those that were there, "
            "restore it from a backup, or delete the runs"
        )
    hit = []
    for encoder in _encoders(edit):
        packed = open_features(store, edit.base, encoder)
        fits = same and is_as_stored(packed)
        if not fits or packed.patches.join(patches.select(list(PLACE)), list(PLACE), join_type="left anti").num_rows:
            hit.append(encoder)
    if hit:
        edit.replace("encoders", edit.table("encoders").filter(~pc.field("encoder").isin(hit)))
    return hit


def _with_files(table: pa.Table, files: pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index("file"), "file", files)


def _drop_features(store: Store, edit: CohortEdit, result: Merged, *, replace: bool) -> list[str]:
    """Drop encoders whose features refer to renumbered slices. Raises ConflictError unless that is allowed."""
    if not result.moved:
        return []
    case_id, stain, slice_name = result.moved[0]
    what = f"{len(result.moved)} slices would lose patches (case {clip(case_id)}, {stain}, {slice_name})"
    runs = len(run_ids(store)) + len(list_drafts(store))
    if runs:
        raise ConflictError(f"{what}, and {runs} runs speak of them: ingest the larger cohort into a store of its own")
    moved = {(case_id, stain, name) for case_id, stain, name in result.moved}
    slices = edit.base.table("slices").to_pylist()
    places = {
        (s["case_id"], s["stain"], s["slice_idx"])
        for s in slices
        if (s["case_id"], s["stain"], s["slice_name"]) in moved
    }
    hit = []
    for encoder in _encoders(edit):
        features = open_features(store, edit.base, encoder)
        if not is_as_stored(features):
            # What they speak of cannot be told.
            hit.append(encoder)
            continue
        packed = features.patches.group_by(["case_id", "stain", "slice_idx"]).aggregate([])
        if any(tuple(row.values()) in places for row in packed.to_pylist()):
            hit.append(encoder)
    if hit and not replace:
        raise ConflictError(
            f"{what}, and the features of {named(hit)} speak of them: use --replace to drop the features"
        )
    if hit:
        edit.replace("encoders", edit.table("encoders").filter(~pc.field("encoder").isin(hit)))
    return hit


def _encoders(edit: CohortEdit) -> list[str]:
    """The encoders that have features; none where their table is damaged, which is repaired later."""
    found: list[str] = [] if edit.is_unusable("encoders") else edit.table("encoders")["encoder"].to_pylist()
    return found


def _write(edit: CohortEdit, result: Merged) -> None:
    cases = {row["case_id"]: row for row in edit.table("cases").to_pylist()}
    new = [case_id for case_id in pc.unique(result.slices["case_id"]).to_pylist() if case_id not in cases]
    if new:
        write_cases(edit, cases | {case_id: {"case_id": case_id} for case_id in new})
    before = edit.table("patches")
    edit.replace("slices", with_slides(result.slices, Slides(edit)))
    edit.replace("patches", result.patches)
    keep_regions(edit, before)
