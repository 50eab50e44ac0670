"""`.pt` files: their checksums are compared, torch reads them in processes of its own, and nothing of them is run."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from milstore.errors import DataError
from milstore.formats.feature_reading import read_vector
from milstore.formats.registry import recognised
from milstore.ingest.features import ingest_features
from milstore.store import Store, open_store
from milstore.store.cohort import read_cohort
from milstore.store.features import open_features
from tests.ingesting import NAMES, contents, make_images, milstore, new_store
from tests.spoiling import Boom, flipped, tensor
from tests.test_ingest_features import EXPECTED, SLICES, vectors

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def store(tmp_path: Path, warm_processes: None) -> Store:
    return new_store(tmp_path)


def slices(folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """A .pt file a slice, with the vectors of `EXPECTED`."""
    folder.mkdir()
    rows = iter([1, 0, 2, 3, 4])
    for name, patch_idx in SLICES.items():
        features = torch.stack([torch.arange(row, row + 3) for row in [next(rows) for _ in patch_idx]]).to(dtype)
        numbers = torch.tensor(patch_idx)
        held = {"features": features, "patch_idx": numbers, "coords": torch.stack([numbers * 10, numbers], 1)}
        torch.save(held, folder / f"{name}.pt")
    return folder


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [(torch.float16, "float16"), (torch.bfloat16, "float32"), (torch.float32, "float32"), (torch.float64, "float32")],
)
def test_a_pt_file_a_slice(store: Store, tmp_path: Path, dtype: torch.dtype, stored: str) -> None:
    """A dict of tensors is the slice's features: rows by patch_idx in any order, coordinates kept, bfloat16 widened."""
    report = ingest_features(store, slices(tmp_path / "slices", dtype), encoder="e", create_patches=True)
    assert (vectors(store), report.dtype) == (EXPECTED, stored)
    places = read_cohort(store).table("patches").select(["patch_idx", "x", "y"]).to_pylist()
    assert [tuple(place.values()) for place in places] == [
        (3, 30, 3), (12, 120, 12), (1, 10, 1), (4, 40, 4), (4, 40, 4),
    ]  # fmt: skip


@pytest.mark.parametrize("new", [True, False])
def test_what_a_pt_file_is_of_is_seen_in_it(tmp_path: Path, new: bool) -> None:
    """A vector and a slice's dict are told apart by what the file says of them, in torch's old form too."""
    for name, value in {
        "vector": torch.ones(3),
        "dict": {"features": torch.ones(3)},
        "slice": {"features": torch.ones(2, 3), "patch_idx": torch.tensor([1, 2])},
    }.items():
        torch.save(value, tmp_path / f"{name}.pt", _use_new_zipfile_serialization=new)
    found = {name: recognised("features", [tmp_path / f"{name}.pt"]) for name in ("vector", "dict", "slice")}
    assert found == {"vector": "pt", "dict": "pt", "slice": "pt-slice"}


@pytest.mark.parametrize("size", [10, 1 << 19])
def test_checksums_are_compared(tmp_path: Path, size: int) -> None:
    """A changed bit is seen in small files, which are read at once, and in large ones, which are mapped."""
    numbers = torch.arange(float(size))
    (tmp_path / "x.pt").write_bytes(flipped(tensor(numbers), numbers.numpy().tobytes()))
    with pytest.raises(DataError, match=r"x\.pt is damaged: the checksum of its '0' does not fit, create it again"):
        read_vector((str(tmp_path), "x.pt", {"": "pt"}))


@pytest.mark.parametrize("size", [10, 1 << 19])
@pytest.mark.parametrize("new", [True, False])
def test_torchs_old_form_is_read(tmp_path: Path, size: int, new: bool) -> None:
    """Files of before torch's files were zip files are read, of any size; they have no checksum to compare."""
    numbers = torch.arange(float(size))
    torch.save(numbers, tmp_path / "x.pt", _use_new_zipfile_serialization=new)
    assert np.array_equal(read_vector((str(tmp_path), "x.pt", {"": "pt"})), numbers.numpy())


@pytest.mark.parametrize("size", [10, 1 << 19])
def test_what_would_run_is_refused(tmp_path: Path, size: int) -> None:
    """Neither form may hold more than tensors and plain values, whatever the size."""
    for new in (True, False):
        torch.save([Boom(), torch.ones(size)], tmp_path / "x.pt", _use_new_zipfile_serialization=new)
        with pytest.raises(DataError, match=r"x\.pt is damaged, or holds more than tensors: create it again"):
            read_vector((str(tmp_path), "x.pt", {"": "pt"}))


