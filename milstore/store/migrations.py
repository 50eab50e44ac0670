"""Brings a store of an earlier version to this one, a numbered step at a time.

A step from version n rewrites what changed between n and n + 1. It must be safe to repeat: the version in
`cohort/manifest.json` is raised after it, by one atomic replacement, and a step that was killed is done again.
Committed runs are never rewritten: views read them as the version that wrote them did.
"""

from collections.abc import Callable

from milstore.errors import StoreError
from milstore.schema import SCHEMA_VERSION
from milstore.store.cohort import locked_cohort
from milstore.store.io import write_json
from milstore.store.paths import Store

Step = Callable[[Store], None]

STEPS: dict[int, Step] = {}
"""What leads from each version to the next. Version 1 is the first."""


def migrate(store: Store) -> list[str]:
    """Bring a store to this version. Returns a line for each step that was done; none if it is up to date.

    Raises:
        StoreError: a step is missing, so that the store is of no version that was ever released.
    """
    done = []
    with locked_cohort(store):
        while (version := store.manifest()["version"]) < SCHEMA_VERSION:
            if version not in STEPS:
                raise StoreError(f"nothing leads from version {version} of the store at {store.root}: restore a backup")
            STEPS[version](store)
            write_json(store.manifest_path, {**store.manifest(), "version": version + 1})
            done.append(f"version {version} to {version + 1}")
    return done
