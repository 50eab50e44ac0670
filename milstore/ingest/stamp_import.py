"""Cross-validations of STAMP, as they lie in their folders: `milstore ingest run FOLDER --from stamp`.

One run a split. STAMP's figures are of patients, who are the store's cases, and it stores no attention.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from milstore.errors import DataError
from milstore.formats.split_file import read_split_files
from milstore.formats.stamp_run import StampPredictions, read_patient_predictions, read_stamp_folder
from milstore.ingest.imported import RunReport
from milstore.ingest.importers import FolderOptions, refuse_options
from milstore.ingest.slide_runs import CaseFigures
from milstore.ingest.tool_classes import labels_of_classes
from milstore.ingest.tool_folder import (
    HeldOut,
    chosen_split,
    experiment_name,
    features_named,
    find_held_out,
    settings_of,
)
from milstore.ingest.tool_runs import ToolFolder, ToolRun, store_tool_runs
from milstore.store import Store
from milstore.store.case_ids import CaseIds
from milstore.store.cohort import Cohort, read_cohort
from milstore.store.cohort_edit import migrate
from milstore.store.names import clip, named

TOOL = "STAMP"


def import_stamp_runs(store: Store, root: Path, options: FolderOptions) -> RunReport:
    """Ingest a cross-validation of STAMP's. See `milstore.ingest.importers.ingest_run_folder`."""
    refuse_options(options, "stamp", ())
    folder = read_stamp_folder(root)
    migrate(store)
    cohort = read_cohort(store)
    paths = chosen_split(folder.predictions, options, folder.root)
    said = {number: read_patient_predictions(path) for number, path in paths.items()}
    figures = {number: _figures(cohort, each) for number, each in said.items()}
    tested = {number: list(each.probability_of) for number, each in figures.items()}
    own = None
    if folder.splits is not None:
        known = cohort.table("cases")["case_id"].to_pylist()
        own = HeldOut(path=folder.splits, splits=read_split_files([folder.splits], known, format="stamp").splits)
    experiment = experiment_name("stamp", folder.root, options)
    splits = find_held_out(cohort, tested, own, options, name=experiment, folder=folder.root)
    labels = {each.label_column for each in said.values()}
    if len(labels) > 1:
        raise DataError(
            f"{folder.root} has tables of several labels ({named(labels)}): they are of several experiments"
        )
    runs = [
        ToolRun(split=number, seed=options.seed, figures=figures[number], files=[paths[number]]) for number in figures
    ]
    left_out = f"not taken: {named(folder.unfinished)} without predictions" if folder.unfinished else ""
    given = ToolFolder(
        tool=TOOL,
        root=folder.root,
        experiment=experiment,
        settings=settings_of("stamp", options, {"label_column": labels.pop()}, folder.root),
        splits=splits,
        runs=runs,
        features=features_named(store, cohort, options),
        options=options,
        understood=[*([left_out] if left_out else []), "STAMP stores no attention: predictions alone"],
    )
    return store_tool_runs(store, cohort, given)


def _figures(cohort: Cohort, said: StampPredictions) -> CaseFigures:
    """Predictions of patients, with the store's case ids and class numbers."""
    label_of = labels_of_classes(cohort, said.classes, said.path)
    cases = _cases(cohort, said)
    probability_of, true_label_of = {}, {}
    for each in said.patients:
        case = cases[each.patient]
        probability_of[case] = np.array([each.probability[name] for name in sorted(label_of, key=label_of.__getitem__)])
        if each.true is not None:
            if each.true not in label_of:
                raise DataError(
                    f"{said.path}, line {each.line}, has {clip(each.true)!r} as the class of {clip(each.patient)}, of which "
                    f"there is no probability ({named(map(clip, label_of))})"
                )
            true_label_of[case] = label_of[each.true]
    return CaseFigures(path=said.path, probability_of=probability_of, true_label_of=true_label_of)


def _cases(cohort: Cohort, said: StampPredictions) -> Mapping[str, str]:
    """The store's case of each patient. DataError if the store has none, or two patients are one case."""
    ids = CaseIds.of(cohort)
    names = [each.patient for each in said.patients]
    ids.refuse(said.path, "its first column", names, [each.line for each in said.patients])
    found = {name: ids.read(name) for name in names}
    unknown = [clip(name) for name, case in found.items() if case not in ids]
    if unknown:
        raise DataError(
            f"{said.path} names {len(unknown)} patients that the store does not know as cases ({named(unknown)}): ingest "
            "their labels or slides first"
        )
    if len(set(found.values())) < len(found):
        raise DataError(f"{said.path} has a case under several spellings ({named(ids.told())}): keep one")
    return found
