"""Features from the patch images themselves, by a built-in encoder, in parallel processes.

An encoder is anything that fits `Encoder`; a deep one takes its place in `ENCODERS` beside the baseline.
"""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import ConflictError, DataError, StoreError, UsageError
from milstore.pixels.image_sizes import FORMATS
from milstore.progress import Progress, silent
from milstore.store import Store
from milstore.store.cohort import CohortEdit, edit_cohort, read_cohort
from milstore.store.cohort_repair import way_to_repair_pack
from milstore.store.features import PLACE, FeaturePack, is_as_stored, open_features
from milstore.store.names import clip, nearest
from milstore.store.patch_root import edited_patch_root
from milstore.store.paths import real_path
from milstore.workers import mapped

Image = npt.NDArray[np.uint8]
"""(height, width, 3), RGB."""
Vectors = npt.NDArray[np.float32]
"""(N, D)."""

_CHUNK = 128
"""Patches that a process is given at once."""
_PIXELS_AT_ONCE = 1 << 23
_SMALLEST_SIDE = 8
_LARGEST_PATCH = 1 << 24
"""Pixels; what claims more is no patch."""
_SOURCE = "milstore encode"
_REBUILT = frozenset({"encoders", "packs", "pack_cases"})
"""Tables that encoding makes anew where their files are damaged."""


class Encoder(Protocol):
    """Turns patch images into feature vectors. The vector of an image depends on that image alone."""

    @property
    def name(self) -> str:
        """Name in the `encoders` table."""

    @property
    def n_features(self) -> int:
        """Length D of a vector."""

    def encode(self, images: Sequence[Image]) -> Vectors:
        """Finite float32 vectors (N, D) of N images, each (height, width, 3) uint8, of one size or several."""


def _hed() -> Encoder:
    from milstore.encoders.hed import HedEncoder

    return HedEncoder()


ENCODERS: dict[str, Callable[[], Encoder]] = {"hed": _hed}
"""Makes each encoder by its name. An entry imports what it needs when it is called, in the process that computes."""

BASELINES = {"hed": "colour deconvolution and texture statistics"}
"""Encoders that are no match for a trained network, and what they measure instead."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodeReport:
    """What `encode_patches` did."""

    changed: bool
    encoder: str
    n_features: int
    patches: int
    """Patches that have a vector now."""
    without_image: int
    """Patches that the store knows without an image, left out."""
    seconds: float
    """Time it took; 0 where there was nothing to do."""
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report in words."""
        speed = f" in {self.seconds:.1f} s, {self.patches / self.seconds:,.0f} a second" if self.seconds else ""
        lines = [f"{self.encoder}: {self.n_features} features of {self.patches} patches{speed}"]
        if self.encoder in BASELINES:
            lines.append(f"{self.encoder} is a baseline ({BASELINES[self.encoder]}): a deep encoder sees far more")
        if self.without_image:
            lines.append(f"left out: {self.without_image} patches that have no image")
        return [*lines, *self.notes, *([] if self.changed else ["nothing changed"])]


def encode_patches(
    store: Store,
    encoder: str = "hed",
    *,
    follow_links: bool = False,
    replace: bool = False,
    jobs: int | None = None,
    progress: Progress = silent,
) -> EncodeReport:
    """Compute the features of every patch that has an image, and store them under the encoder's name.

    Only those are computed that the store does not have, as a further pack, unless `replace`. The store
    is open to others meanwhile; what they ingest while this runs gets no features.

    jobs: processes (default: one a processor). follow_links: read images that a link in the patch folder leads to,
    wherever they lie.

    Raises:
        UsageError: no such encoder.
        ConflictError: there is no image, or the store's features of that name came from elsewhere and not `replace`.
        StoreError: the store's features of that name, or tables of its cohort, are damaged; `replace` computes the features
            again.
        DataError: an image is missing, damaged, too small, or outside the patch folder; nothing is stored.
    """
    made = _make(encoder)
    plan = CohortEdit(read_cohort(store), rebuilds=_REBUILT if replace else frozenset())
    root, patches, without = _patches_with_image(plan)
    todo = patches if replace else _without_features(store, plan, encoder, patches)
    if not todo.num_rows:
        return EncodeReport(
            changed=False,
            encoder=encoder,
            n_features=made.n_features,
            patches=patches.num_rows,
            without_image=without,
            seconds=0.0,
        )
    started = time.perf_counter()
    files = todo["file"].to_pylist()
    tasks = [
        _Task(encoder=encoder, root=str(root), files=tuple(files[first : first + _CHUNK]), follow_links=follow_links)
        for first in range(0, len(files), _CHUNK)
    ]
    places = todo.select(list(PLACE))
    with FeaturePack(store, encoder=encoder, n_features=made.n_features, dtype="float32", patches=places) as pack:
        done = 0
        for vectors in mapped(_encode, tasks, jobs=jobs):
            pack.write(done, vectors)
            done += len(vectors)
            progress("encoding", done, len(files))
        pack.finish()
        with edit_cohort(store, rebuild=plan.rebuilds) as edit:
            pack.commit(edit, source=_source(encoder), replace=replace)
    return EncodeReport(
        changed=edit.changed,
        encoder=encoder,
        n_features=made.n_features,
        patches=patches.num_rows,
        without_image=without,
        seconds=time.perf_counter() - started,
        notes=tuple(edit.notes),
    )


