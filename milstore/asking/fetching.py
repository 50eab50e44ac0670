"""Fetches an answer so that no value is lost or changed on the way out of DuckDB.

Python, Arrow and Parquet have no like of some of DuckDB's values: an interval of months, a date that is infinity, a number of 128
bits. Such columns are asked for once more as DuckDB's own text; all others stay what they are.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import duckdb

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Connection = duckdb.DuckDBPyConnection
Run = Callable[[Callable[[str], str]], Connection]
"""Runs the statement, after a function has put its text into another."""

_DATES = frozenset({"date", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "timestamp with time zone"})
_NOT_IN_PYTHON = frozenset({"interval", "timestamp_ns", "time_ns"})
"""Kinds whose values Python rounds: a month becomes 30 days, a nanosecond nothing."""
_NOT_IN_ARROW = frozenset({"interval", "time with time zone", "uhugeint", "bit", "bignum", "time_ns"})
"""Kinds that Arrow, Parquet or pandas lacks, or that come as other values there."""
_SOMETIMES = _DATES | {"hugeint", "time"}
"""Types of DuckDB with values that Arrow, or pandas, cannot hold."""
_NEITHER = frozenset({"variant"})
_LARGEST_DECIMAL = 10**38
_LARGEST_FLOAT = 2**53
"""Whole numbers up to it are floats without loss."""
_DAY = 86_400
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_FIRST, _LAST = -719_162 * _DAY, 2_932_897 * _DAY - 1
"""The first second of the year 1 and the last of 9999, in seconds since 1970: other days Python has not."""
_TEXT = "VARCHAR"
_ESCAPED = "\\'\""
"""What DuckDB writes as bytes in the text of a BLOB, beside what cannot be printed."""


def distinct(names: Iterable[str]) -> list[str]:
    """Names of columns as DuckDB makes them distinct for a table: of one name, in capitals or not, the later get a number.

    >>> distinct(["a", "a", "A", "a_1"])
    ['a', 'a_1', 'A_2', 'a_1_1']
    """
    times: dict[str, int] = {}
    found = []
    for name in names:
        low, new = _low(name), name
        if low in times:
            while _low(new := f"{name}_{times[low]}") in times:
                times[low] += 1
            times[_low(new)] = 1
            times[low] += 1
        else:
            times[low] = 1
        found.append(new)
    return found


def _low(text: str) -> str:
    # As DuckDB compares: letters of ASCII alone.
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)


def renaming(names: Sequence[str]) -> str:
    """What is to be said of columns that get another name; nothing where all are distinct."""
    changed = [f"{old} is {new}" for old, new in zip(names, distinct(names), strict=True) if old != new]
    return f"columns of one name are renamed: {', '.join(changed)}" if changed else ""


def fetch_rows(run: Run) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Names of the columns, as the statement gives them, and the rows as Python values."""
    con = run(itself)
    names, kinds = described(con)
    casts = python_texts(kinds)
    rows = _fetched(con if not casts else run(casting(len(kinds), casts)))
    if ends := end_texts(kinds, rows):
        rows = _fetched(run(casting(len(kinds), casts | ends)))
    return names, rows


def python_texts(kinds: Sequence[Any]) -> dict[int, str]:
    """The columns that have to be asked for as text for Python, and as which type."""
    lacking = _NOT_IN_PYTHON | _NEITHER
    return {i: cast for i, kind in enumerate(kinds) if (cast := _text_instead(kind, lacking))}


def dated_texts(kinds: Sequence[Any], *, arrow: bool = False) -> dict[int, str]:
    """The columns that may hold values which Python (or Arrow) has not, such as infinite dates, and the type that has them
    as text."""
    some, lacking = (_SOMETIMES, _NOT_IN_ARROW) if arrow else (_DATES, _NOT_IN_PYTHON | _NEITHER)
    return {i: _with_text(kind, lacking | some) for i, kind in enumerate(kinds) if not some.isdisjoint(_leaves(kind))}


def end_texts(kinds: Sequence[Any], rows: Sequence[tuple[Any, ...]]) -> dict[int, str]:
    """Those of `dated_texts` that hold such a value in these rows."""
    return {i: cast for i, cast in dated_texts(kinds).items() if any(_holds_an_end(row[i]) for row in rows)}


