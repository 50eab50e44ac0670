"""A statement that is ready to run: whole, or a part of its rows after another, all within the time limit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from milstore.asking.fetching import (
    Connection,
    arrow_texts,
    casting,
    dated_texts,
    described,
    distinct,
    end_texts,
    has_ends,
    itself,
    python_texts,
)
from milstore.asking.time_limit import Interruptible, Limit, time_limit
from milstore.errors import MilstoreError

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK = 2048
"""Rows that are held at a time, of an answer that is written as it is computed."""
GROUP = 122_880
"""Rows that are held at a time for Parquet, whose groups of rows are of this size."""
Put = Callable[[str], str]


@dataclass(frozen=True)
class Asked:
    """A statement, and the connection that answers it. Called with what fetches the rows, it gives what that fetched."""

    on: Interruptible
    timeout: float
    do: Callable[[Callable[[Connection], Any]], Any]
    """Does something with the connection, in the thread that may."""
    text: Callable[[Connection, Put], str]
    """The text to run, checked, after a function has put the statement into another; its parameters are set."""
    refused: Callable[[duckdb.Error], MilstoreError]

    def __call__(self, fetch: Callable[[Callable[[Put], Connection]], Any]) -> Any:
        """What `fetch` fetches. UsageError if the statement is wrong, or takes too long."""
        try:
            with time_limit(self.on, self.timeout):
                return self.do(lambda con: fetch(lambda put: con.execute(self.text(con, put))))
        except duckdb.Error as error:
            raise self.refused(error) from error

    @contextmanager
    def rows(self) -> Iterator["Rows"]:
        """The rows, some at a time. The time limit holds for the whole block, and so for whatever is done with them."""
        try:
            with time_limit(self.on, self.timeout) as limit:
                yield Rows(self, limit)
                limit.check()
        except duckdb.Error as error:
            raise self.refused(error) from error

    @contextmanager
    def batches(self) -> Iterator["Batches"]:
        """Like `rows`, as Arrow batches."""
        try:
            with time_limit(self.on, self.timeout) as limit:
                yield Batches(self, limit)
                limit.check()
        except duckdb.Error as error:
            raise self.refused(error) from error


class Rows:
    """The rows of an answer, a few at a time. Of a short answer they are those of `fetch_rows`.

    Of a longer one dates and times are DuckDB's text: whether Python has them all is not known before the last.
    """

    def __init__(self, asked: Asked, limit: Limit) -> None:
        self._asked = asked
        self._limit = limit
        self.names: list[str]
        """Names of the columns, as the statement gives them."""
        self._first, self._more = asked.do(self._begin)

    def _begin(self, con: Connection) -> tuple[list[tuple[Any, ...]], bool]:
        def run(casts: dict[int, str]) -> Connection:
            return con.execute(self._asked.text(con, casting(len(kinds), casts) if casts else itself))

        con.execute(self._asked.text(con, itself))
        self.names, kinds = described(con)
        casts = python_texts(kinds)
        found = run(casts) if casts else con
        rows = found.fetchmany(CHUNK)
        if len(rows) < CHUNK:
            ends = end_texts(kinds, rows)
            return (rows, False) if not ends else (run(casts | ends).fetchall(), False)
        if dated := dated_texts(kinds):
            rows = run(casts | dated).fetchmany(CHUNK)
        return rows, True

    def __iter__(self) -> Iterator[list[tuple[Any, ...]]]:
        rows = self._first
        while rows:
            self._limit.check()
            yield rows
            self._limit.check()
            rows = self._asked.do(lambda con: con.fetchmany(CHUNK)) if self._more else []


class Batches:
    """The rows of an answer as Arrow batches, each a group of rows."""

    def __init__(self, asked: Asked, limit: Limit) -> None:
        self._asked = asked
        self._limit = limit
        self.names, self._kinds = asked.do(self._look)
        self._casts = arrow_texts(self._kinds)
        self.texts: set[int] = set()
        """Columns of which a batch held what Arrow has not: begun again, these are text."""

    def _look(self, con: Connection) -> tuple[list[str], list[Any]]:
        relation = con.sql(self._asked.text(con, itself))
        return list(relation.columns), list(relation.types)

    def begin(self) -> tuple["pa.Schema", Iterator["pa.RecordBatch"]]:
        """The form of the rows, and the rows from the first on. `Odd` comes in their midst where a column has to be text."""
        casts = self._casts | {i: dated_texts(self._kinds, arrow=True)[i] for i in self.texts}
        put = casting(len(self._kinds), casts) if casts else itself
        # A statement that is run by `execute` would be computed whole before the first row comes.
        reader = self._asked.do(lambda con: con.sql(self._asked.text(con, put)).to_arrow_reader(GROUP))
        import pyarrow as pa

        names = distinct(self.names)
        schema = pa.schema([pa.field(name, kind) for name, kind in zip(names, reader.schema.types, strict=True)])
        return schema, self._following(reader, schema)

    def _following(self, reader: Any, schema: "pa.Schema") -> Iterator["pa.RecordBatch"]:
        import pyarrow as pa

        while (batch := self._asked.do(lambda _: next(reader, None))) is not None:
            self._limit.check()
            odd = {i for i, kind in enumerate(self._kinds) if i not in self.texts and has_ends(kind, batch.column(i))}
            if odd:
                self.texts |= odd
                raise Odd
            yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
            self._limit.check()


class Odd(Exception):  # noqa: N818 - no error: what was written so far is written again
    """A column holds what Arrow has not."""
