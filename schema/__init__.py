"""The tables of a store, defined once: names, types, keys and comments.

Everything that knows a column's name or type (DDL, Parquet files, views, `docs/schema.md`, checks) is derived from
`milstore.schema.tables`. Importing this package is cheap; SQLAlchemy is only imported by the modules that need it.
"""

if __name__ != "milstore.schema":
    raise ImportError(
        "import milstore.schema: the folder at the root is the same package, and importing it twice would double every table"
    )

SCHEMA_VERSION = 2
"""Version of the store's layout and tables. A store with a higher one is refused."""
CONFIG_VERSION = 2
"""Version of the rule by which a configuration is hashed. By 1, that of milstore 0.1, the split set was part of it."""
