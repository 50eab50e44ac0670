"""Puts split sets into an edit of the cohort."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import ConflictError
from milstore.formats.split_file import Split
from milstore.store import Store
from milstore.store.cohort_edit import CohortEdit, edit_cohort
from milstore.store.names import named


def put_splits(edit: CohortEdit, sets: Mapping[str, Mapping[int, Split]], source: str, *, replace: bool) -> None:
    """Put split sets into an edit. ConflictError if one has other splits in the store and `replace` is not given."""
    known = edit.table("split_sets")
    splits = edit.table("splits")
    rows = []
    for name, own in sets.items():
        table = _table(name, own)
        before = splits.filter(pc.equal(splits["split_set"], name))
        if before.num_rows and not _same(before, table) and not replace:
            other = (
                f"the same splits under other numbers ({_numbers(before)})"
                if _renumbered(before, table)
                else "other splits"
            )
            raise ConflictError(f"the store has a split set {name} with {other}: use another name, or --replace")
        if before.num_rows and _same(before, table) and not edit.is_lost("split_sets"):
            continue
        splits = pa.concat_tables([splits.filter(pc.not_equal(splits["split_set"], name)), table])
        known = known.filter(pc.not_equal(known["split_set"], name))
        rows.append({"split_set": name, "n_splits": len(own), "source": source})
    if rows:
        edit.replace("split_sets", pa.concat_tables([known, pa.Table.from_pylist(rows, known.schema)]))
        edit.replace("splits", splits)


def store_splits(store: Store, name: str, splits: Mapping[int, Split], source: str) -> None:
    """Store splits of known cases as a new split set.

    Raises:
        ConflictError: a split set of this name has other splits.
    """
    with edit_cohort(store) as edit:
        put_splits(edit, {name: splits}, source, replace=False)


def _table(name: str, splits: Mapping[int, Split]) -> pa.Table:
    from milstore.schema.arrow import arrow_schema

    rows = [
        {"split_set": name, "split": number, "case_id": case, "subset": subset}
        for number, split in splits.items()
        for case, subset in split.items()
    ]
    return pa.Table.from_pylist(rows, arrow_schema("splits"))


def _numbers(table: pa.Table) -> str:
    return named(sorted(set(table["split"].to_pylist())))


def _renumbered(one: pa.Table, other: pa.Table) -> bool:
    """Whether two tables have the same splits in the same order, but other numbers."""
    return _by_order(one) == _by_order(other)


def _by_order(table: pa.Table) -> list[dict[str, str]]:
    splits: dict[int, dict[str, str]] = {}
    for row in table.to_pylist():
        splits.setdefault(row["split"], {})[row["case_id"]] = row["subset"]
    return [splits[number] for number in sorted(splits)]


def _same(one: pa.Table, other: pa.Table) -> bool:
    keys = [("split", "ascending"), ("case_id", "ascending"), ("subset", "ascending")]
    return bool(one.sort_by(keys).to_pylist() == other.sort_by(keys).to_pylist())
