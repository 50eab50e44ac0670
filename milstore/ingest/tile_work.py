"""Cutting one slide, in a process of its own: what was cut before with the same settings is not cut again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from milstore.errors import MilstoreError, in_a_line
from milstore.ingest.tile_files import Cut, cut_file, keep, overview_of, read_cut
from milstore.pixels.interface import Pixels
from milstore.pixels.patch_source import PatchPlace, patch_pixels
from milstore.pixels.slide_pictures import jpeg
from milstore.pixels.tiling import TileSettings, tile_slide
from milstore.store.io import write_whole
from milstore.store.names import clip


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A slide to cut."""

    slide_id: str
    path: Path
    mpp: float | None
    """As the store's table says; it goes before what the file says."""
    otherwise: float | None
    """As the user says, for slides of which nothing else does."""
    size: tuple[int | None, int | None]
    """Width and height of level 0, as the store's table says."""
    settings: TileSettings
    folder: Path
    """Of what is kept of it."""
    pictures: Path
    """Of the picture to check it by."""
    write: Path | None
    """Where the patches' images go; None for none."""
    as_jpeg: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """The outcome for one slide."""

    slide_id: str
    cut: Cut | None = None
    picture: Path | None = None
    """The picture to check it by."""
    was_cut: bool = False
    """Whether it was cut now, and not found as it had been cut before."""
    problem: str = ""
    """Why it was not cut."""
    is_usage: bool = False
    """Whether that is no fault of the file."""


def cut_slide(task: Task) -> Outcome:
    """Cut a slide, or find it cut. Whatever is wrong with it is the outcome's problem."""
    try:
        return _cut(task)
    except MilstoreError as error:
        return Outcome(slide_id=task.slide_id, problem=in_a_line(error), is_usage=type(error).__name__ == "UsageError")
    except OSError as error:
        where = clip(str(error.filename or task.path), 300)
        said = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be used ({error.strerror or error})"
        return Outcome(slide_id=task.slide_id, problem=f"{where} {said}: correct the path, or put the slide back")
    except Exception as error:
        return Outcome(
            slide_id=task.slide_id, problem=f"{clip(str(task.path), 300)} cannot be cut ({clip(in_a_line(error), 200)})"
        )


def _cut(task: Task) -> Outcome:
    file = cut_file(task.folder, task.path, task.settings)
    picture = overview_of(task.pictures, file)
    cut = read_cut(file) if picture.is_file() else None
    if cut is not None and cut.facts["mpp"] != (task.mpp or cut.facts["file_mpp"] or task.otherwise):
        # It is now known to be of another resolution.
        cut = None
    was_cut = cut is None
    if cut is None:
        tiled = tile_slide(task.path, task.settings, mpp=task.mpp, otherwise=task.otherwise)
        if problem := _of_another(task, tiled.width, tiled.height):
            return Outcome(slide_id=task.slide_id, problem=problem)
        cut = keep(task.folder, task.pictures, file, tiled)
    elif problem := _of_another(task, cut.facts["width"], cut.facts["height"]):
        return Outcome(slide_id=task.slide_id, problem=problem)
    if task.write is not None:
        _write_images(task, cut)
    return Outcome(slide_id=task.slide_id, cut=cut, picture=picture, was_cut=was_cut)


def _of_another(task: Task, width: int, height: int) -> str:
    """What is wrong if the file has another size than the table says; nothing if it has not."""
    if all(said in (None, real) for said, real in zip(task.size, (width, height), strict=True)):
        return ""
    said = " x ".join("?" if side is None else str(side) for side in task.size)
    return (
        f"{clip(str(task.path), 300)} has {width} x {height} pixels, and the slides table says {said}: it is another slide, or "
        "the table is wrong"
    )


def image_name(task_folder: str, x: int, y: int, *, as_jpeg: bool) -> str:
    """The file of a patch's image below the folder of images: its place on the slide is its name."""
    return f"{task_folder}/x{x}_y{y}.{'jpg' if as_jpeg else 'png'}"


def _write_images(task: Task, cut: Cut) -> None:
    """Write the images that are not there yet."""
    if task.write is None:
        return
    files = [
        task.write / image_name(task.folder.name, x, y, as_jpeg=task.as_jpeg) for x, y in cut.places[:, :2].tolist()
    ]
    todo = [i for i, file in enumerate(files) if not file.is_file()]
    if not todo:
        return
    files[0].parent.mkdir(parents=True, exist_ok=True)
    places = [
        PatchPlace(slide=task.path, x=x, y=y, width=width, height=height)
        for x, y, width, height in cut.places[todo].tolist()
    ]
    # Each slide has a process: threads would only wait for each other.
    for i, pixels in zip(todo, patch_pixels(places, edge=task.settings.patch, threads=0), strict=True):
        write_whole(files[i], _writer(pixels, as_jpeg=task.as_jpeg))


def _writer(pixels: Pixels, *, as_jpeg: bool) -> Callable[[Path], None]:
    from PIL import Image

    def write(temporary: Path) -> None:
        if as_jpeg:
            temporary.write_bytes(jpeg(pixels, 92))
        else:
            Image.fromarray(pixels).save(temporary, "PNG")

    return write
