"""Keeps the cohort's stains in line with milstore.toml: every write of the cohort updates them from the settings."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import ConflictError, MilstoreError
from milstore.store.cohort_repair import stains_table
from milstore.store.findings import NOTE, Finding
from milstore.store.names import clip, counted
from milstore.store.paths import SETTINGS_FILE, Store
from milstore.store.stain_change import stain_change

_ADVICE = "put it back under [stains]; another name that files use for it goes into its list"


class Edit(Protocol):
    """The part of `CohortEdit` that is used here."""

    notes: list[str]

    @property
    def base(self) -> Any:
        """The cohort as it was."""

    def table(self, name: str) -> pa.Table:
        """A table with the changes made so far."""

    def replace(self, name: str, table: pa.Table) -> None:
        """Put a whole table in the place of the one there is."""

    def is_lost(self, name: str) -> bool:
        """Whether a table is made again by this edit."""


def follow_settings(edit: Edit) -> None:
    """Put the stains of milstore.toml into an edit, with a note where they differ from the store's.

    A table of stains that is damaged is left to the commands that repair it.

    Raises:
        DataError: milstore.toml cannot be read.
        ConflictError: it does not name a stain any more of which the store has patches at the end of the edit.
    """
    if edit.base.damage("stains") and not edit.is_lost("stains"):
        return
    wanted = stains_table(edit.base.store)
    change = stain_change(_in_order(edit.table("stains")), _in_order(wanted))
    if edit.is_lost("stains") or change.gone:
        _refuse_orphans(edit, _in_order(wanted))
    if lines := change.lines():
        edit.replace("stains", wanted)
        edit.notes += lines


def _refuse_orphans(edit: Edit, wanted: list[str]) -> None:
    """Raises ConflictError if there are patches of a stain that the settings no longer name."""
    slices = edit.table("slices")
    orphans = slices.filter(pc.invert(pc.is_in(slices["stain"], value_set=pa.array(wanted, pa.string()))))
    if not orphans.num_rows:
        return
    stain = orphans["stain"][0].as_py()
    own = orphans.filter(pc.equal(orphans["stain"], stain))
    raise ConflictError(
        f"{_not_named(edit.base.store)} the stain {clip(stain)!r}, and the store has "
        f"{counted(pc.sum(own['n_patches']).as_py(), 'patch', 'patches')} of it in "
        f"{counted(pc.count_distinct(own['case_id']).as_py(), 'case')}: {_ADVICE}"
    )


def _not_named(store: Store) -> str:
    path = store.root / SETTINGS_FILE
    return f"{path} does not name" if path.exists() else f"{path} is missing, and the defaults do not name"


def _in_order(stains: pa.Table) -> list[str]:
    rows: list[Mapping[str, Any]] = sorted(stains.to_pylist(), key=lambda row: row["stain_order"])
    return [str(row["stain"]) for row in rows]


def check_stains(store: Store, known: pa.Table, slices: pa.Table) -> Iterator[Finding]:
    """A note for each stain that has patches and that milstore.toml does not name any more; or that it cannot be read."""
    try:
        gone = stain_change(_in_order(known), list(store.settings.stains)).gone
    except MilstoreError as error:
        yield Finding(kind=NOTE, where=SETTINGS_FILE, what=f"cannot be read: {error}", repair="correct it")
        return
    used = set(slices["stain"].to_pylist())
    for stain in gone:
        if stain in used:
            yield Finding(
                kind=NOTE,
                where=SETTINGS_FILE,
                what=f"does not name the stain {clip(stain)!r}, which has patches: nothing can be taken in",
                repair=_ADVICE,
            )
