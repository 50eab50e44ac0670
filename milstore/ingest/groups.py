"""Ingests groups of related cases, such as those of one patient. Later splits and checks use them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from milstore.errors import ConflictError, DataError
from milstore.formats.group_file import read_groups
from milstore.formats.missing_marks import Marks
from milstore.store import Store
from milstore.store.case_groups import GroupOf, stored_groups, torn_lines
from milstore.store.cohort_edit import CohortEdit, edit_cohort
from milstore.store.names import clip, counted, named, natural_key

REBUILT = ("case_groups",)
"""The table that a file of groups makes again where its own file is damaged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupsReport:
    """What `ingest_groups` did."""

    changed: bool
    told: tuple[str, ...]
    """How far the file covers the store's cases, in words."""
    without: tuple[str, ...]
    """Cases of the store that the file does not name and that are in no group."""
    corrected: tuple[str, ...]
    """Cases whose group was changed or taken away."""
    torn: tuple[str, ...]
    """Splits of the store that tear a group apart, in words."""
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report, as lines of text."""
        lines = list(self.told)
        if self.without:
            lines.append(
                f"without a row, each for itself: {counted(len(self.without), 'case')} of the store ({named(self.without)})"
            )
        if self.corrected:
            lines.append(f"corrected: {counted(len(self.corrected), 'case')} ({named(self.corrected)})")
        lines += [f"{line}: create such splits again, or know that they leak" for line in self.torn]
        return [*lines, *self.notes, *([] if self.changed else ["nothing changed"])]


def ingest_groups(
    store: Store, file: str | Path, *, missing: Iterable[str] | None = None, replace: bool = False
) -> GroupsReport:
    """Ingest groups of cases. Splits drawn later keep them together, and checks report splits that do not.

    Args:
        store: the store, which must know the cases.
        file: CSV file with a column of cases and one of groups (see `milstore.formats.group_file`). It need not name every
            case: one without a group stands for itself.
        missing: marks of missing values: a row without a case is left out, a case without a group stands for itself.
        replace: take the file's word where the store says otherwise.

    Raises:
        DataError: the file cannot be read, says two things of a case, or names no case of the store.
        ConflictError: the store has a case in another group, and `replace` is not given.
    """
    path = Path(file)
    with edit_cohort(store, rebuild=REBUILT if replace else ()) as edit:
        known = sorted(edit.table("cases")["case_id"].to_pylist(), key=natural_key)
        before = stored_groups(edit.table("case_groups"))
        groups = read_groups(path, known, Marks.of(missing), before.values())
        if not groups.group_of.keys() & set(known):
            raise DataError(
                f"{path} names no case of the store ({named(groups.group_of)}; the store has {named(known)}): "
                "ingest their labels or patches first"
            )
        said = {case: group for case, group in groups.group_of.items() if case in set(known)}
        corrected = _corrected(path, before, said, replace=replace)
        after = {**before, **{case: group for case, group in said.items() if group is not None}}
        if replace:
            after = {case: group for case, group in after.items() if said.get(case, group) is not None}
        rows = [{"case_id": case, "group_id": group} for case, group in after.items()]
        edit.replace("case_groups", pa.Table.from_pylist(rows, edit.table("case_groups").schema))
        torn = torn_splits(edit, after)
    return GroupsReport(
        changed=edit.changed,
        told=tuple(groups.lines(known)),
        without=tuple(sorted(set(known) - groups.group_of.keys() - after.keys(), key=natural_key)),
        corrected=corrected,
        torn=tuple(torn),
        notes=tuple(edit.notes),
    )


def _corrected(path: Path, before: Mapping[str, str], said: GroupOf, *, replace: bool) -> tuple[str, ...]:
    other = [case for case, group in said.items() if before.get(case, group) != group]
    unsaid = [case for case in other if said[case] is None]
    if other and not replace:
        case = min(set(other) - set(unsaid) or unsaid, key=natural_key)
        if len(unsaid) < len(other):
            raise ConflictError(
                f"case {clip(case)} is of group {clip(before[case])!r} in the store and of {clip(str(said[case]))!r} in "
                f"{path}: use --replace to correct the store"
            )
        # What the file does not know, the store may.
        return ()
    return tuple(sorted(other, key=natural_key))


def torn_splits(edit: CohortEdit, group_of: GroupOf, only: Sequence[str] | None = None) -> list[str]:
    """A line for each split of the store (of all split sets, or those named) that separates a group."""
    found: dict[str, dict[int, dict[str, str]]] = {}
    for row in edit.table("splits").to_pylist():
        if only is None or row["split_set"] in only:
            found.setdefault(row["split_set"], {}).setdefault(row["split"], {})[row["case_id"]] = row["subset"]
    return [
        f"split set {name}: {line}"
        for name in sorted(found, key=natural_key)
        for line in torn_lines(dict(sorted(found[name].items())), group_of)
    ]
