"""The store: a folder of Parquet files that is the truth, and DuckDB as the lens on it."""

from typing import TYPE_CHECKING, Any

from milstore.store.paths import Store, create_store, open_store

if TYPE_CHECKING:
    from milstore.store.settings import Settings

__all__ = ["Settings", "Store", "create_store", "open_store"]


def __getattr__(name: str) -> Any:
    # Few commands read the settings, and reading TOML costs an import.
    if name == "Settings":
        from milstore.store.settings import Settings

        return Settings
    raise AttributeError(name)
