"""What `ingest regions` did, in words."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from milstore.store.names import counted, named, natural_key


@dataclass(kw_only=True, slots=True)
class RegionsReport:
    """What `ingest_regions` did. Names are those of slides and regions."""

    changed: bool = False
    files: int = 0
    slides: set[str] = field(default_factory=set)
    """What the files are about."""
    regions: set[str] = field(default_factory=set)
    patches: int = 0
    """Patches of the slides."""
    inside: int = 0
    """Those that lie in a region."""
    in_several: int = 0
    strangers: tuple[str, ...] = ()
    """Files that are of no slide of the store."""
    without_patches: set[str] = field(default_factory=set)
    without_place: int = 0
    """Patches whose place is not known, or is in pixels of the slice."""
    other_kinds: dict[str, int] = field(default_factory=dict)
    """Detections, tiles and cells that were left out."""
    unclassified: int = 0
    """Objects without a class that were left out."""
    without_area: int = 0
    unclosed: int = 0
    beyond: dict[str, int] = field(default_factory=dict)
    """By slide: objects that reach beyond it."""
    empty: list[str] = field(default_factory=list)
    """Regions that no patch lies in, with their slides."""
    unknown_begin: set[str] = field(default_factory=set)
    """Slides of which nobody says where QuPath begins to count."""
    begun: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By slide: where QuPath begins to count, other than at 0, 0."""
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The report, as lines of text."""
        several = f", {self.in_several} in several" if self.in_several else ""
        lines = [
            f"regions: {counted(self.files, 'file')} of {counted(len(self.slides), 'slide')}, "
            f"{counted(len(self.regions), 'region')}{_listed(self.regions)}",
            f"{self.inside} of {counted(self.patches, 'patch', 'patches')} have their centre in one{several}",
        ]
        if self.begun:
            one = min(self.begun, key=natural_key)
            x, y = self.begun[one]
            lines.append(
                f"read from OpenSlide's bounds, as QuPath counts: {counted(len(self.begun), 'slide')} (such as {one}, {x}, {y})"
            )
        if self.unknown_begin:
            lines.append(
                f"taken as pixels of level 0: {counted(len(self.unknown_begin), 'slide')}{_listed(self.unknown_begin)}, whose file "
                "cannot be opened; if OpenSlide has bounds for it, QuPath counts from these: say --offset X,Y"
            )
        lines += self._left_out()
        return [*lines, *self.notes, *([] if self.changed else ["nothing changed"])]

    def _left_out(self) -> list[str]:
        lines = []
        if self.other_kinds:
            kinds = ", ".join(counted(count, kind) for kind, count in sorted(self.other_kinds.items()))
            lines.append(f"left out: {kinds} (--every-kind takes them as regions too)")
        if self.unclassified:
            lines.append(
                f"left out: {counted(self.unclassified, 'object')} without a class (--unclassified NAME makes them regions of that name)"
            )
        if self.without_area:
            lines.append(
                f"left out: {counted(self.without_area, 'object')} that enclose nothing, such as points and lines"
            )
        if self.unclosed:
            lines.append(f"closed: {counted(self.unclosed, 'outline')} whose last corner is not the first")
        if self.beyond:
            lines.append(
                f"reach beyond the slide: {counted(sum(self.beyond.values()), 'object')} of "
                f"{counted(len(self.beyond), 'slide')}{_listed(self.beyond)}: look whether they are of this slide, at full resolution"
            )
        if self.empty:
            lines.append(f"without a patch inside: {counted(len(self.empty), 'region')}{_listed(self.empty)}")
        if self.without_patches:
            lines.append(
                f"without patches, so without regions: {counted(len(self.without_patches), 'slide')}{_listed(self.without_patches)}"
            )
        if self.without_place:
            lines.append(
                f"in no region: {counted(self.without_place, 'patch', 'patches')} whose place on the slide is not known"
            )
        if self.strangers:
            lines.append(
                f"left out: {counted(len(self.strangers), 'file')} of no slide of the store ({named(self.strangers)}): a file has "
                "the slide's id as its name"
            )
        return lines


def _listed(names: Iterable[str]) -> str:
    texts = sorted(names, key=natural_key)
    return f" ({named(texts)})" if texts else ""
