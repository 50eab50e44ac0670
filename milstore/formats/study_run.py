"""The tables of a run as the study's trainers wrote them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from milstore.errors import DataError
from milstore.formats.data_table import columns_of
from milstore.formats.interface import RunPredictions
from milstore.formats.run_table import LEVELS, numbered_columns, read_attention_table, read_predictions_table
from milstore.store.names import named

STUDY = {name: f"{name.removesuffix('_attention')}_attn_weight" for name in LEVELS}
"""What the study's trainers call the columns of attention. stain_attn_weight is of the stains of a case, slice_attn_weight
of the slices of a stain: in the models themselves these come from the parts called case_attention and stain_attention."""


class StudyRun:
    """A run of the study's trainers: prob_class0, prob_class1, … or prob_benign, …; and stain_attn_weight and its kin."""

    endings = ("csv", "tsv", "txt", "parquet")

    def recognises(self, path: Path) -> bool:
        """A table with a column `prob_…`, or with these names of attention."""
        columns = columns_of(path)
        return any(name.startswith("prob_") for name in columns) or bool(set(STUDY.values()) & set(columns))

    def __init__(self, columns: Mapping[str, str] | None = None) -> None:
        """A reader of tables whose columns are called by these names in the file; what they are here, by that."""
        self._columns = columns or {}

    def predictions(self, path: Path, classes: Sequence[str]) -> RunPredictions:
        """The predictions. By the classes' names, class 0 of the file is the one that comes first in it."""
        table = read_predictions_table(path, self._columns)
        plain = {_plain(name.removeprefix("prob_")): name for name in table.column_names if name.startswith("prob_")}
        if len(classes) > 1 and all(_plain(name) in plain for name in classes):
            names = [plain[_plain(name)] for name in classes]
            in_file = sorted(names, key=table.column_names.index)
            return RunPredictions(
                table=table, probability=names, label_in_store=[names.index(name) for name in in_file]
            )
        names = numbered_columns(table, "p_") or numbered_columns(table, "prob_class")
        if not names:
            needed = "p_0, p_1, … for every class" + (f", or prob_ and each of {named(classes)}" if classes else "")
            raise DataError(f"{path} has the columns {named(table.column_names)}: it needs {needed}")
        return RunPredictions(table=table, probability=names, label_in_store=range(len(names)))

    def attention(self, path: Path) -> pa.Table:
        """The attention, its columns called as milstore calls them."""
        table = read_attention_table(path, self._columns)
        ours = {theirs: name for name, theirs in STUDY.items() if name not in table.column_names}
        return table.rename_columns([ours.get(name, name) for name in table.column_names])


def _plain(class_name: str) -> str:
    return class_name.lower().replace("-", "_").replace(" ", "_")
