"""Groups of cases, such as the patient of each, from a CSV file."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from milstore.errors import DataError
from milstore.formats.csv_table import TextTable, read_csv
from milstore.formats.data_table import is_nameless
from milstore.formats.missing_marks import UNSAID, Marks, lines_of, refuse_alike
from milstore.store.case_ids import CaseIds
from milstore.store.names import clip, counted, named, natural_key

CASE_COLUMNS = ("case_id", "case", "bag_id", "bag")
GROUP_COLUMNS = ("group", "group_id", "patient", "patient_id")


@dataclass(frozen=True, kw_only=True, slots=True)
class Groups:
    """The contents of a group file."""

    file: str
    group_of: dict[str, str | None] = field(default_factory=dict)
    """Group of each case; None where it is not known, so that the case stands for itself."""
    line_of: dict[str, int] = field(default_factory=dict)
    """First line of each case."""
    without_case: tuple[int, ...] = ()
    """Lines that were left out because they name no case."""
    notes: tuple[str, ...] = ()

    def check_cover(self, cases: Iterable[str]) -> None:
        """Raises DataError, naming them, if some of the cases are not in the file."""
        wanted = set(cases)
        missing = sorted(wanted - self.group_of.keys(), key=natural_key)
        if not missing:
            return
        told = f"{self.file} has no row for {len(missing)} of the {len(wanted)} cases ({named(missing)})"
        strangers = self._strangers(wanted)
        if strangers:
            told += f", and {counted(len(strangers), 'id')} that {'is' if len(strangers) == 1 else 'are'} no such case"
            told += f" ({self._with_lines(strangers)})"
        raise DataError(f"{told}: give each case a row; one that stands alone is a group of its own")

    def lines(self, cases: Iterable[str]) -> list[str]:
        """Notes on how many of some cases the file covers."""
        wanted = set(cases)
        inside = [case for case in wanted if self.group_of.get(case) is not None]
        groups = {self.group_of[case] for case in inside}
        alone = sorted((case for case in wanted & self.group_of.keys() - set(inside)), key=natural_key)
        lines = [
            f"groups by {self.file}: {len(inside)} of {counted(len(wanted), 'case')} in {counted(len(groups), 'group')}"
        ]
        if alone:
            lines.append(f"of unknown group, each for itself: {counted(len(alone), 'case')} ({named(alone)})")
        strangers = self._strangers(wanted)
        if strangers:
            lines.append(f"not used: {counted(len(strangers), 'id')} of {self.file} ({self._with_lines(strangers)})")
        if self.without_case:
            count = counted(len(self.without_case), "row")
            lines.append(f"left out: {count} without a case ({lines_of(self.without_case)})")
        return [*lines, *self.notes]

    def _strangers(self, wanted: Collection[str]) -> list[str]:
        return sorted((case for case in self.group_of if case not in wanted), key=natural_key)

    def _with_lines(self, cases: Iterable[str]) -> str:
        return named(f"{clip(case)} in line {self.line_of[case]}" for case in cases)


def read_groups(file: Path, known: Collection[str], marks: Marks = UNSAID, known_groups: Iterable[str] = ()) -> Groups:
    """The group of each case, from a CSV file with a column `case_id` and one other, or one called `group`.

    Args:
        file: the file.
        known: cases of the store.
        marks: what stands for a missing value: a row without a case is left out, a case without a group stands for
            itself.
        known_groups: groups of the store.

    Raises:
        DataError: the columns are not clear, a value is missing, a case is in two groups, or two groups differ in
            nothing but capitals and blanks.
    """
    table = read_csv(file, "a file of groups", [*CASE_COLUMNS, *GROUP_COLUMNS], drop_repeats=marks.said is not None)
    case_column, group_column = _columns(table)
    advice = "if the case stands for itself there, add {option}"
    marks.refuse(
        file,
        case_column,
        table.column(case_column),
        table.lines,
        "if these rows are to be left out, add {option}",
        known,
    )
    marks.refuse(file, group_column, table.column(group_column), table.lines, advice)
    pairs = zip(table.column(group_column), table.lines, strict=True)
    refuse_alike(
        file, group_column, [pair for pair in pairs if not marks.mean_missing(pair[0])], "write each in one way"
    )
    group_ids = CaseIds(known_groups)
    group_ids.refuse(file, f"column {clip(group_column)}", table.column(group_column), table.lines)
    group_of: dict[str, str | None] = {}
    line_of: dict[str, int] = {}
    without_case = []
    ids = CaseIds(known)
    ids.refuse(file, f"column {clip(case_column)}", table.column(case_column), table.lines)
    for text, of, line in zip(table.column(case_column), table.column(group_column), table.lines, strict=True):
        if marks.mean_missing(text):
            without_case.append(line)
            continue
        case_id, group = ids.read(text), None if marks.mean_missing(of) else group_ids.read(of)
        if group_of.setdefault(case_id, group) != group:
            raise DataError(
                f"{file} has case {clip(case_id)} in the groups {clip(str(group_of[case_id]))} (line {line_of[case_id]}) "
                f"and {clip(str(group))} (line {line}): keep one"
            )
        line_of.setdefault(case_id, line)
    return Groups(
        file=file.name,
        group_of=group_of,
        line_of=line_of,
        without_case=tuple(without_case),
        notes=(*table.repeats_told(), *ids.told()),
    )


def _columns(table: TextTable) -> tuple[str, str]:
    """The column of the cases and that of the groups."""
    by_lower = {name.lower(): name for name in table.columns}
    case = next((by_lower[name] for name in CASE_COLUMNS if name in by_lower), None)
    others = [name for name in table.columns if name != case and not is_nameless(name)]
    group = next(
        (by_lower[name] for name in GROUP_COLUMNS if name in by_lower), others[0] if len(others) == 1 else None
    )
    if case is None or group is None:
        raise DataError(f"{table.path} has the columns {named(table.columns)}: it needs case_id and group")
    return case, group
