"""Shared by the importers of tools' folders: the experiment's name, configuration, features and splits."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from milstore.errors import DataError, UsageError
from milstore.formats.split_file import Split
from milstore.ingest.drawn_validation import with_drawn_validation
from milstore.ingest.importers import FolderOptions
from milstore.ingest.split_edit import store_splits
from milstore.ingest.splits import VAL_SHARE, labels_of_cohort
from milstore.ingest.tool_splits import FoundSplits, OwnSplits, find_splits
from milstore.store import Store
from milstore.store.case_groups import stored_groups
from milstore.store.cohort import Cohort
from milstore.store.configuration import plain
from milstore.store.features import PackedFeatures, open_features
from milstore.store.names import check_name, clip, named, natural_key

_INNER = ("crossval", "mil", "")
"""Folders that tools make themselves, and whose names say nothing."""
_SEED = 0
"""Of validation subsets that an import draws."""


def experiment_name(tool: str, folder: Path, options: FolderOptions, further: str = "") -> str:
    """Name of the experiment that a folder's runs are: the user's, or the tool's and the folder's."""
    if options.experiment is not None:
        return check_name(options.experiment, "experiment")
    place = folder.absolute()
    while place.name in _INNER and place != place.parent:
        place = place.parent
    own = "" if place.name.lower().startswith(tool) and not further else tool
    words = [word for word in (own, place.name if not further else "", further) if word]
    return check_name(as_name("-".join(words)), "experiment")


def as_name(text: str) -> str:
    """A text as an experiment may be called: a tool's names may have capitals and blanks."""
    return re.sub(r"[^a-z0-9_.-]+", "-", text.lower())[:64].strip("-_.")


T = TypeVar("T")


def chosen_split(of_number: Mapping[int, T], options: FolderOptions, folder: Path) -> dict[int, T]:
    """What a folder has of each split, or of the one that the user names by --split.

    UsageError if that is not there.
    """
    if options.split is None:
        return dict(of_number)
    if options.split not in of_number:
        raise UsageError(f"--split {options.split}: {folder} has the splits {named(sorted(of_number))}")
    return {options.split: of_number[options.split]}


def settings_of(tool: str, options: FolderOptions, own: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The configuration that the runs of a tool's folder share. DataError if a setting cannot be stored."""
    try:
        return {**options.config, "imported": True, "trainer": tool, **plain(dict(own))}
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def features_named(store: Store, cohort: Cohort, options: FolderOptions) -> PackedFeatures | None:
    """The features of the encoder that the user names; None where none is named, or the store has none of it."""
    if options.encoder is None:
        return None
    check_name(options.encoder, "encoder")
    known = {row["encoder"] for row in cohort.table("encoders").to_pylist()}
    return open_features(store, cohort, options.encoder) if options.encoder in known else None


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOut:
    """Splits of a tool that knows no validation subset."""

    path: Path
    """The file that says them, for messages."""
    splits: Mapping[int, Split]
    """train or test of each case, by the number of the split."""


def find_held_out(
    cohort: Cohort,
    tested: Mapping[int, Collection[str]],
    own: HeldOut | None,
    options: FolderOptions,
    *,
    name: str,
    folder: Path,
) -> FoundSplits:
    """The split set of a folder's runs, as `find_splits` finds it; where it is made, validation is drawn from train.

    Args:
        cohort: the store's cohort.
        tested: the cases that each run predicted, by the number of its split.
        own: the splits that lie in the folder, if any.
        options: what the user says.
        name: what the split set is called where it is made.
        folder: of the runs, for messages.

    Raises:
        DataError: cases of the splits are unknown, or a run predicted what its split does not hold out.
        UsageError: none fits, or several do.
    """
    drawn = None
    if own is not None:
        _check_known(own, cohort)
        groups = stored_groups(cohort.table("case_groups"))
        labels = labels_of_cohort(cohort)
        drawn = with_drawn_validation(own.splits, labels, groups, seed=_SEED, val_share=VAL_SHARE)
    given = None
    if own is not None and drawn is not None:
        source = f"{own.path.name}; validation {VAL_SHARE:g} of train, drawn by seed {_SEED}"
        given = OwnSplits(path=own.path, splits=own.splits, name=name, ingest=_storing(drawn.splits, source))
    found = find_splits(cohort, tested, given, options.split_set, folder)
    if found.own is not None and drawn is not None:
        how = f"no validation subset there: {VAL_SHARE:g} of train, drawn by seed {_SEED}"
        found = replace(found, splits=drawn.splits, why=(*found.why, how, *drawn.told))
    for number, cases in tested.items():
        _check_held_out(folder, number, cases, found.subset_of(number))
    return found


def _storing(splits: Mapping[int, Split], source: str) -> Callable[[Store, str], object]:
    return lambda store, name: store_splits(store, name, splits, source)


def _check_known(own: HeldOut, cohort: Cohort) -> None:
    known = set(cohort.table("cases")["case_id"].to_pylist())
    unknown = sorted({case for split in own.splits.values() for case in split} - known, key=natural_key)
    if unknown:
        raise DataError(
            f"{own.path} names {len(unknown)} cases that the store does not know ({named(map(clip, unknown))}): ingest their "
            "labels or slides first"
        )


def _check_held_out(folder: Path, number: int, cases: Collection[str], split: Split) -> None:
    other = sorted((case for case in cases if split.get(case) != "test"), key=natural_key)
    if other:
        words = named(f"{clip(case)}: {split.get(case, 'in none')}" for case in other)
        raise DataError(
            f"{folder}: the run of split {number} predicted cases that the split does not hold out ({words}): it was made on "
            "another split"
        )
