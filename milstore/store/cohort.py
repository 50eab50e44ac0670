"""The cohort for readers: the tables of one generation.

Each table is one Parquet file named by its content, and `cohort/manifest.json` names the files of the current generation.
A reader that holds an older manifest still finds the generation before. How it changes is in `cohort_edit`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from milstore.processors import SMALL_TABLE
from milstore.schema.arrow import empty
from milstore.schema.columns import known_tables
from milstore.store.cohort_repair import (
    damage_of,
)
from milstore.store.earlier import as_now
from milstore.store.patch_index import PLACE
from milstore.store.paths import Store
from milstore.store.plain import check_plain, unreadable
from milstore.store.verified import expected_of, verify


@dataclass(frozen=True)
class Cohort:
    """One generation of the cohort. It does not change while others ingest."""

    store: Store
    manifest: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the content of every table."""
        return str(self.manifest["fingerprint"])

    @cached_property
    def _read(self) -> dict[str, pa.Table]:
        return {}

    def table(self, name: str) -> pa.Table:
        """A table of this generation, sorted by its key; without rows if nothing was ingested.

        It has the columns of now, whatever version of the schema wrote its file.
        """
        if name not in self._read:
            known = name in known_tables()
            if name not in self.manifest["tables"]:
                self._read[name] = empty(name)
            else:
                self._read[name] = as_now(name, self.stored(name)) if known else self.stored(name)
        return self._read[name]

    def places(self) -> pa.Table:
        """case_id, stain, slice_idx and patch_idx of every patch: faster to read than the whole table.

        Texts are dictionaries.
        """
        if "patches" not in self.manifest["tables"]:
            return self.table("patches").select(list(PLACE))
        return self._file("patches", PLACE)

    def damage(self, name: str) -> str:
        """What is wrong with a table's file, compared byte by byte once; empty if it is what was stored."""
        if name not in self._damage:
            entry = self.manifest["tables"].get(name)
            self._damage[name] = "" if entry is None else damage_of(self.store, entry)
        return self._damage[name]

    @cached_property
    def _damage(self) -> dict[str, str]:
        return {}

    def stored(self, name: str) -> pa.Table:
        """A table that has a file, as the file has it. StoreError if it cannot be read, or is not what was stored."""
        return self._file(name)

    def _file(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        entry = self.manifest["tables"][name]
        path = self.store.root / entry["file"]
        verify(self.store, [expected_of(self.store, entry)])
        table = _read_file(self.store.root, path, columns)
        # No table of the schema has columns that hold lists: such a file would fail later, and nobody would know where.
        odd = [field.name for field in table.schema if pa.types.is_nested(field.type)] if name in known_tables() else []
        if odd:
            raise unreadable(path, ValueError(f"its column {odd[0]} holds lists"))
        return table

    def names(self) -> list[str]:
        """The tables that have a file."""
        return sorted(self.manifest["tables"])


def _read_file(root: Path, path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    try:
        check_plain(path, root)
        # Not read_table, which imports pandas.
        with pq.ParquetFile(path, read_dictionary=columns and PLACE[:2]) as file:
            threads = file.metadata.num_rows > SMALL_TABLE
            return file.read(columns=columns and list(columns), use_threads=threads)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise unreadable(path, error) from error


def read_cohort(store: Store) -> Cohort:
    """The cohort as it is now."""
    return Cohort(store, store.manifest())


def fingerprint_of(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """SHA-256 over what the tables of a cohort hold, from their entries in the manifest."""
    return hashlib.sha256(json.dumps({name: entries[name]["content"] for name in sorted(entries)}).encode()).hexdigest()


def select_cases(table: pa.Table, case_ids: list[str]) -> pa.Table:
    """The rows of some cases."""
    return table.filter(pc.is_in(table["case_id"], value_set=pa.array(case_ids, pa.string())))
