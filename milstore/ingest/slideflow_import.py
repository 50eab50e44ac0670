"""Models of slideflow, as they lie in its folder `mil/`: `milstore ingest run FOLDER --from slideflow`, a run a fold.

Its figures are of slides. What it calls validation are the slides that a model did not train on: here they are the test.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from milstore.errors import DataError, UsageError
from milstore.formats.slideflow_run import (
    MANIFEST,
    PARAMS,
    BagAttention,
    SlideflowFolder,
    SlideflowPredictions,
    SlideflowRun,
    classes_of,
    read_attention,
    read_manifest,
    read_params,
    read_slide_predictions,
    read_slideflow_folder,
)
from milstore.formats.split_file import Split, SplitFiles, read_split_files
from milstore.ingest.imported import RunReport
from milstore.ingest.importers import FolderOptions, refuse_options
from milstore.ingest.slide_runs import (
    CaseFigures,
    SlideAttention,
    attention_of_slides,
    figures_of_slides,
    slides_named,
)
from milstore.ingest.slide_splits import splits_of_cases
from milstore.ingest.tool_classes import labels_of_classes
from milstore.ingest.tool_folder import (
    HeldOut,
    as_name,
    chosen_split,
    experiment_name,
    features_named,
    find_held_out,
    settings_of,
)
from milstore.ingest.tool_runs import ToolFolder, ToolRun, lines_of_gaps, store_tool_runs
from milstore.store import Store
from milstore.store.case_ids import CaseIds
from milstore.store.cohort import Cohort, read_cohort
from milstore.store.cohort_edit import migrate
from milstore.store.features import PackedFeatures
from milstore.store.names import clip, counted, named
from milstore.store.slides import Slides

TOOL = "slideflow"
_OF_ONE_MACHINE = ("bags", "weights", "outdir")
"""Settings that are places on somebody's disk."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    """A model's folder, beside the store."""

    run: SlideflowRun
    params: Mapping[str, Any]
    said: SlideflowPredictions
    figures: CaseFigures
    manifest: Split | None
    """train or test of each case, as the model's own manifest has it."""


def import_slideflow_runs(store: Store, root: Path, options: FolderOptions) -> RunReport:
    """Ingest slideflow's models of an outcome. See `milstore.ingest.importers.ingest_run_folder`."""
    refuse_options(options, TOOL, ())
    folder = read_slideflow_folder(root)
    label, chosen, left_out = _one_label(folder, options)
    migrate(store)
    cohort = read_cohort(store)
    slides = Slides(cohort)
    read = [_read(run, cohort, slides) for run in chosen]
    tested = {each.run.fold: list(each.figures.probability_of) for each in read}
    experiment = experiment_name(TOOL, folder.root, options, label)
    splits = find_held_out(
        cohort, tested, _held_out(folder, cohort, slides, read, tested), options, name=experiment, folder=folder.root
    )
    features = features_named(store, cohort, options)
    runs = [_run(folder, cohort, each, features, options) for each in read]
    given = ToolFolder(
        tool=TOOL,
        root=folder.root,
        experiment=experiment,
        settings=_settings(options, read),
        splits=splits,
        runs=runs,
        features=features,
        options=options,
        understood=[
            "slideflow's validation slides are the test here: those that a fold's model did not train on",
            *_told_epoch(read[0].params),
            *left_out,
        ],
    )
    return store_tool_runs(store, cohort, given)


