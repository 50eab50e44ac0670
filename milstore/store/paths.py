"""A store is a folder: where everything in it lies, and how it is opened."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milstore.errors import StoreError
from milstore.schema import SCHEMA_VERSION
from milstore.store.plain import NotPlain, read_object, refuse_unless_plain

if TYPE_CHECKING:
    from milstore.store.settings import Settings

SETTINGS_FILE = "milstore.toml"
"""What the group sets for its store."""
RUN_FOLDER = "run_id="
"""What the name of a finished run's folder begins with; its id follows."""
VECTORS, ROWS, PACK = "vectors.npy", "rows.parquet", "pack.json"
"""The files of a pack of features: its matrix, the patches of its rows, and what it says of itself."""
SHARDS = ".shards"
"""What the names of folders end with, beside the features, in which an encoding keeps slices until all are there."""
NO_RUN = "_none"
"""Name of the run folder without rows that lets views over all runs work before the first run. No run can be called so."""


@dataclass(frozen=True)
class Store:
    """An opened store. It holds no connection, no lock and no data: each question reads what is there then."""

    root: Path
    """Absolute path of the folder, links resolved."""
    verify: bool = field(default=True, compare=False)
    """Whether files are compared with what was stored when they are read first."""

    @property
    def settings(self) -> "Settings":
        """The group's settings, as milstore.toml says them now."""
        from milstore.store.settings import read_settings

        refuse_unless_plain(self.root / SETTINGS_FILE, self.root)
        return read_settings(self.root / SETTINGS_FILE)

    @property
    def manifest_path(self) -> Path:
        """Names the files of the cohort's current generation; replacing it is the commit."""
        return self.root / "cohort" / "manifest.json"

    @property
    def runs(self) -> Path:
        """Folder of the finished runs."""
        return self.root / "runs"

    @property
    def derived(self) -> Path:
        """Folder of what was computed of finished runs later; it need not exist."""
        return self.root / "derived"

    @property
    def running(self) -> Path:
        """Folder of the runs that are in training or interrupted."""
        return self.root / "running"

    @property
    def database(self) -> Path:
        """The DuckDB file for shells, notebooks and other tools."""
        return self.root / "milstore.duckdb"

    @property
    def queries(self) -> Path:
        """Folder of the group's own questions; it need not exist."""
        return self.root / "queries"

    def run_folder(self, run_id: str) -> Path:
        """Folder of a finished run."""
        return self.runs / f"{RUN_FOLDER}{run_id}"

    def derived_folder(self, run_id: str) -> Path:
        """Folder of what was computed of a finished run later; it need not exist."""
        return self.derived / f"{RUN_FOLDER}{run_id}"

    def manifest(self) -> dict[str, Any]:
        """The cohort's current generation: version, fingerprint, and the file of each table."""
        try:
            manifest: dict[str, Any] = read_object(self.manifest_path, self.root)
            version = int(manifest["version"])
            named = [manifest["fingerprint"], *(entry["file"] for entry in manifest["tables"].values())]
            if not all(isinstance(text, str) for text in named):
                raise ValueError("it names no files")
            outside = [text for text in named[1:] if ".." in Path(text).parts or Path(text).is_absolute()]
            if outside:
                raise ValueError(f"it names {outside[0]!r}, which is not in the store")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            why = f"it lacks {error}" if isinstance(error, KeyError) else error
            first = "remove it, and " if isinstance(error, NotPlain) else ""
            raise StoreError(f"{self.manifest_path} cannot be read ({why}): {first}restore it from a backup") from error
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"the store at {self.root} has version {version}, this milstore knows {SCHEMA_VERSION}: upgrade milstore"
            )
        return manifest


def real_path(path: str | Path) -> Path:
    """An absolute path, links resolved. Links that lead to themselves stay, and are then no file."""
    # Not Path.resolve, which some Pythons let end such a path in an error of their own.
    return Path(os.path.realpath(path))


def default_root() -> Path:
    """The folder that commands use when none is named: MILSTORE_STORE, else ./data."""
    return Path(os.environ.get("MILSTORE_STORE") or "data")


def store_option(store: Store) -> str:
    """The option that a command needs to find the store, with a space before it; nothing if it finds it by itself."""
    if store.root == real_path(default_root()):
        return ""
    import shlex

    return f" --store {shlex.quote(str(store.root))}"


def store_at(path: str | Path, *, verify: bool = True) -> tuple[Store, bool]:
    """The store that may lie in a folder, and whether it does. StoreError if no store can lie there."""
    if "\0" in str(path):
        raise StoreError("a path holds no character 0: name the store by another")
    store = Store(real_path(path), verify)
    root = str(store.root)
    if "\\" in root:
        raise StoreError(
            f"no store can lie at {root}: DuckDB reads nothing below a folder with a backslash in its name; "
            "rename that folder"
        )
    try:
        root.encode()
    except UnicodeEncodeError as error:
        shown = root.encode(errors="backslashreplace").decode()
        raise StoreError(f"no store can lie at {shown}: the path is not UTF-8; rename that folder") from error
    try:
        # Whatever stands there: reading it says what is wrong with it.
        return store, store.manifest_path.is_file() or os.path.lexists(store.manifest_path)
    except OSError as error:
        raise StoreError(f"no store can be looked for at {path}: {error.strerror}") from error


def open_store(path: str | Path | None = None, *, verify: bool = True) -> Store:
    """Open the store in a folder (default: MILSTORE_STORE, else ./data), also one of an earlier version.

    Args:
        path: the folder.
        verify: compare files with what was stored when they are read first (see `milstore.store.verified`).

    Raises:
        StoreError: there is none, or it is of a later version than this milstore.
    """
    root = Path(path) if path is not None else default_root()
    store, exists = store_at(root, verify=verify)
    if not exists:
        raise StoreError(
            f"there is no store at {root}: make one with milstore init or milstore demo, or name it by --store"
        )
    store.manifest()
    return store
