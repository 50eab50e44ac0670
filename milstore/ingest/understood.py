"""What was understood of other tools' files, for the user to check."""

from dataclasses import dataclass

from milstore.store.names import counted


@dataclass(frozen=True, kw_only=True, slots=True)
class Understood:
    """What was understood of a folder of features, before any was read."""

    tool: str
    n_slides: int
    of_slides: bool
    """Whether these are slides, and not slices."""
    n_cases: int
    n_patches: int
    width: int
    size: str
    """Of what size the patches are, in words; nothing where that is unknown."""
    uncertain: tuple[str, ...]

    def lines(self) -> list[str]:
        """Two lines of text: what it is, and what was uncertain."""
        what = counted(self.n_slides, "slide" if self.of_slides else "slice")
        patches = counted(self.n_patches, "patch", "patches")
        line = (
            f"{self.tool}: {what} of {counted(self.n_cases, 'case')}, {patches}{self.size}, {self.width} numbers each"
        )
        return [line, *([f"not certain: {'; '.join(self.uncertain)}"] if self.uncertain else [])]
