"""Names of one's own: templates, what is said of names that do not fit, copies, and the comments of milstore.toml."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from milstore.errors import DataError
from milstore.ingest.features import ingest_features
from milstore.ingest.file_names import read_names
from milstore.ingest.patches import ingest_patches
from milstore.pixels.pictures import PatchFolder
from milstore.store import Settings, Store
from milstore.store.cohort import read_cohort
from milstore.store.name_fit import how_far
from milstore.store.names import normal_case_id
from milstore.store.pattern import DEFAULT_PATTERN, DEFAULT_READS
from milstore.store.settings import read_settings, settings_text
from tests.ingesting import contents, make_images, make_vectors, milstore, new_store
from tests.test_ingest_features import write_slice

STAINS = {"h&e": ("he", "h&e"), "ki67": ("ki67", "mib1")}


def rows(pattern: str, *files: str, whole_slices: bool = False) -> list[tuple[object, ...]]:
    """case, stain, slice, patch, x and y of each file that is read."""
    stems = [re.sub(r"\.\w+$", "", file.rpartition("/")[2]) for file in files]
    found = read_names(Settings(pattern=pattern, stains=STAINS), files, stems, whole_slices=whole_slices)
    return [tuple(row.values())[:6] for row in found.table.to_pylist()]


@pytest.mark.parametrize(
    ("pattern", "file", "expected"),
    [
        ("{case}_{stain}_{slice}_{patch}", "A7_HE_2_0012.png", ("A7", "h&e", "2", 12, None, None)),
        ("{case}_{stain}_{slice}_{patch}.png", "a7_mib1_cut 2_0.tif", ("a7", "ki67", "cut_2", 0, None, None)),
        ("{case}/{stain}/{patch}", "A7/HE/0012.png", ("A7", "h&e", "1", 12, None, None)),
        ("{case}/{stain}/tile{patch}.*", "more/folders/A7/HE/Tile12.png", ("A7", "h&e", "1", 12, None, None)),
        (r"{case}\{stain}\{patch}", "007/HE/3.png", ("7", "h&e", "1", 3, None, None)),
        ("{case}_{stain}_{patch}", "S1_A_he_3.png", ("S1_A", "h&e", "1", 3, None, None)),
        ("{case}_*_{stain}_{patch}", "A7_2024-01-05_HE_3.png", ("A7", "h&e", "1", 3, None, None)),
        ("{CASE}-{Stain} x{x} y{y}", "A7-HE x512 y0.png", ("A7", "h&e", "1", None, 512, 0)),
        ("{patch}.{stain}.{case}", "3.h&e.A7.png", ("A7", "h&e", "1", 3, None, None)),
        ("img[{case}]({stain})+{patch}", "img[A7](HE)+3.png", ("A7", "h&e", "1", 3, None, None)),
    ],
)
def test_a_template_reads_names(pattern: str, file: str, expected: tuple[object, ...]) -> None:
    """Fields stand for what varies and the rest for itself; folders, endings, blanks and capitals are no matter."""
    assert rows(pattern, file) == [expected]


def test_where_there_is_one_stain_names_need_not_say_it() -> None:
    """Tiles as QuPath names them are read by their place, in a store with one stain."""
    settings = Settings(pattern="{case} [*x={x},y={y},w={width},h={height}]", stains={"h&e": ("he",)})
    file = "S1 [d=1,x=256,y=512,w=256,h=256].png"
    row = read_names(settings, [file], [file[:-4]]).table.to_pylist()[0]
    assert row == {
        "case_id": "S1", "stain": "h&e", "slice_name": "1", "patch_idx": None, "x": 256, "y": 512,
        "width": 256, "height": 256, "file": file,
    }  # fmt: skip
    with pytest.raises(DataError, match=r"has no \{stain\}, and the store has 2 \(h&e, ki67\): leave the one that"):
        rows("{case}_{patch}", "A7_3.png")


@pytest.mark.parametrize(
    ("pattern", "file", "expected"),
    [
        ("case_{case}_{slice}_{stain}_patch{patch}", "case_7_cut_1_he.npz", ("7", "h&e", "cut_1")),
        ("{case}_{stain}_{slice}_{patch}", "A7_HE_cut_1.npz", ("A7", "h&e", "cut_1")),
        ("{case}/{stain}/{patch}", "A7/HE.npz", ("A7", "h&e", "1")),
        ("{patch}-{case}-{stain}", "A7-HE.npz", ("A7", "h&e", "1")),
    ],
)
def test_a_file_of_a_whole_slice_leaves_the_patch_out(pattern: str, file: str, expected: tuple[str, ...]) -> None:
    """The same template names slices, without the patch and what sets it off."""
    assert [row[:4] for row in rows(pattern, file, whole_slices=True)] == [(*expected, None)]


def test_a_patch_is_no_slice() -> None:
    """Where a word stands before its number, the name of a patch is not taken for a slice's."""
    settings = Settings(pattern="{case}_{stain}_{slice}_patch{patch}", stains=STAINS)
    found = read_names(settings, ["A7_HE_1_patch3.npz"], ["A7_HE_1_patch3"], whole_slices=True)
    assert found.unread == [("A7_HE_1_patch3.npz", "it names a patch, not a slice")]


