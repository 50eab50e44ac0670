"""Checks every promise that the store makes, and says how to repair what is broken.

Read slowly and wholly: every file's hash, every table's rows, every invariant. Nothing is changed by looking.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress

import pyarrow as pa

from milstore.errors import MilstoreError
from milstore.store.catalog import is_behind, made_from, wanted_stamp
from milstore.store.cohort import read_cohort
from milstore.store.cohort_check import check_cohort
from milstore.store.cohort_stains import check_stains
from milstore.store.damage import attempt
from milstore.store.database_lock import PutOff
from milstore.store.draft_check import check_drafts
from milstore.store.findings import NOTE, Finding
from milstore.store.labels_seen import check_labels
from milstore.store.leftovers import find_leftovers, repair
from milstore.store.paths import SETTINGS_FILE, Store, store_option
from milstore.store.placeholder import check_placeholder
from milstore.store.prediction_runs import check_predictions_of
from milstore.store.run_check import check_run, check_strangers
from milstore.store.run_reader import run_ids
from milstore.store.strange_files import strange_files

__all__ = ["YOUNG", "check", "repair"]

YOUNG = 3600.0
"""Seconds: a file without an owner that is younger may still belong to a process that is writing it."""

_LOOKS = 10
"""How often the check of the cohort is repeated, at most, if it keeps changing."""

Report = Callable[[str], None]


def check(store: Store, *, young: float = YOUNG, tell: Report = lambda _: None) -> list[Finding]:
    """Everything that is wrong with a store.

    Args:
        store: the store.
        young: seconds; what has no owner but was changed within them is taken for somebody's work in progress.
        tell: called with what is being looked at.
    """
    findings = [*strange_files(store), *_settings(store), *_settled_cohort(store)]
    for run_id in run_ids(store):
        tell(f"run {run_id}")
        findings += _settled_run(store, run_id)
    with suppress(MilstoreError, KeyError, TypeError, ValueError, pa.ArrowException):
        # Tables that cannot be read were found above.
        cohort = read_cohort(store)
        findings += check_labels(store, cohort)
        findings += check_stains(store, cohort.table("stains"), cohort.table("slices"))
    with suppress(MilstoreError, KeyError, TypeError, ValueError):
        # So were runs.
        findings += check_predictions_of(store)
    findings += check_placeholder(store)
    findings += check_strangers(store)
    findings += check_drafts(store)
    findings += find_leftovers(store, young)
    findings += _database(store)
    return findings


def _settled_cohort(store: Store) -> list[Finding]:
    """What is wrong with the cohort. If another process changes it during the check, the check is repeated."""
    for _ in range(_LOOKS):
        generation = store.manifest()["generation"]
        try:
            found = list(check_cohort(store))
        except (MilstoreError, OSError):
            if store.manifest()["generation"] == generation:
                raise
            continue
        if not found or store.manifest()["generation"] == generation:
            return found
    return list(check_cohort(store))


def _settled_run(store: Store, run_id: str) -> list[Finding]:
    """What is wrong with a run; nothing if it was deleted during the check."""
    folder = store.run_folder(run_id)
    try:
        found = list(check_run(store, run_id))
    except (MilstoreError, OSError):
        if folder.is_dir():
            raise
        return []
    return found if folder.is_dir() else []


def _settings(store: Store) -> Iterator[Finding]:
    way = "repair it by hand, or restore it from a backup"
    yield from attempt(store.root / SETTINGS_FILE, store, way, lambda: store.settings)


def _database(store: Store) -> Iterator[Finding]:
    name, where = store.database.name, store_option(store)
    # A command looks no further than the stamp beside the cohort.
    refreshed = f"milstore info{where} refreshes it, or says why it cannot"
    again = refreshed if is_behind(store) else f"remove cohort/catalog.json, and milstore info{where} creates it again"
    try:
        stamp = made_from(store)
    except PutOff as reason:
        yield Finding(kind=NOTE, where=name, what=f"it {reason}", repair="look again once that is over")
        return
    if stamp is None:
        if store.database.exists():
            # Whatever is in it is not touched: it may be somebody's own.
            what, again = "it is damaged, or not milstore's", f"move it away, and milstore info{where} creates it again"
        else:
            what, again = "it is missing", f"milstore info{where} creates it"
        yield Finding(kind=NOTE, where=name, what=what, repair=again)
    elif stamp != wanted_stamp(store) or is_behind(store):
        yield Finding(kind=NOTE, where=name, what="it is behind the store", repair=again)
