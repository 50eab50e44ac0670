"""Further columns of a table of labels: attributes that questions can group by, and groups of related cases."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from milstore.errors import ConflictError, DataError, UsageError
from milstore.formats.csv_table import TextTable
from milstore.formats.missing_marks import Marks
from milstore.store.case_ids import CaseIds
from milstore.store.cohort_edit import CohortEdit
from milstore.store.names import clip

_GROUP = "group_id"


def put_case_facts(
    edit: CohortEdit,
    table: TextTable,
    case_column: str,
    attributes: Sequence[str],
    group_column: str | None,
    marks: Marks,
    *,
    replace: bool,
) -> None:
    """Put columns of a table into `case_attributes` and `case_groups`, of the cases that the store knows.

    Empty cells and marks say nothing. What the store has of other cases and attributes stays.

    Raises:
        DataError: a column is missing, or a case has two values in the file.
        ConflictError: the store says otherwise of a case, and `replace` is not given.
        UsageError: a column is named twice.
    """
    if len(set(attributes)) < len(attributes):
        raise UsageError("--attribute names a column twice: give each once")
    ids = CaseIds(edit.table("cases")["case_id"].to_pylist())
    if attributes:
        before = {(row["case_id"], row["name"]): row["value"] for row in edit.table("case_attributes").to_pylist()}
        found = {
            (case_id, name): value
            for name in attributes
            for case_id, value in _said(table, case_column, name, marks, ids).items()
        }
        whole = _joined(table, before, found, replace=replace)
        rows = [{"case_id": case_id, "name": name, "value": value} for (case_id, name), value in whole.items()]
        edit.replace("case_attributes", pa.Table.from_pylist(rows, edit.table("case_attributes").schema))
    if group_column is not None:
        groups = {(row["case_id"], _GROUP): row[_GROUP] for row in edit.table("case_groups").to_pylist()}
        group_ids = CaseIds(groups.values())
        group_ids.refuse(table.path, f"column {clip(group_column)}", table.column(group_column), table.lines)
        said = _said(table, case_column, group_column, marks, ids, group_ids)
        whole = _joined(table, groups, {(case_id, _GROUP): value for case_id, value in said.items()}, replace=replace)
        rows = [{"case_id": case_id, _GROUP: value} for (case_id, _), value in whole.items()]
        edit.replace("case_groups", pa.Table.from_pylist(rows, edit.table("case_groups").schema))


def _said(
    table: TextTable, case_column: str, column: str, marks: Marks, ids: CaseIds, values: CaseIds | None = None
) -> dict[str, str]:
    """The value of a column for each case; `values` reads case ids too."""
    found: dict[str, str] = {}
    for text, value, line in zip(table.column(case_column), table.column(column), table.lines, strict=True):
        case_id = ids.read(text)
        if case_id not in ids or not value.strip() or marks.mean_missing(value):
            continue
        said = value if values is None else values.read(value)
        if found.setdefault(case_id, said) != said:
            raise DataError(
                f"{table.path} says of case {clip(case_id)} in {clip(column)} both {clip(found[case_id])!r} and "
                f"{clip(value)!r} (line {line}): keep one"
            )
    return found


def _joined(
    table: TextTable, before: Mapping[tuple[str, str], str], found: Mapping[tuple[str, str], str], *, replace: bool
) -> dict[tuple[str, str], str]:
    for key, value in found.items():
        if not replace and before.get(key, value) != value:
            raise ConflictError(
                f"case {clip(key[0])} has {clip(key[1])} {clip(before[key])!r} in the store and {clip(value)!r} in "
                f"{table.path}: use --replace to correct the store"
            )
    return {**before, **found}