def arrow_texts(kinds: Sequence[Any]) -> dict[int, str]:
    """The columns that have to be asked for as text for Arrow, and as which type."""
    return {i: cast for i, kind in enumerate(kinds) if (cast := _text_in_arrow(kind))}


def has_ends(kind: Any, array: Any) -> bool:
    """Whether an Arrow array of a column holds what Python has not, as an infinite date."""
    return not _SOMETIMES.isdisjoint(_leaves(kind)) and _is_beyond(array)


def _fetched(con: Connection) -> list[tuple[Any, ...]]:
    return con.fetchall()


def fetch_table(run: Run) -> "pa.Table":
    """The rows as an Arrow table, with the names that the statement gives its columns."""
    con = run(itself)
    names, kinds = described(con)
    casts = arrow_texts(kinds)
    table = (con if not casts else run(casting(len(kinds), casts))).to_arrow_table()
    ends = {i for i, kind in enumerate(kinds) if _beyond_arrow(kind, table.column(i))}
    if ends:
        casts |= {i: _with_text(kinds[i], _NOT_IN_ARROW | _SOMETIMES) for i in ends}
        table = run(casting(len(kinds), casts)).to_arrow_table()
    return table.rename_columns(names)


def to_pandas(table: "pa.Table") -> "pd.DataFrame":
    """The table as a data frame. Whole numbers that a float cannot hold stay whole beside nulls, too."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    frame: pd.DataFrame = table.to_pandas()
    for i, column in enumerate(table.columns):
        whole = {pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()}
        if column.type in whole and column.null_count:
            ends = [end for end in pc.min_max(column).as_py().values() if end is not None]
            if any(abs(end) > _LARGEST_FLOAT for end in ends):
                frame.isetitem(i, column.to_pandas(types_mapper=whole.get))
    return frame


def itself(sql: str) -> str:
    """The statement as it stands."""
    return sql


def described(con: Connection) -> tuple[list[str], list[Any]]:
    """Names and kinds of the columns of what a connection was asked last."""
    found = con.description or []
    return [column[0] for column in found], [column[1] for column in found]


def casting(width: int, casts: dict[int, str]) -> Callable[[str], str]:
    """Puts a statement into one that asks for some of its columns as other types, in the same order of rows."""

    def put(sql: str) -> str:
        inner = _without_end(sql)
        chosen = ", ".join(f"c{i}::{casts[i]}" if i in casts else f"c{i}" for i in range(width))
        return f"select {chosen} from (\n{inner}\n) as answer({', '.join(f'c{i}' for i in range(width))})"

    return put


def _without_end(sql: str) -> str:
    """A statement without the semicolons, and the comments, that end it."""
    # Where a token starts is told in bytes.
    text = sql.encode()
    for start, kind in reversed(duckdb.tokenize(sql)):
        if kind == duckdb.token_type.comment or text[start:].startswith(b";"):
            text = text[:start]
        else:
            break
    return text.decode()


# --- kinds ------------------------------------------------------------------------------------------------------------


def _children(kind: Any) -> list[tuple[str, Any]]:
    """Names and kinds of what a nested kind holds."""
    if kind.id not in ("list", "array", "struct", "map", "union"):
        return []
    # A union's first is the number that says which member a value is.
    return list(kind.children)[1:] if kind.id == "union" else [child for child in kind.children if child[0] != "size"]


def _leaves(kind: Any) -> Iterator[str]:
    """What a kind is made of in the end; a union is named beside its members."""
    if kind.id not in ("list", "array", "struct", "map"):
        yield str(kind.id)
    for _, child in _children(kind):
        yield from _leaves(child)


def _text_instead(kind: Any, leaves: frozenset[str]) -> str | None:
    """The type in which text stands for some leaves; None where it has none of them."""
    if leaves.isdisjoint(_leaves(kind)):
        return None
    return _with_text(kind, leaves)


def _with_text(kind: Any, leaves: frozenset[str]) -> str:
    children = _children(kind)
    if not children:
        return _TEXT if kind.id in leaves else str(kind)
    if leaves.isdisjoint(_leaves(kind)):
        return str(kind)
    inner = [(name, _with_text(child, leaves)) for name, child in children]
    if kind.id == "map":
        return f"MAP({inner[0][1]}, {inner[1][1]})"
    if kind.id in ("list", "array"):
        return f"{inner[0][1]}[]"
    if kind.id == "struct" and all(name for name, _ in inner):
        return f"STRUCT({', '.join(f'{_quoted(name)} {text}' for name, text in inner)})"
    # No cast goes into a union or a struct without names: the whole is text.
    return _TEXT


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text_in_arrow(kind: Any) -> str | None:
    leaves = set(_leaves(kind))
    if leaves & {"union", *_NEITHER} or _has_nameless(kind):
        return _TEXT
    return _text_instead(kind, _NOT_IN_ARROW)


def _has_nameless(kind: Any) -> bool:
    children = _children(kind)
    return (kind.id == "struct" and not all(name for name, _ in children)) or any(
        _has_nameless(child) for _, child in children
    )


# --- values -----------------------------------------------------------------------------------------------------------


def _holds_an_end(value: Any) -> bool:
    """Whether a value is, or holds, the last or first of Python's days, which stand for infinity too."""
    if isinstance(value, datetime):
        bare = value.replace(tzinfo=None)
        return bare.year in (date.min.year, date.max.year)
    if isinstance(value, date):
        return value in (date.min, date.max)
    if isinstance(value, dict):
        return any(_holds_an_end(each) for pair in value.items() for each in pair)
    return isinstance(value, list | tuple) and any(_holds_an_end(each) for each in value)


