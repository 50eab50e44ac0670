"""What a check of the store can find."""

from dataclasses import dataclass
from pathlib import Path

DAMAGE = "damage"
"""Something that was stored is not there any more, or is not what was stored."""
LEFTOVER = "leftover"
"""Something that a dead writer left and nothing refers to."""
NOTE = "note"
"""Nothing is lost, but somebody should know."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that a check found."""

    kind: str
    """damage, leftover or note."""
    where: str
    """The file or folder, below the store."""
    what: str
    repair: str
    """What to do about it."""
    remove: Path | None = None
    """For a leftover: what `doctor --repair` removes."""
