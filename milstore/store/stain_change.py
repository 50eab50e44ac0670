"""How the stains in milstore.toml differ from those in the store."""

from collections.abc import Sequence
from dataclasses import dataclass

from milstore.errors import MilstoreError
from milstore.store.names import named
from milstore.store.paths import SETTINGS_FILE, Store


@dataclass(frozen=True, slots=True)
class StainChange:
    """What the next write changes."""

    added: tuple[str, ...]
    """Stains that the settings name and the store lacks."""
    gone: tuple[str, ...]
    """Stains of the store that the settings do not name any more."""
    reordered: bool
    """Whether those that stay have another order."""

    def lines(self) -> list[str]:
        """The change as text, after it was made."""
        lines = []
        if self.added:
            lines.append(f"stains: {named(self.added)} added, from {SETTINGS_FILE}")
        if self.gone:
            lines.append(f"stains: {named(self.gone)} taken away, which {SETTINGS_FILE} does not name any more")
        if self.reordered:
            lines.append(f"stains: in the order of {SETTINGS_FILE} now")
        return lines


def stain_change(before: Sequence[str], after: Sequence[str]) -> StainChange:
    """What differs between two lists of stains, each in its order."""
    staying = [stain for stain in before if stain in after]
    return StainChange(
        added=tuple(stain for stain in after if stain not in before),
        gone=tuple(stain for stain in before if stain not in after),
        reordered=staying != [stain for stain in after if stain in before],
    )


def pending(store: Store, known: Sequence[str]) -> str:
    """What the next write will change of the stains that a store has, in a few words; nothing if they are the same."""
    try:
        change = stain_change(known, list(store.settings.stains))
    except MilstoreError as error:
        return str(error)
    told = [
        *([f"add {named(change.added)}"] if change.added else []),
        *([f"take {named(change.gone)} away"] if change.gone else []),
        *(["reorder them"] if change.reordered else []),
    ]
    return f"the next ingest will {', '.join(told)}: {SETTINGS_FILE}" if told else ""
