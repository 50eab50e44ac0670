"""Checks every promise that the store makes, and says how to repair what is broken.

Read slowly and wholly: every file's hash, every table's rows, every invariant. Nothing is changed by looking.
"""

import os
import shlex
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from milstore.errors import MilstoreError
from milstore.schema.columns import columns, columns_of_version
from milstore.store.attention import (
    check_cases,
    check_known,
    check_predictions,
    checked_attention,
    patches_evaluated,
)
from milstore.store.catalog import is_behind, made_from, wanted_stamp
from milstore.store.cohort import Cohort, fingerprint_of, read_cohort
from milstore.store.cohort_repair import way_to_repair, way_to_repair_pack
from milstore.store.cohort_stains import check_stains
from milstore.store.content_hash import content_hash
from milstore.store.database_lock import PutOff
from milstore.store.feature_reader import OpenPack
from milstore.store.features import is_whole, open_features
from milstore.store.findings import DAMAGE, NOTE, Finding
from milstore.store.given import Given
from milstore.store.integrity import check_references, checked_table
from milstore.store.io import sha256_of
from milstore.store.labels_seen import check_labels
from milstore.store.lease import read_lease, run_id_of
from milstore.store.leftovers import entries, find_leftovers, repair
from milstore.store.names import named
from milstore.store.packs import case_hashes, entries_of, fingerprint_of_packs
from milstore.store.patch_index import PLACE, places
from milstore.store.paths import SETTINGS_FILE, Store, store_option
from milstore.store.placeholder import check_placeholder
from milstore.store.plain import check_plain, plain_bytes, read_object
from milstore.store.prediction_runs import check_predictions_of
from milstore.store.run_reader import (
    FURTHER_FACTS,
    KNOWN,
    LEARNING,
    MODEL_FACTS,
    OWN_HASH,
    PREDICTION,
    RECORDED,
    RUN_FILE,
    TABLES,
    completed,
    run_ids,
    stored_facts,
    strangers,
    with_own_hash,
)
from milstore.store.run_writer import EPOCHS_FILE, RunDraft, epoch_of_line
from milstore.store.strange_files import strange_files

__all__ = ["YOUNG", "check", "repair"]

YOUNG = 3600.0
"""Seconds during which a file without an owner may still be somebody's who is writing."""
_AGAIN_BY = {
    "imported": "milstore ingest run or milstore ingest study-run take it in again",
    RECORDED: "record it again",
    PREDICTION: "milstore predict makes it again",
}
"""How a run comes into the store again, by its kind; any other is trained."""

_LOOKS = 10
"""How often the cohort is looked at again because somebody changes it all the time."""

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
    findings += _strangers(store)
    findings += _drafts(store)
    findings += find_leftovers(store, young)
    findings += _database(store)
    return findings


def _below(store: Store, path: Path) -> str:
    return path.relative_to(store.root).as_posix()


def _damage(store: Store, path: Path, what: str, repair: str) -> Finding:
    return Finding(kind=DAMAGE, where=_below(store, path), what=what, repair=repair)


