"""Which slides are asked for to be cut, and their files."""

from collections.abc import Sequence
from pathlib import Path

from milstore.errors import DataError, UsageError
from milstore.ingest.slide_names import IMAGES, ending_of, slide_of_text
from milstore.pixels.patch_source import slide_path
from milstore.store import Store
from milstore.store.names import clip, named, natural_key, nearest
from milstore.store.paths import real_path
from milstore.store.slides import Slides


def slides_asked(store: Store, known: Slides, slides: Sequence[str | Path]) -> tuple[dict[str, Path], dict[str, str]]:
    """The file of each slide that is asked for, and what is wrong with others.

    Raises:
        UsageError: there are none.
    """
    if not len(known):
        raise UsageError("the store knows no slides: say first which is of whom, by milstore ingest slides slides.csv")
    paths = {slide_id: slide_path(store.root, slide) for slide_id, slide in known.items()}
    failed: dict[str, str] = {}
    if not slides:
        found = {slide_id: path for slide_id, path in paths.items() if path is not None}
        if not found:
            raise UsageError("the store knows no slide's file: name the files, such as milstore tile slides/*.svs")
        return found, dict.fromkeys(paths.keys() - found.keys(), "its path is not known: name its file")
    found = {}
    for asked in slides:
        for text, path in _files(str(asked)):
            slide = known.of_file(text) or known.of_file(slide_of_text(text))
            if slide is None:
                failed[text] = (
                    f"{clip(text, 300)} is no slide of the store: add it to the slides table ({_near(text, known)})"
                )
                continue
            given = path or paths[slide.slide_id]
            if given is None:
                failed[slide.slide_id] = "its path is not known: name its file"
            elif found.setdefault(slide.slide_id, given) != given:
                raise UsageError(
                    f"{clip(str(found[slide.slide_id]), 200)} and {clip(str(given), 200)} are both slide "
                    f"{clip(slide.slide_id)}: name one of them"
                )
    if not found:
        raise DataError(next(iter(failed.values())) if failed else f"there is no slide in {named(slides)}")
    return found, failed


def _near(text: str, known: Slides) -> str:
    return nearest(slide_of_text(text), known)


def _files(asked: str) -> list[tuple[str, Path | None]]:
    """What is asked for by one text: its slide's name, and the file if it is one; every slide's file of a folder."""
    path = Path(asked)
    if path.is_dir():
        files = sorted(
            (file for file in path.iterdir() if ending_of(file.name) in IMAGES), key=lambda file: natural_key(file.name)
        )
        return [(file.name, real_path(file)) for file in files if file.is_file()]
    if path.is_file() or "/" in asked or ending_of(asked) in IMAGES:
        return [(path.name, real_path(path))]
    return [(asked, None)]
