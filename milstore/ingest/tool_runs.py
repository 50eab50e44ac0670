"""Stores the runs of a tool's folder, one per split: all are checked, then all are written.

What is in common to the tools whose figures are of slides is in `milstore.ingest.slide_runs`; which split set they were
made on, in `milstore.ingest.tool_splits`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from milstore.errors import DataError, UsageError
from milstore.ingest.imported import (
    Imported,
    RunReport,
    check_same_reading,
    heed_labels,
    known_run,
    store_imported,
    told_labels,
)
from milstore.ingest.importers import FolderOptions
from milstore.ingest.run_tables import coverage_table
from milstore.ingest.slide_runs import CaseFigures
from milstore.ingest.tool_splits import FoundSplits
from milstore.schema.arrow import empty
from milstore.store import Store
from milstore.store.cohort import Cohort, read_cohort
from milstore.store.configuration import refuse_other_configuration, runs_of
from milstore.store.features import PackedFeatures
from milstore.store.fingerprints import features_of_split
from milstore.store.io import sha256_of
from milstore.store.names import clip, counted, named, natural_key
from milstore.store.predicted import prediction_tables
from milstore.store.run_reader import FIGURES, NO_ATTENTION, PART_ATTENTION
from milstore.store.run_writer import mint_run_id
from milstore.store.write_run import Told, told_by_store


@dataclass(frozen=True, kw_only=True)
class ToolRun:
    """One run of a tool: the predictions and attention of its model of one split."""

    split: int
    """Number of the split, as the tool's files have it."""
    figures: CaseFigures
    files: Sequence[Path]
    """Every file that it comes from."""
    seed: int | None = None
    attention: pa.Table | None = None
    """The table `attention` without rank and n_patches; None, or without a row, where there is none."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Further columns of the table `runs`."""
    understood: Sequence[str] = ()
    """How it was read, a line each."""


@dataclass(frozen=True, kw_only=True)
class ToolFolder:
    """What the runs of a folder have in common."""

    tool: str
    """The tool, as people write it: CLAM."""
    root: Path
    """The folder, below which the files lie."""
    experiment: str
    settings: Mapping[str, Any]
    """The configuration that its runs share."""
    splits: FoundSplits
    runs: Sequence[ToolRun]
    options: FolderOptions = field(default_factory=FolderOptions)
    """What the user says beside the folder."""
    features: PackedFeatures | None = None
    """Its features, where the store has them."""
    understood: Sequence[str] = ()
    """How the folder was read, a line each."""


def store_tool_runs(store: Store, cohort: Cohort, folder: ToolFolder) -> RunReport:
    """Take the runs of a tool's folder in. All are checked before the first is written; a split set is made where the
    store has none that fits. Those that are in the store already change nothing.

    Raises:
        DataError: cases are not in their split, labels contradict the store, or probabilities are not of its classes.
        UsageError: the experiment, which nobody named, has runs of the same splits from other files.
        ConflictError: the experiment stands for another configuration, or the same files were read otherwise before.
    """
    refuse_other_configuration(store, folder.experiment, folder.settings)
    _refuse_second(store, folder)
    made = [_made(store, cohort, folder, run) for run in folder.runs]
    folder.splits.make(store)
    reports = []
    for each in made:
        if each.known is None:
            # The split set may be new.
            store_imported(store, read_cohort(store), each.run_id, each.imported)
        reports.append(each.report)
    lines = (*folder.splits.why, *folder.understood)
    first, *others = reports
    return RunReport(
        changed=any(each.changed for each in reports),
        run_id=first.run_id,
        cases=first.cases,
        patches=first.patches,
        understood=first.understood,
        others=tuple(others),
        of_all=lines,
    )


def _refuse_second(store: Store, folder: ToolFolder) -> None:
    """UsageError if the experiment, which the user has not named, has runs of the same splits from other files.

    Two folders of one name would else become repeats of one experiment.
    """
    if folder.options.experiment is not None:
        return
    known = [facts for facts in runs_of(store, folder.experiment) if facts["finished"]]
    for run in folder.runs:
        source = _source(folder, run)
        others = [facts for facts in known if facts["split"] == run.split]
        if others and all(json.loads(facts["config"]).get("source") != source for facts in others):
            raise UsageError(
                f"experiment {folder.experiment} has a run of split {run.split} from other files already "
                f"({others[0]['run_id']}): name this one by --experiment"
            )


def _source(folder: ToolFolder, run: ToolRun) -> dict[str, str]:
    """SHA-256 of each file that a run comes from, by its place in the folder."""
    return {path.relative_to(folder.root).as_posix(): sha256_of(path) for path in run.files}


