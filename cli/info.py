"""`milstore info`."""

from milstore.cli.options import StoreOption
from milstore.cli.output import show_table


def command(store: StoreOption = None) -> None:
    """Show what is in the store."""
    from milstore.cli.store_access import open_current
    from milstore.store.summary import contents

    opened = open_current(store)
    show_table(["in the store", ""], contents(opened), title=f"Store {opened.root}")
