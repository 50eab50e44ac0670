"""The store: a folder of Parquet files that holds all data, queried through DuckDB views."""

from typing import TYPE_CHECKING, Any

from milstore.store.paths import Store, open_store

if TYPE_CHECKING:
    from milstore.store.creation import create_store
    from milstore.store.settings import Settings

__all__ = ["Settings", "Store", "create_store", "open_store"]


def __getattr__(name: str) -> Any:
    # Few commands make a store or read its settings, and both cost imports.
    if name == "create_store":
        from milstore.store.creation import create_store

        return create_store
    if name == "Settings":
        from milstore.store.settings import Settings

        return Settings
    raise AttributeError(name)
