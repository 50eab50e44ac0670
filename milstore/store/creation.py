"""How a store is made: its folders, its settings, and what views need before there is a run."""

from pathlib import Path

from milstore.errors import StoreError
from milstore.store.cohort_edit import begin_cohort
from milstore.store.io import write_text
from milstore.store.paths import SETTINGS_FILE, Store, open_store, store_at
from milstore.store.placeholder import make_placeholder
from milstore.store.settings import Settings, settings_text


def create_store(path: str | Path, settings: Settings | None = None) -> Store:
    """Make an empty store in a folder, which may exist.

    A store that is already there is opened as it is, and completed.

    StoreError if no store can lie at such a path, as below a folder with a backslash in its name.
    """
    store, exists = store_at(path)
    if exists:
        store = open_store(path)
        complete_store(store)
        return store
    try:
        _make_folders(store)
        if settings is not None or not (store.root / SETTINGS_FILE).exists():
            write_text(store.root / SETTINGS_FILE, settings_text(settings or Settings()))
        make_placeholder(store)
        # Last: a folder with a manifest is a store, and one without is begun again by the same call.
        begin_cohort(store)
    except OSError as error:
        raise StoreError(f"no store can be made at {path}: {error.strerror}") from error
    return store


def complete_store(store: Store) -> list[str]:
    """Restore missing folders and files of a store that hold no user data. Returns their paths relative to the store.

    StoreError if the disk refuses.
    """
    try:
        _make_folders(store)
        return [path.relative_to(store.root).as_posix() for path in make_placeholder(store)]
    except PermissionError:
        # Another's store, which is whole as far as this user can tell.
        return []
    except OSError as error:
        raise StoreError(f"the store at {store.root} cannot be completed: {error.strerror or error}") from error


def _make_folders(store: Store) -> None:
    for folder in (store.manifest_path.parent, store.root / "patches", store.root / "features", store.running):
        folder.mkdir(parents=True, exist_ok=True)
