"""Puts labels into an edit of the cohort: numbers the classes, and assigns the cases to them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from milstore.errors import ConflictError
from milstore.ingest.label_map import Labelled
from milstore.store.cohort_edit import CohortEdit
from milstore.store.content_hash import with_case_order
from milstore.store.names import clip, counted, named, natural_key
from milstore.store.run_reader import run_ids
from milstore.store.run_writer import list_drafts


@dataclass(frozen=True, slots=True)
class PutLabels:
    """What labels changed in the store."""

    corrected: tuple[str, ...]
    """Cases whose class was changed or taken away."""
    new: int
    """Cases that the store did not know before."""
    unknown: tuple[str, ...]
    """Cases that have no label now."""
    kept: tuple[str, ...]
    """Cases whose label the file does not know, but the store does."""


def put_labels(edit: CohortEdit, labelled: Labelled, wanted: list[str], source: str, *, replace: bool) -> PutLabels:
    """Put labels into an edit.

    Raises:
        ConflictError: a case has another class in the store, or the classes are numbered otherwise there, and `replace`
            is not given, or runs speak of them.
    """
    classes = _classes(edit, labelled, wanted, replace)
    corrected = _corrected(edit, labelled, source, replace)
    known = {row["case_id"]: row["class_name"] for row in edit.table("cases").to_pylist()}
    kept = tuple(case for case in labelled.unknown if known.get(case) is not None and not replace)
    unknown = tuple(case for case in labelled.unknown if case not in set(kept))
    new = _write(edit, labelled, classes, unknown)
    return PutLabels(tuple(corrected), new, unknown, kept)


def _classes(edit: CohortEdit, labelled: Labelled, wanted: list[str], replace: bool) -> list[str]:
    """The class names in the order of their numbers.

    With `replace` the order is that of the file, and where the file speaks of every labelled case, a class that it does not
    have goes. But what runs speak of by its number keeps it.
    """
    known = [row["class_name"] for row in sorted(edit.table("classes").to_pylist(), key=lambda row: row["label"])]
    common = [name for name in known if name in wanted]
    in_order = [name for name in wanted if name in known] == common
    appended = known + [name for name in wanted if name not in known]
    if not replace:
        if in_order:
            return appended
        raise ConflictError(
            f"the store numbers its classes {named(known)}, and --map has them in the order {named(wanted)}: "
            "order the map like the store, or use --replace"
        )
    if runs := len(run_ids(edit.base.store)) + len(list_drafts(edit.base.store)):
        if in_order:
            return appended
        raise ConflictError(
            f"the store numbers its classes {named(known)}, and {counted(runs, 'run')} speak of them by these numbers: "
            f"order the map like the store (it has {named(wanted)}), or delete the runs"
        )
    told = {*labelled.class_of, *labelled.unknown}
    if all(row["case_id"] in told for row in edit.table("cases").to_pylist() if row["class_name"] is not None):
        return wanted
    return appended if in_order else wanted + [name for name in known if name not in wanted]


def _corrected(edit: CohortEdit, labelled: Labelled, source: str, replace: bool) -> list[str]:
    before = {row["case_id"]: row["class_name"] for row in edit.table("cases").to_pylist() if row["class_name"]}
    differing = [case for case, name in labelled.class_of.items() if before.get(case, name) != name]
    if differing and not replace:
        case = min(differing, key=natural_key)
        raise ConflictError(
            f"{len(differing)} cases have another class in the store than in {source}, such as case {clip(case)} "
            f"({before[case]} there, {labelled.class_of[case]} here): use --replace to correct the store"
        )
    if replace:
        differing += [case for case in labelled.unknown if case in before]
    return sorted(differing, key=natural_key)


def _write(edit: CohortEdit, labelled: Labelled, classes: list[str], unknown: Iterable[str]) -> int:
    """Put classes and cases into the edit. Returns the number of new cases."""
    rows = {row["case_id"]: row for row in edit.table("cases").to_pylist()}
    before = len(rows)
    for case_id, class_name in labelled.class_of.items():
        rows[case_id] = {"case_id": case_id, "class_name": class_name, "source_label": labelled.source[case_id]}
    for case_id in unknown:
        rows[case_id] = {"case_id": case_id, "class_name": None, "source_label": None}
    for row in rows.values():
        row["label"] = classes.index(row["class_name"]) if row["class_name"] is not None else None
    edit.replace("classes", pa.table({"label": range(len(classes)), "class_name": pa.array(classes, pa.string())}))
    write_cases(edit, rows)
    return len(rows) - before


def write_cases(edit: CohortEdit, rows: Mapping[str, Mapping[str, object]]) -> None:
    """Put the cases into the edit, in natural order; a row may lack what is not known."""
    columns = {
        "case_id": pa.string(),
        "label": pa.int32(),
        "class_name": pa.string(),
        "source_label": pa.string(),
    }
    table = pa.table({name: pa.array([row.get(name) for row in rows.values()], kind) for name, kind in columns.items()})
    edit.replace("cases", with_case_order(table))
