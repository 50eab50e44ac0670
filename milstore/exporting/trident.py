"""Features and coordinates as TRIDENT lays them out, which CLAM reads too: an HDF5 file a slide."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError, UsageError
from milstore.exporting.encoded_patches import EncodedPatches, encoded_patches
from milstore.formats.hdf5 import opened_hdf5
from milstore.progress import Progress, silent
from milstore.store import Store
from milstore.store.features import Vectors
from milstore.store.io import write_whole
from milstore.store.names import clip, counted, named
from milstore.store.slides import Slide, Slides

_NEAR = 0.02
"""How far a magnification may lie from a whole number, as a share, and still be meant to be it."""
_CHUNK = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportReport:
    """What `export_trident` wrote."""

    folders: tuple[Path, ...]
    """With the features: one for each way in which patches were cut."""
    encoder: str
    slides: int
    patches: int
    n_features: int
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report, as lines of text."""
        what = f"{counted(self.slides, 'slide')}, {counted(self.patches, 'patch', 'patches')}"
        where = ", ".join(map(str, self.folders))
        return [f"{where}: {what}, {self.n_features} numbers each (encoder {self.encoder})", *self.notes]


@dataclass(frozen=True, slots=True)
class _Geometry:
    """How the patches of a slide were cut, in TRIDENT's words."""

    patch_size: int
    patch_size_level0: int
    target_magnification: float
    level0_magnification: float
    overlap: int

    @property
    def folder(self) -> str:
        """Name of the folder that TRIDENT makes for patches that were cut so."""
        return f"{self.target_magnification:.3g}x_{self.patch_size}px_{self.overlap}px_overlap"


@dataclass(frozen=True, slots=True)
class _Files:
    """The files of a slide."""

    top: Path
    encoder: str
    features: Path
    """With their coordinates."""
    coords: Path
    """Coordinates alone."""

    @classmethod
    def of(cls, top: Path, encoder: str, slide_id: str) -> "_Files":
        features = top / f"features_{encoder}" / f"{slide_id}.h5"
        return cls(top, encoder, features, top / "patches" / f"{slide_id}_patches.h5")


@dataclass(frozen=True, slots=True)
class _Seen:
    """How an encoder's patches were cut: from its own row, else from the grid that they lie on."""

    encoder: Mapping[str, Any]
    grids: Mapping[str | None, Mapping[str, Any]]

    @classmethod
    def of(cls, chosen: EncodedPatches) -> "_Seen":
        rows = chosen.cohort.table("encoders").to_pylist()
        encoder = next(row for row in rows if row["encoder"] == chosen.features.encoder)
        return cls(encoder, {row["grid"]: row for row in chosen.cohort.table("grids").to_pylist()})

    def on(self, grid: str | None) -> tuple[int | None, float | None, int]:
        """Edge in pixels, micrometres a pixel and overlap of patches on a grid: encoders may see one place at several sizes."""
        cut = self.grids.get(self.encoder["grid"]) or self.grids.get(grid) or {}
        px, mpp = self.encoder["patch_px"] or cut.get("edge"), self.encoder["mpp"] or cut.get("mpp")
        return px, mpp, cut.get("overlap") or 0


def export_trident(
    store: Store,
    folder: Path,
    *,
    encoder: str | None = None,
    cases: Iterable[str] = (),
    replace: bool = False,
    progress: Progress = silent,
) -> ExportReport:
    """Write `<mag>x_<px>px_<overlap>px_overlap/features_<encoder>/<slide>.h5` and `…/patches/<slide>_patches.h5`.

    Args:
        store: the store.
        folder: the job folder; made if it is not there.
        encoder: None where the store has features of one alone.
        cases: all that have features if there are none.
        replace: write over files that are there.
        progress: is told how far it is.

    Raises:
        UsageError: a case does not exist or has no features, or a file is there already.
        DataError: patches lie on no slide, have no coordinates in pixels of level 0, or nothing says at which resolution they were
            cut. Nothing is written then.
    """
    chosen = encoded_patches(store, encoder, cases)
    _refuse_unplaced(chosen)
    slides = Slides(chosen.cohort)
    seen = _Seen.of(chosen)
    geometry = {slide_id: _geometry(seen, slides[slide_id], rows) for slide_id, rows in _by_slide(chosen.table)}
    tops = {slide_id: folder / each.folder for slide_id, each in geometry.items()}
    files = {slide_id: _Files.of(top, chosen.features.encoder, slide_id) for slide_id, top in tops.items()}
    if not replace:
        _refuse_there(files, chosen.table)
    done = 0
    for case_id in chosen.cases:
        rows, vectors = chosen.of_case(case_id)
        numbered = rows.append_column("row", pa.array(np.arange(rows.num_rows)))
        for slide_id, of_slide in _by_slide(numbered):
            own = vectors[np.asarray(of_slide["row"])]
            _write_slide(files[slide_id], slides[slide_id], geometry[slide_id], of_slide, own)
            done += 1
            progress("writing slides", done, len(geometry))
    return ExportReport(
        folders=tuple(sorted({each.features.parent for each in files.values()})),
        encoder=chosen.features.encoder,
        slides=done,
        patches=chosen.table.num_rows,
        n_features=chosen.features.n_features,
        notes=tuple(_notes(slides, geometry)),
    )


