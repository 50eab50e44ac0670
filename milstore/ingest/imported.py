"""Stores a run that another program trained; all importers use it."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from milstore.errors import ConflictError, DataError
from milstore.store import Store
from milstore.store.cohort import Cohort
from milstore.store.configuration import hash_of, runs_of, sorted_json
from milstore.store.names import clip, counted, named, natural_key
from milstore.store.run_reader import OWN_LABELS, read_run
from milstore.store.run_writer import begin_run
from milstore.store.write_run import Told, write_run


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """What `ingest_run` did."""

    changed: bool
    run_id: str
    cases: int
    patches: int
    understood: tuple[str, ...] = ()
    """How what was read was understood, a line each."""
    others: tuple["RunReport", ...] = ()
    """Further runs of the same folder."""
    of_all: tuple[str, ...] = ()
    """How the folder of several runs was understood, a line each."""

    def lines(self) -> list[str]:
        """The report, as lines of text."""
        lines = [line for each in (self, *self.others) for line in (each._line(), *each.understood)]
        return [*lines, *self.of_all, *([] if self.changed else ["nothing changed"])]

    def _line(self) -> str:
        cases, patches = counted(self.cases, "case"), counted(self.patches, "patch", "patches")
        return f"run {self.run_id}: predictions of {cases}, attention of {patches}"


def told_labels(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Notes that a run keeps its own labels, where its entries in `run.json` say so."""
    cases = facts.get(OWN_LABELS, ())
    return (f"it keeps its own labels, which the store contradicts, of {counted(len(cases), 'case')}",) if cases else ()


@dataclass(frozen=True, kw_only=True)
class Imported:
    """Everything that is stored of a run."""

    place: Mapping[str, Any]
    """experiment, split_set, split and seed."""
    n_splits: int | None
    settings: Mapping[str, Any]
    """Its configuration: what the runs of its experiment have in common."""
    source: Mapping[str, str]
    """SHA-256 of each file that it came from."""
    read: Mapping[str, Any]
    """How these were read."""
    told: Told
    tables: Mapping[str, pa.Table]
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Further columns of the table `runs`, and entries of `run.json`."""
    weights: Callable[[Path], None] | None = None


def known_run(store: Store, place: Mapping[str, object], source: Mapping[str, str]) -> str | None:
    """The run that these files were already taken in as."""
    for facts in runs_of(store, str(place["experiment"])):
        same_place = all(facts[name] == value for name, value in place.items())
        if facts["finished"] and same_place and json.loads(facts["config"]).get("source") == source:
            return str(facts["run_id"])
    return None


def check_same_reading(store: Store, run_id: str, read: Mapping[str, Any]) -> None:
    """ConflictError if the same files were put on other patches when they were taken in as a run."""
    before = json.loads(read_run(store, run_id)["config"]).get("read")
    # Runs that say nothing of it are of versions that took every index for the store's number.
    same = not any(str(by).endswith("position") for by in read.values()) if before is None else before == read
    if not same:
        was = {"patches": "number"} if before is None else before
        words = ", ".join(f"{name} by {by}" for name, by in was.items() if name != "counted")
        raise ConflictError(
            f"these files are run {run_id} already, read otherwise ({words}): if that was wrong, delete it by "
            f"milstore runs delete {run_id}, and take them in again"
        )


def store_imported(store: Store, cohort: Cohort, run_id: str, run: Imported) -> None:
    """Store a run atomically. Errors as for `milstore.store.write_run.write_run`."""
    facts = {
        **run.place,
        "kind": "imported",
        "n_splits": run.n_splits,
        "config": sorted_json({**run.settings, "source": dict(run.source), "read": dict(run.read)}),
        "config_hash": hash_of(run.settings),
        "cohort_fingerprint": cohort.fingerprint,
        "finished_at": datetime.now(UTC).replace(tzinfo=None).isoformat(),
        **run.facts,
    }
    draft = begin_run(store, run_id, {**run.place, **{name: facts[name] for name in ("kind", "config", "config_hash")}})
    try:
        write_run(draft, run.tables, facts, told=run.told, weights=run.weights)
    except BaseException:
        shutil.rmtree(draft.folder, ignore_errors=True)
        raise


def heed_labels(path: Path, told: Told, said: pa.Table, *, keep: bool) -> tuple[Told, dict[str, Any]]:
    """The labels and subsets that the run is assumed to have been trained with, and what is stored of contradictions.

    Args:
        path: the file that says the labels.
        told: what the store says.
        said: the table `predictions`, with the labels that the run says.
        keep: whether the run keeps its own where the store has others.

    Raises:
        DataError: labels contradict the store, and they are not to be kept.
    """
    pairs = zip(said["case_id"].to_pylist(), said["true_label"].to_pylist(), strict=True)
    other: dict[str, int | None] = {
        case: label for case, label in pairs if case in told.label_of and told.label_of[case] != label
    }
    if not other:
        return told, {}
    cases = sorted(other, key=natural_key)
    if not keep:
        words = [f"{clip(case)} ({_label(other[case])}, the store {_label(told.label_of[case])})" for case in cases]
        raise DataError(
            f"{path}: the run was told other labels than the store has of {len(other)} of its {said.num_rows} cases: "
            f"{named(words)}. {_advice(told, other, said.num_rows)}"
        )
    return replace(told, label_of={**told.label_of, **other}), {OWN_LABELS: cases}


def _label(label: int | None) -> str:
    return "no label" if label is None else f"label {label}"


def _advice(told: Told, other: Mapping[str, int | None], n_cases: int) -> str:
    turned = len(told.classes) == 2 and len(other) == n_cases and None not in other.values()
    numbered = ", ".join(f"{i} is {name}" for i, name in enumerate(told.classes))
    first = (
        f"All are turned round: it seems to number the classes otherwise than the store, where {numbered}. Turn its labels "
        "and its columns of probability round"
        if turned
        else f"In the store {numbered}. Correct the run's labels, or the store's by milstore ingest labels --replace"
    )
    return f"{first}; or keep the run's own by --labels-of-run"


def check_subsets(path: Path, cases: Sequence[str], said: Sequence[str], subset_of: Mapping[str, str]) -> None:
    """DataError, with the cases, if a run has cases in other subsets than its split."""
    other = [(case, own) for case, own in zip(cases, said, strict=True) if own != subset_of.get(case)]
    if other:
        words = [
            f"case {clip(case)} in {clip(own)}, and the split has it in {subset_of.get(case, 'none')}"
            for case, own in sorted(other, key=lambda each: natural_key(each[0]))
        ]
        raise DataError(
            f"{path} has {named(words)}: it was made on another split than is named, or its subsets are wrong"
        )
