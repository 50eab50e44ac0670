"""Names of patches' images that begin with a slide's id, or lie in a folder called so, and say a place or a number behind it."""

import re

import pyarrow as pa

from milstore.ingest.file_names import NO_FIT, ReadNames
from milstore.ingest.slide_geometry import LEVEL0
from milstore.store.pattern import PLACES
from milstore.store.slides import Slide, Slides

_QUPATH = re.compile(
    r"\s*\[(?:d=[0-9.]+,)?x=(?P<x>-?[0-9]{1,9}),y=(?P<y>-?[0-9]{1,9}),w=(?P<width>[0-9]{1,9}),h=(?P<height>[0-9]{1,9})(?:,[zt]=[0-9]+)*\]"
)
"""What QuPath puts behind the name of an image when it exports tiles: pixels of level 0."""
_PLACE = re.compile(r"[_ -]?x=?(?P<x>[0-9]{1,9})[_ -]y=?(?P<y>[0-9]{1,9})")
_NUMBER = re.compile(r"[_ -]?(?:patch|tile)?[_ -]?(?P<patch_idx>[0-9]{1,9})", re.IGNORECASE)
_TWO = re.compile(r"[_ -]?[0-9]+[_ -][0-9]+")
BARE = "its two numbers may be pixels or columns and rows of a grid: name the images by x and y (x512_y0), or set a pattern"
_COLUMNS = ("patch_idx", *PLACES)


def with_slides(names: ReadNames, slides: Slides) -> ReadNames:
    """What names say, those that the pattern does not read being read as patches of slides where they are such.

    Places are pixels of the slide's level 0. Two numbers without a word are not read: they may be anything.
    """
    if not len(slides) or not names.unread:
        return names
    rows, unread = [], []
    for file, reason in names.unread:
        found = _of_file(slides, file) if reason == NO_FIT else None
        row = None if found is None else _row(*found)
        if row is None:
            bare = found is not None and _TWO.fullmatch(found[1]) is not None
            unread.append((file, BARE if bare else reason))
        else:
            rows.append({**row, "file": file})
    if not rows:
        return ReadNames(names.table, unread, names.notes)
    schema = names.table.schema.append(pa.field("unit", pa.string())).append(pa.field("slide_id", pa.string()))
    own = pa.Table.from_pylist(rows, schema)
    table = names.table
    for name in ("unit", "slide_id"):
        table = table.append_column(name, pa.nulls(table.num_rows, pa.string()))
    return ReadNames(pa.concat_tables([table, own.cast(table.schema)]), unread, names.notes)


def _of_file(slides: Slides, file: str) -> tuple[Slide, str] | None:
    """The slide that a file's name begins with, the longest id first, else that of its folder; and the rest of the name."""
    folders, _, name = file.rpartition("/")
    stem = name.rpartition(".")[0] or name
    for end in range(len(stem), 0, -1):
        if (slide := slides.get(stem[:end])) is not None:
            return slide, stem[end:]
    slide = slides.get(folders.rpartition("/")[2])
    return None if slide is None else (slide, stem)


def _row(slide: Slide, rest: str) -> dict[str, object] | None:
    match = next((found for pattern in (_QUPATH, _PLACE, _NUMBER) if (found := pattern.fullmatch(rest))), None)
    if match is None:
        return None
    said = {name: int(text) for name, text in match.groupdict().items()}
    return {
        "case_id": slide.case_id,
        "stain": slide.stain,
        "slice_name": slide.slice_name,
        **{name: said.get(name) for name in _COLUMNS},
        "unit": LEVEL0 if "x" in said else None,
        "slide_id": slide.slide_id,
    }
