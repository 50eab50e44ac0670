"""Runs of the study's trainers, as they lie in their folders: `milstore ingest run FOLDER --from study`.

Predictions are the run's own, from its last epoch. Attention comes from its weights, where they are given; else from its
table, whose rows are put on patches in the one way that its form allows; else there is none, and that is said.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from milstore.errors import DataError
from milstore.formats.data_table import texts_of
from milstore.formats.interface import RunPredictions, reported
from milstore.formats.study_folder import StudyFolder, read_study_folder
from milstore.formats.study_run import StudyRun
from milstore.ingest.imported import (
    Imported,
    RunReport,
    check_same_reading,
    heed_labels,
    known_run,
    store_imported,
    told_labels,
)
from milstore.ingest.importers import FolderOptions, refuse_options
from milstore.ingest.run_tables import coverage_table, read_predictions
from milstore.ingest.study_attention import Said, StudyRunAt, look_at_tables
from milstore.ingest.study_epochs import epoch_table, evaluated_epoch
from milstore.ingest.study_split import StudySplit, find_split
from milstore.store import Store
from milstore.store.cohort import Cohort, read_cohort
from milstore.store.cohort_edit import migrate
from milstore.store.configuration import hash_of, plain, refuse_other_configuration
from milstore.store.fingerprints import features_of_split
from milstore.store.io import sha256_of
from milstore.store.names import check_name, counted, matching_case_id, named
from milstore.store.run_writer import mint_run_id
from milstore.store.write_run import Told, told_by_store

if TYPE_CHECKING:
    from milstore.formats.study_checkpoint import StudyCheckpoint

_OF_ONE_RUN = {
    "seed",
    "resume",
    "eval_only",
    "analyze_attention",
    "attention_top_n",
    "load_splits",
    "checkpoint_dir",
    "labels_csv",
    "patches_dir",
    "num_workers",
}
"""Options of a job that are no part of the configuration that the runs of an experiment share."""


def import_study_run(store: Store, root: Path, options: FolderOptions) -> RunReport:
    """Ingest a run of the study's trainers. See `milstore.ingest.importers.ingest_run_folder`."""
    refuse_options(options, "study", {"weights", "log"})
    for name, what in ((options.experiment, "experiment"), (options.encoder, "encoder")):
        if name is not None:
            check_name(name, what)
    folder = read_study_folder(root, options.log)
    migrate(store)
    cohort = read_cohort(store)
    predicted, label_in_store = _predicted(folder, cohort)
    split = find_split(folder, cohort, predicted, options.split_set, options.split)
    settings = _settings(folder, options)
    experiment = options.experiment or f"study-{hash_of(settings)[:6]}"
    refuse_other_configuration(store, experiment, settings)
    seed = _seed(folder, options)
    place = {"experiment": experiment, "split_set": split.split_set, "split": split.split, "seed": seed}
    source = _source(folder, options)
    known = known_run(store, place, source)
    told, contradicted, predictions, probabilities = _said(folder, cohort, split, keep=options.labels_of_run)
    run = StudyRunAt(store=store, cohort=cohort, folder=folder, cases=predicted, options=options)
    last = cache(lambda: _last_checkpoint(folder))
    if options.weights is None:
        said = Said(predictions=predictions, probabilities=probabilities, looked=look_at_tables(run, last))
    else:
        from milstore.ingest.study_weighed import weigh

        said = weigh(run, predictions, probabilities, told, split.subset_of, label_in_store)
    done = RunReport(
        changed=known is None,
        run_id=known or mint_run_id(experiment, split.split, seed),
        cases=said.predictions.num_rows,
        patches=said.looked.table.num_rows,
        understood=(*split.why, *said.looked.why, *told_labels(contradicted), *_not_taken(folder)),
    )
    if known is not None:
        check_same_reading(store, known, said.looked.read)
        return done
    epochs, further = epoch_table(folder, last() or _given_checkpoint(options))
    features = run.features if said.looked.encoder else None
    encoded = None if features is None else features.patches
    facts = {
        **_facts(folder, options),
        "n_epochs": epochs.num_rows or None,
        "encoder": said.looked.encoder,
        "features_fingerprint": features
        and features_of_split(told.label_of, split.subset_of if split.split is not None else None, features.hash_of),
        **said.facts,
        **said.looked.facts(said.predictions.num_rows),
        **contradicted,
    }
    tables = {
        "epochs": epochs,
        "predictions": said.predictions,
        "probabilities": said.probabilities,
        "attention": said.looked.table,
        "coverage": coverage_table(cohort, said.looked.table, split.subset_of, encoded, said.looked.seen),
    }
    store_imported(
        store,
        cohort,
        done.run_id,
        Imported(
            place=place, n_splits=split.n_splits, settings=settings, source=source, read=said.looked.read, told=told,
            tables=tables, facts=facts, weights=said.weights,
        ),
    )  # fmt: skip
    return RunReport(
        changed=True,
        run_id=done.run_id,
        cases=done.cases,
        patches=done.patches,
        understood=(*done.understood, *further),
    )


