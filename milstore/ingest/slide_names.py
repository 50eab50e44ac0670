"""Names of slides: the id that a file's name holds, and what a TCGA barcode says."""

import re
from dataclasses import dataclass

from milstore.errors import DataError
from milstore.store.names import clip

_OF_SLIDES = "svs tif tiff ndpi mrxs scn vms vmu bif svslide dcm czi isyntax qptiff btf"
_OF_TOOLS = "ndpis dicom png jpg jpeg jp2 zvi h5 hdf5 pt pth npz npy parquet zarr json geojson csv"
IMAGES = frozenset(_OF_SLIDES.split())
"""Endings of slides' files."""
ENDINGS = IMAGES | frozenset(_OF_TOOLS.split())
"""The same, and endings of files that tools make of them: no part of a slide's id. What else stands behind a dot may
be one, as the second part of TCGA's names is."""
_BARCODE = re.compile(
    r"(?P<case>TCGA-[0-9A-Z]{2}-[0-9A-Z]{4})-(?P<sample>[0-9]{2})[A-Z]-[0-9]{2}-(?P<kind>[A-Z]{2})[0-9A-Z]+(\.[0-9A-Za-z-]+)?"
)
"""Project, tissue source site, participant; sample type and vial; portion; slide; behind a dot the file's UUID."""


def slide_of_text(text: str) -> str:
    """The id of a slide from its name, its file's name or its path: the stem of the name.

    >>> slide_of_text("raw/S1_HE.svs"), slide_of_text("TCGA-AA-0001-01Z-00-DX1.0f1e"), slide_of_text("S1.h5")
    ('S1_HE', 'TCGA-AA-0001-01Z-00-DX1.0f1e', 'S1')
    """
    name = text.strip().replace("\\", "/").rstrip("/").rpartition("/")[2]
    stem, _, ending = name.rpartition(".")
    return stem if stem and ending.lower() in ENDINGS else name


def ending_of(text: str) -> str:
    """The ending of a name in lower case, without the dot; nothing where it has none."""
    stem, _, ending = text.rpartition(".")
    return ending.lower() if stem else ""


@dataclass(frozen=True, slots=True)
class Barcode:
    """What the barcode of a slide of TCGA says."""

    case_id: str
    """TCGA-XX-YYYY."""
    kind: str
    """DX for a diagnostic slide; TS, MS and BS for frozen ones."""
    is_normal: bool
    """Whether the sample is of normal tissue (types 10 to 19)."""


def barcode_of(slide_id: str) -> Barcode | None:
    """The parts of a slide's barcode; None if it is none.

    >>> barcode_of("TCGA-AA-0001-11A-01-TS1.0f1e")
    Barcode(case_id='TCGA-AA-0001', kind='TS', is_normal=True)
    """
    found = _BARCODE.fullmatch(slide_id)
    return None if found is None else Barcode(found["case"], found["kind"], 10 <= int(found["sample"]) < 20)


def needed_barcode(slide_id: str, where: str) -> Barcode:
    """The same. DataError if it is none."""
    found = barcode_of(slide_id)
    if found is None:
        raise DataError(
            f"{where}: {clip(slide_id)!r} is no barcode of a slide of TCGA, such as TCGA-AA-0001-01Z-00-DX1: correct it, or "
            "leave --tcga out and give the cases in a column"
        )
    return found
