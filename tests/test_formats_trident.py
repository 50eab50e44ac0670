"""Files of TRIDENT are read right, or refused by name."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from milstore.cli.main import main
from milstore.errors import DataError
from milstore.formats.interface import Layout
from milstore.formats.registry import find_format, recognised
from milstore.formats.slide_vectors import slide_vectors
from milstore.formats.trident_job import job_configuration
from tests.trident_files import (
    CORNERS,
    JOB,
    attributes,
    numbers,
    write_features,
    write_numpy_pt,
    write_patches,
    write_state,
)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job folder."""
    return tmp_path / "job"


def features_file(job: Path, slide: str = "S1") -> Path:
    """Where the tool puts the features of a slide."""
    return job / JOB / "features_uni" / f"{slide}.h5"


def layout(path: Path) -> Layout:
    """What the format that recognises a file says of it."""
    name = recognised("features", [path])
    assert name in ("trident", "trident-pt")
    found = find_format("features", name).layout(path)
    assert isinstance(found, Layout)
    return found


def vectors(path: Path) -> npt.NDArray[Any]:
    """The vectors of a file."""
    return np.asarray(find_format("features", str(recognised("features", [path]))).vectors(path))


def told(found: Layout) -> dict[str, Any]:
    """What a layout says, beside arrays."""
    names = (
        "rows", "width", "half", "unit", "patch_size", "patch_px", "overlap", "mpp", "slide", "slide_size", "tool", "encoder",
        "centred", "by_row",
    )  # fmt: skip
    return {name: getattr(found, name) for name in names}


OF_40X = {
    "rows": 3, "width": 4, "half": False, "unit": "level-0", "patch_size": 512.0, "patch_px": 256, "overlap": 0, "mpp": 0.5,
    "slide": None, "slide_size": (1100, 1024), "tool": "trident", "encoder": "uni", "centred": False, "by_row": False,
}  # fmt: skip


def test_a_file_says_where_its_patches_lie_and_how_they_were_cut(job: Path) -> None:
    """Corners are level-0 pixels, the edge is patch_size_level0, and the encoder saw 256 pixels at 0.5 (20x)."""
    path = write_features(features_file(job), numbers(3))
    write_state(job, "S1")
    found = layout(path)
    assert told(found) == OF_40X and found.patch_idx is None and found.notes == ()
    assert found.xy is not None and found.xy.tolist() == [[512, 0], [0, 512], [512, 512]]
    assert vectors(path).tolist() == numbers(3).tolist()


def test_the_resolution_is_that_of_the_slide_where_the_job_folder_says_it(job: Path) -> None:
    """A slide of 0.25 cut at 20x was seen at 0.5; scanners that differ by some percent are still 20x, a slide that is not is
    what it says; without a word of the slide the magnification says it, and that is told."""
    path = write_features(features_file(job), numbers(3))
    assert layout(path).mpp == 0.5
    assert layout(path).notes == ("micrometres a pixel are reckoned from the magnification (20x is 0.5)",)
    for measured, seen in ((0.25, 0.5), (0.2325, 0.5), (0.3, 0.5), (0.17, 0.34)):
        write_state(job, "S1", measured)
        assert (layout(path).mpp, layout(path).notes) == (pytest.approx(seen), ())
    write_state(job, "S1", None, version="0.3.0")
    assert (layout(path).mpp, layout(path).tool) == (0.5, "TRIDENT 0.3.0")


def test_a_file_alone_is_enough(tmp_path: Path) -> None:
    """A file that was taken out of its job folder says all that its attributes say; the folder's name the encoder."""
    path = write_features(tmp_path / "features_conch" / "S1.h5", numbers(3), encoder=None)
    assert told(layout(path)) == {**OF_40X, "encoder": "conch"}
    renamed = path.rename(tmp_path / "case_1_match_1_he.h5")
    assert told(layout(renamed)) == {**OF_40X, "encoder": None, "slide": "S1"}


def test_a_slide_without_patches_has_none(job: Path) -> None:
    """(0, 2) and (0, D) are a slide of no rows, not a damaged file."""
    path = write_features(features_file(job), numbers(0), coords=())
    found = layout(path)
    assert (found.rows, found.width) == (0, 4) and found.xy is not None and found.xy.shape == (0, 2)
    assert vectors(path).shape == (0, 4)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f2", ">f4", ">f8"])
def test_numbers_of_every_kind_are_read_as_they_are(job: Path, dtype: str) -> None:
    """Half, single and double precision, in either order of bytes."""
    path = write_features(features_file(job), numbers(3, dtype=dtype))
    assert layout(path).half == dtype.endswith("f2")
    assert np.array_equal(vectors(path), numbers(3))


