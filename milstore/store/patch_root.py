"""The folder that the patch images lie below. One inside the store moves with it."""

from pathlib import Path

import pyarrow as pa

from milstore.store.cohort import Cohort
from milstore.store.cohort_edit import CohortEdit
from milstore.store.paths import Store


def patch_root(cohort: Cohort) -> Path | None:
    """Absolute path of the patch folder; None if no images were ingested."""
    return _absolute(cohort.store, cohort.table("patch_roots"))


def edited_patch_root(edit: CohortEdit) -> Path | None:
    """The same, with the changes of an edit."""
    return _absolute(edit.base.store, edit.table("patch_roots"))


def put_patch_root(edit: CohortEdit, root: Path) -> None:
    """Record the patch folder: relative to the store if it lies inside, else absolute."""
    store = edit.base.store
    inside = root.is_relative_to(store.root)
    text = root.relative_to(store.root).as_posix() if inside else str(root)
    edit.replace("patch_roots", pa.table({"root": [text]}))


def _absolute(store: Store, table: pa.Table) -> Path | None:
    roots = table["root"].to_pylist()
    # Joining keeps a path that is absolute.
    return store.root / roots[0] if roots else None