def _one_label(folder: SlideflowFolder, options: FolderOptions) -> tuple[str, list[SlideflowRun], list[str]]:
    """The model and outcome whose folds are taken in, these, and what is left out, in words.

    UsageError if the folder has several, and none is meant by the experiment's name; or two runs of a fold.
    """
    of_label: dict[str, list[SlideflowRun]] = {}
    for run in folder.runs:
        of_label.setdefault(run.label, []).append(run)
    wanted = next((label for label in of_label if as_name(label) == options.experiment), None)
    if len(of_label) > 1 and wanted is None:
        several = named(f"{clip(label)} ({counted(len(runs), 'run')})" for label, runs in of_label.items())
        raise UsageError(
            f"{folder.root} has models of several kinds: {several}; say which one goes in by --experiment, such as "
            f"--experiment {as_name(next(iter(of_label)))}"
        )
    label = wanted if wanted is not None else next(iter(of_label))
    chosen = of_label.pop(label)
    folds = [run.fold for run in chosen]
    if len(set(folds)) < len(folds):
        double = [run.folder.name for run in chosen if folds.count(run.fold) > 1]
        raise UsageError(
            f"{folder.root} has several runs of one fold ({named(double)}): name the folder of one of them"
        )
    chosen = list(chosen_split({run.fold: run for run in chosen}, options, folder.root).values())
    others = [run.folder.name for runs in of_label.values() for run in runs]
    return label, sorted(chosen, key=lambda run: run.fold), [f"not taken: {named(others)}"] if others else []


def _settings(options: FolderOptions, read: Sequence[_Read]) -> dict[str, Any]:
    """The configuration that the folds share. DataError if they were trained by different ones."""
    of = {each.run.folder.name: _plain(each.params) for each in read}
    first, *others = of
    other = [name for name in others if of[name] != of[first]]
    if other:
        raise DataError(f"{named([first, *other])} were trained by different {PARAMS}: name the folder of one of them")
    return settings_of(TOOL, options, of[first], read[0].run.folder / PARAMS)


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name not in _OF_ONE_MACHINE}


def _read(run: SlideflowRun, cohort: Cohort, slides: Slides) -> _Read:
    params = read_params(run)
    classes = classes_of(run.folder / PARAMS, params)
    label_of = labels_of_classes(cohort, classes, run.folder / PARAMS)
    label_of_number = [label_of[name] for name in classes]
    said = read_slide_predictions(run, len(classes))
    order = sorted(range(len(classes)), key=label_of_number.__getitem__)
    probability_of = {name: [own[number] for number in order] for name, own in said.probability_of.items()}
    true_of = {name: label_of_number[number] for name, number in said.true_of.items()}
    if said.by_patient:
        figures = _of_patients(cohort, said, probability_of, true_of)
    else:
        figures = figures_of_slides(said.path, slides_named(said.path, slides, probability_of), probability_of, true_of)
    manifest = read_manifest(run)
    if manifest is not None:
        known = cohort.table("cases")["case_id"].to_pylist()
        of_slides = SplitFiles(splits={run.fold: manifest}, by_slide=True)
        manifest = splits_of_cases(of_slides, slides, known, run.folder / MANIFEST).splits[run.fold]
    return _Read(run=run, params=params, said=said, figures=figures, manifest=manifest)


def _of_patients(
    cohort: Cohort,
    said: SlideflowPredictions,
    probability_of: Mapping[str, Sequence[float]],
    true_of: Mapping[str, int],
) -> CaseFigures:
    """The figures of a model whose bags are of patients: those of each slide would be one and the same."""
    ids = CaseIds.of(cohort)
    cases = {name: ids.read(name) for name in probability_of}
    unknown = [clip(name) for name, case in cases.items() if case not in ids]
    if unknown:
        raise DataError(f"{said.path} names patients that the store does not know as cases ({named(unknown)})")
    as_slides = {name: _Patient(case) for name, case in cases.items()}
    figures = figures_of_slides(said.path, as_slides, probability_of, true_of)  # type: ignore[arg-type]
    return replace(figures, slides_of={})


@dataclass(frozen=True, slots=True)
class _Patient:
    """A patient in the place of a slide."""

    case_id: str

    @property
    def slide_id(self) -> str:
        """Its name."""
        return self.case_id


