"""Migration of a store of schema 1: fills the tables of packs and of its runs' data, which it lacked."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from milstore.errors import StoreError
from milstore.schema.arrow import arrow_schema, empty
from milstore.store.fingerprints import data_fingerprint
from milstore.store.packs import case_hashes, entries_of, read_places, rows_of_cases, tables_with
from milstore.store.patch_index import hash_places
from milstore.store.paths import VECTORS, Store
from milstore.store.run_reader import run_ids, stored_facts


def tables_of_version_1(store: Store, fingerprint: str, tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """The tables `packs`, `pack_cases` and `earlier_runs` of a store of schema 1. Its features are read, once.

    Args:
        store: the store.
        fingerprint: of its cohort.
        tables: those that can be read, with the columns of now.
    """
    packs, pack_cases = empty("packs"), empty("pack_cases")
    hashes: dict[str, dict[str, str]] = {}
    for row in tables.get("encoders", empty("encoders")).to_pylist():
        (entry,) = entries_of(row, packs)
        found, counts = _verified(store.root / entry.folder, entry.fingerprint)
        hashes[row["encoder"]] = found
        packs, pack_cases = tables_with(packs, pack_cases, row["encoder"], [entry], {1: found}, {1: counts})
    made = {"packs": packs, "pack_cases": pack_cases}
    if {"classes", "cases", "splits", "encoders"} <= tables.keys():
        made["earlier_runs"] = _earlier_runs(store, fingerprint, tables, hashes)
    return made


def _verified(folder: Path, fingerprint: str) -> tuple[dict[str, str], dict[str, int]]:
    """The hash and the patches of each case of a pack; nothing of one that is not what was stored."""
    try:
        patches = read_places(folder)
        digest = hashlib.sha256()
        hash_places(digest, patches)
        with (folder / VECTORS).open("rb") as stream:
            if hashlib.file_digest(stream, lambda: digest).hexdigest() != fingerprint:
                return {}, {}
        counts = {case_id: end - first for case_id, (first, end) in rows_of_cases(patches).items()}
        return case_hashes(folder, patches), counts
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return {}, {}


def _earlier_runs(
    store: Store, fingerprint: str, tables: Mapping[str, pa.Table], hashes: Mapping[str, Mapping[str, str]]
) -> pa.Table:
    """The runs that saw the cohort and the features that the store has: what they were trained on need not be trained again."""
    encoders = {row["encoder"]: row["fingerprint"] for row in tables["encoders"].to_pylist()}
    known: dict[tuple[str, str, int], str] = {}
    rows = []
    for run_id in run_ids(store):
        try:
            facts: dict[str, Any] = stored_facts(store, run_id)
            place = (facts["encoder"], facts["split_set"], facts["split"])
            same = (facts["cohort_fingerprint"], facts["features_fingerprint"]) == (fingerprint, encoders.get(place[0]))
        except (StoreError, KeyError, TypeError):
            # Damaged, which doctor says.
            continue
        if not same or "schema_version" in facts or not hashes[place[0]]:
            continue
        if place not in known:
            known[place] = data_fingerprint(
                tables["classes"], tables["cases"], tables["splits"], hashes[place[0]].get, place[1], place[2]
            )
        rows.append({"run_id": run_id, "data_fingerprint": known[place]})
    return pa.Table.from_pylist(rows, arrow_schema("earlier_runs"))
