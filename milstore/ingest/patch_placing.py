"""Finds the patch of the store that each row of a run's table is about.

A row names its patch by its file, by its place on the slice, or by an index; what an index is, the user says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError, UsageError
from milstore.formats.registry import FORMATS
from milstore.ingest.file_names import read_names
from milstore.ingest.member_positions import NUMBER, Members, Rows, check_reading, rows_in
from milstore.pixels.registry import PIXELS
from milstore.store.case_ids import CaseIds
from milstore.store.cohort import Cohort
from milstore.store.features import PLACE
from milstore.store.names import clip, counted
from milstore.store.settings import Settings

SLICES_BY, PATCHES_BY = "--slices-by", "--patches-by"
_SLICE = ["case_id", "stain", "slice_idx"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Understood:
    """How the rows of a table were matched to patches."""

    patches: str
    """number, text-position, natural-position, file or coordinates"""
    slices: str
    """number, text-position, natural-position, name, file or coordinates"""
    why: tuple[str, ...]
    """The same in words, a line each."""
    counted: str | None = None
    """Which patches the positions counted; None where there are none."""

    def facts(self) -> dict[str, str]:
        """What is stored with the run."""
        found = {"patches": self.patches, "slices": self.slices}
        return found if self.counted is None else {**found, "counted": self.counted}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """The user's statement of what a table's indices mean; None if not given."""

    patches_by: str | None = None
    slices_by: str | None = None

    def __post_init__(self) -> None:
        """UsageError if there is no such reading."""
        check_reading(self.patches_by, PATCHES_BY)
        check_reading(self.slices_by, SLICES_BY)


class Ground:
    """The store's slices and patches of some cases."""

    def __init__(self, cohort: Cohort, cases: pa.Array, encoder: str, encoded: pa.Table | None) -> None:
        """Look the cases up.

        Args:
            cohort: the store's cohort.
            cases: the cases of the table.
            encoder: name of what made the features.
            encoded: the patches (case_id, stain, slice_idx, patch_idx) with its features, None if it has none: then
                positions count every patch.
        """
        slices, patches = cohort.table("slices"), cohort.table("patches")
        slices = slices.filter(pc.is_in(slices["case_id"], cases))
        patches = patches.filter(pc.is_in(patches["case_id"], cases))
        slice_row = rows_in(patches, slices, _SLICE)
        self.slice_row = slice_row
        """The row of `slices.table` of each row of `patches.table`."""
        counts = np.ones(patches.num_rows, bool) if encoded is None else rows_in(patches, encoded, PLACE) >= 0
        slice_counts = np.zeros(slices.num_rows, bool)
        slice_counts[slice_row[counts]] = True
        names = pc.replace_substring_regex(patches["file"], r"(?s)\A.*/", "")
        patches = patches.append_column("slice_name", slices["slice_name"].take(pa.array(slice_row)))
        self.counted = "every patch of the store" if encoded is None else f"patches with features of {encoder}"
        which = "in the store" if encoded is None else f"with features of {encoder}"
        self.slices = Members(
            noun=("slice", "slices"), parents=("case_id", "stain"), shown=("case_id", "stain"), index="slice_idx",
            name="slice_name", option=SLICES_BY, table=slices, counts=slice_counts, which=which,
        )  # fmt: skip
        self.patches = Members(
            noun=("patch", "patches"), parents=tuple(_SLICE), shown=("case_id", "stain", "slice_name"),
            index="patch_idx", name="name", option=PATCHES_BY, table=patches.append_column("name", names),
            counts=counts, which=which,
        )  # fmt: skip

    @property
    def has_coordinates(self) -> bool:
        """Whether any of the patches has a place on its slice."""
        return bool(self.patches.table["x"].null_count < self.patches.table.num_rows)


