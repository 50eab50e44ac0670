"""The report of an encoding."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spent:
    """Where the time went."""

    patches: int = 0
    """Patches that were computed."""
    loading: float = 0.0
    """Seconds until the network was there."""
    network: float = 0.0
    """Seconds in the network."""
    waiting: float = 0.0
    """Seconds in which the network waited for pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodeReport:
    """What `encode_patches` or `encode_by_folder` did."""

    changed: bool
    encoder: str
    n_features: int
    patches: int
    """Patches that have a vector now."""
    without_image: int
    """Patches that the store knows without an image, left out."""
    seconds: float
    """Time it took; 0 where there was nothing to do."""
    baseline: str = ""
    """What the encoder measures if it is no match for a trained network."""
    spent: Spent | None = None
    """Where the time of an encoder's folder went."""
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report, as lines of text."""
        computed = self.patches if self.spent is None else self.spent.patches
        now = f", {computed} of them now," if computed != self.patches else ""
        speed = f"{now} in {self.seconds:.1f} s, {computed / self.seconds:,.0f} a second" if self.seconds else ""
        lines = [f"{self.encoder}: {self.n_features} features of {self.patches} patches{speed}"]
        if self.baseline:
            lines.append(f"{self.encoder} is a baseline ({self.baseline}): a deep encoder sees far more")
        if self.without_image:
            lines.append(f"left out: {self.without_image} patches that have no image")
        return [*lines, *self.notes, *([] if self.changed else ["nothing changed"])]
