"""Changing the cohort: all changed tables are committed together, or none.

Replacing the one file `cohort/manifest.json` is the commit. After it `milstore.duckdb` is brought up to date.
"""

import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock

from milstore.errors import StoreError
from milstore.schema import SCHEMA_VERSION
from milstore.schema.columns import columns, known_tables
from milstore.store.catalog import refresh
from milstore.store.cohort import Cohort, fingerprint_of, read_cohort
from milstore.store.cohort_repair import (
    TOGETHER,
    refuse_renumbering,
    salvaged,
    stains_table,
    told_of,
    way_to_repair,
)
from milstore.store.cohort_stains import follow_settings
from milstore.store.content_hash import content_hash
from milstore.store.integrity import check_references, checked_table
from milstore.store.io import sha256_of, sync_folder, write_json, write_parquet, write_whole
from milstore.store.locks import held, is_refusal
from milstore.store.paths import Store
from milstore.store.placeholder import make_placeholder
from milstore.store.plain import refuse_unless_plain

log = logging.getLogger("milstore")


@dataclass
class CohortEdit:
    """Changes to the cohort that are committed together."""

    base: Cohort
    changed: bool = False
    """After the commit: whether anything differs from before."""
    notes: list[str] = field(default_factory=list)
    """What the user should be told, such as that milstore.duckdb will be refreshed later."""
    rebuilds: frozenset[str] = frozenset()
    """Tables that are made again, from what is ingested, where their files fail their check."""
    repaired: list[str] = field(default_factory=list)
    """What else was put back beside the tables, in words."""
    _new: dict[str, pa.Table] = field(default_factory=dict)
    _salvaged: dict[str, pa.Table] = field(default_factory=dict)

    def table(self, name: str) -> pa.Table:
        """A table with the changes made so far.

        Raises:
            StoreError: its file is not what was stored, and this edit does not create it again.
        """
        if name in self._new:
            return self._new[name]
        if self.is_lost(name):
            if name not in self._salvaged:
                self._salvaged[name] = checked_table(name, salvaged(self, name))
            return self._salvaged[name]
        if damage := self.base.damage(name):
            store, entry = self.base.store, self.base.manifest["tables"][name]
            way = way_to_repair(store, self.base.manifest, name)
            raise StoreError(f"{store.root / entry['file']} {damage}, and nothing was changed: {way}")
        return self.base.table(name)

    def is_lost(self, name: str) -> bool:
        """Whether this edit rebuilds a table, because its file (or that of a table stored with it) is damaged."""
        return self._may_rebuild(name) and any(self.base.damage(each) for each in (name, *TOGETHER.get(name, ())))

    def _may_rebuild(self, name: str) -> bool:
        if name in self.rebuilds:
            return True
        if name == "stains":
            return bool(self.rebuilds)
        # Cases that never had a label are those of the patches.
        labelled = self.base.manifest["tables"].get("classes", {"rows": 0})["rows"]
        return name == "cases" and "slices" in self.rebuilds and not labelled

    def is_unusable(self, name: str) -> bool:
        """Whether a table's file fails its check and this edit cannot create it again."""
        return bool(self.rebuilds) and name not in self._new and not self.is_lost(name) and bool(self.base.damage(name))

    def replace(self, name: str, table: pa.Table) -> None:
        """Replace a table as a whole; columns are matched by name.

        Raises:
            DataError: a column is missing or of another type, a value is null that may not be, or a key stands twice.
        """
        self._new[name] = checked_table(name, table)


@contextlib.contextmanager
def edit_cohort(store: Store, *, rebuild: Collection[str] = ()) -> Iterator[CohortEdit]:
    """Change the cohort: what the block replaces is committed at its end, or nothing is if it raises.

    One edit goes at a time; others wait. Readers and trainers wait for nobody. Tables are read only from files that are what was
    stored; those of `rebuild` are begun again where theirs are not, and the edit's notes say what was lost. The stains become
    those of milstore.toml.

    Raises:
        DataError: at the end of the block, a key has no partner in the table that it refers to; or milstore.toml cannot
            be read.
        ConflictError: milstore.toml does not name a stain any more that has patches.
    """
    with locked_cohort(store) as lock_notes:
        with _whole_or_told(store):
            notes = lock_notes + [f"the store was brought from {step}" for step in _migrate(store)]
        edit = CohortEdit(read_cohort(store), rebuilds=frozenset(rebuild), notes=notes)
        yield edit
        follow_settings(edit)
        with _whole_or_told(store):
            _commit(store, edit)
    edit.notes += refresh(store, again=[name for name in edit._new if edit.base.damage(name)])


@contextlib.contextmanager
def _whole_or_told(store: Store) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"the store at {store.root} cannot be written ({reason}): nothing was changed") from error


@contextlib.contextmanager
def locked_cohort(store: Store) -> Iterator[list[str]]:
    """Within this block no other process changes the cohort. Yields messages for the user.

    Raises StoreError if this user may not write.
    """
    # Group-writable, so that colleagues can take the lock after us.
    path = store.manifest_path.parent / ".lock"
    refuse_unless_plain(path, store.root)
    lock = FileLock(path, mode=0o664)
    try:
        lock.acquire()
    except OSError as error:
        if is_refusal(error):
            with held(held_file(store), wait=True, what="changes it"):
                yield [NO_LOCKS]
            return
        raise StoreError(
            f"the store cannot be changed: {lock.lock_file} cannot be written ({error.strerror})"
        ) from error
    try:
        yield []
    finally:
        lock.release()


NO_LOCKS = (
    "the disk of this store refuses locks: one process at a time can change it or train on it, and milstore.duckdb is not "
    "brought up to date there"
)


