"""The built-in formats of each kind of file, and how a file's format is recognised.

A line in `BUILT_IN` is all that a new file in this folder needs. Where nobody names a format, the first one that
recognises the file's content reads it; where none does, that of the file's ending, which says what is wrong with it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from milstore.plugins import Formats, Registry

BUILT_IN: dict[str, dict[str, str]] = {
    "features": {
        "pt": "milstore.formats.pt_vector:PtVector",
        "npy": "milstore.formats.npy_vector:NpyVector",
        "pt-slice": "milstore.formats.pt_slice:PtSlice",
        "npz": "milstore.formats.npz_slice:NpzSlice",
        "h5": "milstore.formats.h5_slice:H5Slice",
        "lazyslide": "milstore.formats.lazyslide:LazyslideSlice",
        "trident": "milstore.formats.trident:TridentSlice",
        "trident-pt": "milstore.formats.trident:TridentPt",
        "parquet": "milstore.formats.parquet_slice:ParquetSlice",
        "stamp": "milstore.formats.stamp:StampSlice",
        "slideflow": "milstore.formats.slideflow:SlideflowBag",
        "clam": "milstore.formats.clam:ClamSlice",
        "clam-pt": "milstore.formats.clam:ClamPt",
    },
    "tables": {
        "parquet": "milstore.formats.parquet_table:ParquetTable",
        "csv": "milstore.formats.csv_arrow:CsvArrow",
    },
    "labels": {"csv": "milstore.formats.csv_table:CsvTable"},
    "splits": {
        "npz": "milstore.formats.npz_splits:NpzSplits",
        "split-table": "milstore.formats.split_table:SplitTable",
        "fold-table": "milstore.formats.fold_table:FoldTable",
        "subset-table": "milstore.formats.subset_table:SubsetTable",
        "clam": "milstore.formats.clam_splits:ClamSplits",
        "stamp": "milstore.formats.stamp_splits:StampSplits",
        "slideflow": "milstore.formats.slideflow_splits:SlideflowSplits",
    },
    "runs": {
        "tables": "milstore.formats.run_table:RunTable",
        "study": "milstore.formats.study_run:StudyRun",
    },
}
"""By the kind of file: module and class of each format that comes with milstore."""
METHODS: dict[str, tuple[tuple[str, ...], ...]] = {
    "features": (("vector",), ("layout", "vectors")),
    "tables": (("read",),),
    "labels": (("read",),),
    "splits": (("read",),),
    "runs": (("predictions", "attention"),),
}
"""What a format of each kind can do, besides `recognises`: all of one of these."""
ENTRY_POINTS = "milstore.formats"
"""Groups of entry points by which installed packages offer formats: this, a dot, and the kind, such as features."""
APART = dict.fromkeys(("pt", "pt-slice", "trident-pt", "slideflow", "clam-pt"), "milstore.formats.pt_load")
"""Formats that are read in processes of their own, since it takes torch, and the module that these import."""


FORMATS = {
    kind: Formats(
        registry=Registry(kind="format", built_in=BUILT_IN[kind], group=f"{ENTRY_POINTS}.{kind}"),
        ways=ways,
        files=kind,
    )
    for kind, ways in METHODS.items()
}
"""By the kind of file."""


def find_format(kind: str, name: str) -> Any:
    """The format of this name: a built-in's, ./file.py:Class, or one that an installed package offers.

    Raises:
        UsageError: there is none, or what has the name is no format of this kind.
    """
    return FORMATS[kind].find(name)


def recognised(kind: str, paths: Sequence[Path]) -> str | None:
    """The built-in format of similar files: by content, else by the ending of the first."""
    return FORMATS[kind].recognised(paths)
