"""`milstore init`."""

from milstore.cli.options import StoreOption
from milstore.cli.output import say
from milstore.store.paths import SETTINGS_FILE, default_root


def command(store: StoreOption = None) -> None:
    """Make an empty store."""
    from milstore.store import create_store

    root = store or default_root()
    existed = (root / "cohort" / "manifest.json").is_file()
    made = create_store(root)
    say(f"the store at {made.root} is there already" if existed else f"made an empty store at {made.root}")
    say(f"its stains, and how file names are read: {made.root / SETTINGS_FILE}")
    say("next: milstore ingest patches FOLDER --dry-run, and milstore ingest labels FILE")
