"""Cohort tables whose file is damaged: what to tell the user, and what can be rebuilt.

Nothing is taken over from a file that fails its check. What other, whole tables tell is taken from them; the rest comes from what is
ingested, and what that does not give is lost and said to be.
"""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from milstore.errors import ConflictError, StoreError
from milstore.schema.arrow import empty
from milstore.store.content_hash import content_hash, with_case_order
from milstore.store.io import sha256_of
from milstore.store.names import counted, named, natural_key
from milstore.store.patch_index import PLACE
from milstore.store.paths import Store, store_option
from milstore.store.plain import check_plain
from milstore.store.run_reader import run_ids

TOGETHER: Mapping[str, tuple[str, ...]] = {"slices": ("patches",), "patches": ("slices",), "split_sets": ("splits",)}
"""Tables that are lost with others: a patch has its slice's number, whose name another table has."""
_UNKNOWN = "unknown"


class Edit(Protocol):
    """The part of `CohortEdit` that is used here."""

    @property
    def base(self) -> Any:
        """The cohort as it was."""

    def table(self, name: str) -> pa.Table:
        """A table with the changes made so far."""


def damage_of(store: Store, entry: Mapping[str, Any]) -> str:
    """What is wrong with the file of a table, given its entry in the manifest; nothing if it is what was stored."""
    path = store.root / entry["file"]
    try:
        check_plain(path, store.root)
        if sha256_of(path) != entry["sha256"]:
            return "is not what was stored (SHA-256 differs)"
        if pq.read_metadata(path).num_rows != entry["rows"]:
            return "has another number of rows than cohort/manifest.json says"
    except FileNotFoundError:
        return "is missing"
    except (OSError, KeyError, pa.ArrowException) as error:
        return f"cannot be read ({' '.join(str(error).split())})"
    return ""


def way_to_repair(store: Store, manifest: Mapping[str, Any], name: str) -> str:
    """The command that repairs a table, as a line to type."""
    tables, where = manifest["tables"], store_option(store)
    labels = f"milstore ingest labels FILE --replace{where}"
    patches = f"milstore ingest patches FOLDER --replace{where}"
    if "patches" in tables and not tables.get("patch_roots", {}).get("rows", 0):
        # They came with features, from names or from a table of bags with its --bag-column and the like.
        patches = f"milstore ingest features PATH --encoder NAME --create-patches --replace{where}"
    splits = f"milstore ingest splits FILE --replace{where}, or milstore splits make --replace{where}"
    features = f"milstore encode --replace{where}, or milstore ingest features PATH --encoder NAME --replace{where}"
    ways = {
        "classes": labels,
        "cases": labels if tables.get("classes", {}).get("rows", 0) else patches,
        "stains": f"{labels}, or any other ingest with --replace",
        "slides": f"milstore ingest slides FILE --replace{where}",
        **dict.fromkeys(("slices", "patches", "patch_roots"), patches),
        "patch_regions": f"milstore ingest regions FILES --replace{where}",
        **dict.fromkeys(("splits", "split_sets"), splits),
        **dict.fromkeys(("encoders", "packs", "pack_cases"), features),
    }
    return f"restore it from a backup{f', or give it again: {ways[name]}' if name in ways else ''}"


def way_to_repair_pack(store: Store, encoder: str, source: str) -> str:
    """The command that repairs the features of an encoder; `source` is where they came from."""
    computed = source.startswith("milstore encode")
    # What is recorded of an encoder beside its name stands in brackets.
    way = (
        f"{source.partition(' (')[0]} --replace"
        if computed
        else f"milstore ingest features {shlex.quote(source)} --encoder {encoder} --replace"
    )
    return f"restore it from a backup, or {'compute' if computed else 'give'} it again: {way}{store_option(store)}"


# --- what is made in a table's place ----------------------------------------------------------------------------------


def salvaged(edit: Edit, name: str) -> pa.Table:
    """What intact tables tell of a lost one; without rows if nothing.

    A case that another table names is a case without a label; a split set has the splits that are there.
    """
    makers: dict[str, Callable[[Edit], pa.Table]] = {
        "stains": lambda edit: stains_table(edit.base.store),
        "classes": _classes,
        "cases": _cases,
        "slides": _slides,
        "split_sets": _split_sets,
    }
    return makers[name](edit) if name in makers else empty(name)


def stains_table(store: Store) -> pa.Table:
    """The stains of a store's settings."""
    stains = list(store.settings.stains)
    return pa.table({"stain": stains, "stain_order": pa.array(range(len(stains)), pa.int32())})


def _whole(edit: Edit, name: str) -> pa.Table | None:
    return None if edit.base.damage(name) else edit.base.table(name)


def _classes(edit: Edit) -> pa.Table:
    """The classes that cases have, if their numbers have no gap."""
    cases = _whole(edit, "cases")
    rows = [] if cases is None else cases.select(["label", "class_name"]).to_pylist()
    found = {row["label"]: row["class_name"] for row in rows if row["label"] is not None}
    if sorted(found) != list(range(len(found))):
        raise StoreError(
            "cohort/classes fails its check, and no case tells of class "
            f"{min(set(range(max(found))) - set(found))}: restore it from a backup"
        )
    return pa.Table.from_pylist(
        [{"label": label, "class_name": found[label]} for label in sorted(found)], empty("classes").schema
    )


