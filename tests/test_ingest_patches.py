"""Patches from a folder of images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from milstore.errors import ConflictError, DataError
from milstore.ingest.patches import ingest_patches
from milstore.store import Settings, Store, create_store
from milstore.store.cohort import read_cohort
from milstore.store.pattern import DEFAULT_PATTERN
from tests.ingesting import NAMES, contents, make_images, make_vectors, new_store


def patches(store: Store) -> list[tuple[str, str, int, int, str | None]]:
    columns = ("case_id", "stain", "slice_idx", "patch_idx", "file")
    return [tuple(row[name] for name in columns) for row in read_cohort(store).table("patches").to_pylist()]  # type: ignore[misc]


def slices(store: Store) -> list[tuple[str, str, int, str, int]]:
    return [tuple(row.values())[:5] for row in read_cohort(store).table("slices").to_pylist()]  # type: ignore[misc]


def root(store: Store) -> str:
    return str(read_cohort(store).table("patch_roots")["root"][0].as_py())


def test_patches_slices_and_cases_come_from_names(tmp_path: Path) -> None:
    """Slices are numbered in the natural order of their names (2 before 10), patches by their names alone."""
    store = new_store(tmp_path)
    report = ingest_patches(store, make_images(tmp_path / "images"))
    assert patches(store) == [
        ("52", "h&e", 0, 3, "case_052_match_1_h&e_patch3.png"),
        ("52", "h&e", 0, 12, "case_052_match_1_h&e_patch12.png"),
        ("52", "melan", 0, 1, "case_052_match_1_melan_patch1.png"),
        ("7", "h&e", 0, 4, "case_7_unmatched2_he_patch4.png"),
        ("7", "h&e", 1, 4, "case_7_unmatched_10_he_patch4.png"),
    ]
    assert slices(store) == [
        ("52", "h&e", 0, "match_1", 2),
        ("52", "melan", 0, "match_1", 1),
        ("7", "h&e", 0, "unmatched_2", 1),
        ("7", "h&e", 1, "unmatched_10", 1),
    ]
    sizes = read_cohort(store).table("patches").select(["x", "y", "width", "height"]).to_pylist()
    assert sizes == [{"x": None, "y": None, "width": 6, "height": 4}] * 5
    assert root(store) == str(tmp_path / "images")
    assert (report.patches, report.cases, report.slices, report.new, report.changed) == (5, 2, 4, 5, True)


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    """The same folder again leaves every file of the store as it is, with or without looking at the images."""
    store = new_store(tmp_path)
    images = make_images(tmp_path / "images")
    Image.new("RGB", (1, 1)).save(images / "thumb.png")
    ingest_patches(store, images)
    before = contents(store)
    assert ingest_patches(store, images).lines()[-1] == "nothing changed"
    assert ingest_patches(store, images, names_only=True).lines()[-1] == "nothing changed"
    assert contents(store) == before


def test_names_that_do_not_parse_are_counted_shown_and_listed(tmp_path: Path) -> None:
    """Nothing is skipped in silence."""
    store = new_store(tmp_path)
    images = make_images(tmp_path / "images")
    for name in ("thumb.png", "case_5_match_1_he.jpg", "[red]x.tif", "z.png"):
        Image.new("RGB", (1, 1)).save(images / name)
    report = ingest_patches(store, images)
    assert report.skipped == (
        "[red]x.tif: it does not fit the pattern",
        "case_5_match_1_he.jpg: it names no patch",
        "thumb.png: it does not fit the pattern",
        "z.png: it does not fit the pattern",
    )
    assert report.skipped_list is not None
    assert report.skipped_list.read_text().splitlines() == list(report.skipped)
    assert report.lines()[1:] == [
        "left out: 4 images with a name that does not say what is on it, such as",
        "  [red]x.tif: it does not begin as the pattern does",
        "  case_5_match_1_he.jpg: it names no patch",
        "  thumb.png: it does not begin as the pattern does",
        f"  by the default pattern, which reads case_052_match_1_he_patch164.png ('{DEFAULT_PATTERN}')",
        f"  all are listed in {report.skipped_list}",
    ]


@pytest.mark.parametrize("extension", ["png", "jpg", "jpeg", "tif", "tiff", "PNG", "JPEG", "Tif"])
def test_every_extension_and_sub_folders_are_read(tmp_path: Path, extension: str) -> None:
    """PNG, JPEG and TIFF in any case of letters, at any depth."""
    store = new_store(tmp_path)
    make_images(tmp_path / "images" / "a" / "b.png", NAMES[:1], extension)
    ingest_patches(store, tmp_path / "images")
    assert patches(store) == [("52", "h&e", 0, 3, f"a/b.png/{NAMES[0]}.{extension}")]


def test_links_are_walked_once_and_not_out_of_the_folder(tmp_path: Path) -> None:
    """Loops end; what leads out is left out and named, or followed when asked to."""
    store = new_store(tmp_path)
    images = make_images(tmp_path / "images", NAMES[:1])
    make_images(tmp_path / "elsewhere", NAMES[1:3])
    (images / "loop").symlink_to(images)
    (images / "ring").symlink_to(images / "gnir")
    (images / "gnir").symlink_to(images / "ring")
    (images / "sub").mkdir()
    (images / "sub" / f"{NAMES[0]}.png").symlink_to(images / f"{NAMES[0]}.png")
    (images / "out").symlink_to(tmp_path / "elsewhere")
    (images / f"{NAMES[3]}.png").symlink_to(tmp_path / "elsewhere" / f"{NAMES[1]}.png")
    report = ingest_patches(store, images)
    assert report.links_out == (f"{NAMES[3]}.png", "out")
    assert [row[4] for row in patches(store)] == [f"{NAMES[0]}.png"]
    assert ingest_patches(store, images, follow_links=True).new == 3
    assert sorted(str(row[4]) for row in patches(store)) == [
        f"{NAMES[0]}.png",
        f"{NAMES[3]}.png",
        f"out/{NAMES[1]}.png",
        f"out/{NAMES[2]}.png",
    ]


def test_folders_ingested_one_after_another_share_a_root(tmp_path: Path) -> None:
    """Paths are then told from the folder above; a patch of both folders is a contradiction."""
    store = new_store(tmp_path)
    make_images(tmp_path / "images" / "he", NAMES[:2])
    make_images(tmp_path / "images" / "melan", NAMES[2:3])
    ingest_patches(store, tmp_path / "images" / "he")
    report = ingest_patches(store, tmp_path / "images" / "melan")
    assert (report.new, report.kept, root(store)) == (1, 2, str(tmp_path / "images"))
    assert [row[4] for row in patches(store)] == [f"he/{NAMES[0]}.png", f"he/{NAMES[1]}.png", f"melan/{NAMES[2]}.png"]
    assert ingest_patches(store, tmp_path / "images").lines()[-1] == "nothing changed"
    make_images(tmp_path / "images2", NAMES[:1])
    with pytest.raises(ConflictError, match=r"patch 3 of case 52, h&e, match_1 has file images/he/.* use --replace"):
        ingest_patches(store, tmp_path / "images2")


def test_replace_takes_the_folder_as_the_whole_truth(tmp_path: Path) -> None:
    """Patches that it lacks go, sizes are read anew; without it they stay."""
    store = new_store(tmp_path)
    images = make_images(tmp_path / "images", NAMES[:3])
    ingest_patches(store, images)
    (images / f"{NAMES[1]}.png").unlink()
    Image.new("RGB", (8, 8)).save(images / f"{NAMES[0]}.png")
    assert (ingest_patches(store, images).kept, len(patches(store))) == (1, 3)
    report = ingest_patches(store, images, replace=True)
    assert (report.removed, report.changed) == (1, True)
    assert read_cohort(store).table("patches").select(["patch_idx", "width"]).to_pylist() == [
        {"patch_idx": 3, "width": 8},
        {"patch_idx": 1, "width": 6},
    ]


def test_a_slice_keeps_its_number(tmp_path: Path) -> None:
    """Numbers are given once: a slice whose name comes before others gets the next, whatever speaks of them already."""
    from milstore.ingest.features import ingest_features

    store = new_store(tmp_path)
    images = make_images(tmp_path / "images", NAMES[4:])
    ingest_patches(store, images)
    assert slices(store) == [("7", "h&e", 0, "unmatched_10", 1)]
    ingest_features(store, make_vectors(tmp_path / "vectors", NAMES[4:]), encoder="e")
    (store.runs / "run_id=x").mkdir()
    make_images(images, (*NAMES[3:], "case_7_match_1_he_patch0"))
    report = ingest_patches(store, images)
    assert (report.new, report.dropped_encoders) == (2, ())
    assert slices(store) == [
        ("7", "h&e", 0, "unmatched_10", 1),
        ("7", "h&e", 1, "match_1", 1),
        ("7", "h&e", 2, "unmatched_2", 1),
    ]
    assert read_cohort(store).table("encoders")["encoder"].to_pylist() == ["e"]


def test_coordinates_come_from_a_file_or_from_names(tmp_path: Path) -> None:
    """A row finds its patch by path or by name; what it does not say stays unknown."""
    store = new_store(tmp_path)
    make_images(tmp_path / "images" / "a", (*NAMES[:2], "case_9_match_1_he_patch5_x7_y8"))
    file = tmp_path / "c.csv"
    file.write_text(f"file;x;y;width;height\na/{NAMES[0]}.png;10;-20;512;513\n{NAMES[1]}.png;0;0;1;1\n")
    ingest_patches(store, tmp_path / "images", coordinates=file)
    places = read_cohort(store).table("patches").select(["x", "y", "width", "height"]).to_pylist()
    assert [tuple(place.values()) for place in places] == [(10, -20, 512, 513), (0, 0, 1, 1), (7, 8, 6, 4)]
    assert ingest_patches(store, tmp_path / "images").lines()[-1] == "nothing changed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,x\na,1\n", "has no column 'y': it has file, x"),
        ("file,x,y\nnone.png,1,1\n", "line 2: there is no one patch 'none.png' in the folder"),
        (f"file,x,y\n{NAMES[0]}.png,1,1.5\n", "has y that are no whole numbers: '1.5' (line 2)"),
        (f"file,x,y\n{NAMES[0]}.png,99999999999,1\n", "x must lie between"),
        (f"file,x,y,width\n{NAMES[0]}.png,1,1,0\n", "width must lie between 1 and"),
        (f"file,x,y\n{NAMES[0]}.png,1,1\n./{NAMES[0]}.png,1,1\n", "on lines 2 and 3: keep one"),
    ],
)
def test_wrong_coordinates_are_refused(tmp_path: Path, text: str, message: str) -> None:
    """A file of coordinates says exactly what it is about, or nothing is taken."""
    store = new_store(tmp_path)
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        ingest_patches(store, make_images(tmp_path / "images"), coordinates=tmp_path / "c.csv")
    assert message in str(caught.value)


def test_many_images_are_read_in_several_processes(tmp_path: Path) -> None:
    """Processes of their own give the sizes that one gives."""
    names = tuple(f"case_{i // 500}_match_1_he_patch{i}" for i in range(2100))
    images = make_images(tmp_path / "images", names[:1])
    data = (images / f"{names[0]}.png").read_bytes()
    for name in names[1:]:
        (images / f"{name}.png").write_bytes(data)
    stores = [new_store(tmp_path / f"{jobs}") for jobs in (1, 2)]
    told: list[tuple[str, int, int]] = []
    ingest_patches(stores[0], images, jobs=1)
    ingest_patches(stores[1], images, jobs=2, progress=lambda *what: told.append(what))
    assert read_cohort(stores[0]).fingerprint == read_cohort(stores[1]).fingerprint
    assert ("reading images", 2100, 2100) in told


def placed(store: Store) -> list[tuple[int, int, int, str]]:
    """Number, x, y and unit of each patch."""
    table = read_cohort(store).table("patches")
    return list(zip(*(table[name].to_pylist() for name in ("patch_idx", "x", "y", "unit")), strict=True))


def test_a_patch_without_a_number_is_known_by_its_place(tmp_path: Path) -> None:
    """Numbers are given by (y, x) at first, kept for a place that is said a pixel off, and the next for a new place."""
    settings = Settings(
        pattern=r"case_(?P<case>[^_]+)_(?P<slice>[^_]+)_(?P<stain>[^_]+)(?:_patch(?P<patch>\d+))?_x(?P<x>\d+)_y(?P<y>\d+)"
    )
    store = create_store(tmp_path / "store", settings)
    ingest_patches(
        store, make_images(tmp_path / "a", ("case_1_s_he_x50_y0", "case_1_s_he_x0_y50", "case_1_s_he_x0_y0"))
    )
    first = [(0, 0, 0, "slice"), (1, 50, 0, "slice"), (2, 0, 50, "slice")]
    assert placed(store) == first
    # Its own folder once more, and another tool's rounding, change nothing.
    assert ingest_patches(store, tmp_path / "a").lines()[-1] == "nothing changed"
    make_images(tmp_path / "a", ("case_1_s_he_x25_y0",))
    ingest_patches(store, tmp_path / "a")
    assert placed(store) == [*first, (3, 25, 0, "slice")]
    again = make_images(tmp_path / "b", ("case_1_s_he_x1_y49", "case_1_s_he_x50_y1"))
    np.save(again / "case_1_s_he_x1_y49.npy", np.ones(2, np.float32))
    for path in again.glob("*.png"):
        path.unlink()
    from milstore.ingest.features import ingest_features

    ingest_features(store, again, encoder="e")
    from milstore.store.features import open_features

    assert open_features(store, read_cohort(store)).patches["patch_idx"].to_pylist() == [2]
    make_images(tmp_path / "c", ("case_1_s_he_x70_y70", "case_1_s_he_x71_y70"))
    with pytest.raises(DataError, match="lie at the same place of case 1, h&e, s: remove one"):
        ingest_patches(store, tmp_path / "c")


def test_a_place_says_nothing_where_the_known_have_none(tmp_path: Path) -> None:
    """Which of the store's patches is meant cannot be told where these have no coordinates: nothing is invented."""
    settings = Settings(
        pattern=r"case_(?P<case>[^_]+)_(?P<slice>[^_]+)_(?P<stain>[^_]+)(?:_patch(?P<patch>\d+))?(?:_x(?P<x>\d+)_y(?P<y>\d+))?"
    )
    store = create_store(tmp_path / "store", settings)
    ingest_patches(store, make_images(tmp_path / "a", ("case_1_s_he_patch4",)))
    with pytest.raises(DataError, match="has patches without coordinates in the store"):
        ingest_patches(store, make_images(tmp_path / "a", ("case_1_s_he_x25_y0",)))
