"""Features that come as a table of bags, packed: each bag is a case with one slice."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError, UsageError
from milstore.formats.bag_table import Bags, read_bags
from milstore.formats.missing_marks import UNSAID, Marks
from milstore.ingest.feature_import import Job, Packed, Placed, commit, new_pack, placed_in, planned, refuse_others
from milstore.ingest.label_edit import put_labels
from milstore.ingest.label_map import LABEL_ADVICE, Labelled, as_classes
from milstore.ingest.labels import told_unknown
from milstore.store.case_ids import CaseIds
from milstore.store.cohort_edit import CohortEdit
from milstore.store.io import write_text
from milstore.store.names import clip, named, natural_key
from milstore.store.paths import SETTINGS_FILE
from milstore.store.pattern import PLACES
from milstore.store.settings import DEFAULT_STAINS, settings_text

BAG_STAIN = "all"
"""Name of the one stain of a store of bags, where nobody has named any."""


BAG_SLICE = "bag"
"""Name of the one slice of a case that was a bag."""


def pack_bags(
    job: Job,
    path: Path,
    bag_column: str,
    index_column: str,
    label_column: str | None,
    label_map: Mapping[str, str] | None,
    stain: str | None,
    marks: Marks = UNSAID,
    format: str | None = None,
    feature_columns: Sequence[str] = (),
) -> Packed:
    """Pack the features of a table of bags (form (c) of `ingest_features`)."""
    settings = job.store.settings
    unsaid = stain is None and _may_name_stain(job)
    canonical = BAG_STAIN if unsaid else next(iter(settings.stains)) if stain is None else settings.stain_of(stain)
    if canonical is None:
        raise UsageError(
            f"stain {clip(stain or '')!r} is not in this store ({', '.join(settings.stains)}): "
            "add it under [stains] in milstore.toml"
        )
    bags = read_bags(
        path,
        bag_column=bag_column,
        index_column=index_column,
        label_column=label_column,
        known=CaseIds(job.plan.table("cases")["case_id"].to_pylist()),
        marks=marks,
        format=format,
        labels_known={
            row["case_id"]: row["class_name"]
            for row in job.plan.table("cases").to_pylist()
            if row["class_name"] is not None
        },
        feature_columns=feature_columns,
    )
    job.notes.extend(bags.notes)
    count = len(bags.patch_idx)
    columns: dict[str, pa.Array] = {
        "case_id": bags.case_id,
        "stain": pa.repeat(canonical, count),
        "slice_name": pa.repeat(BAG_SLICE, count),
        "patch_idx": pa.array(bags.patch_idx, pa.int32()),
        **{name: pa.nulls(count, pa.int32()) for name in PLACES},
        # The row's place in the table, for messages and to find its vector again.
        "file": pc.binary_join_element_wise(
            "row", pc.cast(pa.array(np.arange(1, count + 1)), pa.string()), f"of {path.name}", " "
        ),
    }

    def put(edit: CohortEdit) -> Placed:
        if unsaid:
            _put_bag_stain(job, edit)
        if bags.labels:
            _put_bag_labels(job, edit, path, label_column or "", bags, label_map, marks)
        placed = placed_in(dataclasses.replace(job, create=True), edit, pa.table(columns))
        return dataclasses.replace(placed, edits=placed.edits or bool(bags.labels))

    placed = put(job.plan)
    order = np.array([int(file.split()[1]) - 1 for file in placed.rows["file"].to_pylist()])
    if job.dry_run:
        return planned(job, placed, bags.features.shape[1], (), path.name)
    refuse_others(job, placed, 0, bags.features[order[0]])
    with new_pack(job, placed, bags.features.shape[1], bags.features.dtype.name) as pack:
        pack.write(0, bags.features[order])
        return commit(job, pack, put, placed)


def _may_name_stain(job: Job) -> bool:
    """Whether the store's stains are still the defaults: then bags get the stain `all`, not h&e."""
    settings, path = job.store.settings, job.store.root / SETTINGS_FILE
    untouched = not path.exists() or path.read_text(encoding="utf-8") == settings_text(settings)
    return untouched and settings.stains == DEFAULT_STAINS and not job.plan.table("slices").num_rows


def _put_bag_stain(job: Job, edit: CohortEdit) -> None:
    """Give the store the one stain `all`, besides those that others have used meanwhile."""
    used = set(edit.table("slices")["stain"].to_pylist()) - {BAG_STAIN}
    stains = {stain: names for stain, names in job.store.settings.stains.items() if stain in used} | {BAG_STAIN: ()}
    edit.replace("stains", pa.table({"stain": list(stains), "stain_order": pa.array(range(len(stains)), pa.int32())}))
    if edit is not job.plan:
        settings = dataclasses.replace(job.store.settings, stains=stains)
        write_text(job.store.root / SETTINGS_FILE, settings_text(settings))
        # Whoever has the store open reads them again.
        vars(job.store).pop("settings", None)
        edit.notes.append(f"the one stain of the store is called {BAG_STAIN}: bags say nothing of staining")


def _put_bag_labels(
    job: Job,
    edit: CohortEdit,
    path: Path,
    column: str,
    bags: Bags,
    label_map: Mapping[str, str] | None,
    marks: Marks,
) -> None:
    labels = {case: label for case, label in bags.labels.items() if not marks.mean_missing(label)}
    present = sorted(set(labels.values()), key=natural_key)
    if label_map is None:
        marks.refuse(path, column, bags.label_lines, bags.label_lines.values(), LABEL_ADVICE)
        label_map = as_classes(edit, path, column, bags.label_lines.items(), marks)
    absent = [label for label in label_map if label not in present]
    unmapped = [label for label in present if label not in label_map]
    if absent or unmapped:
        wrong = f"names label {named(absent)}, which no bag has" if absent else f"lacks the label {named(unmapped)}"
        raise DataError(f"--map {wrong}: {path} has {named(present)}")
    labelled = Labelled(
        class_of={case: label_map[label] for case, label in labels.items()},
        source=labels,
        unknown=dict.fromkeys(case for case in bags.labels if case not in labels),
    )
    put = put_labels(edit, labelled, list(dict.fromkeys(label_map.values())), str(path), replace=job.replace)
    edit.notes.extend(told_unknown(put.unknown, put.kept))