def _cases(edit: Edit) -> pa.Table:
    found: set[str] = set()
    for name in ("slices", "patches", "splits"):
        table = _whole(edit, name)
        if table is not None:
            found.update(pc.unique(table["case_id"]).to_pylist())
    ids = pa.array(sorted(found), pa.string())
    nothing = {
        name: pa.nulls(len(ids), kind)
        for name, kind in (("label", pa.int32()), ("class_name", pa.string()), ("source_label", pa.string()))
    }
    return with_case_order(pa.table({"case_id": ids, **nothing}))


def _slides(edit: Edit) -> pa.Table:
    """The slides that slices lie on, as far as these tell; of a slide in parts, the name of the slice is not known."""
    slices = _whole(edit, "slices")
    rows = [] if slices is None else [row for row in slices.to_pylist() if row["slide_id"] is not None]
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["slide_id"], []).append(row)
    known = [
        {
            "slide_id": slide_id,
            "case_id": own[0]["case_id"],
            "stain": own[0]["stain"],
            "slice_name": own[0]["slice_name"] if len(own) == 1 and own[0]["slice_name"] != slide_id else None,
        }
        for slide_id, own in found.items()
    ]
    return pa.Table.from_pylist(known, empty("slides").schema)


def _split_sets(edit: Edit) -> pa.Table:
    splits = _whole(edit, "splits")
    if splits is None:
        return empty("split_sets")
    counts = splits.group_by("split_set").aggregate([("split", "count_distinct")])
    return pa.table(
        {
            "split_set": counts["split_set"],
            "n_splits": pc.cast(counts["split_count_distinct"], pa.int32()),
            "source": [_UNKNOWN] * counts.num_rows,
        }
    )


def refuse_renumbering(edit: Edit) -> None:
    """Raises ConflictError if runs refer to classes whose numbers cannot be recovered from intact files."""
    entry = edit.base.manifest["tables"]["classes"]
    if not edit.base.damage("cases") or content_hash(edit.table("classes")) == entry["content"]:
        return
    if runs := len(run_ids(edit.base.store)):
        raise ConflictError(
            f"{entry['file']} {edit.base.damage('classes')}, {counted(runs, 'run')} speak of the classes in it, and "
            "these are not the same: give every label, with --map in the order that it had, or restore it from a backup"
        )


def speak_of_others(store: Store, patches: pa.Table) -> list[str]:
    """The finished runs that refer to patches missing from this table. Unreadable runs are not counted."""
    known = patches.select(list(PLACE))
    found = []
    for run_id in run_ids(store):
        try:
            path = store.run_folder(run_id) / "attention.parquet"
            check_plain(path, store.root)
            with pq.ParquetFile(path) as file:
                looked = file.read(columns=list(PLACE))
        except (OSError, KeyError, pa.ArrowException):
            continue
        if looked.cast(known.schema).join(known, list(PLACE), join_type="left anti").num_rows:
            found.append(run_id)
    return found


# --- what is said -----------------------------------------------------------------------------------------------------


def told_of(edit: Edit, name: str, entry: Mapping[str, Any], *, same: bool) -> list[str]:
    """Messages for the user about a table that was rebuilt, given its former entry in the manifest.

    `same` is whether it holds again what it held.
    """
    store: Store = edit.base.store
    damage = edit.base.damage(name).replace("is ", "was ", 1) or "was lost with another table"
    what = f"{entry['file']} {damage}"
    if same:
        return [f"repaired: {what}; it holds again what it held"]
    line = f"rebuilt: {what}, and nothing was taken over from it"
    lost = _lost(store, edit, name, entry)
    return [f"{line}; {lost}" if lost else line]


def _lost(store: Store, edit: Edit, name: str, entry: Mapping[str, Any]) -> str:
    table = edit.table(name)
    if name == "cases":
        bare = sorted(table.filter(pc.is_null(table["label"]))["case_id"].to_pylist(), key=natural_key)
        fewer = entry["rows"] - table.num_rows
        gone = f"{counted(fewer, 'case')} that nothing else names are gone; " if fewer > 0 else ""
        return (
            f"{gone}without a label now: {counted(len(bare), 'case')} ({named(bare)}), whose labels are to be ingested again"
            if bare
            else gone + "the labels are those of this file alone"
        )
    if name in ("splits", "split_sets"):
        known = _whole(edit, "split_sets")
        kept = set(edit.table("split_sets")["split_set"].to_pylist())
        gone = "what else there was" if known is None else named(sorted(set(known["split_set"].to_pylist()) - kept))
        if name == "splits":
            return f"gone, and to be ingested or drawn again: {gone}" if gone else ""
        return "of other split sets it is not known where they came from"
    if name == "encoders":
        kept = set(table["encoder"].to_pylist())
        others = sorted(path.name for path in _folders(store.root / "features") if path.name not in kept)
        return f"gone, and to be ingested or encoded again: the features of {named(others)}" if others else ""
    if name in ("slices", "patches"):
        return f"it had {counted(entry['rows'], 'row')} and has {table.num_rows}, and what only it held, such as coordinates, is to be given again"
    return ""


def _folders(path: Path) -> list[Path]:
    found = path.iterdir() if path.is_dir() else iter(())
    return [folder for folder in found if folder.is_dir() and not folder.name.startswith(".")]
