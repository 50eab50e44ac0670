"""Tables that people make: CSV with comma, semicolon or tab, with or without BOM, from any system."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from milstore.errors import DataError
from milstore.store.names import clip, counted, named

SEPARATORS = (",", ";", "\t")
LARGEST = 1 << 28
_NAMED = re.compile(r"\"?sep=(.)\"?", re.IGNORECASE)
"""The line in which Excel and its kin name the separator of what follows."""
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table with every value as text, stripped of surrounding blanks."""

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]
    """Line of the file on which each row ends, for messages."""
    repeats: tuple[int, ...] = ()
    """Lines that repeated the header and were dropped."""

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str) -> list[str]:
        """A column. DataError, naming those there are, if it is missing."""
        if name not in self.columns:
            raise DataError(f"{self.path} has no column {clip(name)!r}: it has {named(self.columns)}")
        return self.columns[name]

    def repeats_told(self) -> list[str]:
        """Notes on dropped lines."""
        if not self.repeats:
            return []
        return [f"left out: {counted(len(self.repeats), 'repetition')} of the header (line {named(self.repeats)})"]

    def refuse_repeats(self) -> None:
        """Raises DataError if lines repeated the header."""
        if self.repeats:
            raise DataError(f"{self.path} repeats its header in line {named(self.repeats)}: drop it there")


class CsvTable:
    """A table of labels: CSV with comma, semicolon or tab and a header line."""

    endings = ("csv", "tsv", "txt")

    def recognises(self, path: Path) -> bool:
        """A text in UTF-8."""
        return looks_like_csv(path)

    def read(self, path: Path, expected: Sequence[str]) -> TextTable:
        """The table; `expected` are columns that it should have."""
        return read_csv(path, "a label file", expected, drop_repeats=True)


def looks_like_csv(path: Path) -> bool:
    """Whether a file begins as a text in UTF-8."""
    with path.open("rb") as stream:
        head = stream.read(1 << 12)
    # The last character may be cut.
    return bool(head) and b"\0" not in head and "\ufffd" not in head.decode("utf-8", "replace")[:-1]


def columns_of_csv(path: Path) -> list[str]:
    """The names in the header of a CSV file, without those of empty columns at its end."""
    head = head_of_csv(path)
    names = [name.strip() for name in names_of(head.header, head.separator or separator_of(head.header))]
    while names and not names[-1]:
        names.pop()
    return names


