"""The sandbox in which questions run: no file but the store's, bounded memory, settings that cannot be changed.

It is the first of four: `checking` decides by lists what may run at all, `walled` runs it in a thread that has given up
writing (`wall`), and `limit` ends it.
"""

import duckdb

from milstore.store.paths import Store
from milstore.store.views import literal, path_literal

MEMORY_LIMIT = "8GB"


def lock_down(con: duckdb.DuckDBPyConnection, store: Store) -> None:
    """Take from a connection of the lens everything but reading the store. It cannot be given back."""
    con.execute(
        f"""
        set allowed_directories = [{literal(f"{store.root}/")}, {path_literal(f"{store.root}/")}];
        set autoinstall_known_extensions = false;
        set autoload_known_extensions = false;
        set python_enable_replacements = false;
        set memory_limit = {literal(MEMORY_LIMIT)};
        set max_temp_directory_size = '0KB';
        set enable_external_access = false;
        set lock_configuration = true;
        """
    )
