"""What an ingest of patches would read, with nothing written."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError
from milstore.ingest.file_discovery import Found, find_files
from milstore.ingest.file_names import ReadNames, read_names
from milstore.ingest.slide_patch_names import with_slides
from milstore.ingest.unread_names import left_out, none_is_read
from milstore.pixels.registry import PIXELS
from milstore.store import Store
from milstore.store.case_ids import CaseIds
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import CohortEdit
from milstore.store.names import clip, counted, natural_key
from milstore.store.slides import Slides

_SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchesPreview:
    """What the names of a folder say."""

    folder: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    """Some names and what is read of each, by `columns`: spread over the folder."""
    patches: int
    cases: int
    slices: int
    stains: dict[str, int]
    """Patches of each stain."""
    skipped: tuple[str, ...]
    """Lines about the files that would be left out."""
    notes: tuple[str, ...] = ()
    """What else is to be told."""

    def lines(self) -> list[str]:
        """This, as text."""
        where = f"{counted(self.cases, 'case')} in {counted(self.slices, 'slice')}"
        stains = ", ".join(f"{count} {stain}" for stain, count in self.stains.items())
        return [
            f"{self.folder}: would take in {counted(self.patches, 'patch', 'patches')} of {where} ({stains})",
            *self.skipped,
            *self.notes,
            "nothing was written: the same line without --dry-run takes them in",
        ]


def preview_patches(
    store: Store, folder: str | Path, *, follow_links: bool = False, format: str | None = None
) -> PatchesPreview:
    """What `ingest_patches` would read of the names below a folder; no image is opened and nothing written.

    Raises:
        DataError: no folder, no image, no readable name, or a stain that the store does not have.
    """
    _, names = images_and_names(store, folder, follow_links=follow_links, format=format)
    table = names.table
    places = [name for name in ("x", "y", "width", "height") if table[name].null_count < table.num_rows]
    numbers = [] if table["patch_idx"].null_count == table.num_rows else ["patch_idx"]
    columns = ["file", "case_id", "stain", "slice_name", *numbers, *places]
    order = sorted(range(table.num_rows), key=lambda row: natural_key(table["file"][row].as_py()))
    spread = [order[i * (len(order) - 1) // max(1, _SHOWN - 1)] for i in range(min(_SHOWN, len(order)))]
    rows = table.take(pa.array(_distinct(spread, order))).select(columns).to_pylist()
    stains = pc.value_counts(table["stain"]).to_pylist()
    return PatchesPreview(
        folder=str(folder),
        columns=("file", "case", "stain", "slice", *(["patch"] if numbers else []), *places),
        rows=tuple((clip(row["file"], 120), *list(row.values())[1:]) for row in rows),
        patches=table.num_rows,
        cases=pc.count_distinct(table["case_id"]).as_py(),
        slices=table.group_by(["case_id", "stain", "slice_name"]).aggregate([]).num_rows,
        stains={row["values"]: row["counts"] for row in sorted(stains, key=lambda row: _place(store, row["values"]))},
        skipped=tuple(left_out(store.settings.name_pattern, names.unread, "image")),
        notes=names.notes,
    )


def images_and_names(
    store: Store, folder: str | Path, *, follow_links: bool, format: str | None, rebuilds: Collection[str] = ()
) -> tuple[Found, ReadNames]:
    """The images below a folder and what their names say. DataError if there is none, or none is read.

    Cases are told by what is known, but for tables of `rebuilds` that are damaged, which are to be made again.
    """
    endings = PIXELS.endings(None if format is None else [format])
    found = find_files(folder, endings, follow_links=follow_links)
    known = CohortEdit(read_cohort(store), rebuilds=frozenset(rebuilds))
    names = read_names(store.settings, found.files, found.stems, CaseIds.of(known))
    names = with_slides(names, Slides(known))
    if names.table.num_rows:
        return found, names
    if found.files:
        what = f"none of the {len(found.files)} images in {folder} has a name that says what it is"
        raise none_is_read(store, what, found, names.unread)
    if found.links_out:
        raise DataError(
            f"{folder} holds only links that lead out of it, such as {found.links_out[0]}: use --follow-links"
        )
    raise DataError(f"{folder} holds no image ({', '.join(endings)}): name the folder of the patches")


def _distinct(spread: Sequence[int], order: Sequence[int]) -> list[int]:
    """Rows without repetition, as few names are asked for more often than there are."""
    return list(dict.fromkeys([*spread, *order]))[: len(spread)]


def _place(store: Store, stain: str) -> int:
    return list(store.settings.stains).index(stain)
