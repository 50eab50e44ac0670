"""Experiments of CLAM, as they lie in their folder: `milstore ingest run FOLDER --from clam`, a run a fold.

Its figures are of slides. A heat map is of one fold's model, whose number it does not say: it is the one that gives its slide
the same probability. A map by another model may come from one that trained on the slide, and is left out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from milstore.errors import DataError, UsageError
from milstore.formats.clam_run import (
    ClamFolder,
    Fold,
    read_clam_folder,
    read_fold,
    read_heat_map,
)
from milstore.formats.missing_marks import plain
from milstore.formats.split_file import SplitFiles, read_split_files
from milstore.ingest.clam_maps import FoldAtStore, give_maps
from milstore.ingest.imported import RunReport
from milstore.ingest.importers import FolderOptions, refuse_options
from milstore.ingest.slide_runs import (
    CaseAttention,
    SlideAttention,
    attention_of_slides,
    figures_of_slides,
    slides_named,
    softmax,
)
from milstore.ingest.slide_splits import splits_of_cases
from milstore.ingest.splits import ingest_splits, name_of_splits
from milstore.ingest.tool_folder import experiment_name, features_named, settings_of
from milstore.ingest.tool_runs import ToolFolder, ToolRun, lines_of_gaps, store_tool_runs
from milstore.ingest.tool_splits import FoundSplits, OwnSplits, find_splits
from milstore.store import Store
from milstore.store.cohort import Cohort, read_cohort
from milstore.store.cohort_edit import migrate
from milstore.store.features import PackedFeatures
from milstore.store.names import clip, counted, named, natural_key
from milstore.store.slides import Slides
from milstore.store.write_run import class_names

TOOL = "CLAM"


def import_clam_runs(store: Store, root: Path, options: FolderOptions) -> RunReport:
    """Ingest the folds of an experiment of CLAM's. See `milstore.ingest.importers.ingest_run_folder`."""
    refuse_options(options, "clam", {"classes", "heat_maps_of"})
    folder = read_clam_folder(root)
    experiment = experiment_name("clam", folder.root, options, folder.code)
    migrate(store)
    cohort = read_cohort(store)
    features = features_named(store, cohort, options)
    names = class_names(cohort)
    slides = Slides(cohort)
    chosen = _chosen(folder, options)
    folds = {number: read_fold(path) for number, path in chosen.items()}
    label_of_number = _classes(folds, slides, cohort, names, options)
    read = [_beside(number, fold, slides, label_of_number) for number, fold in folds.items()]
    splits = _splits(folder, cohort, slides, read, options)
    told = give_maps(folder, read, slides, [names[label] for label in label_of_number], options.heat_maps_of)
    runs = [_run(folder, cohort, each, features, options) for each in read]
    settings = settings_of("clam", options, {"evaluation": folder.code}, folder.root)
    numbered = ", ".join(f"{number} is {names[label]}" for number, label in enumerate(label_of_number))
    taken = ToolFolder(
        tool=TOOL,
        root=folder.root,
        experiment=experiment,
        settings=settings,
        splits=splits,
        runs=runs,
        features=features,
        options=options,
        understood=(f"classes: {numbered}", *told),
    )
    return store_tool_runs(store, cohort, taken)


def _chosen(folder: ClamFolder, options: FolderOptions) -> Mapping[int, Path]:
    for option, number in (("--split", options.split), ("--heat-maps-of", options.heat_maps_of)):
        if number is not None and number not in folder.folds:
            raise UsageError(f"{option} {number}: {folder.root} has the folds {named(folder.folds)}")
    return folder.folds if options.split is None else {options.split: folder.folds[options.split]}


# --- classes ------------------------------------------------------------------------------------------------------------


def _classes(
    folds: Mapping[int, Fold], slides: Slides, cohort: Cohort, names: Sequence[str], options: FolderOptions
) -> list[int]:
    """The store's label for each of CLAM's class numbers: as the user gives it, else the same number.

    Raises:
        DataError: the labels of the cases say that CLAM numbered the classes otherwise, and the user does not.
        UsageError: what the user says names no class of the store, or not each.
    """
    width = {len(next(iter(fold.probability_of.values()))) for fold in folds.values()}
    if width != {len(names)}:
        path = next(iter(folds.values())).path
        raise DataError(
            f"{path} tells {named(sorted(width))} classes apart, and the store has {len(names)} ({named(map(clip, names))}): "
            "take the labels in that CLAM was trained on (milstore ingest labels)"
        )
    if options.classes is not None:
        return _given_classes(options.classes, names)
    label_of = dict(zip(*(cohort.table("cases")[name].to_pylist() for name in ("case_id", "label")), strict=True))
    seen: dict[int, dict[int, list[str]]] = {}
    for fold in folds.values():
        for name, number in fold.class_of.items():
            slide = slides.of_file(name)
            label = None if slide is None else label_of.get(slide.case_id)
            if slide is not None and label is not None:
                seen.setdefault(number, {}).setdefault(label, []).append(slide.case_id)
    other = [c for number, found in seen.items() for label, own in found.items() if label != number for c in own]
    one_each = all(len(found) == 1 for found in seen.values())
    labels = [label for number in sorted(seen) for label in seen[number]]
    if other and one_each and len(set(labels)) == len(labels) and not options.labels_of_run:
        path = next(iter(folds.values())).path
        way = ",".join(f"{number}={names[label]}" for number, label in zip(sorted(seen), labels, strict=True))
        cases = named(map(clip, sorted(set(other), key=natural_key)))
        raise DataError(
            f"{path}: by the labels of its cases ({cases}) CLAM numbered the classes otherwise than the store, where "
            f"{', '.join(f'{i} is {name}' for i, name in enumerate(names))}: say so by --classes {way}"
        )
    return list(range(len(names)))


