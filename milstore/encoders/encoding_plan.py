"""Plans the encoding by an encoder's folder, checked before hours of work."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from milstore.encoders.choice import Choice, choose_patches, without_features
from milstore.encoders.encoder_folder import EncoderFolder
from milstore.encoders.preprocessing import size_refused
from milstore.encoders.shards import Shard, shards_of
from milstore.errors import DataError, UsageError
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import CohortEdit
from milstore.store.cohort_stains import follow_settings
from milstore.store.names import clip

BATCH = 32
"""Patches that a network is given at once."""
_CLOSE = 0.02
"""Resolutions that differ by less than this share are one: scanners write 0.2498 for 0.25."""
_REBUILT = frozenset({"encoders", "packs", "pack_cases"})


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderOptions:
    """How patches are encoded: plain values."""

    grid: str | None = None
    """Grid of the patches, where there are several."""
    format: str | None = None
    """Format of the images; found by their content if left out."""
    batch: int = BATCH
    """Patches that the network is given at once."""
    threads: int | None = None
    """Threads that the network computes with; all processors if left out."""
    device: str = "auto"
    """auto, cpu or cuda."""
    follow_links: bool = False
    """Read images that links in the patch folder lead to."""
    replace: bool = False
    """Compute again what the store has."""
    cases: tuple[str, ...] | None = None
    """Patches of these cases alone; of all if left out."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be encoded, checked against the store before hours of work."""

    store: Store
    folder: EncoderFolder
    options: FolderOptions
    cohort: CohortEdit
    every: Choice
    """All patches that have pixels."""
    todo: Choice
    """Those of them that lack features."""
    shards: list[Shard]

    @property
    def missing(self) -> list[Shard]:
        """Shards that nobody has computed yet."""
        return [shard for shard in self.shards if not shard.is_done]


def plan_encoding(store: Store, folder: EncoderFolder, options: FolderOptions) -> Plan:
    """The plan of an encoding by an encoder's folder.

    Raises:
        UsageError: an option does not fit the store.
        ConflictError: no patch has pixels, or the store's features of that name are another encoder's.
        StoreError: the store's features of that name are damaged.
        DataError: patches are not of the size or the resolution that the encoder takes.
    """
    if options.batch < 1:
        raise UsageError(f"--batch {options.batch}: give 1 or more")
    cohort = CohortEdit(read_cohort(store), rebuilds=_REBUILT if options.replace else frozenset())
    follow_settings(cohort)  # what the commit would refuse is told before hours of work
    every = choose_patches(cohort, folder.name, options.grid, replace=options.replace).of_cases(options.cases)
    _check_fits(folder, every)
    left = (
        every.patches
        if options.replace
        else without_features(store, cohort, folder.name, every.patches, lambda row: _refused(folder, row))
    )
    todo = every if left.num_rows == every.patches.num_rows else every.of(left)
    shards = shards_of(store, folder.name, folder.weights_sha256, todo, batch=options.batch)
    return Plan(store=store, folder=folder, options=options, cohort=cohort, every=every, todo=todo, shards=shards)


# --- what fits ---------------------------------------------------------------------------------------------------------


def _check_fits(folder: EncoderFolder, choice: Choice) -> None:
    """Raises DataError if the encoder cannot take the patches, as far as is known before one is read."""
    settings = folder.settings
    mpp = choice.grid and choice.grid["mpp"]
    if mpp and settings.mpp and not math.isclose(mpp, settings.mpp, rel_tol=_CLOSE):
        raise DataError(
            f"the patches of grid {choice.grid and choice.grid['grid']} have {mpp:g} micrometres a pixel and {folder.name} "
            f"takes {settings.mpp:g}: cut them so (milstore tile --mpp {settings.mpp:g}), or choose another grid by --grid"
        )
    for width, height in sorted(choice.edges):
        if (why := size_refused(settings, width, height)) is not None:
            raise DataError(f"{folder.name}: {why}")


def _refused(folder: EncoderFolder, row: Mapping[str, Any]) -> str | None:
    """Why the store's features of this name were made by another encoder."""
    known = row["weights_sha256"]
    if known == folder.weights_sha256:
        return None
    made = (
        f"by other weights or settings ({known[:12]}, this is {folder.weights_sha256[:12]})" if known else "elsewhere"
    )
    return (
        f"the store has features called {folder.name} that were made {made} ({clip(row['source'], 120)}): "
        "give another name by --name, or --replace to drop them"
    )