WORDS = (
    st.text("abcxyz019 .()[]+&-", min_size=1, max_size=8)
    .map(str.strip)
    .filter(lambda text: any(map(str.isalnum, text)))
)


@hypothesis_settings(deadline=None)
@given(WORDS, WORDS, st.sampled_from(["HE", "h&e", "Ki67", "mib1"]), st.integers(0, 2**31 - 1), st.sampled_from("_/"))
def test_what_is_written_by_a_template_is_read_by_it(case: str, cut: str, stain: str, patch: int, between: str) -> None:
    """Any case, slice, stain and number, put into a template, comes back out of it."""
    written = f"{case}{between}{stain}{between}{cut}{between}{patch}"
    found = rows(f"{{case}}{between}{{stain}}{between}{{slice}}{between}{{patch}}.png", f"{written}.png")
    assert [row[1] for row in found] == ["h&e" if stain.lower() in STAINS["h&e"] else "ki67"]
    assert found[0][3] == patch
    assert str(found[0][0]) == normal_case_id(case)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{stain}_{patch}", "has no {case}: say where the case stands in a name"),
        ("{case}_{stain}", "has no {patch}, nor {x} and {y}: say which patch of its slice a file is"),
        ("{case}_{case}_{stain}_{patch}", "has {case} twice: keep one, and put * where it stands again"),
        (
            "{case}_{colour}_{patch}",
            "has {colour}, which means nothing: known are {case}, {stain}, {slice}, {patch}, {x}",
        ),
        ("{case}_{stain_{patch}", "has a brace without a field in '_{stain_': write fields as {case}"),
        ("case_patch", "has no group case, slice, stain, patch: write it as (?P<case>…), or a template such as {case}"),
    ],
)
def test_a_template_that_cannot_work_is_refused(tmp_path: Path, pattern: str, message: str) -> None:
    """What is wrong with it is said when the settings are read, in one line."""
    (tmp_path / "milstore.toml").write_text(f"[patches]\npattern = '{pattern}'\n")
    with pytest.raises(DataError) as caught:
        read_settings(tmp_path / "milstore.toml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "subject", "said"),
    [
        ("{case}_{stain}_{slice}_{patch}", "A7_HE_2_tile12", "it fits as far as 'A7_HE_2_', where {patch} needs a number and 'tile12' stands"),
        ("{case}_{stain}_{slice}_{patch}", "A7_HE_12", "it fits as far as 'A7_HE_', and no '_' comes after {slice}"),
        ("{case}_{stain}_{slice}_{patch}", "A7-HE-2-12", "no '_' comes after {case}"),
        ("{case}_{stain}_{patch}", "A7_HE_9 (1)", "it fits as far as 'A7_HE_9', where the pattern ends and the name goes on with ' (1)'"),
        ("{case}/{stain}/tile{patch}", "A7/tile12", "it lies in 1 folder, and the pattern has 2 folders"),
        ("{case}/{stain}/tile{patch}", "x/A7/HE/12", "it fits as far as 'A7/HE/', where 'tile' should stand and '12' does"),
        (DEFAULT_PATTERN, "case_5_1_he_patch7", "it fits as far as 'case_5_', and goes on with '1_he_patch7'"),
        (DEFAULT_PATTERN, "Case A7 HE 12", "it fits as far as 'Case A7 HE 12', where it ends and the pattern goes on"),
        (DEFAULT_PATTERN, "thumb", "it does not begin as the pattern does"),
    ],
)  # fmt: skip
def test_it_is_said_how_far_a_name_fits(pattern: str, subject: str, said: str) -> None:
    """Of a template as of a regular expression: the part that fits, and what comes in its way."""
    assert how_far(Settings(pattern=pattern, stains=STAINS).name_pattern, subject) == said


