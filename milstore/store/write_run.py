"""Checks and stores a run, whichever trainer made it: its contents must agree with the store.

Training, `record` and every importer end here. That the tables agree with each other is checked by `commit`.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from milstore.errors import ConflictError, DataError
from milstore.schema.columns import NEW
from milstore.store.attention import Attention
from milstore.store.cohort import Cohort, read_cohort
from milstore.store.commit import checked_tables, commit_checked
from milstore.store.names import clip, counted
from milstore.store.patch_index import PLACE, Slices, by_slice, places, unknown_rows
from milstore.store.run_draft import RunDraft
from milstore.store.run_reader import KNOWN, PREDICTION
from milstore.store.split_numbers import subsets_of

TABLES = ("epochs", "predictions", "probabilities", "attention", "coverage")
"""The tables that a run must be given; `scores` is for those that have some."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a run was told of its cases. It keeps that, whatever the store says later."""

    classes: Sequence[str]
    """Names of the classes, in the order of their labels 0, 1, …"""
    label_of: Mapping[str, int | None]
    """Label of every case that it may speak of; None where it has none."""
    subset_of: Mapping[str, str] | None
    """Subset of every case of its split; None for a run without a split, which says so of each case itself."""


def told_by_store(cohort: Cohort, split_set: str | None, split: int | None) -> Told:
    """What the store says now. ConflictError if it has no classes."""
    cases = cohort.table("cases")
    return Told(
        classes=class_names(cohort),
        label_of=dict(zip(cases["case_id"].to_pylist(), cases["label"].to_pylist(), strict=True)),
        subset_of=None if split_set is None or split is None else subsets_of(cohort, split_set, split),
    )


def class_names(cohort: Cohort) -> list[str]:
    """The classes' names in the order of their labels 0, 1, … ConflictError if the store has none."""
    names = {row["label"]: row["class_name"] for row in cohort.table("classes").to_pylist()}
    if not names:
        raise ConflictError("the store has no labels: begin with milstore ingest labels, or build one by milstore demo")
    return [names[label] for label in sorted(names)]


def write_run(
    draft: RunDraft,
    tables: Mapping[str, pa.Table],
    facts: dict[str, Any],
    *,
    told: Told | None = None,
    weights: Callable[[Path], None] | None = None,
) -> Path:
    """Check a run against the store and against itself, and put it into the store whole. Returns its folder.

    Args:
        draft: the unfinished run, this process's own; its folder becomes the run.
        tables: those of TABLES, and `scores` where there are some. Attention may come without rank and n_patches.
        facts: the columns of the table `runs`, as for `milstore.store.commit.commit_run`; `attention` says what there is
            of it: levels, patches, part or none. Where it is a part of the patches, `attention_known` says which one, and
            `coverage` how many patches were evaluated.
        told: what the run was told, where that was long ago: a training goes on as it began, though labels were
            corrected since, and keeps those that it saw. None for what the store says now.
        weights: writes the weights (safetensors) to a path; None for a run without weights.

    Raises:
        DataError: something in it contradicts the store or itself; nothing is stored.
        ConflictError: the store has no classes.
        StoreError: the disk refuses, or the run was taken over; nothing is stored, and the draft stays as it is.
    """
    # Patches are those of now: attention to a patch that is gone could be shown to nobody.
    cohort = read_cohort(draft.store)
    told = told or told_by_store(cohort, facts.get("split_set"), facts.get("split"))
    # The store's patches are read and put in order by a thread of their own while those of the run are: neither waits.
    with ThreadPoolExecutor(1) as side:
        of_patches = any(table is not None and table.num_rows for table in map(tables.get, ("attention", "scores")))
        patches = side.submit(lambda: by_slice(cohort.places())) if of_patches else None
        checked = checked_tables(**tables, kind=facts.get("attention", "levels"), known=facts.get(KNOWN))
        _check_kind(checked.tables["predictions"], facts)
        _check_cases(checked.tables["predictions"], told)
        _check_classes(checked.tables["probabilities"], told)
        if patches is not None:
            _check_patches(patches.result(), checked.attention, checked.tables.get("scores"))
    return commit_checked(draft, facts, checked, weights)


def _check_kind(predictions: pa.Table, facts: Mapping[str, Any]) -> None:
    """DataError unless a prediction, and nothing else, speaks of new cases."""
    is_new = NEW in predictions["subset"].to_pylist()
    if is_new != (facts.get("kind") == PREDICTION) and predictions.num_rows:
        raise DataError(
            "a run that is no prediction names the subset of its cases: train, val or test"
            if is_new
            else f"a prediction speaks of new cases: its subset is {NEW}"
        )


def _check_cases(predictions: pa.Table, told: Told) -> None:
    for case_id, subset, label in zip(
        *(predictions[name].to_pylist() for name in ("case_id", "subset", "true_label")), strict=True
    ):
        if case_id not in told.label_of:
            raise DataError(unknown_case(case_id))
        if told.subset_of is not None and told.subset_of.get(case_id) != subset:
            raise DataError(other_subset(case_id, subset, told.subset_of.get(case_id)))
        if label != told.label_of[case_id]:
            said, known = (_label(each) for each in (label, told.label_of[case_id]))
            raise DataError(
                f"the run was told {said} of case {clip(case_id)!r}, and the store has {known}: give the store's, or correct "
                "that by milstore ingest labels --replace"
            )


def _label(label: int | None) -> str:
    return "no label" if label is None else f"label {label}"


def unknown_case(case_id: str) -> str:
    """The message that the store has no such case, and what to do."""
    return (
        f"case {clip(case_id)!r} is not in this store: take it in by milstore ingest labels, or its patches by "
        "milstore ingest patches"
    )


def other_subset(case_id: str, said: str, known: str | None) -> str:
    """The message that a case is in another subset than given, or in none, and what to do."""
    if known is None:
        return f"case {clip(case_id)!r} is not in the split: leave it out, or take in splits that have it"
    return f"case {clip(case_id)!r} is said to be in {clip(said)}, and the split has it in {known}: give {known}"


def _check_classes(probabilities: pa.Table, told: Told) -> None:
    n_classes = len(told.classes)
    labels = np.asarray(probabilities["label"])
    # Sorted by case and label: each case has the labels 0, 1, … in turn.
    whole = len(labels) % n_classes == 0 and np.array_equal(
        labels, np.tile(np.arange(n_classes), len(labels) // n_classes)
    )
    n_cases = len(probabilities["case_id"].unique())
    if not whole or n_cases * n_classes != len(labels):
        raise DataError(
            f"each case needs a probability for each of the store's {counted(n_classes, 'class', 'classes')} "
            f"({', '.join(clip(name) for name in told.classes)}), and no other"
        )


def _check_patches(patches: Slices, attention: Attention, scores: pa.Table | None) -> None:
    """DataError if attention or a score is of a patch that the store does not have."""
    unknown, what = attention.unknown(patches), "attention"
    if not unknown and scores is not None:
        rows = unknown_rows(scores, places(scores), patches)
        unknown, what = scores.select(list(PLACE)).take(pa.array(rows)).to_pylist(), "scores"
    if unknown:
        row = unknown[0]
        raise DataError(
            f"{what} of {counted(len(unknown), 'patch', 'patches')} that this store does not have, such as case "
            f"{clip(row['case_id'])}, {row['stain']}, slice {row['slice_idx']}, patch {row['patch_idx']}: take them in by "
            "milstore ingest patches, or by milstore ingest features --create-patches"
        )
