"""Runs that were trained elsewhere: their predictions and attention, as finished runs of the store."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from milstore.errors import ConflictError, DataError, UsageError
from milstore.formats.csv_table import file_size
from milstore.ingest.patch_placing import Reading
from milstore.ingest.run_attention import read_attention
from milstore.ingest.run_tables import coverage_table, read_predictions
from milstore.schema.arrow import empty
from milstore.store import Store
from milstore.store.cohort import migrate, read_cohort
from milstore.store.configuration import hash_of, refuse_other_configuration, runs_of, sorted_json
from milstore.store.features import open_features
from milstore.store.fingerprints import features_of_split
from milstore.store.io import sha256_of
from milstore.store.names import check_name, clip, counted
from milstore.store.run_reader import read_run
from milstore.store.run_writer import begin_run, mint_run_id
from milstore.store.split_numbers import check_split, choose_split_set
from milstore.store.tomlfile import read_toml
from milstore.store.write_run import told_by_store, write_run


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """What `ingest_run` did."""

    changed: bool
    run_id: str
    cases: int
    patches: int
    understood: tuple[str, ...] = ()
    """How the attention's rows were put on patches, a line each."""

    def lines(self) -> list[str]:
        """The report in words."""
        line = f"run {self.run_id}: predictions of {counted(self.cases, 'case')}, attention of {counted(self.patches, 'patch', 'patches')}"
        return [line, *self.understood, *([] if self.changed else ["nothing changed"])]


def ingest_run(
    store: Store,
    predictions: str | Path,
    attention: str | Path,
    *,
    experiment: str,
    split: int,
    split_set: str | None = None,
    seed: int = 0,
    encoder: str | None = None,
    pooling: str = "hierarchical",
    config: Mapping[str, Any] | None = None,
    code_version: str | None = None,
    patches_by: str | None = None,
    slices_by: str | None = None,
    format: str | None = None,
) -> RunReport:
    """Take a run in that another program trained. It is checked like one of our own, and cannot be changed afterwards.

    Args:
        store: the store, with the patches and the splits that the run was made from.
        predictions: CSV or Parquet with case_id, p_0, p_1, … (a probability a class), and perhaps subset and true_label.
        attention: CSV or Parquet with case_id, stain, slice_idx or slice_name, patch_idx, stain_attention,
            slice_attention and patch_attention, a row a patch. In place of the indices it may name the patch's file
            (file, patch_path or patch), or give its coordinates (x, y).
        experiment: name of the runs that share this configuration.
        split: number of the split, as the split set has it.
        split_set: may be left out while the store has only one.
        seed: seed of the training.
        encoder: name of what made the features; None if unknown.
        pooling: hierarchical, size-corrected or flat.
        config: the configuration, as far as it is known.
        code_version: what trained it; None if unknown.
        patches_by: what patch_idx is: number (of the store), text-position or natural-position among the slice's file
            names, from 0. None: the table is taken only if it can be nothing but the number. Positions count only
            patches with features of the encoder, if the store has it.
        slices_by: the same of slice_idx, among the names of the slices of the case's stain.
        format: name of the tables' format, or ./file.py:Class; found by the content of each if left out.

    Raises:
        UsageError: no such split set or split, a name that does not fit, or indices that may be numbers or positions.
        DataError: cases, patches or sums that cannot be.
        ConflictError: the experiment stands for another configuration, or the same files were read otherwise before.
    """
    reading = Reading(patches_by=patches_by, slices_by=slices_by)
    check_name(experiment, "experiment")
    if encoder is not None:
        check_name(encoder, "encoder")
    if pooling not in ("hierarchical", "size-corrected", "flat"):
        raise UsageError(f"--pooling {clip(pooling)!r} is not hierarchical, size-corrected or flat")
    files = [Path(predictions), Path(attention)]
    for file in files:
        file_size(file, "a table of a run")
    migrate(store)
    cohort = read_cohort(store)
    name, n_splits = choose_split_set(cohort, split_set)
    check_split(cohort, name, split)
    told = told_by_store(cohort, name, split)
    assert told.subset_of is not None
    settings = {**(config or {}), "pooling": pooling, "imported": True}
    source = {file.name: sha256_of(file) for file in files}
    place = {"experiment": experiment, "split_set": name, "split": split, "seed": seed}
    refuse_other_configuration(store, experiment, settings)
    known = _known(store, place, source)
    said, probabilities = read_predictions(files[0], told.label_of, told.subset_of, told.classes, format)
    own = next((row for row in cohort.table("encoders").to_pylist() if row["encoder"] == encoder), None)
    packed = None if own is None else open_features(store, cohort, own["encoder"])
    encoded = None if packed is None else packed.patches
    features = None if packed is None else features_of_split(told.label_of, told.subset_of, packed.hash_of)
    looked, understood = read_attention(
        files[1], cohort, store.settings, reading=reading, encoder=encoder or "", encoded=encoded, format=format
    )
    read = understood.facts()
    done = RunReport(
        changed=known is None,
        run_id=known or mint_run_id(experiment, split, seed),
        cases=said.num_rows,
        patches=looked.num_rows,
        understood=understood.why,
    )
    if known is not None:
        _check_same_reading(store, known, read)
        return done
    if set(pc.unique(looked["case_id"]).to_pylist()) != set(said["case_id"].to_pylist()):
        raise DataError(f"{files[0]} and {files[1]} are not of the same cases")
    run = {
        **place,
        "kind": "imported",
        "n_splits": n_splits,
        "encoder": encoder,
        "pooling": pooling,
        "config": sorted_json({**settings, "source": source, "read": read}),
        "config_hash": hash_of(settings),
        "cohort_fingerprint": cohort.fingerprint,
        "features_fingerprint": features,
        "code_version": code_version,
        "finished_at": datetime.now(UTC).replace(tzinfo=None).isoformat(),
    }
    draft = begin_run(store, done.run_id, {**place, **{name: run[name] for name in ("kind", "config", "config_hash")}})
    try:
        tables = {
            "epochs": empty("epochs"),
            "predictions": said,
            "probabilities": probabilities,
            "attention": looked,
            "coverage": coverage_table(cohort, looked, told.subset_of, encoded),
        }
        write_run(draft, tables, run, told=told)
    except BaseException:
        shutil.rmtree(draft.folder, ignore_errors=True)
        raise
    return done