# --- milstore.toml -----------------------------------------------------------------------------------------------------


def test_milstore_toml_shows_the_default_and_two_examples(tmp_path: Path) -> None:
    """Each pattern in the comments can be uncommented, and reads the name that stands beside or above it."""
    text = settings_text(Settings())
    offered = re.findall(r"^# (pattern = .*)$", text, re.MULTILINE)
    assert len(offered) == 3
    assert max(map(len, text.replace(offered[2], "").splitlines())) <= 80
    read = {}
    for line in offered:
        path = tmp_path / "milstore.toml"
        path.write_text(text.replace(f"# {line}", line))
        assert tomllib.loads(path.read_text())["stains"]["sox10"] == ["sox10"]
        settings = read_settings(path)
        file = line.partition("# ")[2].strip() or DEFAULT_READS
        assert file in text
        (row,) = read_names(settings, [file], [file.rpartition("/")[2].removesuffix(".png")]).table.to_pylist()
        read[file] = tuple(row.values())[:4]
    assert read == {
        "A7_HE_2_0012.png": ("A7", "h&e", "2", 12),
        "A7/HE/tile0012.png": ("A7", "h&e", "1", 12),
        "case_052_match_1_he_patch164.png": ("52", "h&e", "match_1", 164),
    }
    assert read_settings(path) == Settings()


# --- ingest ------------------------------------------------------------------------------------------------------------


def store_with(tmp_path: Path, pattern: str) -> Store:
    """A store with h&e and ki67 and a pattern."""
    store = new_store(tmp_path)
    text = f'[stains]\n"h&e" = ["he"]\nki67 = ["ki67"]\n[patches]\npattern = \'{pattern}\'\n'
    (store.root / "milstore.toml").write_text(text)
    return store


FOLDERS = ("A7/HE/0", "A7/HE/1", "A7/Ki67/0", "B12/HE/0")


def in_folders(folder: Path, *more: str) -> Path:
    for name in (*FOLDERS, *more):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4)).save(folder / f"{name}.png")
    return folder


def test_patches_in_folders_are_taken_in_and_shown(tmp_path: Path) -> None:
    """Folders say the case and the stain, features in folders find their patches, and pictures are of the right patch."""
    store = store_with(tmp_path, "{case}/{stain}/{patch}")
    images = in_folders(tmp_path / "tiles")
    ingest_patches(store, images)
    table = read_cohort(store).table("patches").select(["case_id", "stain", "patch_idx", "file"]).to_pylist()
    assert [tuple(row.values()) for row in table] == [
        ("A7", "h&e", 0, "A7/HE/0.png"),
        ("A7", "h&e", 1, "A7/HE/1.png"),
        ("A7", "ki67", 0, "A7/Ki67/0.png"),
        ("B12", "h&e", 0, "B12/HE/0.png"),
    ]
    for name in FOLDERS:
        (tmp_path / "vectors" / name).parent.mkdir(parents=True, exist_ok=True)
    make_vectors(tmp_path / "vectors", FOLDERS)
    assert ingest_features(store, tmp_path / "vectors", encoder="e").without == 0
    patch = {"case_id": "A7", "stain": "h&e", "slice_name": "1", "patch_idx": 1, "file": "A7/HE/1.png"}
    assert PatchFolder.of(store).read(patch, 10).problem == ""
    assert PatchFolder.of(store).read({**patch, "patch_idx": 0}, 10).problem == "of another patch"