def test_bfloat16_is_read_as_the_same_numbers(job: Path) -> None:
    """Two bytes without meaning, as NumPy stores bfloat16, are the numbers that they stand for."""
    from milstore.formats.npy import from_bfloat16

    bits = (numbers(3).view(np.uint32) >> 16).astype(np.uint16)
    path = write_features(features_file(job), bits.view("V2"))
    assert layout(path).half is False
    assert np.array_equal(from_bfloat16(vectors(path).view(np.uint16)), numbers(3))


def test_a_batch_axis_says_nothing(job: Path) -> None:
    """(1, N, D) and (1, N, 2) are N patches."""
    path = write_features(features_file(job), numbers(3)[None], np.asarray(CORNERS)[None])
    assert (layout(path).rows, layout(path).width, vectors(path).shape) == (3, 4, (3, 4))


def test_one_patch_is_a_bag_of_one_row(job: Path) -> None:
    """(1, D) beside one corner is a patch, not a slide's vector."""
    path = write_features(features_file(job), numbers(1), [(0, 0)])
    assert (layout(path).rows, layout(path).width) == (1, 4)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "lengths differ": (
        lambda path: write_features(path, numbers(3), CORNERS[:2]),
        "has 3 features and 2 coords: it does not say which patch each is of",
    ),
    "a place twice": (
        lambda path: write_features(path, numbers(3), [(0, 0), (512, 0), (0, 0)]),
        "has the patch at x 0, y 0 2 times (1 rows more than places)",
    ),
    "a slide's vector": (
        lambda path: write_features(path, numbers(1)[0]),
        "holds one vector of the whole slide, and no patch's: milstore export slide-vectors",
    ),
    "a slide's vector with a batch axis": (
        lambda path: write_features(path, numbers(1)),
        "holds one vector of the whole slide",
    ),
    "whole numbers": (
        lambda path: write_features(path, numbers(3, dtype="i4")),
        "has features of shape (3, 4) and type int32: they must be floats (N, D)",
    ),
    "too many axes": (lambda path: write_features(path, numbers(6).reshape(2, 3, 4)), "of shape (2, 3, 4)"),
    "no numbers": (lambda path: write_features(path, numbers(3)[:, :0]), "of shape (3, 0)"),
    "NaN corners": (
        lambda path: write_features(path, numbers(3), np.asarray(CORNERS) * np.nan),
        "has coords that are NaN or infinity",
    ),
    "corners of one number": (
        lambda path: write_features(path, numbers(3), np.zeros((3, 1))),
        "has coords of shape (3, 1) and type float64: they must be numbers (N, 2), x and y",
    ),
    "a patch of no size": (
        lambda path: write_features(path, numbers(3), said=attributes("S1", patch_size_level0=0)),
        "has coords with patch_size_level0 0",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_refused_by_name(what: str, job: Path) -> None:
    """One line that names the file and what is wrong with it."""
    spoil, line = REFUSED[what]
    path = features_file(job)
    spoil(path)
    with pytest.raises(DataError) as refused:
        layout(path)
    assert str(refused.value).startswith(str(path)) and line in str(refused.value)


def test_a_file_of_another_tool_among_those_of_trident_says_what_it_holds(job: Path) -> None:
    """Files of a folder are read by one format: one of another tool is refused with what was found in it and what was expected."""
    path = features_file(job)
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["feats"], file["coords"] = np.ones((5, 8), "f2"), np.ones((5, 2), "f4")
    with pytest.raises(DataError, match=r"not of TRIDENT: it holds coords \(5, 2\), feats \(5, 8\), and not features"):
        find_format("features", "trident").layout(path)


def test_hdf5_that_no_format_knows_says_what_it_holds(tmp_path: Path) -> None:
    """What was found, and what the tools' files hold."""
    path = tmp_path / "S1.h5"
    with h5py.File(path, "w") as file:
        file["embeddings"], file["deep/er"] = np.ones((5, 8)), np.ones(2)
    assert recognised("features", [path]) == "h5"
    with pytest.raises(DataError) as refused:
        find_format("features", "h5").layout(path)
    assert "S1.h5 has no features, patch_idx; it holds deep, embeddings (5, 8), and a folder holds files of one" in str(
        refused.value
    )


def test_clam_has_no_attributes_and_milstore_has_numbers(tmp_path: Path) -> None:
    """Neither CLAM's HDF5, whose coords have no attributes, nor milstore's own, which has patch_idx, is taken for TRIDENT's."""
    trident = find_format("features", "trident")
    bare = write_features(tmp_path / "bare.h5", numbers(3), said={})
    own = write_features(tmp_path / "own.h5", numbers(3))
    with h5py.File(own, "a") as file:
        file["patch_idx"] = np.arange(3)
    assert not trident.recognises(bare) and not trident.recognises(own)
    assert recognised("features", [own]) == "h5"
    assert find_format("features", "h5").layout(own).patch_idx.tolist() == [0, 1, 2]


# --- NumPy arrays in torch's .pt --------------------------------------------------------------------------------------


def pt_file(job: Path) -> Path:
    """Where the tool puts the other form."""
    return job / JOB / "features_uni" / "S1.pt"


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
def test_an_array_in_a_pt_file_has_its_places_from_the_patches_folder(job: Path, dtype: str) -> None:
    """The rows of the array are those of patches/<slide>_patches.h5."""
    path = write_numpy_pt(pt_file(job), numbers(3, dtype=dtype))
    write_patches(job / JOB / "patches" / "S1_patches.h5")
    write_state(job, "S1")
    found = layout(path)
    assert told(found) == {**OF_40X, "half": dtype == "f2"}
    assert found.xy is not None and found.xy.tolist() == [list(each) for each in CORNERS]
    assert np.array_equal(vectors(path), numbers(3)) and vectors(path).dtype == np.dtype(dtype)


@pytest.mark.parametrize(
    "array",
    [np.asfortranarray(numbers(3)), numbers(3)[None], numbers(6)[::2] - numbers(6)[::2] + numbers(3)],
    ids=["columns first", "batch axis", "strided"],
)
def test_arrays_of_every_order_are_read_right(job: Path, array: npt.NDArray[Any]) -> None:
    """However an array lay in memory, its rows are the patches."""
    assert np.array_equal(vectors(write_numpy_pt(pt_file(job), array)), numbers(3))


def test_the_old_form_of_torch_files_is_read_too(job: Path) -> None:
    """A NumPy array in a file that torch wrote before its files were zip files."""
    path = write_numpy_pt(pt_file(job), numbers(3), _use_new_zipfile_serialization=False)
    assert np.array_equal(vectors(path), numbers(3))


def test_without_coordinates_a_row_is_a_number_and_that_is_said(job: Path) -> None:
    """No file of patches: patch_idx is the row, places are unknown, and a note says so."""
    found = layout(write_numpy_pt(pt_file(job), numbers(3)))
    assert found.patch_idx is not None and found.patch_idx.tolist() == [0, 1, 2]
    assert (found.xy, found.by_row) == (None, True)
    assert "patches are numbered by row, and their places are unknown" in found.notes[0]


def test_an_array_of_another_length_than_its_places_is_refused(job: Path) -> None:
    """Both files are named."""
    path = write_numpy_pt(pt_file(job), numbers(2))
    beside = write_patches(job / JOB / "patches" / "S1_patches.h5")
    with pytest.raises(DataError, match=r"has 2 features and .* 3 coords: they are not of the same patches") as refused:
        layout(path)
    assert str(path) in str(refused.value) and str(beside) in str(refused.value)


class Evil:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


class Disguised:
    """An array to the eye, with something else in the place of its numbers."""

    def __init__(self, *state: Any) -> None:
        self.state = (1, *state)

    def __reduce__(self) -> tuple[Any, ...]:
        made, start, _ = np.zeros(0).__reduce__()
        return made, start, self.state


def test_nothing_but_an_array_is_made_of_a_pt_file(job: Path, tmp_path: Path) -> None:
    """A file that would run something, hold objects, or claim a shape that it does not fill is refused; nothing is run."""
    trace = tmp_path / "trace"
    objects = np.array([Evil(trace), None], object)
    data = numbers(3).tobytes()
    kind = np.dtype("f4")
    hostile = {
        "runs something": np.array([[Evil(trace)]], object),
        "objects": objects,
        "numbers that are missing": Disguised((3, 400), kind, False, data),
        "a shape below nothing": Disguised((-3, -4), kind, False, data),
        "no type": Disguised((3, 4), "f4", False, data),
        "objects in the place of bytes": Disguised((3, 4), kind, False, [1, 2]),
        "texts": np.array(["a", "b"]),
        "whole numbers": np.arange(12).reshape(3, 4),
        "one number": np.float32(3),
        "a vector": numbers(1)[0],
    }
    fmt = find_format("features", "trident-pt")
    for what, thing in hostile.items():
        path = write_numpy_pt(pt_file(job).with_name(f"{what}.pt"), thing)
        with pytest.raises(DataError) as refused:
            fmt.layout(path)
        assert str(path) in str(refused.value), what
    assert not trace.exists()
    with pytest.raises(DataError, match="damaged"):
        fmt.layout(_written(pt_file(job), pickle.dumps(numbers(3))))


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_damaged_number_in_a_pt_file_is_seen(job: Path) -> None:
    """The checksum of the zip file is compared before anything is read."""
    path = write_numpy_pt(pt_file(job), numbers(3))
    data = bytearray(path.read_bytes())
    data[data.index(b"latin1") + 80] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="the checksum of its 'data"):
        find_format("features", "trident-pt").vectors(path)