def _given_classes(given: Mapping[str, str], names: Sequence[str]) -> list[int]:
    label_of = {plain(name): label for label, name in enumerate(names)}
    unknown = [name for name in given.values() if plain(name) not in label_of]
    if unknown or sorted(given) != sorted(map(str, range(len(names)))) or len(set(given.values())) < len(names):
        what = (
            f"the store has no class {named(map(clip, unknown))}" if unknown else "each number needs a class of its own"
        )
        way = ",".join(f"{i}={name}" for i, name in enumerate(names))
        raise UsageError(f"--classes: {what}: write the class of each of CLAM's numbers, such as {way}")
    return [label_of[plain(given[str(number)])] for number in range(len(names))]


def _beside(number: int, fold: Fold, slides: Slides, label_of_number: Sequence[int]) -> FoldAtStore:
    found = slides_named(fold.path, slides, fold.probability_of)
    order = sorted(range(len(label_of_number)), key=label_of_number.__getitem__)
    figures = figures_of_slides(
        fold.path,
        found,
        {name: [own[i] for i in order] for name, own in fold.probability_of.items()},
        {name: label_of_number[own] for name, own in fold.class_of.items()},
    )
    return FoldAtStore(number=number, fold=fold, slides=found, figures=figures)


# --- splits -------------------------------------------------------------------------------------------------------------


def _splits(
    folder: ClamFolder, cohort: Cohort, slides: Slides, read: Sequence[FoldAtStore], options: FolderOptions
) -> FoundSplits:
    """The split set of the runs: the store's, or made from the folder's own."""
    tested = {each.number: set(each.figures.probability_of) for each in read}
    known = cohort.table("cases")["case_id"].to_pylist()
    fitting: list[tuple[Path, SplitFiles]] = []
    for path in folder.splits:
        found = splits_of_cases(read_split_files([path], known, format="clam"), slides, known, path)
        if all(_holds_out(found.splits.get(number, {}), cases) for number, cases in tested.items()):
            fitting.append((path, found))
    there = any(row["split_set"] == options.split_set for row in cohort.table("split_sets").to_pylist())
    if folder.splits and not fitting and not there:
        raise DataError(
            f"{named(folder.splits)} hold out other slides than {read[0].fold.path} is of: it is an evaluation of other splits; "
            "name the split set that it was made on by --split-set"
        )
    first = fitting[0] if fitting else None
    different = [path for path, found in fitting if first is not None and found.splits != first[1].splits]
    # CLAM copies the splits that it trained on beside its results; fewer of them say nothing else.
    different = [path for path in different if first is not None and _contradict(first[1], dict(fitting)[path])]
    if first is not None and different and not there:
        raise UsageError(
            f"{named([first[0], *different])} hold different splits that fit: name a split set of the store by --split-set"
        )
    own = None
    if first is not None:
        path = first[0]
        own = OwnSplits(
            path=path,
            splits=first[1].splits,
            name=name_of_splits([path]),
            ingest=lambda store, name: ingest_splits(store, [path], split_set=name, format="clam"),
        )
    return find_splits(cohort, tested, own, options.split_set, folder.root)


def _holds_out(split: Mapping[str, str], cases: set[str]) -> bool:
    """Whether a split has these cases, some of them in test.

    If all subsets were evaluated, it must have all of them.
    """
    return cases <= split.keys() and any(split[case] == "test" for case in cases)


def _contradict(one: SplitFiles, other: SplitFiles) -> bool:
    return any(one.splits[number] != other.splits[number] for number in one.splits.keys() & other.splits.keys())


# --- runs -------------------------------------------------------------------------------------------------------------


def _run(
    folder: ClamFolder, cohort: Cohort, read: FoldAtStore, features: PackedFeatures | None, options: FolderOptions
) -> ToolRun:
    attention = _attention(cohort, read, features)
    files = [read.fold.path, *(each.path for each in read.maps.values())]
    files += sorted({folder.tables[each.code] for each in read.maps.values() if each.code in folder.tables})
    n_cases = len(read.figures.probability_of)
    slides = counted(len(read.slides), "slide")
    why = "a slide of each has no heat map of this fold"
    return ToolRun(
        split=read.number,
        figures=read.figures,
        files=files,
        seed=options.seed if options.seed is not None else folder.seed,
        attention=attention.table,
        understood=(
            f"fold {read.number}: {slides} of {counted(n_cases, 'case')}",
            *(lines_of_gaps(attention.without, n_cases, why) if read.maps else []),
        ),
    )


def _attention(cohort: Cohort, read: FoldAtStore, features: PackedFeatures | None) -> CaseAttention:
    given: dict[str, SlideAttention] = {}
    for slide_id, each in read.maps.items():
        scores, xy = read_heat_map(each.path)
        given[slide_id] = SlideAttention(path=each.path, weights=softmax(scores), xy=xy)
    return attention_of_slides(cohort, read.figures, given, None if features is None else features.patches)