def _beyond_arrow(kind: Any, column: Any) -> bool:
    """Whether a column holds a date that Python has not, as infinity, or a whole number of more digits than a decimal has."""
    return not _SOMETIMES.isdisjoint(_leaves(kind)) and any(_is_beyond(chunk) for chunk in column.chunks)


def _is_beyond(array: Any) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if pa.types.is_struct(kind):
        return any(_is_beyond(each) for each in array.flatten())
    if pa.types.is_map(kind):
        return _is_beyond(array.keys) or _is_beyond(array.items)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _is_beyond(array.flatten())
    if pa.types.is_timestamp(kind) or pa.types.is_date32(kind):
        number = pa.int32() if pa.types.is_date32(kind) else pa.int64()
        days = pa.types.is_date32(kind)
        first, last = (bound // _DAY if days else bound * _PER_SECOND[kind.unit] for bound in (_FIRST, _LAST))
        # DuckDB's infinities are the largest of all numbers, and the least but one.
        largest = min(2 ** (number.bit_width - 1) - 2, last)
        least = max(2 - 2 ** (number.bit_width - 1), first)
        ends = pc.min_max(array.view(number)).as_py().values()
        return any(end is not None and not least <= end <= largest for end in ends)
    if pa.types.is_time64(kind):
        # 24:00:00 is a time of DuckDB's, and the day's beginning elsewhere.
        return bool(pc.any(pc.greater_equal(array.view(pa.int64()), _DAY * _PER_SECOND[kind.unit])).as_py())
    if pa.types.is_decimal128(kind) and kind.scale == 0 and kind.precision == 38:
        return any(end is not None and abs(int(end)) >= _LARGEST_DECIMAL for end in pc.min_max(array).as_py().values())
    return False


# --- texts ------------------------------------------------------------------------------------------------------------


def as_text(value: Any) -> str:
    """A value as text that holds all of it: bytes as DuckDB writes them, what is nested by the texts of its parts."""
    return str(_plain(value, lambda number: number))


def as_json(value: Any, odd: Callable[[float], Any]) -> Any:
    """A value as JSON has it: what JSON lacks is text, and NaN and infinity are what `odd` makes of them."""
    return _plain(value, odd)


def _plain(value: Any, odd: Callable[[float], Any]) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else odd(value)
    if isinstance(value, bytes):
        return "".join(
            chr(byte) if 32 <= byte < 127 and chr(byte) not in _ESCAPED else f"\\x{byte:02X}" for byte in value
        )
    if isinstance(value, dict):
        return {str(_plain(key, str)): _plain(each, odd) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, odd) for each in value]
    return str(value)
