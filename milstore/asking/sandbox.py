"""The sandbox in which questions run: no file but the store's, bounded memory, settings that cannot be changed.

It is the first of four: `checking` decides by lists what may run at all, `walled` runs it in a thread that has given up
writing (`wall`), and `limit` ends it.
"""

import duckdb

from milstore.asking.limits import MEMORY
from milstore.store.paths import Store
from milstore.store.plain import linked_folders
from milstore.store.sql_text import literal, path_literal

MEMORY_LIMIT = f"{MEMORY}GB"


def lock_down(con: duckdb.DuckDBPyConnection, store: Store) -> None:
    """Forbid a connection everything but reading the store. This cannot be undone."""
    # Folders of the store that lie elsewhere are named as DuckDB finds them, their links followed.
    folders = [f"{place}/" for place in (str(store.root), *linked_folders(store.root).values())]
    allowed = ", ".join(quoted for folder in folders for quoted in (literal(folder), path_literal(folder)))
    con.execute(
        f"""
        set allowed_directories = [{allowed}];
        set autoinstall_known_extensions = false;
        set autoload_known_extensions = false;
        set python_enable_replacements = false;
        set memory_limit = {literal(MEMORY_LIMIT)};
        set max_temp_directory_size = '0KB';
        set enable_external_access = false;
        set lock_configuration = true;
        """
    )