def test_slices_in_folders(tmp_path: Path) -> None:
    """A file of features a slice lies where the folders of the template end."""
    store = store_with(tmp_path, "{case}/{stain}/{patch}")
    (tmp_path / "slices" / "A7").mkdir(parents=True)
    write_slice(tmp_path / "slices" / "A7" / "HE.npz", [3, 12], np.ones((2, 5), np.float32))
    assert ingest_features(store, tmp_path / "slices", encoder="e", create_patches=True).created == 2
    assert read_cohort(store).table("patches")["patch_idx"].to_pylist() == [3, 12]


COPIES = ("case_1_match_1_he_patch9 (1)", "case_1_match_1_he_patch10 - Copy", "case_1_match_1_patch3", "case_1_match_1")


def test_copies_and_names_without_a_stain_stop_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are counted, named and left out, of patches as of features; and what is right goes in."""
    store = new_store(tmp_path)
    names = ("case_1_match_1_he_patch9", *COPIES)
    assert milstore(store, "ingest", "patches", make_images(tmp_path / "images", names)) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[:5] == [
        f"{tmp_path}/images: 1 patch of 1 case in 1 slice, 1 of them new",
        "left out: 4 images with a name that does not say what is on it, such as",
        "  case_1_match_1.png: it fits as far as 'case_1_match_', and goes on with '1'",
        "  case_1_match_1_he_patch10 - Copy.png: it is named like a copy, and what it would be one of is not there",
        "  case_1_match_1_he_patch9 (1).png: it is a copy of case_1_match_1_he_patch9.png",
    ]
    assert read_cohort(store).table("patches")["patch_idx"].to_pylist() == [9]
    vectors = make_vectors(tmp_path / "vectors", names)
    assert milstore(store, "ingest", "features", vectors, "--encoder", "e") == 0
    assert capsys.readouterr().err.splitlines()[:2] == [
        f"{tmp_path}/vectors: 1 vector of 3 numbers (float32) of encoder e",
        "left out: 4 files with a name that does not say what is on it, such as",
    ]


@pytest.mark.parametrize("last", ["{patch}_{stain}_{case}", "{patch}_{case}_{stain}", "{patch}_{stain}_{case}_{slice}"])
def test_a_copy_makes_no_case_stain_or_slice(last: str) -> None:
    """Where the name ends in a text, the mark of a copy would become part of it: no case `A7 (1)` comes of that."""
    name = last.format(patch=1, stain="HE", case="A7", slice="cut")
    marks = ("", " (1)", " - Copy", " - Kopie (2)", " copy 2")
    assert len(rows(last, *(f"{name}{mark}.png" for mark in marks))) == 1


def test_a_number_in_brackets_alone_is_no_copy() -> None:
    """Files that are numbered so have no original beside them: they are read."""
    found = rows("{case}_{stain} ({patch})", "A7_HE (1).png", "A7_HE (2).png")
    assert [row[3] for row in found] == [1, 2]


def test_unknown_stains_are_told_at_once(tmp_path: Path) -> None:
    """A name that says its patch and another stain is not left out: the stain is missing from the settings."""
    with pytest.raises(DataError) as caught:
        rows("{case}_{stain}_{patch}", "A7_CD3_1.png", "A7_HE_1.png", "A7_CD8_1.png", "A7_CD8_2.png")
    assert str(caught.value) == (
        "stain 'CD3' in A7_CD3_1.png is not in this store (h&e, ki67) (nor are 'CD8' of other files): "
        'add an alias under [stains] in milstore.toml, or a stain of its own by the line "cd3" = ["cd3"]'
    )


# --- looking first, and a guess ----------------------------------------------------------------------------------------


def test_a_dry_run_shows_five_names_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Five names and what is read of each, spread over the folder, the counts, and what would be left out."""
    store = store_with(tmp_path, "{case}/{stain}/{patch}")
    images = in_folders(tmp_path / "tiles", "B12/HE/7", "B12/HE/8", "B12/HE/9", "B12/HE/10", "thumb")
    before = contents(store)
    assert milstore(store, "ingest", "patches", images, "--dry-run") == 0
    said = capsys.readouterr()
    assert contents(store) == before
    assert [line.split() for line in said.out.splitlines() if ".png" in line] == [
        ["A7/HE/0.png", "A7", "h&e", "1", "0"],
        ["A7/HE/1.png", "A7", "h&e", "1", "1"],
        ["B12/HE/0.png", "B12", "h&e", "1", "0"],
        ["B12/HE/8.png", "B12", "h&e", "1", "8"],
        ["B12/HE/10.png", "B12", "h&e", "1", "10"],
    ]
    assert said.err.splitlines() == [
        f"{images}: would take in 8 patches of 2 cases in 3 slices (7 h&e, 1 ki67)",
        "left out: 1 image with a name that does not say what is on it, such as",
        "  thumb.png: it lies in no folder, and the pattern has 2 folders",
        "  by the pattern '{case}/{stain}/{patch}' in milstore.toml",
        "nothing was written: the same line without --dry-run takes them in",
    ]


