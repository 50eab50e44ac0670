"""Vectors in a file each, read by processes: every one reaches its row, and what is wrong with one is said."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from milstore.errors import DataError
from milstore.formats import feature_reading
from milstore.ingest import patch_file_import
from milstore.ingest.features import ingest_features
from milstore.store.cohort import read_cohort
from milstore.store.features import open_features
from milstore.store.pack_matrix import PackTarget
from milstore.workers import Crew, mapped
from tests.ingesting import make_vectors, new_store

WIDTH = 40


@pytest.fixture
def target(tmp_path: Path) -> PackTarget:
    (tmp_path / "matrix").touch()
    return PackTarget(str(tmp_path / "matrix"), 0, WIDTH, "float32")


def save(folder: Path, values: dict[str, torch.Tensor]) -> list[str]:
    for name, value in values.items():
        torch.save(value, folder / f"{name}.pt")
    return [f"{name}.pt" for name in values]


def packed(folder: Path, files: list[str], target: PackTarget) -> np.ndarray:
    assert feature_reading.pack_piece(feature_reading.Piece(str(folder), files, {"": "pt"}, 0, files[0], target))
    return np.fromfile(target.path, target.dtype).reshape(-1, WIDTH)


def test_files_of_all_forms_side_by_side_reach_their_rows(tmp_path: Path, target: PackTarget) -> None:
    """Plain files, renamed ones, wider ones and dicts between each other: each row is that file's vector."""
    rng = np.random.default_rng(0)
    expected = rng.normal(size=(12, WIDTH)).astype(np.float32)
    values = {f"f{i:02}": torch.from_numpy(row) for i, row in enumerate(expected)}
    values["f03"] = {"feature": values["f03"]}  # type: ignore[assignment]
    values["f05"] = values["f05"].double()
    files = save(tmp_path, values)
    # Called otherwise inside than outside.
    torch.save(values["f07"], tmp_path / "a_longer_name.pt")
    (tmp_path / "a_longer_name.pt").rename(tmp_path / "f07.pt")
    assert packed(tmp_path, files, target).tobytes() == expected.tobytes()


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_files_are_asked_for_together(tmp_path: Path, target: PackTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are on the disk are all asked for before any is waited for, some at a time."""
    files = save(tmp_path, {f"f{i}": torch.full((WIDTH,), float(i)) for i in range(9)})
    happened, read = list[str](), feature_reading.read_vector
    monkeypatch.setattr(feature_reading, "_TOGETHER", 5)
    monkeypatch.setattr(feature_reading, "read_vector", lambda task: (happened.append("wait"), read(task))[1])
    monkeypatch.setattr(os, "posix_fadvise", lambda *_: happened.append("ask"))
    before = open_files()
    assert packed(tmp_path, files, target)[:, 0].tolist() == list(range(9))
    assert happened == ["ask"] * 5 + ["wait"] * 5 + ["ask"] * 4 + ["wait"] * 4
    assert open_files() == before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "f3.pt is damaged"),
        (lambda path: path.write_bytes(b""), "f3.pt is empty"),
        (lambda path: path.unlink(), "f3.pt cannot be read: No such file"),
        (lambda path: torch.save(torch.zeros(WIDTH + 1), path), "f3.pt has 41 numbers and f0.pt has 40"),
        (lambda path: torch.save(torch.full((WIDTH,), torch.nan), path), "f3.pt holds NaN"),
    ],
)
def test_a_bad_file_among_good_ones_is_named(tmp_path: Path, target: PackTarget, spoil, message: str) -> None:  # type: ignore[no-untyped-def]
    """Whichever of many files it is, and nothing stays open."""
    files = save(tmp_path, {f"f{i}": torch.full((WIDTH,), float(i)) for i in range(5)})
    spoil(tmp_path / "f3.pt")
    before = open_files()
    with pytest.raises(DataError, match=message):
        packed(tmp_path, files, target)
    assert open_files() == before


def test_a_crew_packs_what_one_process_packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes fill one pack, piece by piece, with the same bytes."""
    monkeypatch.setattr(patch_file_import, "_FEW", 0)
    monkeypatch.setattr(patch_file_import, "_PIECE_BYTES", 0)
    store = new_store(tmp_path)
    names = tuple(f"case_{case}_match_1_he_patch{patch}" for case in (1, 2) for patch in range(100))
    folder = make_vectors(tmp_path / "vectors", names)
    for jobs in (1, 2):
        ingest_features(store, folder, encoder=f"jobs{jobs}", create_patches=True, jobs=jobs)
    alone, together = (open_features(store, read_cohort(store), f"jobs{jobs}") for jobs in (1, 2))
    assert alone.fingerprint == together.fingerprint
    np.save(folder / f"{names[150]}.npy", np.zeros(4, np.float32))
    with pytest.raises(DataError, match=r"2_match_1_he_patch50\.npy has 4 numbers and .* has 3"):
        ingest_features(store, folder, encoder="bad", jobs=2)


def test_a_crew_gives_outcomes_in_the_order_of_the_tasks() -> None:
    """Whoever is done first, and with more processes than tasks."""
    with Crew(3) as crew:
        assert list(crew.mapped(abs, [-5, 4, -3, 2, 1])) == [5, 4, 3, 2, 1]
        assert list(crew.mapped(abs, [])) == []
    assert list(mapped(abs, [], jobs=2)) == []