def _predicted(folder: StudyFolder, cohort: Cohort) -> tuple[list[str], list[int]]:
    """The cases that were predicted, as the store calls them, and the store's label of each class of the trainer's."""
    known = set(cohort.table("cases")["case_id"].to_pylist())
    names = {row["label"]: row["class_name"] for row in cohort.table("classes").to_pylist()}
    with reported(folder.predictions):
        said: RunPredictions = StudyRun().predictions(folder.predictions, [names[label] for label in sorted(names)])
    texts = texts_of(folder.predictions, said.table, "case_id").to_pylist()
    return [matching_case_id(text, known) for text in texts], list(said.label_in_store)


def _said(
    folder: StudyFolder, cohort: Cohort, split: StudySplit, *, keep: bool
) -> tuple[Told, dict[str, Any], pa.Table, pa.Table]:
    """What the run is taken to have been told, what of it contradicts the store, and the tables of its predictions."""
    told = told_by_store(cohort, split.split_set, split.split)
    predictions, probabilities = read_predictions(
        folder.predictions, told.label_of, split.subset_of, told.classes, format="study"
    )
    if folder.samples not in (None, predictions.num_rows):
        raise DataError(
            f"{folder.predictions} has {counted(predictions.num_rows, 'case')}, and results.txt says that {folder.samples} "
            "were predicted: it is not whole, copy the run's folder again"
        )
    told, contradicted = heed_labels(folder.predictions, told, predictions, keep=keep)
    return told, contradicted, predictions, probabilities


def _last_checkpoint(folder: StudyFolder) -> "StudyCheckpoint | None":
    path = folder.last_checkpoint
    if path is None:
        return None
    from milstore.formats.study_checkpoint import read_checkpoint

    return read_checkpoint(path)


def _given_checkpoint(options: FolderOptions) -> "StudyCheckpoint | None":
    """The weights that the user gives; their history is the run's where it has none of its own."""
    if options.weights is None:
        return None
    from milstore.formats.study_checkpoint import read_checkpoint

    return read_checkpoint(options.weights)


def _settings(folder: StudyFolder, options: FolderOptions) -> dict[str, Any]:
    """The configuration, as far as the log tells it: what runs on other splits and seeds have in common."""
    log = folder.log
    told = {} if log is None else {name: value for name, value in log.options.items() if name not in _OF_ONE_RUN}
    try:
        told = plain({"options": told, "table": {} if log is None else dict(log.table)})
    except ValueError as error:
        raise DataError(f"{log and log.path}: {error}") from error
    return {
        **options.config,
        "pooling": "hierarchical",
        "imported": True,
        "trainer": "study",
        "form": folder.form,
        **told,
    }


def _seed(folder: StudyFolder, options: FolderOptions) -> int | None:
    seed = options.seed if options.seed is not None or folder.log is None else folder.log.options.get("seed")
    return seed if isinstance(seed, int) else None


def _source(folder: StudyFolder, options: FolderOptions) -> dict[str, str]:
    """SHA-256 of every file that was looked at."""
    files = [folder.predictions, *(table.path for table in folder.tables)]
    files += [path for path in (folder.splits, folder.last_checkpoint) if path is not None]
    own = {path.relative_to(folder.root).as_posix(): sha256_of(path) for path in files}
    for what, path in (("log", folder.log.path if folder.log else None), ("weights", options.weights)):
        if path is not None:
            own[f"{what} {path.name}"] = _hash(path)
    return own


def _hash(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _facts(folder: StudyFolder, options: FolderOptions) -> dict[str, Any]:
    """Columns of the table `runs` that the folder tells."""
    log = folder.log
    started = log.started_at.replace(tzinfo=None).isoformat() if log and log.started_at else None
    return {
        "pooling": "hierarchical",
        "code_version": options.code_version,
        "slurm_job_id": log.job_id if log else None,
        "started_at": started,
        "best_epoch": evaluated_epoch(folder),
    }


def _not_taken(folder: StudyFolder) -> list[str]:
    """What is said of what the folder lacks, or has besides."""
    said = []
    if folder.log is None:
        said.append("no log in the folder or beside it: its options are not known (--log names it)")
    elif not folder.log.is_finished:
        said.append(f"{folder.log.path.name} ends before its results were saved: the run ended in an error")
    if folder.other_predictions:
        names = named(path.name for path in folder.other_predictions)
        said.append(f"not taken: {names}, of other checkpoints than the last epoch's")
    return said
