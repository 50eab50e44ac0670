"""milstore.duckdb: the file through which shells, notebooks and other tools see the store.

What an earlier file holds may be anybody's, and nothing in it is run. So the file is built aside, from the Parquet files
and the schema alone; people's own tables are carried over as data; their views and macros are written down as SQL. The
new file takes the place of the old one while the old one's lock is held. Where somebody else holds it, the refresh is
put off; the next command that can does it.
"""

import errno
import os
import shutil
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from milstore.schema import SCHEMA_VERSION
from milstore.store.paths import Store
from milstore.store.plain import read_json, refuse_unless_plain

LAYOUT = 7
"""Which kind of file this milstore makes: counted up where the views change, so that older files are made again."""
_STAMP = ("fingerprint", "version", "layout")


def wanted_stamp(store: Store) -> dict[str, Any]:
    """The stamp of a database that is up to date: what it is built from."""
    return {"fingerprint": store.manifest()["fingerprint"], "version": SCHEMA_VERSION, "layout": LAYOUT}


def is_behind(store: Store) -> bool:
    """Whether the database was made from another cohort, or by another schema."""
    try:
        stamp = read_json(_stamp_path(store), store.root)
    except (OSError, ValueError):
        return True
    return bool(stamp != wanted_stamp(store)) or not store.database.is_file()


def _stamp_path(store: Store) -> Path:
    return store.manifest_path.parent / "catalog.json"


def made_from(store: Store) -> dict[str, Any] | None:
    """The stamp in the database, of what it was built from; None if there is no database, or it is not milstore's.

    Raises:
        PutOff: it cannot be read now.
    """
    import duckdb

    from milstore.store.database_lock import hold
    from milstore.store.foreign_database import attached, first_row
    from milstore.store.shell_views import STAMP_TABLE

    if not os.path.lexists(store.database):
        return None
    try:
        with hold(store.database, exclusive=False), attached(store.database) as con:
            return first_row(con, STAMP_TABLE, list(_STAMP))
    except (duckdb.Error, OSError):
        return None


def refresh(store: Store, again: Collection[str] = ()) -> list[str]:
    """Refresh milstore.duckdb if it is out of date and no other process holds it. Returns messages for the user.

    Where tables are to be copied `again`, it is made again even if it is not behind: the copy may be of a damaged file.
    """
    if not (again or is_behind(store)) or not _may_write(store):
        return []
    import duckdb

    from milstore.store.database_lock import PASSING, PutOff
    from milstore.store.locks import is_refusal

    try:
        with _alone(store):
            # Somebody else may have done it in the meantime.
            return _replace(store) if again or is_behind(store) else []
    except PutOff as reason:
        later = ": it will be brought up to date by a later command" if str(reason) in PASSING else ""
        return [f"{store.database.name} {reason}{later}"]
    except (duckdb.Error, OSError) as error:
        if isinstance(error, OSError) and is_refusal(error):
            # Nobody can use the file on such a disk, DuckDB least of all. Whoever changes the store is told of it.
            return []
        if getattr(error, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error):
            return [f"{store.database} could not be brought up to date: the disk is full; a later command does it"]
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        return [
            f"{store.database} could not be brought up to date ({what}): run milstore doctor; "
            "where the file itself is damaged, move it away and it is made again"
        ]


def _may_write(store: Store) -> bool:
    """Whether this user may refresh it. A user with read access alone gets no message about it."""
    wanted = {store.root: os.W_OK, _lock_path(store): os.W_OK, store.database: os.R_OK | os.W_OK}
    return all(not path.exists() or os.access(path, mode) for path, mode in wanted.items())


def _lock_path(store: Store) -> Path:
    """The lock that is held while the cohort is changed."""
    return store.manifest_path.parent / ".lock"


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Within this block no other process refreshes or changes the cohort. Raises PutOff while one does."""
    from filelock import FileLock, Timeout

    from milstore.store.database_lock import WAITING, PutOff

    refuse_unless_plain(_lock_path(store), store.root)
    lock = FileLock(_lock_path(store), mode=0o664)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise PutOff(WAITING) from error
    try:
        yield
    finally:
        lock.release()


def _replace(store: Store) -> list[str]:
    from milstore.store.database_lock import PutOff
    from milstore.store.io import temporary_sibling, write_json

    if "?" in str(store.database):
        raise PutOff(
            "cannot be made below a folder with a question mark in its name, which ends a path for DuckDB: "
            "rename the folder"
        )
    _sweep(store)
    stamp = wanted_stamp(store)
    folder = temporary_sibling(store.database)
    folder.mkdir()
    try:
        notes = _put_new(store, folder / "new.duckdb", stamp)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    write_json(_stamp_path(store), stamp)
    return notes


def _sweep(store: Store) -> None:
    """Remove the files of killed refreshes. The lock is held, so no other refresh is running."""
    for leftover in store.root.glob(f".{store.database.name}.*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)


def _put_new(store: Store, new: Path, stamp: dict[str, Any]) -> list[str]:
    """Build the file at `new`, then replace the current one with it. Returns messages for the user."""
    from milstore.store.catalog_build import build
    from milstore.store.database_lock import REPLACED, PutOff, check_no_log, hold
    from milstore.store.foreign_database import attached
    from milstore.store.own_objects import check_names, keep_own

    if not os.path.lexists(store.database):
        check_no_log(store.database)
        build(store, new, stamp)
        if os.path.lexists(store.database):
            raise PutOff(REPLACED)
        _rename(store, new, None)
        return []
    with hold(store.database) as held:
        before = store.database.stat()
        if not before.st_size:
            build(store, new, stamp)
            held.check()
            _rename(store, new, before)
            return []
        # First what may be in the way, for building takes time.
        with attached(store.database) as con:
            check_names(con, store)
        held.take()
        build(store, new, stamp)
        # The old file stays attached until the new one is in its place: to close it would end its lock.
        with attached(store.database, new) as con:
            held.take()
            notes = keep_own(con, store, new.parent)
            held.check()
            _rename(store, new, before)
            return notes


def _rename(store: Store, new: Path, before: os.stat_result | None) -> None:
    """Replace the old file with the new one, which is complete and on the disk, keeping mode and group."""
    from milstore.store.io import sync_file, sync_folder

    if before is None:
        # Where a folder is a group's, so is the file: only who may write it can refresh it.
        new.chmod(stat.S_IMODE(new.stat().st_mode) | stat.S_IMODE(store.root.stat().st_mode) & 0o060)
    else:
        with suppress(PermissionError):
            os.chown(new, -1, before.st_gid)
        new.chmod(stat.S_IMODE(before.st_mode) & 0o777)
    sync_file(new)
    new.replace(store.database)
    sync_folder(store.root)
