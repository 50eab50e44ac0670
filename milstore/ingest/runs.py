"""Ingests runs that were trained elsewhere: their predictions and attention become finished runs of the store."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError, UsageError
from milstore.formats.csv_table import file_size
from milstore.formats.run_table import check_columns, parse_columns
from milstore.ingest.imported import (
    Imported,
    RunReport,
    check_same_reading,
    heed_labels,
    known_run,
    store_imported,
    told_labels,
)
from milstore.ingest.patch_placing import Reading
from milstore.ingest.run_attention import read_attention
from milstore.ingest.run_tables import coverage_table, read_predictions
from milstore.schema.arrow import empty
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import migrate
from milstore.store.configuration import refuse_other_configuration
from milstore.store.features import open_features
from milstore.store.fingerprints import features_of_split
from milstore.store.io import sha256_of
from milstore.store.names import check_name, clip
from milstore.store.run_reader import KNOWN, NO_ATTENTION, PART_ATTENTION
from milstore.store.run_writer import mint_run_id
from milstore.store.split_numbers import check_split, choose_split_set
from milstore.store.tomlfile import read_toml
from milstore.store.write_run import told_by_store

__all__ = ["RunReport", "check_words", "ingest_run", "parse_columns", "read_config"]


def ingest_run(
    store: Store,
    predictions: str | Path,
    attention: str | Path | None = None,
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
    columns: Mapping[str, str] | None = None,
    top_pct: float | None = None,
    labels_of_run: bool = False,
) -> RunReport:
    """Ingest a run that another program trained.

    It is checked like one of milstore's own, and cannot be changed afterwards.

    Args:
        store: the store, with the patches and the splits that the run was made from.
        predictions: CSV or Parquet with case_id, p_0, p_1, … (a probability a class), and perhaps subset and true_label.
        attention: CSV or Parquet with case_id, stain, slice_idx or slice_name, patch_idx, stain_attention,
            slice_attention and patch_attention, a row a patch. In place of the indices it may name the patch's file
            (file, patch_path or patch), or give its coordinates (x, y). None for a run without attention.
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
        columns: what the tables' columns are called here, by their names in the files.
        top_pct: the attention is of each case's most attended patches alone, of this share of them in percent; None where
            it is of every patch that the model saw. What was seen are then the store's patches, or those of them with
            features of the encoder.
        labels_of_run: keep the run's own labels where the store has others; every answer then says so.

    Raises:
        UsageError: no such split set or split, a name that does not fit, or indices that may be numbers or positions.
        DataError: cases, patches or sums that cannot be, or labels or subsets that contradict the store.
        ConflictError: the experiment stands for another configuration, or the same files were read otherwise before.
    """
    reading = Reading(patches_by=patches_by, slices_by=slices_by)
    check_name(experiment, "experiment")
    if encoder is not None:
        check_name(encoder, "encoder")
    if pooling not in ("hierarchical", "size-corrected", "flat"):
        raise UsageError(f"--pooling {clip(pooling)!r} is not hierarchical, size-corrected or flat")
    if top_pct is not None and not 0 < top_pct <= 100:
        raise UsageError(f"--top-pct is {top_pct:g}: it must be above 0, and at most 100")
    files = [Path(predictions), *([] if attention is None else [Path(attention)])]
    for file in files:
        file_size(file, "a table of a run")
    check_columns(columns or {}, files)
    migrate(store)
    cohort = read_cohort(store)
    name, n_splits = choose_split_set(cohort, split_set)
    check_split(cohort, name, split)
    told = told_by_store(cohort, name, split)
    subset_of = told.subset_of
    assert subset_of is not None
    settings = {**(config or {}), "pooling": pooling, "imported": True}
    source = {file.name: sha256_of(file) for file in files}
    place = {"experiment": experiment, "split_set": name, "split": split, "seed": seed}
    refuse_other_configuration(store, experiment, settings)
    known = known_run(store, place, source)
    said, probabilities = read_predictions(files[0], told.label_of, subset_of, told.classes, format, columns)
    told, facts = heed_labels(files[0], told, said, keep=labels_of_run)
    own = next((row for row in cohort.table("encoders").to_pylist() if row["encoder"] == encoder), None)
    packed = None if own is None else open_features(store, cohort, own["encoder"])
    encoded = None if packed is None else packed.patches
    features = None if packed is None else features_of_split(told.label_of, subset_of, packed.hash_of)
    looked = empty("attention").drop_columns(["rank", "n_patches"])
    read: dict[str, str] = {}
    why: tuple[str, ...] = ()
    if attention is not None:
        looked, understood = read_attention(
            files[1], cohort, store.settings, reading=reading, encoder=encoder or "", encoded=encoded, format=format,
            columns=columns, whole=top_pct is None,
        )  # fmt: skip
        read, why = understood.facts(), understood.why
    done = RunReport(
        changed=known is None,
        run_id=known or mint_run_id(experiment, split, seed),
        cases=said.num_rows,
        patches=looked.num_rows,
        understood=(*why, *told_labels(facts)),
    )
    if known is not None:
        check_same_reading(store, known, read)
        return done
    if attention is not None and set(pc.unique(looked["case_id"]).to_pylist()) != set(said["case_id"].to_pylist()):
        raise DataError(f"{files[0]} and {files[1]} are not of the same cases")
    if attention is None:
        facts["attention"] = NO_ATTENTION
    elif top_pct is not None:
        facts |= {"attention": PART_ATTENTION, KNOWN: {"pct": top_pct, "said": f"the top {top_pct:g} %"}}
    seen = None if top_pct is None else patches_seen(cohort.places(), looked, encoded)
    tables = {
        "epochs": empty("epochs"),
        "predictions": said,
        "probabilities": probabilities,
        "attention": looked,
        "coverage": coverage_table(cohort, looked, subset_of, encoded, seen, encoder=encoder),
    }
    facts |= {"encoder": encoder, "pooling": pooling, "features_fingerprint": features, "code_version": code_version}
    store_imported(
        store,
        cohort,
        done.run_id,
        Imported(
            place=place, n_splits=n_splits, settings=settings, source=source, read=read, told=told, tables=tables,
            facts=facts,
        ),
    )  # fmt: skip
    return done


def patches_seen(patches: pa.Table, attention: pa.Table, encoded: pa.Table | None) -> pa.Table:
    """The patches that a run is taken to have seen of the cases that it has attention of: those with a feature, where
    the store has features of its encoder, else all."""
    there = patches if encoded is None else encoded
    cases = pc.unique(attention["case_id"]).cast(pa.string())
    return there.filter(pc.is_in(there["case_id"].cast(pa.string()), cases))


def check_words(
    tool: str | None,
    *,
    needed: Mapping[str, object],
    of_tables: Mapping[str, object],
    of_folders: Mapping[str, object],
) -> None:
    """Raises UsageError for an option that does not apply, or one that is missing.

    Args:
        tool: what wrote the run's folder; None where tables are given.
        needed: options that tables need, with what was given.
        of_tables: options of tables alone.
        of_folders: options of folders alone.
    """
    if tool is None:
        missing = [name for name, value in needed.items() if value is None]
        if missing:
            raise UsageError(
                f"say {' and '.join(missing)} of the run; of a folder that the study's trainers wrote, give --from study "
                "in place of them"
            )
    lost = [name for name, value in (of_folders if tool is None else of_tables).items() if value is not None]
    if lost:
        what = (
            "is for folders: give --from too"
            if tool is None
            else f"is for tables: leave it out with --from {clip(tool)}"
        )
        raise UsageError(f"{lost[0]} {what}")


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
