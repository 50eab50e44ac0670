"""One question asked of each group of cases, and the answers below each other: `milstore query recall --by site`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from milstore import queries
from milstore.asking.ask import ask
from milstore.asking.asked import Asked
from milstore.asking.groups import groups_of
from milstore.asking.result import Result
from milstore.asking.run_choice import Group
from milstore.asking.selection import Choice, NoCaseLeft
from milstore.asking.time_limit import DEFAULT_TIMEOUT
from milstore.errors import UsageError
from milstore.store.derived_views import mentions, with_derived
from milstore.store.names import counted
from milstore.store.paths import Store

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")


@dataclass(frozen=True)
class Grouped(Result):
    """The answers of the groups as one: a column with the group's value stands before the others."""

    by: str = ""
    parts: tuple[tuple[Group, Result], ...] = ()
    """Each group with its answer, in the order of `groups_of`."""

    @property
    def asked(self) -> Asked | None:
        """None: several statements answer."""
        return None

    @property
    def column(self) -> str:
        """Name of the column with the group's value."""
        return self.by if all(self.by not in part.columns for _, part in self.parts) else f"{self.by}_group"

    @cached_property
    def _fetched(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        names = [self.column, *self.parts[0][1].columns]
        rows = [(group.value, *row) for group, part in self.parts for row in part.rows()]
        self._gather()
        return names, rows

    @cached_property
    def _table(self) -> "pa.Table":
        import pyarrow as pa

        tables = [part.arrow() for _, part in self.parts]
        self._gather()
        return pa.concat_tables(
            [
                table.add_column(0, self.column, pa.array([group.value] * table.num_rows, pa.string()))
                for (group, _), table in zip(self.parts, tables, strict=True)
            ],
            promote_options="permissive",
        )

    def leading(self, most: int) -> list[tuple[Any, ...]]:
        """The first rows of each group: all of the first group alone would be nothing to compare."""
        each = max(3, most // len(self.parts))
        return [(group.value, *row) for group, part in self.parts for row in part.rows()[:each]]

    def answer(self) -> list[str]:
        """The answers in sentences, each after its group."""
        return [f"{group.label}: {line}" for group, part in self.parts for line in part.answer()]

    def _gather(self) -> None:
        """Note what the parts have to tell, once: that of all groups as it is, that of one with the group."""
        told = [(group, note) for group, part in self.parts for note in part.notes]
        for group, note in told:
            shared = sum(note == other for _, other in told) == len(self.parts)
            said = note if shared else f"{group.label}: {note}"
            if said not in self.notes:
                self.notes.append(said)


def ask_by(
    store: Store,
    name: str,
    by: str,
    choice: Choice | None = None,
    values: Mapping[str, Any] | None = None,
    *,
    timeout: float = DEFAULT_TIMEOUT,
) -> Grouped:
    """Ask a question of each group of cases that an attribute makes; see `groups_of`.

    A group of which no case is in the answer is left out, and named. Other arguments and errors are those of `ask`.

    Raises:
        UsageError: there is no such attribute; single cases are asked for; or the question is not about cases.
    """

    def one(choice: Choice) -> Result:
        return ask(store, name, choice, values, timeout=timeout)

    parts, notes = each_group(store, name, by, choice or Choice(), one)
    first = parts[0][1]
    title = first.title.removesuffix(f", {parts[0][0].label}")
    return Grouped(
        first._run,
        title=f"{title}, by {by}",
        notes=notes,
        run_names={run: called for _, part in parts for run, called in part.run_names.items()},
        shown=(by, *first.shown) if first.shown else (),
        by=by,
        parts=tuple(parts),
    )


def each_group(
    store: Store, name: str, by: str, choice: Choice, one: Callable[[Choice], T]
) -> tuple[list[tuple[Group, T]], list[str]]:
    """What is made of the choice of each group, and what is to be told of those that have no case in it.

    Errors are those of `ask_by`.
    """
    _check(store, name, choice)
    groups = groups_of(store, by)
    made: list[tuple[Group, T]] = []
    without: list[Group] = []
    refused: UsageError | None = None
    for group in groups:
        try:
            made.append((group, one(replace(choice, group=group))))
        except NoCaseLeft as error:
            refused = error
            without.append(group)
    if not made and refused is not None:
        raise UsageError(f"no group of {by} has a case in this answer: {refused}") from refused
    return made, _left_out(without)


def _left_out(groups: Sequence[Group]) -> list[str]:
    return [
        f"{group.label}: none of its {counted(len(group.cases), 'case')} is in this answer"
        for group in groups
        if group.value is not None
    ]


def _check(store: Store, name: str, choice: Choice) -> None:
    """UsageError unless a question can be asked of groups of cases."""
    query = queries.load(name, store.queries)
    if choice.cases or query.wants_case:
        raise UsageError("--by parts all cases into groups: leave out --case, or --by")
    sql = with_derived(query.sql)
    if not (mentions(sql, "selection") and mentions(sql, "case_id")):
        raise UsageError(
            f"query {name} is not about cases, so it cannot be asked by an attribute of theirs: leave out --by"
        )
