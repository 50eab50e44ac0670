"""The tables of a run in milstore's own words."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from milstore.errors import DataError
from milstore.formats.data_table import columns_of, read_table
from milstore.formats.interface import RunPredictions
from milstore.store.names import named

FILES = ("file", "patch_path", "patch")
"""Columns that may name a patch's file; the first that is there counts."""
LEVELS = ("stain_attention", "slice_attention", "patch_attention")
LABELS = ("true_label", "predicted_label")


class RunTable:
    """A run: CSV or Parquet with case_id, p_0, p_1, … a case; and with attention of stain, slice and patch a patch."""

    endings = ("csv", "tsv", "txt", "parquet")

    def recognises(self, path: Path) -> bool:
        """A table with `p_0`, or with these names of attention."""
        columns = set(columns_of(path))
        return "case_id" in columns and ("p_0" in columns or set(LEVELS) <= columns)

    def predictions(self, path: Path, classes: Sequence[str]) -> RunPredictions:
        """The predictions, with p_0, p_1, … in the order of the store's labels."""
        table = read_predictions_table(path)
        names = numbered_columns(table, "p_")
        if not names:
            raise DataError(f"{path} has the columns {named(table.column_names)}: it needs p_0, p_1, … for every class")
        return RunPredictions(table=table, probability=names, label_in_store=range(len(names)))

    def attention(self, path: Path) -> pa.Table:
        """The attention as it is."""
        return read_attention_table(path)


def read_predictions_table(path: Path) -> pa.Table:
    """A table with a row a case, its columns of names as texts."""
    return read_table(path, ["case_id"], ["subset", *LABELS])


def read_attention_table(path: Path) -> pa.Table:
    """A table with a row a patch, its columns of names as texts."""
    return read_table(path, ["case_id"], ["stain", "slice_name", *FILES])


def numbered_columns(table: pa.Table, prefix: str) -> list[str]:
    """Columns such as p_0, p_1, …, in their order; none unless they are two or more without a gap."""
    names = [f"{prefix}{label}" for label in range(table.num_columns)]
    there = [name for name in names if name in table.column_names]
    return there if len(there) > 1 and there == names[: len(there)] else []