def test_a_tensor_is_no_array(job: Path) -> None:
    """A tensor alone, as CLAM writes it, is not taken for TRIDENT's."""
    import torch

    path = write_numpy_pt(pt_file(job), torch.ones(3, 4))
    assert not find_format("features", "trident-pt").recognises(path)


# --- vectors of slides, and configurations ----------------------------------------------------------------------------


def test_vectors_of_slides_are_a_table(job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`milstore export slide-vectors` writes slide and vector of each file, by name."""
    folder = job / JOB / "slide_features_titan"
    write_features(folder / "S2.h5", numbers(1)[0] + 1, encoder=None)
    write_features(folder / "S1.h5", numbers(1, dtype="f2")[0], encoder=None)
    out = tmp_path / "slides.parquet"
    assert main(["export", "slide-vectors", str(folder), "-o", str(out)]) == 0
    assert pq.read_table(out).to_pylist() == [
        {"slide": "S1", "vector": [0, 0.25, 0.5, 0.75]},
        {"slide": "S2", "vector": [1, 1.25, 1.5, 1.75]},
    ]
    assert "2 slides, 4 numbers each" in capsys.readouterr().err


def test_vectors_that_are_not_of_slides_are_refused(tmp_path: Path) -> None:
    """Features of patches, vectors of differing length, NaN, and folders without any are refused by name."""
    (tmp_path / "none").mkdir()
    write_features(tmp_path / "patches" / "S1.h5", numbers(3))
    write_features(tmp_path / "longer" / "S1.h5", numbers(1)[0])
    write_features(tmp_path / "longer" / "S2.h5", numbers(1, 5)[0])
    write_features(tmp_path / "nan" / "S1.h5", numbers(1)[0] * np.nan)
    for folder, line in {
        "none": "holds no .h5 file",
        "patches": "those are of patches, which milstore ingest features takes in",
        "longer": "has 5 numbers and .* has 4",
        "nan": "holds NaN",
        "lacking": "does not exist",
    }.items():
        with pytest.raises(DataError, match=line):
            slide_vectors(tmp_path / folder)


def test_the_configuration_of_a_job_says_how_patches_were_cut(tmp_path: Path) -> None:
    """Magnification, resolution, size, overlap and encoders of a folder of patches and features."""
    (tmp_path / "_config_coords.json").write_text('{"target_magnification": 20, "patch_size": 256, "overlap": 32}')
    (tmp_path / "_config_feats_uni.json").write_text("{}")
    found = job_configuration(tmp_path)
    assert (found.target_magnification, found.mpp, found.patch_size, found.overlap, found.encoders) == (
        20, 0.5, 256, 32, ("uni",),
    )  # fmt: skip
    with pytest.raises(DataError, match=r"has no _config_coords\.json"):
        job_configuration(tmp_path / "elsewhere")


@pytest.mark.shared
def test_the_groups_own_job_folder_is_read(shared_data: Path) -> None:
    """Ten slides, 262 patches of 256 px at 0.5, in both forms; a slide of 40x has patches of 512 level-0 pixels."""
    top = shared_data / "interop" / "trident" / JOB
    found = {path.stem: layout(path) for path in sorted((top / "features_resnet-mini").glob("*.h5"))}
    assert (len(found), sum(each.rows for each in found.values())) == (10, 262)
    assert {(each.width, each.patch_px, each.mpp, each.overlap) for each in found.values()} == {(32, 256, 0.5, 0)}
    assert {slide: each.patch_size for slide, each in found.items() if each.patch_size != 256} == {
        "S23-0118_B2_HE": 512
    }
    for path in (top / "features_resnet-mini-pt").glob("*.pt"):
        assert vectors(path).shape == (found[path.stem].rows, 32) and np.isfinite(vectors(path)).all()
        assert np.array_equal(layout(path).xy, found[path.stem].xy)  # type: ignore[arg-type]
