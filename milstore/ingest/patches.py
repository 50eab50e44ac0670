"""Ingests patches: one image file each, identified by its name."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from milstore.ingest.cohort_update import REBUILT, put_patches
from milstore.ingest.coordinates import with_coordinates
from milstore.ingest.patch_preview import images_and_names
from milstore.ingest.patch_reconcile import sorted_side
from milstore.ingest.slices import SliceBook
from milstore.ingest.unread_names import left_out
from milstore.pixels.image_sizes import image_sizes
from milstore.progress import Progress, silent
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.io import write_text
from milstore.store.names import counted, named
from milstore.store.patch_root import patch_root

_SHOWN = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchesReport:
    """What `ingest_patches` did."""

    changed: bool
    folder: str
    patches: int
    """Patches of the folder."""
    cases: int
    slices: int
    new: int
    kept: int
    """Patches of the store that the folder does not have, kept."""
    removed: int
    """Patches of the store that the folder does not have, removed."""
    skipped: tuple[str, ...]
    """File and reason of each image whose name was not read."""
    skipped_told: tuple[str, ...]
    """Lines about them: how many, some of them with how far they fit, and the pattern."""
    skipped_list: Path | None
    """The file that lists them."""
    links_out: tuple[str, ...]
    """Links that lead out of the folder, left out."""
    dropped_encoders: tuple[str, ...]
    """Encoders whose features no longer fit and were dropped."""
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report, as lines of text."""
        where = f"{counted(self.cases, 'case')} in {counted(self.slices, 'slice')}"
        lines = [f"{self.folder}: {counted(self.patches, 'patch', 'patches')} of {where}, {self.new} of them new"]
        lines += self.skipped_told
        if self.links_out:
            links = named(self.links_out, _SHOWN)
            lines.append(
                f"left out: {counted(len(self.links_out), 'link')} out of the folder ({links}): --follow-links"
            )
        if self.kept:
            lines.append(
                f"kept: {counted(self.kept, 'patch', 'patches')} of the store that this folder does not have (--replace removes them)"
            )
        if self.removed:
            lines.append(
                f"removed: {counted(self.removed, 'patch', 'patches')} of the store that this folder does not have"
            )
        if self.dropped_encoders:
            lines.append(f"dropped: the features of {named(self.dropped_encoders)}; ingest or encode them again")
        return [*lines, *self.notes, *([] if self.changed else ["nothing changed"])]


def ingest_patches(
    store: Store,
    folder: str | Path,
    *,
    names_only: bool = False,
    coordinates: str | Path | None = None,
    follow_links: bool = False,
    replace: bool = False,
    format: str | None = None,
    jobs: int | None = None,
    progress: Progress = silent,
) -> PatchesReport:
    """Ingest the patch images below a folder. Cases that the store does not know are created, without a label.

    Every image's header is read for its size, unless `names_only`; a known size is not read again. The paths stored are
    relative to the folder, or to the folder above it and the one ingested before.

    A slice's number is given once, in the natural order of the names; slices that come later get the next numbers. A patch
    whose name says its place and no number is found by its place, or gets the next number (see
    `milstore.ingest.place_numbers`).

    With `replace` the folder is the whole truth: known patches that it lacks go, and with them the features that speak of
    their slices, which can be made again. Runs cannot: while there are any, finished or not, a slice that is known keeps
    its patches, `replace` or not. `format` is the name of the images'
    format, or ./file.py:Class; found by their content if left out.

    Raises:
        DataError: no folder, no readable name, a stain that the store does not have, one patch twice, or no image.
        ConflictError: a known patch has another file or size now, or slices would lose patches.
    """
    progress("reading names", 0, 1)
    rebuilds = REBUILT if replace else ()
    found, names = images_and_names(store, folder, follow_links=follow_links, format=format, rebuilds=rebuilds)
    progress("reading names", 1, 1)
    table = names.table if coordinates is None else with_coordinates(names.table, Path(coordinates))
    book = SliceBook()
    slice_ids = book.ids_by_name(table)
    if not names_only:
        if not table["patch_idx"].null_count:
            sorted_side(book, slice_ids, table)  # two files of one patch are found before a long reading of images
        formats = None if format is None else {"": format}
        table = _with_sizes(store, table, found.root, formats, replace=replace, jobs=jobs, progress=progress)
    progress("storing", 0, 1)
    with edit_cohort(store, rebuild=rebuilds) as edit:
        result, dropped = put_patches(store, edit, table, found.root, replace=replace, whole=replace)
    progress("storing", 1, 1)
    skipped = tuple(f"{file}: {reason}" for file, reason in sorted(names.unread))
    listed = _list_skipped(store, skipped) if skipped else None
    return PatchesReport(
        changed=edit.changed,
        folder=str(folder),
        patches=table.num_rows,
        cases=pc.count_distinct(table["case_id"]).as_py(),
        slices=len(book.keys),
        new=result.new,
        kept=result.kept,
        removed=result.removed,
        skipped=skipped,
        skipped_told=tuple(left_out(store.settings.name_pattern, names.unread, "image", str(listed))),
        skipped_list=listed,
        links_out=tuple(sorted(found.links_out)),
        dropped_encoders=tuple(dropped),
        notes=(*names.notes, *edit.notes),
    )


def _with_sizes(
    store: Store,
    table: pa.Table,
    root: Path,
    format_of: dict[str, str] | None,
    *,
    replace: bool,
    jobs: int | None,
    progress: Progress,
) -> pa.Table:
    """The table with width and height from the images' headers where names and coordinates do not give them."""
    unread = np.ones(table.num_rows, bool)
    if not replace:
        unread = ~np.asarray(pc.is_in(_absolute(table["file"], root), value_set=_measured(store)))
    files = table["file"].filter(pa.array(unread)).to_pylist()
    sizes = np.zeros((table.num_rows, 2), np.int32)
    sizes[unread] = image_sizes(root, files, format_of=format_of, jobs=jobs, progress=progress)
    for column, name in enumerate(("width", "height")):
        # A slide's patch has pixels of the slide's level 0, of which its image may have fewer.
        measured = pa.array(sizes[:, column], mask=~unread | _of_slides(table))
        table = table.set_column(table.column_names.index(name), name, pc.coalesce(table[name], measured))
    return table


def _of_slides(table: pa.Table) -> npt.NDArray[np.bool_]:
    """Which patches were read as those of slides."""
    if "slide_id" not in table.column_names:
        return np.zeros(table.num_rows, bool)
    return np.asarray(table["slide_id"].is_valid())


def _measured(store: Store) -> pa.Array:
    """Absolute paths of the images whose size the store knows."""
    cohort = read_cohort(store)
    root = patch_root(cohort)
    known = cohort.table("patches").filter(pc.field("width").is_valid() & pc.field("file").is_valid())
    return _absolute(known["file"], root) if root is not None else pa.array([], pa.string())


def _absolute(files: pa.ChunkedArray, root: Path) -> pa.Array:
    return pc.binary_join_element_wise(pa.scalar(str(root)), files.combine_chunks(), "/")


def _list_skipped(store: Store, skipped: tuple[str, ...]) -> Path:
    """A file that lists what was skipped, named by its content: the same list is the same file."""
    text = "".join(f"{line}\n" for line in skipped)
    path = store.root / f"ingest-skipped-{hashlib.sha256(text.encode()).hexdigest()[:8]}.txt"
    if not path.exists():
        write_text(path, text)
    return path