@cache
def _make(encoder: str) -> Encoder:
    """The encoder, made once a process."""
    if encoder not in ENCODERS:
        raise UsageError(f"there is no encoder {clip(encoder)!r}: {nearest(encoder, ENCODERS)}")
    return ENCODERS[encoder]()


def _source(encoder: str) -> str:
    return f"{_SOURCE} --encoder {encoder}"


def _patches_with_image(plan: CohortEdit) -> tuple[Path, pa.Table, int]:
    """The patch folder, the patches that have an image in the order of their rows, and how many have none."""
    patches = plan.table("patches")
    root = edited_patch_root(plan)
    with_image = patches.filter(pc.field("file").is_valid())
    if not with_image.num_rows or root is None:
        raise ConflictError("the store knows no patch images: run milstore ingest patches first")
    # As FeaturePack orders its rows.
    ordered = with_image.sort_by([(column, "ascending") for column in PLACE]).combine_chunks()
    return root, ordered, patches.num_rows - with_image.num_rows


def _without_features(store: Store, plan: CohortEdit, encoder: str, patches: pa.Table) -> pa.Table:
    """Those of the patches that the store has no features of this encoder of.

    Raises:
        ConflictError: they are another's.
        StoreError: they are damaged.
    """
    rows = [row for row in plan.table("encoders").to_pylist() if row["encoder"] == encoder]
    if not rows:
        return patches
    if rows[0]["source"] != _source(encoder):
        raise ConflictError(
            f"the store has features called {encoder} from elsewhere ({clip(rows[0]['source'])}): use --replace to drop them"
        )
    features = open_features(store, plan.base, encoder)
    if not is_as_stored(features):
        way = way_to_repair_pack(store, encoder, rows[0]["source"])
        raise StoreError(f"the features of {encoder} in {features.folder} are not what was stored: {way}")
    left = patches.join(features.patches.cast(patches.select(list(PLACE)).schema), list(PLACE), join_type="left anti")
    return left.select(patches.column_names).sort_by([(column, "ascending") for column in PLACE]).combine_chunks()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Task:
    """Images for one process."""

    encoder: str
    root: str
    files: tuple[str, ...]
    follow_links: bool


def _encode(task: _Task) -> Vectors:
    """Vectors (N, D) of a task's images; runs in a process of its own."""
    encoder = _make(task.encoder)
    root = Path(task.root)
    found = [encoder.encode(images) for images in _batches(root, task.files, task.follow_links)]
    return np.concatenate(found)


def _batches(root: Path, files: Sequence[str], follow_links: bool) -> Iterator[list[Image]]:
    """The images, as many at once as memory should hold."""
    batch: list[Image] = []
    pixels = 0
    for file in files:
        image = read_image(root, file, follow_links=follow_links)
        size = image.shape[0] * image.shape[1]
        if batch and pixels + size > _PIXELS_AT_ONCE:
            yield batch
            batch, pixels = [], 0
        batch.append(image)
        pixels += size
    if batch:
        yield batch


def read_image(root: Path, file: str, *, follow_links: bool = False) -> Image:
    """The pixels (height, width, 3) of a patch image, RGB; transparency is dropped, grey becomes RGB.

    Raises:
        DataError: the file lies outside the folder, is missing, damaged, no PNG, JPEG or TIFF of 8 bits, or of a size
            that no patch has.
    """
    from PIL import Image as Pillow
    from PIL import UnidentifiedImageError

    path = root / file
    shown = clip(str(path), 300)
    if not _is_inside(root, file, follow_links=follow_links):
        raise DataError(f"{shown} lies outside the patch folder {root}: remove it, or use --follow-links for links")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)
            with path.open("rb") as stream, Pillow.open(stream, formats=FORMATS) as image:
                width, height = image.size
                _check_kind(shown, image.mode, width, height)
                pixels: Image = np.asarray(image.convert("RGB"))
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{shown} is missing: put it back, or ingest the patches again with --replace") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{shown} is not a PNG, JPEG or TIFF image: remove it or make it anew") from error
    except Exception as error:  # Pillow raises what it meets: OSError, SyntaxError, ValueError, struct.error, …
        raise DataError(f"{shown} is damaged ({clip(str(error))}): make it anew") from error
    return pixels


def _is_inside(root: Path, file: str, *, follow_links: bool) -> bool:
    path = Path(file)
    if path.is_absolute() or ".." in path.parts:
        return False
    return follow_links or real_path(root / path).is_relative_to(real_path(root))


def _check_kind(shown: str, mode: str, width: int, height: int) -> None:
    if mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"):
        raise DataError(f"{shown} has pixels of kind {mode}, not of 8 bits: convert it to RGB")
    if min(width, height) < _SMALLEST_SIDE or width * height > _LARGEST_PATCH:
        raise DataError(f"{shown} has {width} x {height} pixels, which is no patch: make it anew")