def held_file(store: Store) -> Path:
    """The file that serves as the cohort's lock on a disk without locks."""
    return store.manifest_path.parent / ".lock-held"


def begin_cohort(store: Store) -> None:
    """Write the first generation of a new store: its stains."""
    base = Cohort(store, {"version": SCHEMA_VERSION, "generation": 0, "fingerprint": "", "tables": {}})
    edit = CohortEdit(base)
    edit.replace("stains", stains_table(store))
    _commit(store, edit)


def _commit(store: Store, edit: CohortEdit) -> None:
    for name in edit.base.manifest["tables"]:
        if name not in edit._new and edit.is_lost(name):
            edit._new[name] = edit.table(name)
    if edit.is_lost("classes"):
        refuse_renumbering(edit)
    unusable = {name for name in edit.base.manifest["tables"] if edit.is_unusable(name)}
    check_references(edit.table, sorted(columns("cohort")), set(edit._new), unusable)
    old = edit.base.manifest
    entries = dict(old["tables"])
    if edit.rebuilds and fingerprint_of(entries) != old["fingerprint"]:
        # The manifest is not what was written: what its tables hold is reckoned again.
        edit.repaired.append("repaired: cohort/manifest.json did not say what its tables hold")
        for name in set(entries) - set(edit._new) - unusable:
            entries[name] = {**entries[name], "content": content_hash(edit.base.table(name))}
    told: list[str] = []
    for name, table in edit._new.items():
        content = content_hash(table)
        same = name in entries and entries[name]["content"] == content
        if not same or edit.base.damage(name):
            if name in entries and edit.is_lost(name):
                told += told_of(edit, name, entries[name], same=same)
            entries[name] = _stage(store, name, table, content)
            edit.changed = True
    edit.changed = edit.changed or bool(edit.repaired)
    edit.notes += [*told, *edit.repaired]
    for name in sorted(unusable):
        way = way_to_repair(store, old, name)
        edit.notes.append(f"still damaged: {entries[name]['file']} {edit.base.damage(name)}: {way}")
    if edit.changed:
        _put_manifest(store, old, entries)


def _put_manifest(store: Store, old: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]]) -> None:
    manifest = {
        "version": SCHEMA_VERSION,
        "generation": old["generation"] + 1,
        "fingerprint": fingerprint_of(entries),
        "tables": dict(entries),
        # Kept for readers that opened the store a moment ago.
        "previous": sorted({entry["file"] for entry in old["tables"].values()} - {e["file"] for e in entries.values()}),
        # Kept for good: what earlier versions wrote last.
        "earlier": sorted({*old.get("earlier", ()), *_files_of_earlier(old)}),
    }
    write_json(store.manifest_path, manifest)
    log.debug("cohort generation %s", manifest["generation"])
    _remove_outdated(store, manifest)


def _files_of_earlier(old: Mapping[str, Any]) -> set[str]:
    """The files of a manifest of an earlier version; none for one of this version."""
    return {entry["file"] for entry in old["tables"].values()} if old["version"] < SCHEMA_VERSION else set()


def _keep_manifest(store: Store, old: dict[str, Any]) -> None:
    """Keep the last manifest of an earlier version beside the one that takes its place."""
    write_json(store.manifest_path.with_name(f"manifest-version-{old['version']}.json"), old)


def migrate(store: Store) -> list[str]:
    """Migrate a store to this version, as every command that writes does.

    Returns a message if there was anything to do.

    Runs are never rewritten: what reads them knows what each version wrote.
    """
    before = store.manifest()["version"]
    if before == SCHEMA_VERSION:
        return []
    with edit_cohort(store):
        pass
    return [f"version {before} to {SCHEMA_VERSION}"]


def _migrate(store: Store) -> list[str]:
    """Write the cohort's tables as this version has them, the cohort being locked. What was done, in words.

    A table that fails its check stays as it is, to be repaired like any other.
    """
    base = read_cohort(store)
    old = base.manifest
    if old["version"] == SCHEMA_VERSION:
        return []
    from milstore.store.migration import tables_of_version_1

    entries = dict(old["tables"])
    tables = {name: base.table(name) for name in entries if not base.damage(name)}
    tables |= tables_of_version_1(store, base.fingerprint, tables)
    for name, table in tables.items():
        whole = checked_table(name, table) if name in known_tables() else table
        content = content_hash(whole)
        # A file that holds the same has the same name, and is left as it is.
        if name not in entries or entries[name]["content"] != content:
            entries[name] = _stage(store, name, whole, content)
    _keep_manifest(store, old)
    make_placeholder(store)
    _put_manifest(store, old, entries)
    return [f"version {old['version']} to {SCHEMA_VERSION}"]


def _stage(store: Store, name: str, table: pa.Table, content: str) -> dict[str, Any]:
    folder = "patches" if name == "patches" else "cohort"
    path = store.root / folder / f"{name}-{content[:12]}.parquet"
    path.parent.mkdir(exist_ok=True)
    write_whole(path, lambda temporary: write_parquet(table, temporary))
    sync_folder(path.parent)
    return {
        "file": path.relative_to(store.root).as_posix(),
        "rows": table.num_rows,
        "content": content,
        "sha256": sha256_of(path),
    }


def _remove_outdated(store: Store, manifest: dict[str, Any]) -> None:
    wanted = {entry["file"] for entry in manifest["tables"].values()} | {*manifest["previous"], *manifest["earlier"]}
    for folder in ("cohort", "patches"):
        for path in (store.root / folder).glob("*.parquet"):
            if path.relative_to(store.root).as_posix() not in wanted:
                path.unlink(missing_ok=True)