def _refuse_there(files: Mapping[str, "_Files"], table: pa.Table) -> None:
    """UsageError if a file is there already. Coordinates may be, if they are the same: encoders share them."""
    for slide_id, rows in _by_slide(table):
        own = files[slide_id]
        for path in (own.features, own.coords):
            if path.exists() and not (path == own.coords and _holds(path, _corners(rows))):
                raise UsageError(f"{path} is there already: name another folder, or use --replace to write over it")


def _holds(path: Path, corners: npt.NDArray[np.int64]) -> bool:
    """Whether a file has these coordinates, in this order."""
    try:
        with opened_hdf5(path) as file:
            return np.array_equal(file["coords"][()], corners)
    except (OSError, KeyError, TypeError, DataError):
        return False


def _corners(rows: pa.Table) -> npt.NDArray[np.int64]:
    """(N, 2): upper left corners."""
    return np.stack([np.asarray(rows["x"], np.int64), np.asarray(rows["y"], np.int64)], axis=1)


def _refuse_unplaced(chosen: EncodedPatches) -> None:
    """Raises DataError if a patch has no place on a slide."""
    table = chosen.table
    placed = pc.and_(pc.is_valid(table["x"]), pc.is_valid(table["y"]))
    placed = pc.and_(placed, pc.fill_null(pc.equal(table["unit"], "level0"), False))
    for fits, lack in ((placed, "no coordinates in pixels of level 0"), (pc.is_valid(table["slide_id"]), "no slide")):
        wrong = table.filter(pc.invert(fits))
        if wrong.num_rows:
            first = wrong.slice(0, 1).to_pylist()[0]
            place = f"case {clip(first['case_id'])}, stain {first['stain']}, slice {clip(first['slice_name'])}"
            raise DataError(
                f"{counted(wrong.num_rows, 'patch', 'patches')} of encoder {chosen.features.encoder} {'has' if wrong.num_rows == 1 else 'have'} "
                f"{lack}, such as patch {first['patch_idx']} of {place}: a file of TRIDENT says where on a slide each patch lies"
            )


def _by_slide(table: pa.Table) -> list[tuple[str, pa.Table]]:
    """The patches of each slide."""
    return [
        (each, table.filter(pc.equal(table["slide_id"], each))) for each in pc.unique(table["slide_id"]).to_pylist()
    ]


def _geometry(seen: "_Seen", slide: Slide, rows: pa.Table) -> _Geometry:
    """How the patches of one slide were cut. DataError if nothing says it, or they were cut in several ways."""
    grids, widths = (pc.unique(rows[column]).to_pylist() for column in ("grid", "width"))
    # Grids of two names may say the same: a place keeps the name of the one that it was first found on.
    cuts = {seen.on(grid) for grid in grids}
    if len(cuts) > 1 or len(widths) > 1 or not pc.all(pc.equal(rows["width"], rows["height"])).as_py():
        raise DataError(
            f"slide {slide.slide_id} has patches of several sizes ({named(map(str, grids))}): TRIDENT has one a file"
        )
    px, mpp, overlap = cuts.pop()
    if px is None or mpp is None or widths[0] is None:
        raise DataError(
            f"slide {slide.slide_id} has patches of which the store does not know the size and the micrometres a pixel at which they "
            "were cut, which a file of TRIDENT says: ingest their features again from files that say it"
        )
    level0 = slide.magnification or 10 / (slide.mpp or mpp * px / widths[0])
    return _Geometry(px, widths[0], _whole(10 / mpp), _whole(level0), overlap)


def _whole(magnification: float) -> float:
    """A magnification as scanners call it: 19.9 is 20."""
    near = float(round(magnification))
    return near if near and abs(near - magnification) <= _NEAR * near else magnification


def _write_slide(files: "_Files", slide: Slide, geometry: _Geometry, rows: pa.Table, vectors: Vectors) -> None:
    coords = _corners(rows)
    known = {
        "patch_size": geometry.patch_size,
        "patch_size_level0": geometry.patch_size_level0,
        "level0_magnification": geometry.level0_magnification,
        "target_magnification": geometry.target_magnification,
        "overlap": geometry.overlap,
        "name": slide.slide_id,
        "savetodir": files.top.name,
        "level0_width": slide.width,
        "level0_height": slide.height,
    }
    attributes = {name: _plain(value) for name, value in known.items() if value is not None}
    of_features = {
        "name": slide.slide_id,
        "savetodir": f"{files.top.name}/{files.features.parent.name}",
        "encoder": files.encoder,
    }
    for path in (files.features, files.coords):
        path.parent.mkdir(parents=True, exist_ok=True)
    _write(files.features, {"features": (vectors, of_features), "coords": (coords, attributes)})
    _write(files.coords, {"coords": (coords, attributes)})


def _plain(value: Any) -> Any:
    """Whole numbers as such, as the tool writes them."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _write(path: Path, arrays: dict[str, tuple[npt.NDArray[Any], dict[str, Any]]]) -> None:
    def fill(temporary: Path) -> None:
        import h5py

        with h5py.File(temporary, "w") as file:
            for name, (values, attributes) in arrays.items():
                shape = (None, *values.shape[1:])
                chunks = (min(len(values), _CHUNK), *values.shape[1:])
                file.create_dataset(name, data=values, maxshape=shape, chunks=chunks).attrs.update(attributes)

    write_whole(path, fill)


def _notes(slides: Slides, geometry: dict[str, _Geometry]) -> list[str]:
    unsized = [each for each in geometry if slides[each].width is None or slides[each].height is None]
    if not unsized:
        return []
    return [
        f"level0_width and level0_height are left out of {counted(len(unsized), 'slide')} of unknown size ({named(unsized)})"
    ]
