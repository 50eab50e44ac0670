"""Files laid out as one that was understood: the short way to their numbers says what the long one says."""

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings

from milstore.errors import DataError
from milstore.formats import pieces, vectors
from milstore.formats.pt import vector_from_pt
from milstore.formats.pt_plain import PlainFile, plain_file
from milstore.ingest.features import ingest_features
from milstore.store.cohort import read_cohort
from milstore.store.features import open_features
from milstore.store.pack_matrix import PackTarget
from milstore.workers import Crew, mapped
from tests.ingesting import make_vectors, new_store
from tests.spoiling import tensor
from tests.test_ingest_fuzz import CHANGES, damaged

WIDTH = 40
GOOD = tensor(torch.arange(float(WIDTH)))


def understood(data: bytes) -> PlainFile:
    plain = plain_file(data)
    assert plain is not None
    return plain


def is_like(plain: PlainFile, data: bytes) -> bool:
    """What `pieces` asks of a file that it has read."""
    numbers = slice(plain.start, plain.start + plain.n_bytes)
    frame = data[: numbers.start] + data[numbers.stop :]
    return len(data) == plain.size and plain.is_like(frame, memoryview(data)[numbers])


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES)
@example(changes=[("set", understood(GOOD).start, 1)])
@example(changes=[("set", GOOD.index(b"FloatStorage"), ord("H"))])
@example(changes=[("set", GOOD.rindex(b"PK\1\2") + 1, 0)])
def test_what_is_taken_for_alike_is_read_alike(changes: list[tuple[str, int, int]]) -> None:
    """Whatever bytes change, a file that passes is a plain file whose numbers lie where they are looked for."""
    plain, data = understood(GOOD), damaged(GOOD, changes)
    if is_like(plain, data):
        found = np.frombuffer(data, plain.dtype, plain.length, plain.start)
        assert vector_from_pt(data, "x").tobytes() == found.tobytes()
    else:
        assert data != GOOD


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        (tensor(torch.arange(float(WIDTH)) + 1), True),
        (tensor(torch.arange(float(WIDTH)).half()), False),
        (tensor(torch.arange(float(WIDTH)).double()), False),
        (tensor(torch.arange(float(WIDTH)).int()), False),
        (tensor(torch.arange(float(WIDTH + 1))), False),
        (tensor({"a": torch.arange(float(WIDTH))}), False),
        (GOOD[:-1], False),
    ],
)
def test_only_the_same_form_is_alike(other: bytes, alike: bool) -> None:
    """Other numbers are alike; another type, another length or a cut file is not."""
    assert is_like(understood(GOOD), other) == alike


def test_a_machine_of_the_other_byte_order_is_not_alike() -> None:
    """Such a file says so in front of its numbers, and its numbers would be read wrongly."""
    foreign = GOOD.replace(b"little", b"big   ", 1)
    assert len(foreign) == len(GOOD)
    assert not is_like(understood(GOOD), foreign)


@pytest.fixture
def target(tmp_path: Path) -> PackTarget:
    (tmp_path / "matrix").touch()
    return PackTarget(str(tmp_path / "matrix"), 0, WIDTH, "float32")


def save(folder: Path, values: dict[str, torch.Tensor]) -> list[str]:
    for name, value in values.items():
        torch.save(value, folder / f"{name}.pt")
    return [f"{name}.pt" for name in values]


def packed(folder: Path, files: list[str], target: PackTarget) -> np.ndarray:
    assert pieces.pack_piece(pieces.Piece(str(folder), files, 0, files[0], target))
    return np.fromfile(target.path, target.dtype).reshape(-1, WIDTH)


def test_files_of_all_forms_side_by_side_reach_their_rows(tmp_path: Path, target: PackTarget) -> None:
    """Plain files, renamed ones, wider ones and dicts between each other: each row is that file's vector."""
    rng = np.random.default_rng(0)
    expected = rng.normal(size=(12, WIDTH)).astype(np.float32)
    values = {f"f{i:02}": torch.from_numpy(row) for i, row in enumerate(expected)}
    values["f03"] = {"feature": values["f03"]}  # type: ignore[assignment]
    values["f05"] = values["f05"].double()
    files = save(tmp_path, values)
    # Its folder inside has another length of name, so that nothing lies where it does in the others.
    torch.save(values["f07"], tmp_path / "a_longer_name.pt")
    (tmp_path / "a_longer_name.pt").rename(tmp_path / "f07.pt")
    assert packed(tmp_path, files, target).tobytes() == expected.tobytes()


def test_files_alike_are_read_once(tmp_path: Path, target: PackTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of files of one form only the first takes the long way."""
    files = save(tmp_path, {f"f{i}": torch.full((WIDTH,), float(i)) for i in range(5)})
    read: list[str] = []
    whole = pieces._whole
    monkeypatch.setattr(pieces, "_whole", lambda file, path: (read.append(Path(path).name), whole(file, path))[1])
    assert packed(tmp_path, files, target)[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert read == ["f0.pt"]


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def nothing(descriptor: int, buffers: Sequence[memoryview]) -> int:
    raise BlockingIOError


def a_part(descriptor: int, buffers: Sequence[memoryview]) -> int:
    return os.readv(descriptor, buffers[:1])


def unknown(descriptor: int, buffers: Sequence[memoryview]) -> int:
    raise OSError(errno.EOPNOTSUPP, "this file system always waits")


@pytest.mark.parametrize("in_memory", [nothing, a_part, unknown])
def test_files_that_are_on_the_disk_are_waited_for_together(
    tmp_path: Path,
    target: PackTarget,
    monkeypatch: pytest.MonkeyPatch,
    in_memory: Callable[[int, Sequence[memoryview]], int],
) -> None:
    """Of files that are not in memory, or not wholly, each is asked for before any is waited for."""
    files = save(tmp_path, {f"f{i}": torch.full((WIDTH,), float(i)) for i in range(9)})
    preadv, happened = os.preadv, list[str]()

    def watched(descriptor: int, buffers: Sequence[memoryview], offset: int, flags: int = 0) -> int:
        if flags:
            return in_memory(descriptor, buffers)
        happened.append("wait")
        return preadv(descriptor, buffers, offset)

    monkeypatch.setattr(pieces, "_TOGETHER", 5)
    monkeypatch.setattr(os, "preadv", watched)
    monkeypatch.setattr(os, "posix_fadvise", lambda *_: happened.append("ask"))
    before = open_files()
    assert packed(tmp_path, files, target)[:, 0].tolist() == list(range(9))
    # The first file of all is not yet known to be like others.
    assert happened == ["ask"] * 5 + ["wait"] * 4 + ["ask"] * 4 + ["wait"] * 4
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
    """The short way hides nothing: the error is that of the long one."""
    files = save(tmp_path, {f"f{i}": torch.full((WIDTH,), float(i)) for i in range(5)})
    spoil(tmp_path / "f3.pt")
    before = open_files()
    with pytest.raises(DataError, match=message):
        packed(tmp_path, files, target)
    assert open_files() == before


@pytest.mark.thorough
def test_a_crew_packs_what_one_process_packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes fill one pack, piece by piece, with the same bytes."""
    monkeypatch.setattr(vectors, "_FEW", 0)
    monkeypatch.setattr(vectors, "_PIECE_BYTES", 0)
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
