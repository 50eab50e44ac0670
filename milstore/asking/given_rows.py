"""Rows that come from elsewhere than a statement, in the form of an answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from milstore.asking.result import Result

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class _Rows:
    """What is read from a connection after a question, for rows that come from elsewhere."""

    columns: Sequence[str]
    rows: list[tuple[Any, ...]]

    @property
    def description(self) -> list[tuple[str, Any]]:
        import duckdb

        # None of these values needs to be asked for in another form.
        kind = duckdb.sqltype("VARCHAR")
        return [(name, kind) for name in self.columns]

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self.rows

    def to_arrow_table(self) -> "pa.Table":
        import pyarrow as pa

        return pa.table([[row[i] for row in self.rows] for i in range(len(self.columns))], names=list(self.columns))


def answer_of(columns: Sequence[str], rows: list[tuple[Any, ...]]) -> Result:
    """Rows that come from elsewhere, as an answer."""
    answer: Any = _Rows(columns, rows)
    return Result(lambda fetch: fetch(lambda _: answer))
