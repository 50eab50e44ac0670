"""Patches with features and attention as AnnData, which LazySlide, scanpy and squidpy work with.

The package anndata writes the file; what goes into it is put together without it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from milstore._version import __version__
from milstore.errors import StoreError, UsageError
from milstore.exporting.attended import COLUMNS, Attended, attention_of
from milstore.exporting.encoded_patches import EncodedPatches, encoded_patches
from milstore.extras import needed
from milstore.store import Store
from milstore.store.features import PLACE, Vectors
from milstore.store.io import write_whole
from milstore.store.names import counted

if TYPE_CHECKING:
    from milstore.asking.selection import Choice

_WORDS = ("case_id", "stain", "slice_name", "slide_id", "unit", "grid", "class_name", "file", "run_id")
"""Columns of texts; where nothing is known stands an empty one."""
_NUMBERS = ("slice_idx", "patch_idx", "x", "y", "width", "height", *COLUMNS)
"""Columns of numbers; where nothing is known stands NaN."""


@dataclass(frozen=True, slots=True)
class PatchFrame:
    """What an AnnData of patches is made of. N patches, D numbers each."""

    names: list[str]
    """(N,): of each patch, case/stain/slice/number."""
    obs: pa.Table
    """(N,): the columns of texts and numbers, without nulls."""
    features: Vectors
    """(N, D)."""
    centres: npt.NDArray[np.float64] | None
    """(N, 2): x and y of each patch's centre, in pixels of its unit; None unless all have places."""
    about: dict[str, str]
    """What the file says of itself."""
    notes: tuple[str, ...] = ()


def patch_frame(
    store: Store, *, encoder: str | None = None, cases: Iterable[str] = (), choice: "Choice | None" = None
) -> PatchFrame:
    """The patches of some cases, their features, and the attention of a run.

    Args:
        store: the store.
        encoder: None where the store has features of one alone.
        cases: all that have features if there are none.
        choice: which run or experiment says the attention; None for none.

    Raises:
        UsageError: a case, run or experiment does not exist, or the run has no attention.
        StoreError: attention is wanted, and there is no finished run.
    """
    chosen = encoded_patches(store, encoder, cases)
    attended = None if choice is None else attention_of(store, choice)
    table = _with_attention(_with_class(chosen), attended)
    parts = [chosen.features.read(case) for case in sorted(chosen.cases, key=str.encode)]
    about = {"encoder": chosen.features.encoder, "written_by": f"milstore {__version__}"}
    if attended is not None:
        about["attention"] = attended.title
    return PatchFrame(
        names=_names(table),
        obs=_filled(table),
        features=np.concatenate(parts),
        centres=_centres(table),
        about=about,
        notes=() if attended is None else (*attended.notes, *_unattended(table)),
    )


def export_anndata(
    store: Store,
    path: Path,
    *,
    encoder: str | None = None,
    cases: Iterable[str] = (),
    choice: "Choice | None" = None,
) -> list[str]:
    """Write a `.h5ad` of patches; arguments are those of `patch_frame`.

    Returns:
        What was written, in words.

    Raises:
        UsageError: the package anndata is not installed, and what `patch_frame` raises.
    """
    if path.suffix != ".h5ad":
        raise UsageError(f"{path} must end in .h5ad, by which AnnData's readers know it")
    anndata = needed("anndata", extra="anndata", why="writing .h5ad")
    try:
        frame = patch_frame(store, encoder=encoder, cases=cases, choice=choice)
    except StoreError as error:
        if choice is not None:
            error.add_note("without attention: milstore export anndata --no-attention")
        raise
    obs = frame.obs.to_pandas()
    obs.index = frame.names
    made: Any = anndata.AnnData(X=frame.features, obs=obs, uns={"milstore": frame.about})
    if frame.centres is not None:
        made.obsm["spatial"] = frame.centres
    write_whole(path, lambda temporary: made.write_h5ad(temporary, compression="gzip"))
    what = f"{counted(len(frame.names), 'patch', 'patches')} of {frame.features.shape[1]} numbers"
    said = f", attention of {frame.about['attention']}" if "attention" in frame.about else ""
    return [f"wrote {path}: {what} (encoder {frame.about['encoder']}){said}", *frame.notes]


def _with_class(chosen: EncodedPatches) -> pa.Table:
    """The patches with the class of their case."""
    classes = chosen.cohort.table("cases").select(["case_id", "class_name"])
    return chosen.table.join(classes, "case_id").sort_by([(name, "ascending") for name in PLACE])


def _with_attention(table: pa.Table, attended: Attended | None) -> pa.Table:
    """The patches with a run's attention; null where it has none."""
    if attended is None:
        return table
    said = attended.table
    # Casts: what DuckDB counts in and what the cohort has need not be of one width.
    said = said.cast(pa.schema([table.schema.field(f.name) if f.name in PLACE else f for f in said.schema]))
    return table.join(said, list(PLACE)).sort_by([(name, "ascending") for name in PLACE])


def _names(table: pa.Table) -> list[str]:
    parts = [table[name].to_pylist() for name in ("case_id", "stain", "slice_name", "patch_idx")]
    return [f"{case}/{stain}/{name}/{number}" for case, stain, name, number in zip(*parts, strict=True)]


def _filled(table: pa.Table) -> pa.Table:
    """The columns that go into the file, each of one plain type: HDF5 has no nulls."""
    columns: dict[str, pa.ChunkedArray] = {}
    for name in _WORDS:
        if name in table.column_names:
            columns[name] = pc.fill_null(table[name].cast(pa.string()), "")
    for name in _NUMBERS:
        if name in table.column_names:
            column = table[name]
            columns[name] = pc.fill_null(column.cast(pa.float64()), float("nan")) if column.null_count else column
    return pa.table(columns)


def _centres(table: pa.Table) -> npt.NDArray[np.float64] | None:
    if any(table[name].null_count for name in ("x", "y", "width", "height")):
        return None
    x, y, width, height = (np.asarray(table[name], np.float64) for name in ("x", "y", "width", "height"))
    return np.stack([x + width / 2, y + height / 2], axis=1)


def _unattended(table: pa.Table) -> list[str]:
    count = table["rank"].null_count
    return [f"without attention: {counted(count, 'patch', 'patches')}; NaN stands there"] if count else []
