"""The report of tiling slides, as text and as a contact sheet to check by eye."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milstore.errors import StoreError
from milstore.ingest.tile_files import Cut, last_overview
from milstore.pixels.slide_cache import folder_of
from milstore.pixels.slide_pictures import OnSheet, contact_sheet
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.io import write_text
from milstore.store.names import clip, counted, named, natural_key
from milstore.store.slides import Slides

SHOWN = 5
"""Slides that a line of the report names, at most."""
INK = 0.01
"""Square millimetres of ink that are worth a word."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TilesReport:
    """What `tile_slides` did."""

    changed: bool
    grid: str
    slides: int
    """Slides that were cut, now or before."""
    cut: int
    """Those that were cut now."""
    patches: int
    new: int
    slices: int
    tissue: float
    """Square millimetres of tissue."""
    failed: Mapping[str, str]
    """What is wrong with each slide that was not cut."""
    empty: tuple[str, ...]
    """Slides without a patch."""
    kept: int
    """Patches of these slides and this grid that the store had, and that these settings do not give."""
    removed: int
    pictures: Path
    sheet: Path
    images: Path | None
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report, as lines of text."""
        lines = [
            f"{counted(self.slides, 'slide')}: {counted(self.patches, 'patch', 'patches')} ({self.grid}) on "
            f"{self.tissue:.4g} mm² of tissue in {counted(self.slices, 'slice')}, {self.new} of them new"
        ]
        if self.cut < self.slides:
            lines.append(f"cut before with the same settings: {counted(self.slides - self.cut, 'slide')}")
        if self.empty:
            lines.append(
                f"no patch on {counted(len(self.empty), 'slide')} ({named(self.empty, SHOWN)}): no tissue was found there"
            )
        if self.kept:
            lines.append(
                f"kept: {counted(self.kept, 'patch', 'patches')} of these slides that these settings do not give (--replace "
                "removes them)"
            )
        if self.removed:
            lines.append(
                f"removed: {counted(self.removed, 'patch', 'patches')} of these slides that these settings do not give"
            )
        lines += self.notes
        lines += [f"left out: {clip(slide)}: {problem}" for slide, problem in list(self.failed.items())[:20]]
        if len(self.failed) > 20:
            lines.append(f"left out: {len(self.failed) - 20} more slides")
        if self.images is not None:
            lines.append(f"images: {self.images}")
        lines.append(f"to check by eye: {self.sheet}")
        return [*lines, *([] if self.changed else ["nothing changed"])]


def write_sheet(
    store: Store,
    folder: Path,
    cuts: Mapping[str, Cut],
    drawn: Mapping[str, Path | None],
    failed: Mapping[str, str],
    counts: Mapping[str, int],
) -> Path:
    """The contact sheet of every slide of the store that was cut, by case and slide."""
    known = Slides(read_cohort(store))

    def order(slide_id: str) -> Any:
        return natural_key(known[slide_id].case_id), natural_key(slide_id)

    on_sheet = []
    for slide_id in sorted(known, key=order):
        picture = drawn.get(slide_id) or last_overview(folder / folder_of(store, slide_id).name)
        if slide_id in failed or picture is None:
            continue
        words = [f"case {known[slide_id].case_id}, {known[slide_id].stain}"]
        words.append(counted(counts.get(slide_id, 0), "patch", "patches"))
        if slide_id in cuts:
            facts = cuts[slide_id].facts
            words[1] += f", {facts['tissue']:.3g} mm² of tissue"
            words[1] += f", {facts['ink']:.2g} mm² of ink" if facts["ink"] >= INK else ""
        on_sheet.append(OnSheet(slide_id=slide_id, picture=picture.read_bytes(), words=words))
    on_sheet += [OnSheet(slide_id=slide_id, picture=None, words=[problem]) for slide_id, problem in failed.items()]
    sheet = folder / "contact-sheet.html"
    try:
        write_text(
            sheet,
            contact_sheet(on_sheet, "Slides and their patches", "Green: tissue. Red: ink of pens. Blue: patches."),
        )
    except OSError as error:
        raise StoreError(f"{sheet} cannot be written ({error.strerror or error})") from error
    return sheet
