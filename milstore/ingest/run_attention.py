"""Reads the attention of a model that was trained elsewhere, as a table of the store."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError, UsageError
from milstore.formats.csv_table import file_size
from milstore.formats.data_table import numbers_of, texts_of
from milstore.formats.interface import reported
from milstore.formats.run_table import FILES, LEVELS, run_format
from milstore.formats.study_run import STUDY
from milstore.ingest.patch_placing import (
    PATCHES_BY,
    SLICES_BY,
    Ground,
    Reading,
    Understood,
    place_by_file,
    place_rows,
)
from milstore.store.attention import TOLERANCE
from milstore.store.case_ids import CaseIds
from milstore.store.cohort import Cohort
from milstore.store.features import PLACE
from milstore.store.names import clip, named
from milstore.store.pattern import canonical_slice
from milstore.store.settings import Settings


def read_attention(
    path: Path,
    cohort: Cohort,
    settings: Settings,
    *,
    reading: Reading | None = None,
    encoder: str = "",
    encoded: pa.Table | None = None,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    whole: bool = True,
) -> tuple[pa.Table, Understood]:
    """The table `attention`, without ranks, and how its rows were put on patches.

    The file has case_id and the attention of stain, slice and patch, and says which patch a row is about: by file,
    patch_path or patch (a file's name or path); by stain, x and y; or by stain, slice_idx or slice_name, and patch_idx.
    The effective attention is the product of the three.

    Args:
        path: the file.
        cohort: the store's cohort.
        settings: the store's settings.
        reading: what the user says of slice_idx and patch_idx.
        encoder: name of what made the features.
        encoded: the patches with its features, which positions count; None for all.
        format: name of the file's format, or ./file.py:Class; found by its content if left out.
        columns: what its columns are called here, by their names in the file; None where they need no other.
        whole: whether it has every patch that the model saw; False for a table of the top patches.

    Raises:
        UsageError: it is not certain what an index is, and the user does not say.
        DataError: a column is missing, a stain or slice is unknown, a row has no patch in the store, or a slice lacks
            patches.
    """
    reading = reading or Reading()
    fmt = run_format(path, format, columns)
    file_size(path, "a table of a run")
    with reported(path):
        table = fmt.attention(path)
    if not isinstance(table, pa.Table):
        raise DataError(f"{path}: format {format} gives a {type(table).__name__} for it, not an Arrow table")
    _check_columns(path, table, ["case_id"])
    _check_columns(path, table, LEVELS)
    cases = texts_of(path, table, "case_id").dictionary_encode()
    known = CaseIds(cohort.table("cases")["case_id"].to_pylist())
    ids = pa.array([known.read(text) for text in cases.dictionary.to_pylist()], pa.string())
    ground = Ground(cohort, ids, encoder, encoded)
    placed: dict[str, pa.Array] = {"case_id": ids.take(cases.indices)}
    file_column = _file_column(path, table)
    if "stain" in table.column_names or file_column is None:
        _check_columns(path, table, ["stain"])
        placed["stain"] = _stains(path, table, settings)
    if "slice_name" in table.column_names:
        names = texts_of(path, table, "slice_name").dictionary_encode()
        texts = [canonical_slice(text) for text in names.dictionary.to_pylist()]
        placed["slice_name"] = pa.array(texts, pa.string()).take(names.indices)
    if file_column is not None:
        if reading.patches_by is not None or reading.slices_by is not None:
            raise UsageError(
                f"{path} names its patches in the column {file_column}: leave {PATCHES_BY} and {SLICES_BY} out, or drop it"
            )
        texts = texts_of(path, table, file_column)
        unused = {name: table[name] for name in ("slice_idx", "patch_idx") if name in table.column_names}
        rows, understood = place_by_file(path, pa.table({**placed, **unused}), file_column, texts, ground, settings)
    else:
        placed |= _indices(path, table, ground, reading)
        rows, understood = place_rows(path, pa.table(placed), ground, reading, whole=whole)
    found = ground.patches.table.select([*PLACE, "slice_name"]).take(pa.array(rows))
    for name in LEVELS:
        found = found.append_column(name, pa.array(numbers_of(path, table[name], name).astype(np.float32)))
    if whole:
        _check_whole(path, found, ground)
    product = pc.multiply(pc.multiply(found[LEVELS[0]], found[LEVELS[1]]), found[LEVELS[2]])
    return found.drop_columns(["slice_name"]).append_column("effective_attention", product), understood


def _check_columns(path: Path, table: pa.Table, needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        known = f" (the study's {named(STUDY[name] for name in missing)} will do)" if missing[0] in STUDY else ""
        raise DataError(f"{path} has no column {named(missing)}{known}: it has {named(table.column_names)}")


def _file_column(path: Path, table: pa.Table) -> str | None:
    """The column that names the patches' files. A column `patch` with nothing but numbers is none."""
    for name in FILES:
        if name in table.column_names:
            texts = texts_of(path, table, name)
            if name != "patch" or not pc.all(pc.utf8_is_digit(texts)).as_py():
                return name
    return None


def _stains(path: Path, table: pa.Table, settings: Settings) -> pa.Array:
    stains = texts_of(path, table, "stain").dictionary_encode()
    canonical = [settings.stain_of(text) for text in stains.dictionary.to_pylist()]
    if None in canonical:
        wrong = stains.dictionary[canonical.index(None)].as_py()
        raise DataError(f"stain {clip(wrong)!r} in {path} is not in this store ({', '.join(settings.stains)})")
    return pa.array(canonical, pa.string()).take(stains.indices)


def _indices(path: Path, table: pa.Table, ground: Ground, reading: Reading) -> dict[str, pa.Array]:
    """The columns that say the slice and the patch of a row: coordinates where both sides have them, else indices."""
    by_place = reading.patches_by is None and {"x", "y"} <= set(table.column_names)
    if by_place and not ground.has_coordinates:
        if "patch_idx" not in table.column_names:
            raise DataError(
                f"{path} names its patches by x and y, and the store has no coordinates of them: "
                "run milstore ingest patches with --coordinates"
            )
        by_place = False
    by_name = "slice_name" in table.column_names
    needed = [*([] if by_name or by_place else ["slice_idx"]), *(["x", "y"] if by_place else ["patch_idx"])]
    if by_place and not by_name and reading.slices_by is not None:
        needed.append("slice_idx")
    _check_columns(path, table, needed)
    # What is not needed is only named.
    unused = {n: table[n] for n in ("slice_idx", "patch_idx") if n in table.column_names and n not in needed}
    return {**unused, **{name: _whole(path, table, name) for name in needed}}


def _check_whole(path: Path, found: pa.Table, ground: Ground) -> None:
    """DataError if the patches of a slice do not sum to 1 because the table lacks some of them."""
    keys = list(PLACE[:3])
    sums = found.group_by([*keys, "slice_name"], use_threads=False).aggregate(
        [("patch_attention", "sum"), ([], "count_all")]
    )
    wrong = np.abs(np.asarray(sums["patch_attention_sum"]) - 1) > TOLERANCE
    if not wrong.any():
        return
    row = sums.slice(int(np.argmax(wrong)), 1).to_pylist()[0]
    of_slice = [pc.equal(ground.patches.table[key], row[key]) for key in keys]
    there = pc.sum(pc.and_(pc.and_(of_slice[0], of_slice[1]), of_slice[2])).as_py()
    if row["count_all"] < there:
        raise DataError(
            f"{path}: patch_attention sums to {row['patch_attention_sum']:.6f} over case {clip(row['case_id'])}, "
            f"{row['stain']}, {clip(row['slice_name'])}, not to 1, and {row['count_all']} of its {there} patches are "
            "there: give attention of every patch that the model saw, or say by --top-pct of which share of each case's "
            "patches, from the top, this is"
        )


def _whole(path: Path, table: pa.Table, name: str) -> pa.Array:
    column = table[name].combine_chunks()
    try:
        whole = pc.cast(column, pa.int32())
    except pa.ArrowException as error:
        raise DataError(f"{path} has {name} that are no whole numbers: {clip(str(error), 100)}") from error
    if whole.null_count:
        raise DataError(f"{path} has {whole.null_count} rows without {name}: fill or drop them")
    return whole
