"""Pictures of patches for the page, as plain images: lighter than a chart of each case, and they print."""

from collections.abc import Sequence
from dataclasses import dataclass

from milstore.asking.result import Result
from milstore.charts.attended import times_even
from milstore.charts.theme import stain_colours
from milstore.pixels.pictures import PatchFolder, data_uri
from milstore.store.cohort import read_cohort
from milstore.store.paths import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """A patch, with its place and its weight."""

    run_id: str
    case_id: str
    end: str
    """top or bottom."""
    place: str
    """Such as `h&e · slice 0`."""
    name: str
    """Such as `patch 12 · #3`: its number and its rank in the case."""
    weight: str
    """Effective attention, and how many times the even share it is."""
    colour: str
    """The stain's."""
    uri: str
    """The picture, inlined; empty where there is none."""
    problem: str
    """Why there is none."""


def tiles(store: Store, result: Result, pixels: int, *, quality: int = 84) -> list[Tile]:
    """A tile for each row of `patch-gallery` or `top-patch-list`.

    Args:
        store: the store that answered.
        result: the answer.
        pixels: the longer side of a picture.
        quality: of its JPEG, 1 to 95.
    """
    rows = result.records()
    colours = colours_of(store, [row["stain"] for row in rows])
    pictures = PatchFolder.of(store).read_all(result.df(), pixels)
    return [
        Tile(
            run_id=row["run_id"],
            case_id=row["case_id"],
            end=row.get("end", "top"),
            place=f"{row['stain']} · slice {row['slice_name'] or row['slice_idx']}",
            name=f"patch {row['patch_idx']} · #{row['rank']}",
            weight=f"{row['effective_attention']:.2g} ({times_even(row['times_even'])})",
            colour=colours[row["stain"]],
            uri=data_uri(picture.image, quality=quality) if picture.image is not None else "",
            problem=picture.problem,
        )
        for row, picture in zip(rows, pictures, strict=True)
    ]


def colours_of(store: Store, named: Sequence[str]) -> dict[str, str]:
    """The colour of each stain, as in the charts; stains that the store no longer knows come last."""
    known = sorted(read_cohort(store).table("stains").to_pylist(), key=lambda row: row["stain_order"])
    stains = list(dict.fromkeys([*(row["stain"] for row in known), *named]))
    return dict(zip(stains, stain_colours(stains), strict=True))