def place_rows(
    path: Path, rows: pa.Table, ground: Ground, reading: Reading, *, whole: bool = True
) -> tuple[Rows, Understood]:
    """The row of `ground.patches.table` of each row of a table with case_id, stain, slice_idx or slice_name, and x and y
    or patch_idx. The table has every patch of a slice that it speaks of, unless it is not `whole`.

    Raises:
        UsageError: it is not certain what an index is, and the user does not say.
        DataError: a slice or a patch is not in the store, or positions do not fit the number of slices or patches.
    """
    by_place = "x" in rows.column_names
    columns = {"case_id": rows["case_id"], "stain": rows["stain"]}
    if by_place and "slice_name" not in rows.column_names and reading.slices_by is None:
        table = pa.table({**columns, "x": rows["x"], "y": rows["y"]})
        found = _by_coordinates(path, table, ground)
        line = "patches: by their coordinates (x, y) within case and stain" + _unused(rows, ("slice_idx", "patch_idx"))
        return found, Understood(patches="coordinates", slices="coordinates", why=(line,))
    slices, slices_by, slice_line = _slices(path, rows, ground, reading.slices_by, whole=whole)
    columns["slice_idx"] = ground.slices.table["slice_idx"].take(pa.array(slices))
    if by_place:
        found = _by_coordinates(path, pa.table({**columns, "x": rows["x"], "y": rows["y"]}), ground)
        line = "patches: by their coordinates (x, y) within the slice" + _unused(rows, ("patch_idx",))
        patches_by = "coordinates"
    else:
        asked = pa.table({**columns, "patch_idx": rows["patch_idx"]})
        found, patches_by, line = _read_index(path, asked, ground.patches, reading.patches_by, whole=whole)
    position = any(by.endswith("position") for by in (slices_by, patches_by))
    why = (slice_line, line, *([f"positions count {ground.counted}"] if position else []))
    return found, Understood(
        patches=patches_by, slices=slices_by, why=why, counted=ground.counted if position else None
    )


def _unused(rows: pa.Table, names: Sequence[str]) -> str:
    there = [name for name in names if name in rows.column_names]
    return f"; {' and '.join(there)} not used" if there else ""


def _slices(path: Path, rows: pa.Table, ground: Ground, by: str | None, *, whole: bool) -> tuple[Rows, str, str]:
    """The slice of each row, the reading, and that in words."""
    if "slice_name" not in rows.column_names:
        each = rows.select(["case_id", "stain", "slice_idx"]).group_by(_SLICE, use_threads=False).aggregate([])
        found, by, line = _read_index(path, each.select(_SLICE), ground.slices, by, whole=whole)
        return found[rows_in(rows, each, _SLICE)], by, line
    if by is not None:
        raise UsageError(f"{path} names its slices in the column slice_name: leave {SLICES_BY} out")
    keys = ["case_id", "stain", "slice_name"]
    found = rows_in(rows, ground.slices.table, keys)
    ground.slices.check_found(path, rows.select(keys), found)
    return found, "name", "slices: by their names"


def _read_index(path: Path, asked: pa.Table, members: Members, by: str | None, *, whole: bool) -> tuple[Rows, str, str]:
    why = ""
    members.check_known(path, asked)
    if by is None:
        why = members.certain(asked)
        if not why:
            raise members.refuse(path, asked)
        why = f" ({why})"
    elif by != NUMBER:
        members.check_positions(path, asked, whole=whole)
    found = members.find(asked, by or NUMBER)
    members.check_found(path, asked, found)
    meaning = "the store's number" if by in (None, NUMBER) else f"the {by}"
    return found, by or NUMBER, f"{members.noun[1]}: {members.index} is {meaning}{why}"


def _by_coordinates(path: Path, table: pa.Table, ground: Ground) -> Rows:
    keys = table.column_names
    known = ground.patches.table
    kept = np.flatnonzero(np.asarray(pc.and_(known["x"].is_valid(), known["y"].is_valid())))
    rows = rows_in(table, known.take(pa.array(kept)), keys)
    if (rows < 0).any():
        row = table.slice(int(np.argmax(rows < 0)), 1).to_pylist()[0]
        where = f"case {clip(row['case_id'])}, {row['stain']}, x {row['x']}, y {row['y']}"
        many = rows[np.argmax(rows < 0)] == -2
        advice = "give slice_name too" if many else f"correct them, or say by {PATCHES_BY} what patch_idx is"
        raise DataError(
            f"{path} has {counted(int((rows < 0).sum()), 'row')} whose coordinates are those of "
            f"{'several patches' if many else 'no patch'}, such as {where}: {advice}"
        )
    return kept[rows]