def test_what_is_compressed_inside_is_refused(tmp_path: Path) -> None:
    """torch compresses nothing: a small file cannot become a large one."""
    torch.save(torch.zeros(100), tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as old, zipfile.ZipFile(tmp_path / "x.pt", "w", 8) as new:
        for entry in old.namelist():
            new.writestr(entry, old.read(entry))
    with pytest.raises(DataError, match=r"x\.pt is compressed inside"):
        read_vector((str(tmp_path), "x.pt", {"": "pt"}))


WITHOUT_TORCH = """
import sys
from functools import partial
import milstore.workers
from milstore.cli.main import main
from tests.keeping import Kept
from tests.putting_off import put_off
put_off(True)
milstore.workers.ProcessPoolExecutor = partial(Kept, {})
for folder in sys.argv[1:]:
    words = ["ingest", "features", f"{folder}/vectors", "--encoder", "e", "--create-patches", "--jobs", "1"]
    print(main([*words, "--store", f"{folder}/store"]), "torch" in sys.modules)
"""


def test_torch_is_imported_by_others_alone(tmp_path: Path) -> None:
    """The process of `ingest features` never imports torch, whether there are .pt files or not."""
    kinds = [tmp_path / kind for kind in ("a patch", "a slice", "npy")]
    for kind in kinds:
        kind.mkdir()
        new_store(kind)
    patches, of_slices, arrays = (kind / "vectors" for kind in kinds)
    slices(of_slices)
    patches.mkdir()
    arrays.mkdir()
    for name in NAMES:
        torch.save(torch.ones(3), patches / f"{name}.pt")
        np.save(arrays / f"{name}.npy", np.ones(3, np.float32))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *kinds], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "0 False\n" * 3, done.stderr
    for kind in kinds:
        store = open_store(kind / "store")
        assert open_features(store, read_cohort(store), "e").patches.num_rows == 5


KILLED = '''
import os
from pathlib import Path


class Killed:
    """Kills the process that reads."""

    endings = ("pt",)

    def recognises(self, path):
        return True

    def vector(self, path):
        os.kill(os.getpid(), 9)
'''


def test_a_process_that_is_killed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that dies, of memory or of a crash, is one line, and the store is as it was."""
    from milstore.formats import registry

    store, folder = new_store(tmp_path), tmp_path / "vectors"
    assert milstore(store, "ingest", "patches", make_images(tmp_path / "images")) == 0
    folder.mkdir()
    (tmp_path / "killed.py").write_text(KILLED)
    name = f"{tmp_path}/killed.py:Killed"
    monkeypatch.setitem(registry.APART, name, "milstore.formats.registry")
    for each in NAMES:
        (folder / f"{each}.pt").touch()
    before = contents(store)
    with pytest.raises(DataError, match=r"a process that read files died .*: try again with fewer jobs"):
        ingest_features(store, folder, encoder="e", format=name)
    assert contents(store) == before


MEMORY = """
import sys
from pathlib import Path
from milstore.formats.feature_reading import SliceTask, pack_slice, read_index
from milstore.store.pack_matrix import PackTarget

def own():
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) << 10

path, matrix = sys.argv[1:]
index = read_index((path, "pt-slice"))
most, write = [], PackTarget.write
PackTarget.write = lambda *given: (most.append(own()), write(*given))
before = own()
done = pack_slice(SliceTask(path, "pt-slice", index, 0, PackTarget(matrix, 0, 1024, "float16")))
print(len(done.zeros), len(most), max(most) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told otherwise elsewhere")
def test_the_memory_of_a_large_file_is_bounded(tmp_path: Path) -> None:
    """The vectors of a large file are mapped and written a block at a time: no copy of them all is ever made."""
    rows = 20_000
    torch.save({"features": torch.zeros(rows, 1024).half(), "patch_idx": torch.arange(rows)}, tmp_path / "x.pt")
    (tmp_path / "matrix").touch()
    words = [sys.executable, "-c", MEMORY, str(tmp_path / "x.pt"), str(tmp_path / "matrix")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    zeros, writes, grown = map(int, done.stdout.split() or [0, 0, 0])
    assert zeros == rows and writes > 100, done.stderr
    assert (tmp_path / "matrix").stat().st_size == rows * 1024 * 2
    assert grown < 20 << 20
