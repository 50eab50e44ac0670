"""Files of features that are of one slice or slide each: which file is of which, and what is refused of them."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from milstore.errors import DataError
from milstore.formats.feature_reading import (
    FormatOf,
    SliceIndex,
    read_index,
)
from milstore.ingest.feature_import import (
    Job,
    read_patch_names,
)
from milstore.ingest.file_discovery import Found
from milstore.plugins import format_name
from milstore.store.names import clip, named, natural_key
from milstore.store.slides import Slide, Slides
from milstore.workers import Crew


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceFile:
    """A file of features, whose slice is known."""

    file: str
    """Below the root."""
    path: Path
    format: str
    case_id: str
    stain: str
    slice_name: str
    slide: Slide | None
    """None where the name was read by the pattern."""
    index: SliceIndex

    @property
    def key(self) -> tuple[str, str, str]:
        """Case, stain and name of its slice."""
        return self.case_id, self.stain, self.slice_name

    @property
    def called(self) -> str:
        """The slide's id, else the file."""
        return self.file if self.slide is None else self.slide.slide_id


def files_of_slices(
    job: Job, found: Found, format_of: FormatOf, crew: Crew
) -> tuple[list[SliceFile], list[tuple[str, str]]]:
    """The files with the index of their rows; and those whose slice is unknown, with the reason."""
    slides = Slides(job.plan)
    order = sorted(range(len(found.files)), key=lambda i: natural_key(found.files[i]))
    found = Found(found.root, [found.files[i] for i in order], [found.stems[i] for i in order])
    by_slide = {file: slide for file in found.files if (slide := slides.of_file(file)) is not None}
    rest = [i for i, file in enumerate(found.files) if file not in by_slide]
    named_inside: dict[str, tuple[Slide, SliceIndex]] = {}
    if len(slides) and rest:
        named_inside = _named_inside(job, found, format_of, slides, [found.files[i] for i in rest])
        by_slide |= {file: slide for file, (slide, _) in named_inside.items()}
        rest = [i for i in rest if found.files[i] not in by_slide]
    known: dict[str, tuple[str, str, str]] = {
        file: (slide.case_id, slide.stain, slide.slice_name) for file, slide in by_slide.items()
    }
    unread: list[tuple[str, str]] = []
    if rest or not by_slide:
        left = Found(found.root, [found.files[i] for i in rest], [found.stems[i] for i in rest])
        read = read_patch_names(job, left, whole_slices=True, needed=not by_slide)
        unread = read.unread
        names = (read.table[name].to_pylist() for name in ("case_id", "stain", "slice_name"))
        known |= dict(zip(read.table["file"].to_pylist(), zip(*names, strict=True), strict=True))
    files = [file for file in found.files if file in known]
    companion = "" if job.companion is None else str(job.companion)
    asked = [(str(found.root / file), format_name(format_of, file), job.encoder, companion) for file in files]
    new = [task for task, file in zip(asked, files, strict=True) if file not in named_inside]
    indices = iter(list(crew.mapped(read_index, new)))
    return [
        SliceFile(
            file=file,
            path=Path(path),
            format=name,
            case_id=known[file][0],
            stain=known[file][1],
            slice_name=known[file][2],
            slide=by_slide.get(file),
            index=named_inside[file][1] if file in named_inside else next(indices),
        )
        for file, (path, name, _, _) in zip(files, asked, strict=True)
    ], unread


def _named_inside(
    job: Job, found: Found, format_of: FormatOf, slides: Slides, files: Sequence[str]
) -> dict[str, tuple[Slide, SliceIndex]]:
    """The slides that files name in their contents, where their file names do not. Unreadable files are left out."""
    result = {}
    for file in files:
        with suppress(DataError):
            index = read_index((str(found.root / file), format_name(format_of, file), job.encoder))
            slide = None if index.layout.slide is None else slides.of_file(index.layout.slide)
            if slide is not None:
                result[file] = (slide, index)
    return result


def refuse_twice(files: Sequence[SliceFile]) -> None:
    """Raises DataError if two files are of one slice."""
    first: dict[tuple[str, str, str], SliceFile] = {}
    for file in files:
        other = first.setdefault(file.key, file)
        if other is not file:
            where = f"case {clip(file.case_id)}, {file.stain}, {file.slice_name}"
            raise DataError(
                f"{clip(other.file, 200)} and {clip(file.file, 200)} are both of {where}: remove one, or name a folder that holds one "
                "file of each"
            )


def refuse_split(job: Job, files: Sequence[SliceFile]) -> None:
    """Raises DataError if the store has a slide in several slices: rows of a file cannot be assigned to them."""
    parts: dict[str, list[str]] = {}
    for row in job.plan.table("slices").to_pylist():
        if row["slide_id"] is not None:
            parts.setdefault(row["slide_id"], []).append(row["slice_name"])
    for file in files:
        own = [] if file.slide is None else parts.get(file.slide.slide_id, [])
        if own and own != [file.slice_name]:
            raise DataError(
                f"{clip(file.file, 200)} has the features of a whole slide, and the store has slide {clip(file.called)} in parts "
                f"({named(own, 5)}): take it into a store in which the slide is one slice"
            )


def check_widths(files: Sequence[SliceFile]) -> None:
    """Raises DataError if the files' vectors have different lengths."""
    other = next((file for file in files if file.index.width != files[0].index.width), None)
    if other is not None:
        raise DataError(
            f"{other.path} has vectors of {other.index.width} numbers and {files[0].path} of {files[0].index.width}: "
            "the features of one encoder are of one length"
        )


def check_counts(job: Job, files: Sequence[SliceFile]) -> None:
    """Raises DataError if a file has more rows than its slice has patches, and none may be created."""
    if job.create:
        return
    counts = {
        (row["case_id"], row["stain"], row["slice_name"]): row["n_patches"]
        for row in job.plan.table("slices").to_pylist()
    }
    for file in files:
        known = counts.get(file.key, 0)
        if file.slide is None and file.index.rows > known:
            raise DataError(
                f"{file.path} has {file.index.rows} features and its slice {known} patches in the store: "
                "ingest the patches first, or use --create-patches where there are no images; of slides, say first "
                "which is of whom by milstore ingest slides"
            )