def file_bytes(path: Path, what: str, largest: int = LARGEST) -> bytes:
    """The bytes of a small file. DataError if it is missing, unreadable, no plain file, or larger than `largest`."""
    size = file_size(path, what)
    if size > largest:
        raise DataError(f"{path} has {size} bytes: that is too large for {what}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def file_size(path: Path, what: str) -> int:
    """Bytes of a plain file. DataError if there is none."""
    try:
        if path.is_file():
            return path.stat().st_size
        found = "is a folder" if path.is_dir() else "is no plain file" if path.exists() else "does not exist"
    except (OSError, ValueError) as error:
        raise DataError(f"{clip(str(path), 200)} cannot be read: {error}") from error
    raise DataError(f"{path} {found}: name {what}")


def read_csv(
    path: Path, what: str, expected: Sequence[str] = (), *, drop_repeats: bool = False, unnamed: str | None = None
) -> TextTable:
    """Read a CSV file with a header line.

    The separator is the one that the first line names (`sep=;`), else the one of comma, semicolon and tab under which the header holds most of the `expected` columns,
    then the one that gives most columns. Columns without a name are left out, but for the first where `unnamed` gives it one. With `drop_repeats` lines that repeat the header are left out, else refused.

    Raises:
        DataError: no such file, not UTF-8, no header or several, two columns of one name, or a row of another width.
    """
    text = _decoded(path, file_bytes(path, what))
    head = _head(text)
    rows = _parsed(path, text, head.separator or separator_of(head.header, expected), head.skipped)
    if not rows:
        raise DataError(f"{path} is empty: {what} needs a header line")
    header = [name.strip() for name in rows[0][1]]
    first = [*header]
    header[0] = header[0] or unnamed or ""
    names = [name for name in header if name]
    double = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if double:
        raise DataError(f"{path} has the column {named(double)} more than once: rename it")
    rows = [(line, _fitted(path, line, row, header)) for line, row in rows]
    repeats = [line for line, row in rows[1:] if [value.strip() for value in row] == first]
    dropped = set(repeats)
    kept = [(line, row) for line, row in rows[1:] if line not in dropped]
    # A column without a name cannot be asked for.
    columns = {name: [row[i].strip() for _, row in kept] for i, name in enumerate(header) if name}
    table = TextTable(path, columns, [line for line, _ in kept], tuple(repeats))
    if not drop_repeats:
        table.refuse_repeats()
    return table


@dataclass(frozen=True, slots=True)
class Head:
    """How a CSV file begins."""

    header: str
    """The line with the names of its columns."""
    separator: str | None
    """The separator that the file itself names; None where it names none."""
    skipped: int
    """Lines before the header."""


def head_of_csv(path: Path) -> Head:
    """How a large CSV file begins. DataError if that is no text in UTF-8."""
    try:
        with path.open("rb") as stream:
            first = stream.readline(1 << 22)
            second = (
                stream.readline(1 << 22)
                if _NAMED.fullmatch(first.decode("utf-8-sig", "replace").rstrip(" \r\n"))
                else b""
            )
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return _head(_decoded(path, first + second))


def _head(text: str) -> Head:
    """The head of a text. The first line may name the separator, as Excel's `sep=;` does.

    >>> _head("sep=;\\na;b\\n1;2"), _head("a,b")
    (Head(header='a;b', separator=';', skipped=1), Head(header='a,b', separator=None, skipped=0))
    """
    first, _, rest = text.partition("\n")
    # A tab at the end is the separator, and no blank.
    named_separator = _NAMED.fullmatch(first.rstrip(" \r"))
    if named_separator is None:
        return Head(first, None, 0)
    return Head(rest.partition("\n")[0], named_separator[1], 1)


def names_of(header: str, separator: str) -> list[str]:
    """The names in a header, as they stand there; none where it cannot be read."""
    try:
        return next(csv.reader([header.rstrip("\r")], delimiter=separator), [])
    except csv.Error:
        # Reading the whole file says what is wrong with it.
        return []


def separator_of(header: str, expected: Sequence[str] = ()) -> str:
    """The separator of a header line.

    >>> separator_of("Case;Class", ["Case"]), separator_of("a,b;c,d")
    (';', ',')
    """

    def fitness(separator: str) -> tuple[int, int]:
        names = [name.strip() for name in names_of(header, separator)]
        return sum(name in names for name in expected), len(names)

    # max keeps the first of equals, so a single column is read with commas.
    return max(SEPARATORS, key=fitness)


def _decoded(path: Path, data: bytes) -> str:
    if data.startswith(_UTF16) or b"\0" in data:
        raise DataError(f"{path} is not a text in UTF-8 (UTF-16, or no text at all): save it as CSV in UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} is not UTF-8 (line {line}; Latin-1 or Windows-1252?): save it as CSV in UTF-8"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _fitted(path: Path, line: int, row: list[str], header: list[str]) -> list[str]:
    """A row as wide as the header: empty values at its end, and columns without a name, come and go. Else DataError."""
    extra, absent = row[len(header) :], header[len(row) :]
    if any(value.strip() for value in extra) or any(absent):
        raise DataError(f"{path}, line {line}, has {len(row)} values, and the header {len(header)}: correct the line")
    return [*row[: len(header)], *("" for _ in absent)]


def _parsed(path: Path, text: str, separator: str, skipped: int = 0) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        # A line without any value is what editors leave at the end.
        return [
            (reader.line_num, row)
            for row in reader
            if reader.line_num > skipped and any(value.strip() for value in row)
        ]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}, is not CSV ({error}): correct the line") from error
