"""Features from the patch images themselves, by an encoder, in parallel processes."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from milstore.encoders.interface import Encoder, Image, Vectors
from milstore.encoders.registry import load_encoder, same_encoder
from milstore.errors import ConflictError, DataError, MilstoreError, StoreError, in_a_line
from milstore.pixels.image_file import SEEN
from milstore.pixels.patch_source import read_image
from milstore.pixels.registry import PIXELS
from milstore.plugins import format_name
from milstore.progress import Progress, silent
from milstore.store import Store
from milstore.store.cohort import CohortEdit, edit_cohort, read_cohort
from milstore.store.cohort_repair import way_to_repair_pack
from milstore.store.cohort_stains import follow_settings
from milstore.store.features import PLACE, FeaturePack, is_as_stored, open_features
from milstore.store.names import clip
from milstore.store.patch_root import edited_patch_root
from milstore.workers import mapped

_CHUNK = 128
"""Patches that a process is given at once."""
_PIXELS_AT_ONCE = 1 << 23
_REBUILT = frozenset({"encoders", "packs", "pack_cases"})
"""Tables that encoding makes anew where their files are damaged."""


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
    baseline: str = ""
    """What the encoder measures if it is no match for a trained network."""
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report in words."""
        speed = f" in {self.seconds:.1f} s, {self.patches / self.seconds:,.0f} a second" if self.seconds else ""
        lines = [f"{self.encoder}: {self.n_features} features of {self.patches} patches{speed}"]
        if self.baseline:
            lines.append(f"{self.encoder} is a baseline ({self.baseline}): a deep encoder sees far more")
        if self.without_image:
            lines.append(f"left out: {self.without_image} patches that have no image")
        return [*lines, *self.notes, *([] if self.changed else ["nothing changed"])]


def encode_patches(
    store: Store,
    encoder: str = "hed",
    *,
    follow_links: bool = False,
    replace: bool = False,
    format: str | None = None,
    jobs: int | None = None,
    progress: Progress = silent,
) -> EncodeReport:
    """Compute the features of every patch that has an image, and store them under the encoder's name.

    Only those are computed that the store does not have, as a further pack, unless `replace`. The store
    is open to others meanwhile; what they ingest while this runs gets no features.

    encoder: a built-in's name, ./file.py:Class, or one that a package offers. format: that of the images, likewise; found by
    their content if left out. jobs: processes (default: one a processor). follow_links: read images that a link in the patch folder leads to,
    wherever they lie.

    Raises:
        UsageError: no such encoder or format.
        ConflictError: there is no image, or the store's features of that name came from elsewhere and not `replace`.
        StoreError: the store's features of that name, or tables of its cohort, are damaged; `replace` computes the features
            again.
        DataError: an image is missing, damaged, too small, or outside the patch folder; nothing is stored.
    """
    loaded = load_encoder(encoder)
    made, name, source = loaded.encoder, loaded.encoder.name, loaded.source
    notes: list[str] = []
    plan = CohortEdit(read_cohort(store), rebuilds=_REBUILT if replace else frozenset())
    follow_settings(plan)  # what the commit would refuse is told before hours of work
    root, patches, without = _patches_with_image(plan)
    todo = patches if replace else _without_features(store, plan, name, source, patches)
    if not todo.num_rows:
        return EncodeReport(
            changed=False,
            encoder=name,
            n_features=made.n_features,
            patches=patches.num_rows,
            without_image=without,
            seconds=0.0,
            baseline=getattr(made, "baseline", ""),
        )
    started = time.perf_counter()
    files = todo["file"].to_pylist()
    formats = PIXELS.by_ending(root, files) if format is None else {"": format}
    own_reader = "image" in formats.values()
    if own_reader and todo.num_rows < patches.num_rows and not _says_as_seen(plan, name):
        notes.append(
            f"earlier features of {name} were computed otherwise ({SEEN}, now): --replace computes all of them anew"
        )
    tasks = [
        _Task(
            encoder=encoder,
            sha256=tuple(loaded.found.sha256.items()),
            root=str(root),
            files=tuple(files[first : first + _CHUNK]),
            format_of=formats,
            follow_links=follow_links,
        )
        for first in range(0, len(files), _CHUNK)
    ]
    places = todo.select(list(PLACE))
    with FeaturePack(store, encoder=name, n_features=made.n_features, dtype="float32", patches=places) as pack:
        done = 0
        for vectors in mapped(_encode, tasks, jobs=jobs):
            pack.write(done, vectors)
            done += len(vectors)
            progress("encoding", done, len(files))
        pack.finish()
        with edit_cohort(store, rebuild=plan.rebuilds) as edit:
            pack.commit(edit, source=f"{source} ({SEEN})" if own_reader else source, replace=replace)
    return EncodeReport(
        changed=edit.changed,
        encoder=name,
        n_features=made.n_features,
        patches=patches.num_rows,
        without_image=without,
        seconds=time.perf_counter() - started,
        baseline=getattr(made, "baseline", ""),
        notes=(*notes, *edit.notes),
    )


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


def _says_as_seen(plan: CohortEdit, encoder: str) -> bool:
    """Whether the encoder's features were computed of pixels as they are seen."""
    rows = [row for row in plan.table("encoders").to_pylist() if row["encoder"] == encoder]
    return all(row["source"].endswith(f"({SEEN})") for row in rows)


def _without_features(store: Store, plan: CohortEdit, encoder: str, source: str, patches: pa.Table) -> pa.Table:
    """Those of the patches that the store has no features of this encoder of.

    Raises:
        ConflictError: they are another's.
        StoreError: they are damaged.
    """
    rows = [row for row in plan.table("encoders").to_pylist() if row["encoder"] == encoder]
    if not rows:
        return patches
    if rows[0]["source"].removesuffix(f" ({SEEN})") != source:
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
    sha256: tuple[tuple[str, str], ...]
    """Of a user's files, by their names."""
    root: str
    files: tuple[str, ...]
    format_of: Mapping[str, str]
    follow_links: bool


def _encode(task: _Task) -> Vectors:
    """Vectors (N, D) of a task's images; runs in a process of its own."""
    encoder = same_encoder(task.encoder, task.sha256)
    return np.concatenate([_vectors(encoder, images, task.files[0]) for images in _batches(task)])


def _vectors(encoder: Encoder, images: list[Image], file: str) -> Vectors:
    """What an encoder says of some images. DataError if it is not what an encoder says."""
    try:
        found = encoder.encode(images)
    except MilstoreError:
        raise
    except Exception as error:
        raise DataError(
            f"encoder {encoder.name} failed on images from {clip(file, 200)} on: {in_a_line(error)}"
        ) from error
    shape = (len(images), encoder.n_features)
    if not isinstance(found, np.ndarray) or found.shape != shape or found.dtype.kind != "f":
        given = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
        raise DataError(
            f"encoder {encoder.name} gives {given} for {shape[0]} images: it must give floats of shape {shape}"
        )
    return found.astype(np.float32, copy=False)


def _batches(task: _Task) -> Iterator[list[Image]]:
    """The images, as many at once as memory should hold."""
    batch: list[Image] = []
    pixels = 0
    for file in task.files:
        name = format_name(task.format_of, file)
        image = read_image(Path(task.root), file, follow_links=task.follow_links, format=name)
        size = image.shape[0] * image.shape[1]
        if batch and pixels + size > _PIXELS_AT_ONCE:
            yield batch
            batch, pixels = [], 0
        batch.append(image)
        pixels += size
    if batch:
        yield batch