def _attempt(path: Path, store: Store, repair: str, look: Callable[[], Any]) -> Iterator[Finding]:
    """Damage at a path if looking at it fails in one of the ways in which broken files fail."""
    try:
        look()
    except (MilstoreError, OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        yield _damage(store, path, " ".join(str(error).split())[:300] or type(error).__name__, repair)


def _settled_cohort(store: Store) -> list[Finding]:
    """What is wrong with the cohort. Where somebody changed it while it was looked at, it is looked at again."""
    for _ in range(_LOOKS):
        generation = store.manifest()["generation"]
        try:
            found = list(_cohort(store))
        except (MilstoreError, OSError):
            if store.manifest()["generation"] == generation:
                raise
            continue
        if not found or store.manifest()["generation"] == generation:
            return found
    return list(_cohort(store))


def _settled_run(store: Store, run_id: str) -> list[Finding]:
    """What is wrong with a run. Nothing of one that was deleted while it was looked at."""
    folder = store.run_folder(run_id)
    try:
        found = list(_run(store, run_id))
    except (MilstoreError, OSError):
        if folder.is_dir():
            raise
        return []
    return found if folder.is_dir() else []


def _settings(store: Store) -> Iterator[Finding]:
    way = "repair it by hand, or restore it from a backup"
    yield from _attempt(store.root / SETTINGS_FILE, store, way, lambda: store.settings)


# --- the cohort -------------------------------------------------------------------------------------------------------


def _cohort(store: Store) -> Iterator[Finding]:
    cohort = read_cohort(store)
    wrong = _manifest(cohort.manifest)
    if wrong is not None:
        name, what = wrong
        yield _damage(store, store.manifest_path, what, way_to_repair(store, cohort.manifest, name))
        return
    whole = True
    for name in cohort.names():
        entry = cohort.manifest["tables"][name]
        path = store.root / entry["file"]
        broken = list(_table_file(store, cohort, name, path, entry))
        whole = whole and not broken
        yield from broken
    if not whole:
        return
    for name in sorted(columns("cohort")):
        # A table whose keys have no partner is the one to give again.
        yield from _attempt(
            store.root / cohort.manifest["tables"][name]["file"] if name in cohort.names() else store.manifest_path,
            store,
            way_to_repair(store, cohort.manifest, name),
            partial(check_references, cohort.table, [name], {name}),
        )
    for encoder in cohort.table("encoders")["encoder"].to_pylist():
        yield from _features(store, cohort, encoder)


def _manifest(manifest: dict[str, Any]) -> tuple[str, str] | None:
    """What contradicts itself in the manifest, after the table that is to be given again; None if nothing does."""
    tables = manifest["tables"]
    for name, entry in tables.items():
        if not {"file", "rows", "content", "sha256"} <= entry.keys():
            return name, f"the manifest does not say what table {name} is"
    # The stains are made anew by whatever is given again.
    same = fingerprint_of(tables) == manifest["fingerprint"]
    return None if same else ("stains", "the manifest's fingerprint is not that of its tables")


def _table_file(store: Store, cohort: Cohort, name: str, path: Path, entry: dict[str, Any]) -> Iterator[Finding]:
    way = way_to_repair(store, cohort.manifest, name)
    if not path.is_file():
        yield _damage(store, path, f"the file of table {name} is missing", way)
        return
    if sha256_of(path) != entry["sha256"]:
        yield _damage(store, path, f"the file of table {name} is not what was stored (SHA-256 differs)", way)
        return

    def look() -> None:
        table = checked_table(name, cohort.table(name))
        if table.num_rows != entry["rows"] or content_hash(cohort.stored(name)) != entry["content"]:
            raise ValueError(f"table {name} is not what cohort/manifest.json says")

    yield from _attempt(path, store, way, look)


def _features(store: Store, cohort: Cohort, encoder: str) -> Iterator[Finding]:
    row = next(row for row in cohort.table("encoders").to_pylist() if row["encoder"] == encoder)
    features = open_features(store, cohort, encoder)
    entries = entries_of(row, cohort.table("packs"))

    def look(pack: OpenPack) -> None:
        if not is_whole(pack.folder, pack.patches, pack.fingerprint):
            raise ValueError(f"the features of {encoder} are not what was stored (SHA-256 differs)")
        unknown = pack.patches.join(cohort.table("patches").select(list(PLACE)), list(PLACE), join_type="left anti")
        if unknown.num_rows:
            raise ValueError(f"{unknown.num_rows} features of {encoder} have no patch in the cohort")
        said = {case: parts[pack.number] for case, parts in features.hashes.items() if pack.number in parts}
        if said and said != case_hashes(pack.folder, pack.patches):
            raise ValueError(f"the table pack_cases does not say what pack {pack.number} of {encoder} holds")

    for pack, entry in zip(features.packs, entries, strict=True):
        way = way_to_repair_pack(store, encoder, entry.source)
        yield from _attempt(pack.folder, store, way, partial(look, pack))

    def together() -> None:
        if fingerprint_of_packs(pack.fingerprint for pack in features.packs) != row["fingerprint"]:
            raise ValueError(f"the packs of {encoder} are not those that the store says")
        if len(features.packs) > 1 and places(features.patches).has_doubles():
            raise ValueError(f"a patch has features of {encoder} in two packs")

    yield from _attempt(features.folder, store, way_to_repair_pack(store, encoder, row["source"]), together)


# --- runs -------------------------------------------------------------------------------------------------------------


def _run(store: Store, run_id: str) -> Iterator[Finding]:
    folder = store.run_folder(run_id)
    delete = f"restore it from a backup, or remove the run by milstore runs delete {run_id}{store_option(store)}"
    repair = f"{delete}, and {_AGAIN_BY.get(_kind(store, run_id), 'train that split again')}"
    broken = list(_attempt(folder / RUN_FILE, store, repair, lambda: _facts(store, run_id)))
    if broken:
        yield from broken
        return
    facts = stored_facts(store, run_id)
    broken = [
        _damage(store, folder / name, found, repair)
        for name, entry in facts["files"].items()
        for found in _run_file(folder / name, entry)
    ]
    yield from broken
    for path in sorted(folder.iterdir()):
        if path.name != RUN_FILE and path.name not in facts["files"]:
            yield Finding(
                kind=NOTE,
                where=_below(store, path),
                what="a file that run.json does not name",
                repair=f"remove it by hand: {_by_hand(path)}",
            )
    if not broken:
        yield from _attempt(folder, store, repair, lambda: _invariants(folder, facts))


def _kind(store: Store, run_id: str) -> str:
    """The kind of a run, as far as it says."""
    try:
        return str(completed(stored_facts(store, run_id)).get("kind"))
    except (MilstoreError, TypeError, AttributeError):
        return ""


def _by_hand(path: Path) -> str:
    """The line that removes something from the folder of a finished run, which nobody may write to."""
    folder, name = shlex.quote(str(path.parent)), shlex.quote(str(path))
    return f"chmod u+w {folder} && rm -r {name} && chmod u-w {folder}"


def _facts(store: Store, run_id: str) -> None:
    facts = stored_facts(store, run_id)
    known = columns_of_version("run", facts.get("schema_version", 1))["runs"]
    missing = [name for name in known if name not in facts]
    if missing or facts["run_id"] != run_id:
        raise ValueError(f"run.json is not of this run, or lacks {', '.join(missing) or 'its id'}")
    if set(facts["files"]) < {f"{name}.parquet" for name in TABLES}:
        raise ValueError("run.json does not name every file of a run")
    unknown = set(facts) - {
        *columns("run")["runs"],
        "run_id",
        "files",
        LEARNING,
        *MODEL_FACTS,
        *FURTHER_FACTS,
        OWN_HASH,
    }
    if unknown:
        raise ValueError(f"run.json has an entry that no run has: {named(unknown)}")
    # The first runs say nothing of themselves.
    if facts.get(OWN_HASH, with_own_hash(facts)[OWN_HASH]) != with_own_hash(facts)[OWN_HASH]:
        raise ValueError("run.json is not what was stored (its own SHA-256 differs)")
    for name, entry in facts["files"].items():
        if not {"bytes", "sha256"} <= entry.keys():
            raise ValueError(f"run.json does not say what {name} is")


def _run_file(path: Path, entry: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a file of a run."""
    if not path.is_file():
        yield "the file is missing"
    elif path.stat().st_size != entry["bytes"] or sha256_of(path) != entry["sha256"]:
        yield "the file is not what was stored (SHA-256 differs)"
    elif "rows" in entry and pq.read_metadata(path).num_rows != entry["rows"]:
        yield "the file has another number of rows than run.json says"


def _invariants(folder: Path, facts: dict[str, Any]) -> None:
    """Raise if the tables of a run break what was promised when they were written."""
    tables = {name: pq.read_table(folder / f"{name}.parquet", partitioning=None) for name in TABLES}
    for name in ("epochs", "coverage"):
        checked_table(name, tables[name])
    check_predictions(tables["predictions"], tables["probabilities"])
    known, kind = facts.get(KNOWN), facts.get("attention", "levels")
    attention = checked_attention(tables["attention"], None if known is None else patches_evaluated(tables["coverage"]))
    check_cases(kind, attention, tables["predictions"], tables["coverage"], of_patches=known is not None)
    if known is not None:
        check_known(known, kind, attention)
    if "scores.parquet" in facts["files"]:
        checked_table("scores", pq.read_table(folder / "scores.parquet", partitioning=None))
    ranked = attention.table
    if not ranked.equals(tables["attention"].select(ranked.column_names).cast(ranked.schema)):
        raise ValueError("attention is not sorted by case and rank")
    if facts["files"]["attention.parquet"].get("largest_case", attention.largest_case()) != attention.largest_case():
        raise ValueError("the largest case of attention is not that of run.json")
    if ranked.num_rows and attention.fingerprint() != facts["patches_fingerprint"]:
        raise ValueError("the patches of attention are not those of run.json")


def _strangers(store: Store) -> Iterator[Finding]:
    for name in strangers(store):
        # A writer's leftover is found as such.
        if not (name.startswith(".") and name.endswith(".tmp")):
            yield Finding(
                kind=NOTE,
                where=f"{store.runs.name}/{name}",
                what="no run that milstore made, and read by nothing",
                repair="move it out of runs/, or remove it by hand",
            )


# --- what is unfinished, left over or behind --------------------------------------------------------------------------


def _drafts(store: Store) -> Iterator[Finding]:
    for folder in entries(store.running):
        if folder.name.startswith(".") or not (folder / "draft.json").is_file():
            continue
        run_id = run_id_of(folder)
        if not store.run_folder(run_id).is_dir():
            found = list(_draft(store, folder, run_id))
            # What was finished, taken over or deleted while it was looked at is looked at no more.
            yield from found if folder.is_dir() else ()


def _draft(store: Store, folder: Path, run_id: str) -> Iterator[Finding]:
    """What is to be said of an unfinished run: never that it is left over."""
    where = store_option(store)
    remove = f"remove it by milstore runs delete {run_id}{where}"
    broken = list(
        _attempt(folder / "draft.json", store, f"{remove}, and train that split anew", lambda: _began(folder))
    )
    if broken:
        yield from broken
        return
    yield from _attempt(folder / EPOCHS_FILE, store, f"{remove}, and train that split anew", lambda: _epochs(folder))
    began = _began(folder)
    recorded = began.get("kind") == RECORDED
    if began.get("kind") == PREDICTION:
        yield Finding(
            kind=NOTE,
            where=_below(store, folder),
            what=f"what a command that made prediction {began.get('experiment')} left behind, or is writing",
            repair=f"the same milstore predict command makes it anew, or {remove}",
        )
        return
    if recorded:
        draft = RunDraft(store, run_id, began, folder)
        yield from _attempt(folder, store, f"{remove}, and record it anew", lambda: Given(draft).check())
    yield from _attempt(
        folder / "checkpoint.pt", store, f"{remove}, and train that split anew", lambda: _checkpoint(folder)
    )
    lease, error = read_lease(folder), began.get("error")
    if lease is not None and not lease.is_stale():
        return
    what = f"an unfinished run that nobody {'records' if recorded else 'trains'} at the moment"
    if error:
        what = f"failed: {error}"
    elif lease is not None:
        what = f"interrupted: {lease.owner} has not been heard of since {lease.heartbeat_text}"
    go_on = f"continue it with milstore train --resume {run_id}{where}, or {remove}"
    if recorded:
        go_on = f"record(…) of the same experiment, split and seed goes on with it, or {remove}"
    elif "config_version" not in _began(folder) and "config" in _began(folder):
        # Of 0.1, whose checkpoints do not go on here.
        go_on = f"train its split anew by --fresh, and {remove}"
    yield Finding(kind=NOTE, where=_below(store, folder), what=what, repair=go_on)


def _began(folder: Path) -> dict[str, Any]:
    """The facts that an unfinished run began with. ValueError if they are none."""
    return read_object(folder / "draft.json", folder.parents[1])


def _checkpoint(folder: Path) -> None:
    path = folder / "checkpoint.pt"
    if os.path.lexists(path):
        check_plain(path, folder.parents[1])
        try:
            with zipfile.ZipFile(path) as archive:
                wrong = archive.testzip()
        except zipfile.BadZipFile as error:
            raise ValueError(f"the checkpoint is damaged: {error}") from error
        if wrong is not None:
            raise ValueError("the checkpoint is damaged: a checksum in it does not fit")


def _epochs(folder: Path) -> None:
    path = folder / EPOCHS_FILE
    for line in plain_bytes(path, folder.parents[1]).decode().splitlines() if os.path.lexists(path) else []:
        epoch_of_line(line)


def _database(store: Store) -> Iterator[Finding]:
    name, where = store.database.name, store_option(store)
    # A command looks no further than the stamp beside the cohort.
    refreshed = f"milstore info{where} refreshes it, or says why it cannot"
    again = refreshed if is_behind(store) else f"remove cohort/catalog.json, and milstore info{where} makes it anew"
    try:
        stamp = made_from(store)
    except PutOff as reason:
        yield Finding(kind=NOTE, where=name, what=f"it {reason}", repair="look again once that is over")
        return
    if stamp is None:
        if store.database.exists():
            # Whatever is in it is not touched: it may be somebody's own.
            what, again = "it is damaged, or not milstore's", f"move it away, and milstore info{where} makes it anew"
        else:
            what, again = "it is missing", f"milstore info{where} makes it"
        yield Finding(kind=NOTE, where=name, what=what, repair=again)
    elif stamp != wanted_stamp(store) or is_behind(store):
        yield Finding(kind=NOTE, where=name, what="it is behind the store", repair=again)
