"""The store for SQLAlchemy, and so for `pandas.read_sql`."""

from typing import Any

import duckdb
from sqlalchemy import Engine, create_engine, event

from milstore.store.paths import Store
from milstore.store.views import view_statements


def make_engine(store: Store) -> Engine:
    """An engine whose connections see every table of the schema, and take no lock.

    Each connection is in memory: what somebody writes on it is gone when it is closed.
    """
    engine = create_engine("duckdb:///:memory:")

    @event.listens_for(engine, "connect")
    def _views(connection: Any, _record: Any) -> None:
        connection.execute(view_statements(duckdb.connect(), store))

    return engine
