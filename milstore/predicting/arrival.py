"""Ingests new cases for a prediction: from the store, files of features, slides and tables of labels, all by `milstore.ingest`.

Whatever is given is looked at before anything of it is stored: labels, features and cases that may not be predicted.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from milstore.errors import ConflictError, UsageError
from milstore.ingest.features import FeaturesReport, ingest_features
from milstore.ingest.labels import ingest_labels
from milstore.predicting.slide_encoding import slide_encoding_of
from milstore.predicting.slides import take_slides, without_features
from milstore.predicting.slides_given import SlidesGiven
from milstore.predicting.sources import Sources, refuse_trained_on
from milstore.progress import Progress, silent
from milstore.store.case_ids import asked_cases
from milstore.store.cohort import read_cohort
from milstore.store.features import PackedFeatures, open_features
from milstore.store.names import counted, named, natural_key, nearest
from milstore.store.paths import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """A table of an external cohort: a case and its label a row."""

    file: Path
    case_column: str | None = None
    label_column: str | None = None
    label_map: Mapping[str, str] | None = None
    missing: Sequence[str] | None = None
    """As for `ingest_labels`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """The cases that are to be predicted."""

    cases: tuple[str, ...] = ()
    """Cases that the store has, with features."""
    features: Path | None = None
    """Features of new cases: files as `ingest_features` takes them."""
    slides: SlidesGiven | None = None
    """Whole slides of new cases, and the encoder of the models."""
    labels: Labels | None = None
    """An external cohort. Its cases are predicted too, as far as they have features."""
    format: str | None = None
    """Format of the features; found by the content if left out."""
    jobs: int | None = None
    """Processes that read files."""

    @property
    def is_empty(self) -> bool:
        """Whether no case is given."""
        return not self.cases and self.features is None and self.slides is None and self.labels is None


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """The cases to predict, after their ingest."""

    cases: tuple[str, ...] = ()
    """The cases to be predicted, in natural order; all have features."""
    notes: tuple[str, ...] = field(default=())


class _OnlyLooked(Exception):  # noqa: N818 - a turn of the work, not a fault
    """Raised to stop after labels were read and checked, before they are stored."""


def take_in(
    store: Store,
    given: Given,
    sources: Sources,
    packed: PackedFeatures,
    *,
    also_trained_on: bool = False,
    progress: Progress = silent,
) -> Arrival:
    """Ingest what is new, and return the cases to predict.

    Args:
        store: the store.
        given: the cases.
        sources: the models that are to be asked.
        packed: the features of their encoder, as the store has them.
        also_trained_on: whether cases that models were trained on are wanted.
        progress: is told how far it is.

    Raises:
        UsageError: there is no such case, or models were trained on one.
        ConflictError: a case has no features, or other features or labels in the store.
        DataError: a file cannot be read.
    """

    def heed(cases: Iterable[str]) -> None:
        if not also_trained_on:
            refuse_trained_on(sources, cases)

    asked = _asked(store, given.cases, packed)
    heed(asked)
    of_labels = _looked_at(store, given.labels) if given.labels is not None else []
    heed(of_labels)
    encoding = None if given.slides is None else slide_encoding_of(read_cohort(store), sources.encoder, given.slides)
    if given.labels is not None and given.features is None and given.slides is None:
        _refuse_all_without(packed, of_labels, given.labels.file)
    notes: list[str] = []
    of_features: tuple[str, ...] = ()
    if given.features is not None:
        report = _take_features(store, given.features, given, packed, progress, heed)
        of_features = report.cases
        notes += _of_these(report.lines())
    of_slides: list[str] = []
    if given.slides is not None and encoding is not None:
        of_slides, said = take_slides(store, given.slides, encoding, heed, given.jobs, progress)
        notes += said
    if given.labels is not None:
        notes += _take_labels(store, given.labels)
    there = open_features(store, read_cohort(store), sources.encoder).case_rows
    without = [case for case in of_labels if case not in there]
    if without:
        notes.append(
            f"without features of {sources.encoder}, so not predicted: {counted(len(without), 'case')} ({named(without)})"
        )
    notes += without_features(of_slides, there, sources.encoder)
    cases = {*asked, *of_features, *(case for case in (*of_slides, *of_labels) if case in there)}
    return Arrival(cases=tuple(sorted(cases, key=natural_key)), notes=tuple(notes))


def _take_features(
    store: Store,
    folder: Path,
    given: Given,
    packed: PackedFeatures,
    progress: Progress,
    heed: Callable[[list[str]], None],
) -> FeaturesReport:
    try:
        return ingest_features(
            store,
            folder,
            encoder=packed.encoder,
            create_patches=True,
            format=given.format,
            jobs=given.jobs,
            progress=progress,
            heed=heed,
        )
    except ConflictError as error:
        if not str(error).startswith("the store has other features"):
            raise
        raise ConflictError(
            f"{folder} holds no such features as the models know ({packed.encoder}: {packed.n_features} numbers each), or other "
            "ones of patches that the store has: make them by the encoder that the models were trained on"
        ) from error


def _asked(store: Store, cases: Sequence[str], packed: PackedFeatures) -> list[str]:
    """The cases that were asked for by name, as the store has them. Errors as for `take_in`."""
    if not cases:
        return []
    known = read_cohort(store).table("cases")["case_id"].to_pylist()
    found = list(asked_cases(known, cases))
    for case in found:
        if case not in set(known):
            raise UsageError(f"there is no case {case!r}: {nearest(case, known)}")
    if without := [case for case in found if case not in packed.case_rows]:
        slices = read_cohort(store).table("slices")["case_id"].to_pylist()
        what = "patches, and so no features" if without[0] not in set(slices) else "features"
        raise ConflictError(
            f"case {named(without)} has no {what} of {packed.encoder}, which the models ask for: take them in by milstore "
            f"encode or milstore ingest features --encoder {packed.encoder}, or give them here by --features"
        )
    return found


def _looked_at(store: Store, labels: Labels) -> list[str]:
    """The cases of a table of labels, which is read and checked as if it were taken in, and is not."""
    found: list[str] = []

    def look(cases: list[str]) -> None:
        found.extend(cases)
        raise _OnlyLooked

    with suppress(_OnlyLooked):
        _ingest(store, labels, look)
    return sorted(set(found), key=natural_key)


def _take_labels(store: Store, labels: Labels) -> list[str]:
    return _ingest(store, labels, lambda _: None)


def _ingest(store: Store, labels: Labels, heed: Callable[[list[str]], None]) -> list[str]:
    report = ingest_labels(
        store,
        labels.file,
        case_column=labels.case_column,
        label_column=labels.label_column,
        label_map=labels.label_map,
        missing=labels.missing,
        heed=heed,
    )
    return _of_these(report.lines())


def _refuse_all_without(packed: PackedFeatures, cases: Sequence[str], file: Path) -> None:
    if not any(case in packed.case_rows for case in cases):
        raise ConflictError(
            f"no case of {file} has features of {packed.encoder} in the store: give them by --features, or take them in by "
            f"milstore ingest features --encoder {packed.encoder}"
        )


def _of_these(lines: Iterable[str]) -> list[str]:
    """The lines of an ingest's report that matter here."""
    return [line for line in lines if line != "nothing changed"]
