"""Attention of a run of the study's trainers: from its weights, or from its table, or none, and why."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError
from milstore.formats.study_folder import BY_POSITION, StudyFolder, StudyTable
from milstore.ingest.importers import FolderOptions
from milstore.ingest.member_positions import TEXT, rows_in
from milstore.ingest.patch_placing import Ground, Reading, place_rows
from milstore.ingest.study_tables import capped, match_by_value, read_study_attention, slices_by_file
from milstore.ingest.study_weights import evaluate_weights, seen_rows
from milstore.schema.arrow import empty
from milstore.store import Store
from milstore.store.attention import LEVELS_OF_ROW
from milstore.store.cohort import Cohort
from milstore.store.features import PackedFeatures, open_features
from milstore.store.names import counted, matching_case_id, named, natural_key
from milstore.store.patch_index import PLACE
from milstore.store.run_reader import KNOWN, NO_ATTENTION, PART_ATTENTION

if TYPE_CHECKING:
    from milstore.formats.study_checkpoint import StudyCheckpoint

WITH_WEIGHTS = "give its weights by --weights, with the features that they were trained on by --encoder"


@dataclass(frozen=True, kw_only=True)
class Looked:
    """Attention as it is stored."""

    table: pa.Table
    """The table `attention` without rank and n_patches; without rows where there is none."""
    seen: pa.Table | None = None
    """The patches that the run saw, where there is attention of a part of them."""
    why: tuple[str, ...] = ()
    """How it came about, a line each."""
    read: Mapping[str, Any] = field(default_factory=dict)
    """The same, as it is kept with the configuration."""
    known: Mapping[str, Any] | None = None
    """Which part of each case's patches it is of; None where it is of all that were seen."""
    encoder: str | None = None
    """Whose features it was made on, or counts the patches of."""

    def facts(self, n_cases: int) -> dict[str, Any]:
        """What `run.json` says of it, for a run of so many cases."""
        attended = len(pc.unique(self.table["case_id"]))
        if not attended:
            return {"attention": NO_ATTENTION}
        if self.known is not None:
            return {"attention": PART_ATTENTION, KNOWN: dict(self.known)}
        return {"attention": "levels" if attended == n_cases else PART_ATTENTION}


@dataclass(frozen=True, kw_only=True)
class Said:
    """A run's predictions and attention."""

    predictions: pa.Table
    probabilities: pa.Table
    looked: Looked
    facts: Mapping[str, Any] = field(default_factory=dict)
    weights: Any = None
    """What writes the weights to a path; None for a run without."""


@dataclass(frozen=True, kw_only=True)
class StudyRunAt:
    """A run's folder, and the store that it goes into."""

    store: Store
    cohort: Cohort
    folder: StudyFolder
    cases: Sequence[str]
    """Those that it predicted."""
    options: FolderOptions

    @cached_property
    def features(self) -> PackedFeatures | None:
        """The features that positions count: of the encoder that is named, or of the only one. None if there are none.

        UsageError where there are several and none is named, or the one that is named has none.
        """
        if self.options.encoder is None and not self.cohort.table("encoders").num_rows:
            return None
        return open_features(self.store, self.cohort, self.options.encoder)

    @cached_property
    def known_cases(self) -> set[str]:
        """The store's cases."""
        return set(self.cohort.table("cases")["case_id"].to_pylist())

    def ground(self, cases: Sequence[str], features: PackedFeatures | None) -> Ground:
        """The store's patches of some cases."""
        encoder, encoded = ("", None) if features is None else (features.encoder, features.patches)
        return Ground(self.cohort, pa.array(sorted(cases), pa.string()), encoder, encoded)

    def seen(self, ground: Ground) -> tuple[pa.Table, bool]:
        """The patches that the run saw, as far as that is known, and whether caps of its left some out."""
        patches = ground.patches
        kept = patches.counts
        options = self.folder.log.options if self.folder.log else {}
        caps = [value if isinstance(value := options.get(name), int) else None for name in CAPS]
        if self.folder.form == BY_POSITION and _is_capped(ground, *caps):
            kept = capped(ground, *caps)
        return patches.table.select(list(PLACE)).filter(pa.array(kept)), bool((kept != patches.counts).any())

    def other_counts(self, seen: pa.Table) -> str:
        """In which cases the run saw another number of patches than is thought, in words; empty if in none."""
        counts = seen.group_by("case_id").aggregate([([], "count_all")])
        there = dict(zip(counts["case_id"].to_pylist(), counts["count_all"].to_pylist(), strict=True))
        told = {matching_case_id(case, self.known_cases): n for case, n in self.folder.patches_of.items()}
        other = [
            case for case in sorted(told, key=natural_key) if case in self.cases and there.get(case, 0) != told[case]
        ]
        return named(f"{told[case]} of case {case}, where the store has {there.get(case, 0)}" for case in other)