def test_a_pattern_is_guessed_from_the_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where none fits: the name, how far it got, the pattern, and lines to paste, by which the same command goes through."""
    store = new_store(tmp_path)
    images = in_folders(tmp_path / "tiles")
    assert milstore(store, "info", "-q") == 0
    before = contents(store)
    assert milstore(store, "ingest", "patches", images) == 2
    assert contents(store) == before
    error, *lines = capsys.readouterr().err.splitlines()
    assert error == (
        f"error: none of the 4 images in {images} has a name that says what it is, such as A7/HE/0.png: it does not begin "
        "as the pattern does; set a pattern that fits under [patches] in milstore.toml, in place of the default pattern, "
        f"which reads {DEFAULT_READS} ('{DEFAULT_PATTERN}')"
    )
    assert lines == [
        "a pattern guessed from the names, which reads all of 4:",
        "  pattern = '{case}/{stain}/{patch}'",
        f"By it A7/HE/0.png is case A7, stain h&e, slice 1, patch 0. Put it under [patches] in {store.root}/milstore.toml",
        "and under [stains]:",
        '  "ki67" = ["ki67"]',
    ]
    text = (store.root / "milstore.toml").read_text()
    text = text.replace("[patches]", f"[patches]\n{lines[1].strip()}").replace(
        "[stains]", f"[stains]\n{lines[4].strip()}"
    )
    (store.root / "milstore.toml").write_text(text)
    assert milstore(store, "ingest", "patches", images) == 0
    assert read_cohort(store).table("patches").num_rows == 4


def test_features_are_guessed_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those who have no images meet the same help."""
    vectors = make_vectors(tmp_path / "vectors", ("A7_HE_1", "A7_HE_2", "B12_HE_1"))
    assert milstore(new_store(tmp_path), "ingest", "features", vectors, "--encoder", "e", "--create-patches") == 2
    assert "  pattern = '{case}_{stain}_{patch}'" in capsys.readouterr().err.splitlines()


@pytest.mark.shared
def test_a_browsers_copies(shared_data: Path, tmp_path: Path) -> None:
    """The folder that a group reported goes in, but for its two copies."""
    (folder,) = (shared_data / "reports").glob("29-*")
    report = ingest_patches(new_store(tmp_path), folder / "patches")
    assert (report.patches, len(report.skipped)) == (1, 2)


@pytest.mark.shared
def test_tiles_of_qupath(shared_data: Path, tmp_path: Path) -> None:
    """With one stain and the pattern that is guessed for them, tiles as QuPath names them go in, each at its place."""
    (folder,) = (shared_data / "reports").glob("39-*")
    store = new_store(tmp_path)
    with pytest.raises(DataError) as caught:
        ingest_patches(store, folder / "tiles")
    line = caught.value.__notes__[1].strip()
    (store.root / "milstore.toml").write_text(f'[stains]\n"h&e" = ["he"]\n[patches]\n{line}\n')
    ingest_patches(store, folder / "tiles", names_only=True)
    table = read_cohort(store).table("patches").select(["case_id", "patch_idx", "x", "y", "width"]).to_pylist()
    assert [tuple(row.values()) for row in table] == [("S1", 0, 0, 512, 256), ("S1", 1, 256, 512, 256)]


def test_a_regular_expression_stays_one() -> None:
    """With braces of its own, and with folders too."""
    pattern = r"(?P<case>[^/]+)/(?P<stain>[^/]+)/(?P<slice>[a-z]+)-(?P<patch>\d{1,3})"
    assert rows(pattern, "deep/A7/HE/cut-3.png") == [("A7", "h&e", "cut", 3, None, None)]
