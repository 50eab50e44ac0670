"""Features from the pixels of patches, by an encoder that is a class, in parallel processes."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from milstore.encoders.choice import Choice, choose_patches, describe, without_features
from milstore.encoders.interface import Encoder, Image, Vectors
from milstore.encoders.registry import load_encoder, same_encoder
from milstore.encoders.report import EncodeReport
from milstore.errors import DataError, MilstoreError, in_a_line
from milstore.pixels.image_file import SEEN
from milstore.pixels.patch_source import PatchPlace, patch_pixels
from milstore.pixels.registry import PIXELS
from milstore.progress import Progress, silent
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import CohortEdit, edit_cohort
from milstore.store.cohort_stains import follow_settings
from milstore.store.features import PLACE, FeaturePack
from milstore.store.names import clip
from milstore.workers import mapped

_CHUNK = 128
"""Patches that a process is given at once."""
_PIXELS_AT_ONCE = 1 << 23
_REBUILT = frozenset({"encoders", "packs", "pack_cases"})
"""Tables that encoding makes again where their files are damaged."""


def encode_patches(
    store: Store,
    encoder: str = "hed",
    *,
    grid: str | None = None,
    follow_links: bool = False,
    replace: bool = False,
    format: str | None = None,
    jobs: int | None = None,
    cases: tuple[str, ...] | None = None,
    progress: Progress = silent,
) -> EncodeReport:
    """Compute the features of every patch that has an image or lies on a slide, and store them under the encoder's name.

    Only those are computed that the store does not have, as a further pack, unless `replace`. The store
    is open to others meanwhile; what they ingest while this runs gets no features.

    grid: name of the patches' grid, where there are several. cases: patches of these alone; of all if None.
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
    every = choose_patches(plan, name, grid, replace=replace).of_cases(cases)
    todo = every
    if not replace:
        left = without_features(store, plan, name, every.patches, lambda row: _refused(name, source, row))
        todo = every if left.num_rows == every.patches.num_rows else every.of(left)
    if not todo.places:
        return EncodeReport(
            changed=False,
            encoder=name,
            n_features=made.n_features,
            patches=len(every.places),
            without_image=every.without,
            seconds=0.0,
            baseline=getattr(made, "baseline", ""),
        )
    started = time.perf_counter()
    formats = _formats(todo, format)
    own_reader = not formats or "image" in formats.values()
    if own_reader and len(todo.places) < len(every.places) and not _says_as_seen(plan, name):
        notes.append(
            f"earlier features of {name} were computed otherwise ({SEEN}, now): --replace computes all of them again"
        )
    tasks = [
        _Task(
            encoder=encoder,
            sha256=tuple(loaded.found.sha256.items()),
            root=todo.root,
            places=tuple(todo.places[first : first + _CHUNK]),
            format_of=formats,
            follow_links=follow_links,
        )
        for first in range(0, len(todo.places), _CHUNK)
    ]
    places = todo.patches.select(list(PLACE))
    with FeaturePack(store, encoder=name, n_features=made.n_features, dtype="float32", patches=places) as pack:
        done = 0
        for vectors in mapped(_encode, tasks, jobs=jobs):
            pack.write(done, vectors)
            done += len(vectors)
            progress("encoding", done, len(todo.places))
        pack.finish()
        with edit_cohort(store, rebuild=plan.rebuilds) as edit:
            pack.commit(edit, source=f"{source} ({SEEN})" if own_reader else source, replace=replace)
            describe(edit, name, every)
    return EncodeReport(
        changed=edit.changed,
        encoder=name,
        n_features=made.n_features,
        patches=len(every.places),
        without_image=every.without,
        seconds=time.perf_counter() - started,
        baseline=getattr(made, "baseline", ""),
        notes=(*notes, *edit.notes),
    )


def _formats(choice: Choice, format: str | None) -> dict[str, str]:
    """The format of the image files of each ending; none where all patches lie on slides."""
    files = [place.file for place in choice.places if place.file is not None]
    if not files or choice.root is None:
        return {}
    return PIXELS.by_ending(choice.root, files) if format is None else {"": format}


def _says_as_seen(plan: CohortEdit, encoder: str) -> bool:
    """Whether the encoder's features were computed of pixels as they are seen."""
    rows = [row for row in plan.table("encoders").to_pylist() if row["encoder"] == encoder]
    return all(row["source"].endswith(f"({SEEN})") for row in rows)


def _refused(encoder: str, source: str, row: Mapping[str, Any]) -> str | None:
    """Why the store's features of this name were made by another encoder."""
    if row["source"].removesuffix(f" ({SEEN})") == source:
        return None
    return f"the store has features called {encoder} from elsewhere ({clip(row['source'])}): use --replace to drop them"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Task:
    """Images for one process."""

    encoder: str
    sha256: tuple[tuple[str, str], ...]
    """Of a user's files, by their names."""
    root: Path | None
    places: tuple[PatchPlace, ...]
    format_of: Mapping[str, str]
    follow_links: bool


def _encode(task: _Task) -> Vectors:
    """Vectors (N, D) of a task's images; runs in a process of its own."""
    encoder = same_encoder(task.encoder, task.sha256)
    return np.concatenate(
        [_vectors(encoder, images, task.places[0].file or str(task.places[0].slide)) for images in _batches(task)]
    )


def _vectors(encoder: Encoder, images: list[Image], file: str) -> Vectors:
    """An encoder's vectors of some images. Raises DataError if its output is not valid."""
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
    for image in patch_pixels(
        task.places, root=task.root, format_of=task.format_of, follow_links=task.follow_links, threads=0
    ):
        size = image.shape[0] * image.shape[1]
        if batch and pixels + size > _PIXELS_AT_ONCE:
            yield batch
            batch, pixels = [], 0
        batch.append(image)
        pixels += size
    if batch:
        yield batch
