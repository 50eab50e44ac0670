"""The tables of a run in milstore's own format."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from milstore.errors import DataError, UsageError
from milstore.formats.data_table import columns_of, read_table
from milstore.formats.interface import RunFormat, RunPredictions
from milstore.formats.registry import find_format, recognised
from milstore.store.names import clip, named, nearest

FILES = ("file", "patch_path", "patch")
"""Columns that may name a patch's file; the first that is there counts."""
LEVELS = ("stain_attention", "slice_attention", "patch_attention")
LABELS = ("true_label", "predicted_label")
_OURS = ("case_id", "subset", *LABELS, "stain", "slice_idx", "slice_name", "patch_idx", *FILES, "x", "y", *LEVELS)
_PROBABILITY = re.compile(r"p_\d+|prob_.+")


class RunTable:
    """A run: CSV or Parquet with case_id, p_0, p_1, … a case; and with attention of stain, slice and patch a patch."""

    endings = ("csv", "tsv", "txt", "parquet")

    def recognises(self, path: Path) -> bool:
        """A table with `p_0`, or with these names of attention."""
        columns = set(columns_of(path))
        return "case_id" in columns and ("p_0" in columns or set(LEVELS) <= columns)

    def __init__(self, columns: Mapping[str, str] | None = None) -> None:
        """A reader of tables whose columns are called by these names in the file; what they are here, by that."""
        self._columns = columns or {}

    def predictions(self, path: Path, classes: Sequence[str]) -> RunPredictions:
        """The predictions, with p_0, p_1, … in the order of the store's labels."""
        table = read_predictions_table(path, self._columns)
        names = numbered_columns(table, "p_")
        if not names:
            raise DataError(f"{path} has the columns {named(table.column_names)}: it needs p_0, p_1, … for every class")
        return RunPredictions(table=table, probability=names, label_in_store=range(len(names)))

    def attention(self, path: Path) -> pa.Table:
        """The attention as it is."""
        return read_attention_table(path, self._columns)


def run_format(path: Path, format: str | None, columns: Mapping[str, str] | None) -> RunFormat:
    """The reader of a run's table.

    Args:
        path: the table.
        format: name of its format, or ./file.py:Class; found by its content if left out.
        columns: what its columns are called here, by their names in the file.

    Raises:
        UsageError: there is no such format, or it takes no other names.
    """
    name = format or recognised("runs", [path]) or "tables"
    if not columns:
        fmt: RunFormat = find_format("runs", name)
        return fmt
    if format not in (None, "tables", "study"):
        raise UsageError(
            f"--columns names columns of a table, and --format {clip(str(format))} reads it itself: give one"
        )
    here = [columns.get(name, name) for name in columns_of(path)]
    study = format == "study" or any(name.startswith("prob_") or name.endswith("_attn_weight") for name in here)
    reader: RunFormat = type(find_format("runs", "study" if study else "tables"))(columns)
    return reader


def parse_columns(text: str | None) -> dict[str, str]:
    """What columns are called here, by their names in a file, from a text such as `patient=case_id,risk=p_1`.

    Raises:
        UsageError: it cannot be read, names a column twice, or one that no table of a run has.
    """
    pairs = [pair.partition("=") for pair in (text or "").split(",") if pair.strip()]
    found: dict[str, str] = {}
    for theirs, sign, ours in ((each.strip() for each in pair) for pair in pairs):
        if not (theirs and sign and ours):
            raise UsageError(
                f"--columns {clip(str(text))!r} cannot be read: write theirs=ours,…, such as patient=case_id"
            )
        if ours not in _OURS and not _PROBABILITY.fullmatch(ours):
            raise UsageError(
                f"--columns: no table of a run has a column {clip(ours)!r}: {nearest(ours, [*_OURS, 'p_0'])}"
            )
        if theirs in found or ours in found.values():
            raise UsageError(f"--columns names {clip(theirs if theirs in found else ours)} twice: give it once")
        found[theirs] = ours
    return found


def check_columns(columns: Mapping[str, str], files: Sequence[Path]) -> None:
    """Raises DataError if a column is in none of the tables."""
    there = {name for file in files for name in columns_of(file)}
    missing = [name for name in columns if name not in there]
    if missing:
        raise DataError(f"--columns: {named(files)} have no column {named(missing)}: there is {named(sorted(there))}")


def read_predictions_table(path: Path, columns: Mapping[str, str] | None = None) -> pa.Table:
    """A table with a row a case, its columns of names as texts, called as they are here."""
    return _read_renamed(path, ["case_id"], ["subset", *LABELS], columns or {})


def read_attention_table(path: Path, columns: Mapping[str, str] | None = None) -> pa.Table:
    """A table with a row a patch, its columns of names as texts, called as they are here."""
    return _read_renamed(path, ["case_id"], ["stain", "slice_name", *FILES], columns or {})


def _read_renamed(path: Path, texts: Sequence[str], optional: Sequence[str], columns: Mapping[str, str]) -> pa.Table:
    theirs = {ours: name for name, ours in columns.items() if name in columns_of(path)} if columns else {}
    table = read_table(path, [theirs.get(name, name) for name in texts], [theirs.get(name, name) for name in optional])
    # What has one of our names and is another thing, by the user's word, goes.
    table = table.drop_columns([ours for ours, name in theirs.items() if ours in table.column_names and ours != name])
    called = {name: ours for ours, name in theirs.items()}
    return table.rename_columns([called.get(name, name) for name in table.column_names])


def numbered_columns(table: pa.Table, prefix: str) -> list[str]:
    """Columns such as p_0, p_1, …, in their order; none unless they are two or more without a gap."""
    names = [f"{prefix}{label}" for label in range(table.num_columns)]
    there = [name for name in names if name in table.column_names]
    return there if len(there) > 1 and there == names[: len(there)] else []