def _held_out(
    folder: SlideflowFolder,
    cohort: Cohort,
    slides: Slides,
    read: Sequence[_Read],
    tested: Mapping[int, Sequence[str]],
) -> HeldOut | None:
    """The splits that the models were trained on: the plan of splits.json that is theirs, else their own manifests."""
    known = cohort.table("cases")["case_id"].to_pylist()
    if folder.splits is not None:
        found = read_split_files([folder.splits], known, format="slideflow")
        for splits in [found.splits, *found.families.values()]:
            if not splits or not _may_be(splits, read, tested, slides):
                continue
            own = splits_of_cases(replace(found, splits=splits, families={}), slides, known, folder.splits).splits
            if all(each.manifest in (None, own.get(each.run.fold)) for each in read):
                return HeldOut(path=folder.splits, splits=own)
    if all(each.manifest is not None for each in read):
        path = read[0].run.folder / MANIFEST if len(read) == 1 else folder.root
        return HeldOut(path=path, splits={each.run.fold: each.manifest for each in read if each.manifest is not None})
    return None


def _may_be(
    splits: Mapping[int, Split], read: Sequence[_Read], tested: Mapping[int, Sequence[str]], slides: Slides
) -> bool:
    """Whether a plan has the folds of some models, and holds out what they predicted."""
    for each in read:
        split = splits.get(each.run.fold, {})
        held = {slide.case_id for name, subset in split.items() if subset == "test" and (slide := slides.of_file(name))}
        if not set(tested[each.run.fold]) <= held:
            return False
    return True


# --- runs -------------------------------------------------------------------------------------------------------------


def _run(
    folder: SlideflowFolder, cohort: Cohort, read: _Read, features: PackedFeatures | None, options: FolderOptions
) -> ToolRun:
    table, files, told = _attention(folder, cohort, read, features)
    own = [read.said.path, read.run.folder / PARAMS]
    own += [read.run.folder / MANIFEST] if read.manifest is not None else []
    return ToolRun(
        split=read.run.fold,
        figures=read.figures,
        files=[*own, *files],
        seed=options.seed,
        attention=table,
        understood=told,
    )


def _attention(
    folder: SlideflowFolder, cohort: Cohort, read: _Read, features: PackedFeatures | None
) -> tuple[pa.Table | None, list[Path], list[str]]:
    """The attention of a model on the slides that it predicted, the files that say it, and what is to be told."""
    slides = Slides(cohort)
    predicted = {slide for own in read.figures.slides_of.values() for slide in own}
    found: dict[str, BagAttention] = {}
    others = []
    for name, attention in read_attention(read.run, folder.bags) if not read.said.by_patient else ():
        slide = slides.of_file(name)
        if slide is None or slide.slide_id not in predicted:
            others.append(name)
        else:
            found[slide.slide_id] = attention
    told = [f"attention of slides that it did not predict, not taken: {named(map(clip, others))}"] if others else []
    if not found:
        why = "its bags are of patients" if read.said.by_patient else f"{read.run.folder.name} has no attention/"
        return None, [], [*told, f"{why}: predictions alone"]
    given = {
        slide: SlideAttention(path=each.path, weights=each.weights, xy=each.centres, centred=True)
        for slide, each in found.items()
    }
    of_cases = attention_of_slides(cohort, read.figures, given, None if features is None else features.patches)
    gaps = lines_of_gaps(of_cases.without, len(read.figures.probability_of), "a slide of each has none")
    files = sorted({path for each in found.values() for path in each.files})
    return of_cases.table, files, [*told, *gaps]


def _told_epoch(params: Mapping[str, Any]) -> list[str]:
    """A note that the models' epochs were chosen on the same slides that they are evaluated on."""
    settings = params.get("params")
    monitor = settings.get("save_monitor") if isinstance(settings, dict) else None
    if not isinstance(monitor, str) or not monitor.startswith("valid"):
        return []
    return [
        f"slideflow chose each model's epoch by these slides (save_monitor {clip(monitor, 30)}): figures may be too good"
    ]