CAPS = ("per_slice_cap", "max_slices_per_stain")
"""Options that keep the first patches of a slice, and the first slices of a stain."""


def _is_capped(ground: Ground, most_patches: int | None, most_slices: int | None) -> bool:
    """Whether caps leave anything out."""
    for members, parents, most in ((ground.patches, PLACE[:3], most_patches), (ground.slices, PLACE[:2], most_slices)):
        there = members.table.filter(pa.array(members.counts)).group_by(list(parents)).aggregate([([], "count_all")])
        if most is not None and (pc.max(there["count_all"]).as_py() or 0) > most:
            return True
    return False


def look_at_tables(run: StudyRunAt, checkpoint: Callable[[], "StudyCheckpoint | None"]) -> Looked:
    """Attention of the run's tables, the most telling that can be put on patches; none, with the reasons, where none can.

    `checkpoint` reads that of the run's last epoch, by which rows are found that say nothing of their patches.
    """
    reasons = [] if run.folder.tables else ["it holds no table of attention with a row"]
    for table in run.folder.tables:
        if table.kind == "slices":
            return _of_slices(run, table)
        looked = _by_position(run, table) if run.folder.form == BY_POSITION else _by_value(run, table, checkpoint)
        if isinstance(looked, Looked):
            return looked
        reasons.append(f"{table.path.name} cannot be put on patches: {looked}")
    why = f"without attention: {'; '.join(reasons)}. For attention, {WITH_WEIGHTS}"
    return Looked(table=empty("attention").drop_columns(["rank", "n_patches"]), why=(why,))


def _said(table: StudyTable) -> dict[str, Any] | None:
    return None if table.pct is None else {"pct": table.pct, "said": f"the top {table.pct:g} %"}


def _rows(table: StudyTable, rows: pa.Table) -> str:
    """How many rows a table has, and of what, in words."""
    return counted(rows.num_rows, "row") + ("" if table.pct is None else f", the top {table.pct:g} % of each case")


def _by_position(run: StudyRunAt, table: StudyTable) -> Looked | str:
    """Attention by the places of slices and patches among names sorted as text; or why it cannot be."""
    features = run.features
    if features is None:
        return (
            "its positions count the patches that have a vector, and the store has no features (milstore ingest features; "
            "then take it in again)"
        )
    ground = run.ground(run.cases, features)
    seen, is_capped = run.seen(ground)
    if other := run.other_counts(seen):
        return f"the run saw {other}, and neither its log nor the store says which"
    rows = read_study_attention(table.path, run.store.settings, run.known_cases)
    reading = Reading(patches_by=TEXT, slices_by=TEXT)
    whole = table.kind == "whole" and not is_capped
    found, understood = place_rows(table.path, rows.select(list(PLACE)), ground, reading, whole=whole)
    return Looked(
        table=on_patches(ground, found, rows),
        seen=None if table.kind == "whole" else seen,
        why=(f"attention: {table.path.name}, {_rows(table, rows)}", *understood.why),
        read={**understood.facts(), "table": table.path.name},
        known=_said(table),
        encoder=features.encoder,
    )


