"""`milstore init`."""

from milstore.cli.options import StoreOption
from milstore.cli.output import say
from milstore.store.paths import SETTINGS_FILE, default_root


def command(store: StoreOption = None) -> None:
    """Make an empty store.

    In a store that is there already, the folders and empty files that views need are put back where they are missing or
    damaged; nothing else changes.
    """
    from milstore.store import create_store
    from milstore.store.creation import complete_store
    from milstore.store.paths import open_store

    root = store or default_root()
    existed = (root / "cohort" / "manifest.json").is_file()
    for name in complete_store(open_store(root)) if existed else ():
        say(f"put back {name}")
    made = create_store(root)
    say(f"the store at {made.root} is there already" if existed else f"made an empty store at {made.root}")
    say(f"its stains, and how file names are read: {made.root / SETTINGS_FILE}")
    say("next: milstore ingest patches FOLDER --dry-run, and milstore ingest labels FILE")
