"""Puts off milstore.duckdb: to create it again after every change is half the time of a test that changes a small store.

Tests of that file are marked `database`: for these it is made as ever. So it is for all where MILSTORE_WHOLE is set, as
`make torture` does. Elsewhere a store is what it is while somebody else holds the file, or is killed before the refresh:
whole, its milstore.duckdb behind; and the doctor, who would say so, does not look at it.
"""

from milstore.store import Store, catalog, doctor
from milstore.store.findings import Finding

_replace, _findings = catalog._replace, doctor._database


def put_off(wanted: bool) -> None:
    """From now on, milstore.duckdb is put off, or made as ever."""
    catalog._replace = _later if wanted else _replace
    doctor._database = _not_looked_at if wanted else _findings


def is_put_off() -> bool:
    """Whether it is."""
    return catalog._replace is _later


def bring_up_to_date(store: Store) -> None:
    """Make milstore.duckdb if it is behind, whatever is put off."""
    now = catalog._replace
    catalog._replace = _replace
    try:
        catalog.refresh(store)
    finally:
        catalog._replace = now


def _later(_: Store) -> list[str]:
    return []


def _not_looked_at(_: Store) -> list[Finding]:
    return []
