"""The store: a folder of Parquet files that is the truth, and DuckDB as the lens on it."""

from milstore.store.folder import Store, create_store, open_store
from milstore.store.settings import Settings

__all__ = ["Settings", "Store", "create_store", "open_store"]