@dataclass(frozen=True, kw_only=True)
class _Made:
    """A run that was checked, ready to be written."""

    run_id: str
    known: str | None
    imported: Imported
    report: RunReport


def _made(store: Store, cohort: Cohort, folder: ToolFolder, run: ToolRun) -> _Made:
    figures, splits = run.figures, folder.splits
    told = told_by_store(cohort, None, None)
    subset_of = _subsets(figures, splits.subset_of(run.split), run.split)
    told = Told(classes=told.classes, label_of=told.label_of, subset_of=subset_of)
    cases = sorted(figures.probability_of, key=natural_key)
    _check_classes(figures, told)
    said, probabilities = prediction_tables(
        cases,
        [subset_of[case] for case in cases],
        [figures.true_label_of.get(case, told.label_of.get(case)) for case in cases],
        np.stack([figures.probability_of[case] for case in cases]),
    )
    told, own_labels = heed_labels(figures.path, told, said, keep=folder.options.labels_of_run)
    attention = run.attention if run.attention is not None else empty("attention").drop_columns(["rank", "n_patches"])
    place = {
        "experiment": folder.experiment,
        "split_set": splits.split_set,
        "split": run.split,
        "seed": run.seed,
    }
    source = _source(folder, run)
    read = {"patches": "coordinates", "by": folder.tool} if attention.num_rows else {"by": folder.tool}
    known = known_run(store, place, source)
    if known is not None:
        check_same_reading(store, known, read)
    encoded = None if folder.features is None else folder.features.patches
    facts = {
        "encoder": folder.options.encoder,
        "features_fingerprint": folder.features
        and features_of_split(told.label_of, subset_of, folder.features.hash_of),
        "code_version": folder.options.code_version or folder.tool,
        "attention": _kind(attention, cases),
        **run.facts,
        **own_labels,
        FIGURES: {"by": folder.tool, "said": _how(figures, has_attention=bool(attention.num_rows))},
    }
    tables = {
        "epochs": empty("epochs"),
        "predictions": said,
        "probabilities": probabilities,
        "attention": attention,
        "coverage": coverage_table(cohort, attention, subset_of, encoded, encoder=folder.options.encoder),
    }
    report = RunReport(
        changed=known is None,
        run_id=known or mint_run_id(folder.experiment, run.split, run.seed),
        cases=len(cases),
        patches=attention.num_rows,
        understood=(*run.understood, *told_labels(own_labels)),
    )
    imported = Imported(
        place=place, n_splits=splits.n_splits, settings=folder.settings, source=source, read=read, told=told,
        tables=tables, facts=facts,
    )  # fmt: skip
    return _Made(run_id=report.run_id, known=known, imported=imported, report=report)


def _subsets(figures: CaseFigures, subset_of: Mapping[str, str], split: int) -> Mapping[str, str]:
    """The subsets of a run's split, where they have the cases that it predicted, and some in test: what was held out."""
    absent = [case for case in figures.probability_of if case not in subset_of]
    if absent:
        cases = named(clip(case) for case in sorted(absent, key=natural_key))
        raise DataError(
            f"{figures.path} has cases that are not in split {split} ({cases}): it was made on another split"
        )
    if not any(subset_of[case] == "test" for case in figures.probability_of):
        raise DataError(
            f"{figures.path} has no case that split {split} holds out in test: it was made on another split"
        )
    return subset_of


def _check_classes(figures: CaseFigures, told: Told) -> None:
    width = {len(values) for values in figures.probability_of.values()}
    if width != {len(told.classes)}:
        raise DataError(
            f"{figures.path} tells {named(sorted(width))} classes apart, and the store has {len(told.classes)} "
            f"({named(map(clip, told.classes))}): take the labels in that it was trained on"
        )


def _kind(attention: pa.Table, cases: Sequence[str]) -> str:
    attended = len(set(attention["case_id"].to_pylist()))
    if not attended:
        return NO_ATTENTION
    return "patches" if attended == len(cases) else PART_ATTENTION


def _how(figures: CaseFigures, *, has_attention: bool) -> str:
    """A note on how results per slide became results per case; empty if the tool's own are per case."""
    if not figures.slides_of:
        return ""
    shared = ", and slides share its attention in proportion to their patches" if has_attention else ""
    return f"what it says is of slides: a case's probability is the mean over its slides{shared}"


def lines_of_gaps(without: Sequence[str], n_cases: int, why: str) -> list[str]:
    """A note that some of a run's cases have no attention; empty if all have it."""
    if not without:
        return []
    of = counted(n_cases, "case")
    return [f"without attention: {len(without)} of {of} ({named(map(clip, without))}), {why}"]
