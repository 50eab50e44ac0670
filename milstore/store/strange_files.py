"""Finds what is no plain file in a store: pipes, devices, sockets, and links that lead elsewhere."""

import os
from collections.abc import Iterator
from pathlib import Path

from milstore.store.findings import DAMAGE, NOTE, Finding
from milstore.store.paths import Store
from milstore.store.plain import NotPlain, check_plain, is_inside, linked_folders

_FOLDERS = ("cohort", "patches", "features", "runs", "running", "derived", "queries", "logs")
"""Folders in which every file is the store's own. Others, such as images beside it, are the group's."""


def strange_files(store: Store) -> Iterator[Finding]:
    """Damage for each file that no command opens, and a note for each folder that lies elsewhere."""
    elsewhere = linked_folders(store.root)
    for name, place in elsewhere.items():
        what = f"a link to {place}: the store is there only while that folder is"
        yield Finding(kind=NOTE, where=name, what=what, repair="nothing is broken: back that folder up, too")
    at_top = [path for path in sorted(store.root.iterdir()) if path.is_symlink() or not path.is_dir()]
    inside = (path for name in _FOLDERS for path in _below(store.root / name))
    for path in (*at_top, *inside):
        where = path.relative_to(store.root).as_posix()
        # What stands in the place of milstore.duckdb is told with it.
        if where in elsewhere or path == store.database:
            continue
        # A file among the runs is no run, which is told with what else is none.
        if path.parent == store.runs and not path.is_dir():
            continue
        if path.is_dir():
            if is_inside(path, store.root):
                continue
            what = f"it leads out of the store, to {os.path.realpath(path)}"
        else:
            try:
                check_plain(path, store.root)
                continue
            except NotPlain as error:
                what = str(error)
            except OSError as error:
                # A link to nothing; what was removed a moment ago is no matter.
                if not path.is_symlink():
                    continue
                what = f"a link to nothing ({error.strerror})"
        yield Finding(
            kind=DAMAGE,
            where=where,
            what=f"{what}, and no command opens it",
            repair="remove it; then milstore doctor says how to put back what belongs there",
        )


def _below(folder: Path) -> Iterator[Path]:
    """What lies in a folder, no link being followed but that of the folder itself."""
    for place, folders, names in os.walk(folder):
        for name in sorted([*names, *(each for each in folders if (Path(place) / each).is_symlink())]):
            yield Path(place) / name
