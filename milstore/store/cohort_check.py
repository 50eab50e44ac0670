"""Checks the cohort: its manifest, its tables and the features of its encoders."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from milstore.schema.columns import columns
from milstore.store.cohort import Cohort, fingerprint_of, read_cohort
from milstore.store.cohort_repair import way_to_repair, way_to_repair_pack
from milstore.store.content_hash import content_hash
from milstore.store.damage import attempt, damage
from milstore.store.feature_reader import OpenPack
from milstore.store.features import is_whole, open_features
from milstore.store.findings import Finding
from milstore.store.integrity import check_references, checked_table
from milstore.store.io import sha256_of
from milstore.store.packs import case_hashes, entries_of, fingerprint_of_packs
from milstore.store.patch_index import PLACE, places
from milstore.store.paths import Store


def check_cohort(store: Store) -> Iterator[Finding]:
    """What is wrong with the cohort: each damaged file and table is a finding of its own."""
    cohort = read_cohort(store)
    wrong = _manifest(cohort.manifest)
    if wrong is not None:
        name, what = wrong
        yield damage(store, store.manifest_path, what, way_to_repair(store, cohort.manifest, name))
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
        yield from attempt(
            store.root / cohort.manifest["tables"][name]["file"] if name in cohort.names() else store.manifest_path,
            store,
            way_to_repair(store, cohort.manifest, name),
            partial(check_references, cohort.table, [name], {name}),
        )
    for encoder in cohort.table("encoders")["encoder"].to_pylist():
        yield from _features(store, cohort, encoder)


def _manifest(manifest: dict[str, Any]) -> tuple[str, str] | None:
    """The table to ingest again and what contradicts itself in the manifest; None if nothing does."""
    tables = manifest["tables"]
    for name, entry in tables.items():
        if not {"file", "rows", "content", "sha256"} <= entry.keys():
            return name, f"the manifest does not say what table {name} is"
    # The stains are made again by whatever is given again.
    same = fingerprint_of(tables) == manifest["fingerprint"]
    return None if same else ("stains", "the manifest's fingerprint is not that of its tables")


def _table_file(store: Store, cohort: Cohort, name: str, path: Path, entry: dict[str, Any]) -> Iterator[Finding]:
    way = way_to_repair(store, cohort.manifest, name)
    if not path.is_file():
        yield damage(store, path, f"the file of table {name} is missing", way)
        return
    if sha256_of(path) != entry["sha256"]:
        yield damage(store, path, f"the file of table {name} is not what was stored (SHA-256 differs)", way)
        return

    def look() -> None:
        table = checked_table(name, cohort.table(name))
        if table.num_rows != entry["rows"] or content_hash(cohort.stored(name)) != entry["content"]:
            raise ValueError(f"table {name} is not what cohort/manifest.json says")

    yield from attempt(path, store, way, look)


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
        yield from attempt(pack.folder, store, way, partial(look, pack))

    def together() -> None:
        if fingerprint_of_packs(pack.fingerprint for pack in features.packs) != row["fingerprint"]:
            raise ValueError(f"the packs of {encoder} are not those that the store says")
        if len(features.packs) > 1 and places(features.patches).has_doubles():
            raise ValueError(f"a patch has features of {encoder} in two packs")

    yield from attempt(features.folder, store, way_to_repair_pack(store, encoder, row["source"]), together)