def on_patches(ground: Ground, found: Any, rows: pa.Table) -> pa.Table:
    """The table `attention` of rows with the three levels, on these patches."""
    placed = ground.patches.table.select(list(PLACE)).take(pa.array(found))
    for name in LEVELS_OF_ROW:
        placed = placed.append_column(name, rows[name])
    return placed.append_column("effective_attention", _product(rows))


def _product(rows: pa.Table) -> pa.Array:
    levels = [np.asarray(rows[name], np.float64) for name in LEVELS_OF_ROW]
    return pa.array((levels[0] * levels[1] * levels[2]).astype(np.float32))


def _by_value(run: StudyRunAt, table: StudyTable, checkpoint: Callable[[], "StudyCheckpoint | None"]) -> Looked | str:
    """Attention on the patches whose recomputed weights are those of the rows; or why it cannot be."""
    shuffled = "its positions are of a shuffle, and of no file"
    features, weights = run.features, checkpoint()
    if weights is None:
        return f"{shuffled}; the checkpoint of its last epoch, which could tell patches by their weights, is not in its folder"
    if features is None or features.n_features != weights.n_features:
        what = "no features" if features is None else f"other features (encoder {features.encoder})"
        return f"{shuffled}, and the store has {what} than its checkpoint takes"
    ground = run.ground(run.cases, features)
    seen, _ = run.seen(ground)
    if other := run.other_counts(seen):
        return f"{shuffled}; the run saw {other}"
    rows = read_study_attention(table.path, run.store.settings, run.known_cases)
    recomputed = evaluate_weights(weights, features, seen_rows(features, seen)).attention
    matched = match_by_value(rows, recomputed)
    if matched.missing:
        return (
            f"{shuffled}, and of {counted(rows.num_rows, 'row')} {matched.missing} have the weights of no patch, or of several, "
            f"by {weights.path.name} on the features of {features.encoder}"
        )
    placed = recomputed.select(list(PLACE)).take(pa.array(matched.rows))
    for name in LEVELS_OF_ROW:
        placed = placed.append_column(name, rows[name])
    line = (
        f"attention: {table.path.name}, {_rows(table, rows)}; patches by value: the weights that "
        f"{weights.path.name} gives on the features of {features.encoder}, to {matched.difference:.0e} of each"
    )
    return Looked(
        table=placed.append_column("effective_attention", _product(rows)),
        seen=seen,
        why=(line,),
        read={"patches": "value", "slices": "value", "table": table.path.name},
        known=_said(table),
        encoder=features.encoder,
    )


def _of_slices(run: StudyRunAt, table: StudyTable) -> Looked:
    """Attention of selected slices, by the files that the table names."""
    features = run.features if run.options.encoder else None
    ground = run.ground(run.cases, features)
    attention, said = slices_by_file(table.path, ground, run.store.settings, run.known_cases, run.folder.stains_of)
    there = ground.patches.table.select(list(PLACE))
    # A patch that has attention was seen, whatever features there are now.
    counts = ground.patches.counts | (rows_in(there, attention, PLACE) >= 0)
    seen = there.filter(pa.array(counts))
    seen = seen.filter(pc.is_in(seen["case_id"], pc.unique(attention["case_id"])))
    what = f"{attention.num_rows} of {counted(seen.num_rows, 'patch', 'patches')}, those of selected slices"
    return Looked(
        table=attention,
        seen=seen,
        why=(
            f"attention: {table.path.name}, {counted(attention.num_rows, 'row')}; patches by their files' names",
            *said,
        ),
        read={"patches": "file", "slices": "file", "table": table.path.name},
        known={"pct": None, "said": what},
        encoder=None if features is None else features.encoder,
    )


def check_classes(path: Path, checkpoint: "StudyCheckpoint", n_classes: int) -> None:
    """DataError if weights tell other classes apart than the store has."""
    if checkpoint.n_classes != n_classes:
        raise DataError(
            f"{path} tells {checkpoint.n_classes} classes apart, and the store has {counted(n_classes, 'class', 'classes')}"
        )