def _known(store: Store, place: Mapping[str, object], source: Mapping[str, str]) -> str | None:
    """The run that these files were already taken in as."""
    for facts in runs_of(store, str(place["experiment"])):
        same_place = all(facts[name] == value for name, value in place.items())
        if facts["finished"] and same_place and json.loads(facts["config"]).get("source") == source:
            return str(facts["run_id"])
    return None


def _check_same_reading(store: Store, run_id: str, read: Mapping[str, str]) -> None:
    """ConflictError if the same files were put on other patches when they were taken in as a run."""
    before = json.loads(read_run(store, run_id)["config"]).get("read")
    # Runs that say nothing of it are of versions that took every index for the store's number.
    same = not any(by.endswith("position") for by in read.values()) if before is None else before == read
    if not same:
        was = {"patches": "number"} if before is None else before
        words = ", ".join(f"{name} by {by}" for name, by in was.items() if name != "counted")
        raise ConflictError(
            f"these files are run {run_id} already, read otherwise ({words}): if that was wrong, delete it by "
            f"milstore runs delete {run_id}, and take them in again"
        )


def read_config(file: Path) -> dict[str, Any]:
    """A configuration from a TOML file. DataError if it cannot be read."""
    file_size(file, "a configuration")
    config = read_toml(file, "a configuration")
    try:
        json.dumps(config, allow_nan=False)
    except TypeError as error:
        raise DataError(f"{file} holds dates or times, which a configuration cannot: put them in quotes") from error
    except ValueError as error:
        raise DataError(f"{file} holds a number that a configuration cannot ({clip(str(error))}): repair it") from error
    return config