def place_by_file(
    path: Path, rows: pa.Table, column: str, texts: pa.Array, ground: Ground, settings: Settings
) -> tuple[Rows, Understood]:
    """The row of `ground.patches.table` of each row of a table that names its patches' files.

    A file is named by its path, or by its name, with or without the extension. A patch that the store has without a
    file is found by what its name says.

    Raises:
        DataError: a file is no patch of the store, is several, or is of another case, stain or slice than its row says.
    """
    coded = texts.dictionary_encode()
    files = [text.replace("\\", "/").removeprefix("./") for text in coded.dictionary.to_pylist()]
    found = _rows_of_files(path, column, files, ground, settings)[np.asarray(coded.indices)]
    known = ground.patches.table
    for name in ("case_id", "stain", "slice_name"):
        if name not in rows.column_names:
            continue
        said, real = rows[name].combine_chunks(), known[name].take(pa.array(found)).combine_chunks()
        wrong = np.asarray(pc.not_equal(said, real))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataError(
                f"{path} has {clip(texts[row].as_py(), 200)} in {column} with {name} {clip(said[row].as_py())}, "
                f"and it is of {clip(real[row].as_py())}"
            )
    line = f"patches: by their files' names (column {column})" + _unused(rows, ("slice_idx", "patch_idx"))
    return found, Understood(patches="file", slices="file", why=(line,))


def _rows_of_files(path: Path, column: str, files: Sequence[str], ground: Ground, settings: Settings) -> Rows:
    rows = files_in(files, ground.patches.table, settings)
    if (rows < 0).any():
        row = int(np.argmax(rows < 0))
        what = "is the name of several patches: give its path" if rows[row] == -2 else "is no patch of these cases"
        many = f" (and {int((rows < 0).sum()) - 1} more)" if (rows < 0).sum() > 1 else ""
        raise DataError(f"{path} has {clip(files[row], 200)!r} in column {column}, which {what}{many}")
    return rows


def files_in(files: Sequence[str], known: pa.Table, settings: Settings) -> Rows:
    """The row of a table of patches (case_id, stain, slice_name, patch_idx, file) of each file, named by its path or by
    its name, with or without the extension; -1 where there is none, -2 where there are several.

    A patch that has no file there is found by what the name says.
    """
    files = [file.replace("\\", "/").removeprefix("./") for file in files]
    by_name: dict[str, int] = {}
    for row, file in enumerate(known["file"].to_pylist()):
        name = None if file is None else file.rpartition("/")[2]
        for key in {file, name, name.rpartition(".")[0] or name} if name is not None else ():
            by_name[key] = -2 if key in by_name else row
    rows = np.array([_row_of(file, by_name) for file in files], np.int64)
    unknown = np.flatnonzero(rows == -1)
    if len(unknown):
        rows[unknown] = _rows_by_pattern([files[i] for i in unknown.tolist()], known, settings)
    return rows


def _row_of(file: str, by_name: dict[str, int]) -> int:
    name = file.rpartition("/")[2]
    return next((by_name[key] for key in (file, name, name.rpartition(".")[0]) if key in by_name), -1)


def _rows_by_pattern(files: Sequence[str], known: pa.Table, settings: Settings) -> Rows:
    """The patches that file names speak of, by the store's pattern; -1 where they speak of none."""
    stems, endings = {}, {*PIXELS.endings(), *FORMATS["features"].endings()}
    for file in files:
        name = file.rpartition("/")[2]
        stem, _, extension = name.rpartition(".")
        stems[file] = stem if extension.lower() in endings else name
    slices = known.select(["case_id", "slice_name"]).group_by(["case_id", "slice_name"]).aggregate([]).to_pylist()
    ids = CaseIds({row["case_id"] for row in slices}, [(row["case_id"], row["slice_name"]) for row in slices])
    read = read_names(settings, list(stems), list(stems.values()), ids).table
    # Names that say a place and no number speak of no patch by themselves.
    read = read.filter(read["patch_idx"].is_valid())
    found = rows_in(read, known, ["case_id", "stain", "slice_name", "patch_idx"])
    row_of = dict(zip(read["file"].to_pylist(), found.tolist(), strict=True))
    return np.array([row_of.get(file, -1) for file in files], np.int64)
