"""Opens the store of a command, and makes up for a postponed refresh of milstore.duckdb."""

from pathlib import Path

from milstore.cli.output import say
from milstore.store.paths import Store, open_store


def open_current(path: Path | None, *, verify: bool = True) -> Store:
    """The store, its milstore.duckdb brought up to date if it was behind and can be. StoreError if there is none.

    `verify` is that of `open_store`.
    """
    from milstore.store.catalog import is_behind, refresh

    store = open_store(path, verify=verify)
    if is_behind(store):
        for note in refresh(store):
            say(f"note: {note}")
    return store
