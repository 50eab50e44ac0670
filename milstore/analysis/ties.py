"""Notes on ties: patches, slices or stains of equal weight, some of which a list or count leaves out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from milstore.store.names import natural_key

Columns = Callable[[str], Sequence[Any]]
"""Gives the values of a column of an answer by its name: neither Arrow nor pandas is loaded for a note."""
_MOST = 3
"""Cases that are named."""


class Tied(NamedTuple):
    """Of a case, or of a list: how many of what was taken tie with what was left out."""

    tied: int
    of: int


def cut_note(cases: Mapping[str, Tied], taken: str, decided: str) -> list[str]:
    """One line of the cases in which a tie decides what was taken; none where there is no such case.

    Args:
        cases: by case, in any order; those without a tie are counted.
        taken: what was taken, such as `top patches`.
        decided: what follows from that.

    >>> cut_note({"4": Tied(3, 3)}, "top patches", "Names decide.")
    ['case 4: 3 of 3 top patches tie with one left out. Names decide.']
    >>> cut_note({"9": Tied(1, 2), "4": Tied(3, 3), "5": Tied(0, 2)}, "top patches", "Names decide.")
    ['in 2 of 3 cases top patches tie with one left out (case 4: 3 of 3; case 9: 1 of 2). Names decide.']
    """
    some = {case: counts for case, counts in cases.items() if counts.tied}
    if not some:
        return []
    order = sorted(some, key=natural_key)
    if len(cases) == 1:
        (case,) = order
        return [f"case {case}: {some[case].tied} of {some[case].of} {taken} tie with one left out. {decided}"]
    named = "; ".join(f"case {case}: {some[case].tied} of {some[case].of}" for case in order[:_MOST])
    more = f"; {len(order) - _MOST} more" if len(order) > _MOST else ""
    return [f"in {len(order)} of {len(cases)} cases {taken} tie with one left out ({named}{more}). {decided}"]


def of_columns(column: Columns, tied: str, of: str) -> dict[str, Tied]:
    """By case, from columns that say the same in all rows of a run and case; the tightest run where there are several."""
    found: dict[str, Tied] = {}
    for case_id, n_tied, n_of in zip(column("case_id"), column(tied), column(of), strict=True):
        found[case_id] = max(found.get(case_id, Tied(0, n_of)), Tied(n_tied, n_of))
    return found


def of_rows(case_ids: Sequence[str], tied: Sequence[bool]) -> dict[str, Tied]:
    """By case, from rows each of which is tied or not."""
    found: dict[str, Tied] = {}
    for case_id, is_tied in zip(case_ids, tied, strict=True):
        before = found.get(case_id, Tied(0, 0))
        found[case_id] = Tied(before.tied + bool(is_tied), before.of + 1)
    return found
