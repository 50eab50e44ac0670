"""Which slide belongs to which case, from the cohort's table `slides`; files are matched to slides by name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Protocol

import pyarrow as pa


class HasTables(Protocol):
    """A cohort, or an edit of one."""

    def table(self, name: str) -> pa.Table:
        """A table of the cohort by its name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Slide:
    """A row of the table `slides`."""

    slide_id: str
    """The stem of the file's name."""
    case_id: str
    stain: str
    slice_name: str
    """Name of the slice that the slide is, unless it was split by its tissue; the slide's id where none was given."""
    block: str | None = None
    mpp: float | None = None
    """Micrometres a pixel of level 0."""
    magnification: float | None = None
    width: int | None = None
    """Pixels of level 0."""
    height: int | None = None
    vendor: str | None = None
    path: str | None = None


class Slides(Mapping[str, Slide]):
    """The slides of a cohort by their ids."""

    def __init__(self, cohort: HasTables) -> None:
        names = [field.name for field in fields(Slide)]
        rows = cohort.table("slides").to_pylist()
        self._by_id = {
            row["slide_id"]: Slide(**{**row, "slice_name": row["slice_name"] or row["slide_id"]})
            for row in ({name: row.get(name) for name in names} for row in rows)
        }

    def __getitem__(self, slide_id: str) -> Slide:
        return self._by_id[slide_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)

    def of_file(self, name: str) -> Slide | None:
        """The slide whose file, or a file about it, has this name or path: its id is the stem.

        An id may hold dots, as TCGA's do: what stands behind the last one is left out only where the whole is no id. Where
        a tool adds `_patches` or `_blockmap` to a stem, the reader takes that away before.
        """
        stem = name.replace("\\", "/").rpartition("/")[2]
        while stem not in self._by_id and "." in stem:
            stem = stem.rpartition(".")[0]
        return self._by_id.get(stem)

    def of_case(self, case_id: str) -> list[Slide]:
        """The slides of a case, in the order of the table."""
        return [slide for slide in self._by_id.values() if slide.case_id == case_id]
