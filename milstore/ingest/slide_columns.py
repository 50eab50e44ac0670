"""Finds the columns of a table of slides by the names that tools and scanners give them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from milstore.errors import DataError, UsageError
from milstore.formats.csv_table import TextTable
from milstore.store.names import clip, named

SLIDE, CASE, STAIN, LABEL = "slide_id", "case_id", "stain", "label"
FIELDS: Mapping[str, tuple[str, ...]] = {
    SLIDE: ("slideid", "slide", "slidename", "wsi", "wsiid", "wsiname", "filename", "file", "imageid", "image", "slidefile"),
    CASE: ("caseid", "case", "patientid", "patient", "submitterid", "casesubmitterid", "subjectid", "subject"),
    STAIN: ("stain", "staining", "stainname"),
    "slice_name": ("slicename", "slice"),
    "block": ("block", "blockid", "tissueblock"),
    "mpp": ("mpp", "mppx", "mpplevel0", "level0mpp", "slidempp", "openslidemppx"),
    "magnification": ("magnification", "mag", "level0magnification", "objectivepower", "openslideobjectivepower", "appmag"),
    "width": ("width", "widthlevel0", "level0width", "slidewidth"),
    "height": ("height", "heightlevel0", "level0height", "slideheight"),
    "vendor": ("vendor", "scanner", "scannervendor", "openslidevendor"),
    "path": ("path", "slidepath", "filepath", "fullpath", "wsipath"),
    LABEL: ("label",),
}  # fmt: skip
"""What a table may say of a slide, and the names of the column that says it: capitals, and what is no letter or digit, aside;
where there are several, the first one."""


@dataclass(frozen=True, slots=True)
class SlideColumns:
    """Which column of a table says what."""

    of: Mapping[str, str]
    """By the field of `FIELDS`."""
    left: tuple[str, ...]
    """Columns that are not understood, in the order of the table."""

    def texts(self, table: TextTable, field: str) -> list[str]:
        """The texts of a field, row by row; empty ones where the table does not have it."""
        return table.column(self.of[field]) if field in self.of else [""] * len(table)


def parse_columns(text: str | None) -> dict[str, str]:
    """Read `--columns patient=case_id,um=mpp` into {"case_id": "patient", "mpp": "um"}.

    Raises:
        UsageError: it is not of this form, or names what no table of slides says.
    """
    found: dict[str, str] = {}
    for part in (text or "").split(",") if text else ():
        theirs, equals, ours = (piece.strip() for piece in part.rpartition("="))
        if not equals or not theirs or ours not in FIELDS:
            raise UsageError(
                f"--columns has {clip(part)!r}: write what the table's columns are called here, such as "
                f"patient=case_id,um=mpp; a slide has {named(FIELDS, shown=len(FIELDS))}"
            )
        if found.setdefault(ours, theirs) != theirs:
            raise UsageError(f"--columns gives {ours} twice: {clip(found[ours])} and {clip(theirs)}")
    return found


def slide_columns(table: TextTable, asked: Mapping[str, str], needed: Sequence[str]) -> SlideColumns:
    """The column of each field: the one that was asked for, else the first one of its names.

    Args:
        table: the file.
        asked: column of each field that the user names.
        needed: fields without which nothing can be done.

    Raises:
        DataError: a column that was asked for is missing.
        UsageError: a needed one is neither asked for nor there; all that are missing are said.
    """
    found: dict[str, str] = {}
    for field, column in asked.items():
        table.column(column)
        found[field] = column
    by_form: dict[str, str] = {}
    for column in table.columns:
        if column not in found.values():
            by_form.setdefault("".join(filter(str.isalnum, column.casefold())), column)
    for field, names in FIELDS.items():
        name = next((name for name in names if name in by_form), None)
        if field not in found and name is not None:
            found[field] = by_form[name]
    if SLIDE not in found and "path" in found:
        found[SLIDE] = found["path"]
    missing = [field for field in needed if field not in found]
    if missing:
        options = named(f"--{field.removesuffix('_id')}-column" for field in missing)
        raise UsageError(
            f"{table.path} has no column {named(missing)} that is plainly one (it has {named(table.columns)}): say which "
            f"one it is by {options}"
        )
    taken = set(found.values())
    return SlideColumns(found, tuple(column for column in table.columns if column not in taken))


def refuse_doubles(columns: SlideColumns, table: TextTable) -> None:
    """DataError if one column is asked for as two things, but for a path that holds the slide's name."""
    owner: dict[str, str] = {}
    for field, column in columns.of.items():
        if owner.setdefault(column, field) != field and {owner[column], field} != {SLIDE, "path"}:
            raise DataError(f"{table.path}: column {clip(column)} cannot be both {owner[column]} and {field}")
