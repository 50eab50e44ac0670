"""The timings of storing run, at a size that proves nothing but that; no time is asserted."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from benchmarks import bare, packing, storing
from benchmarks.bare import Readers, by_fresh_processes, forget, load_checked, read_bytes, store_bytes
from benchmarks.patch_files import make_vectors, patch_names
from milstore.store import open_store
from milstore.store.run_reader import run_ids
from tests.crossing import WHOLE
from tests.timing_once import each_once

TOY = ["--cases", "20", "--patches", "400", "--vectors", "40", "--features", "8", "--rounds", "1"]


def threads_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads do what processes that are started would."""
    monkeypatch.setattr(bare, "ProcessPoolExecutor", lambda processes, mp_context: ThreadPoolExecutor(processes))
    monkeypatch.setattr(bare, "_ready", int)


def test_every_part_gives_its_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part ends with a line of the table: from files that it makes, and again from those that are there.

    `make torture` has processes read the files.
    """
    each_once(monkeypatch)
    if not WHOLE:
        threads_read(monkeypatch)
    # Each process that reads imports torch, which takes longest: one, and from memory alone.
    monkeypatch.setattr(packing, "processors", lambda: 1)
    monkeypatch.setattr(packing.Contenders, "can_forget", lambda _: False)
    for only, count in (((), 12), (("--only", "commit"), 3)):
        storing.main([str(tmp_path), *TOY, *only])
        rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][2:]
        assert len(rows) == count
        assert all(line.count(" | ") == 4 for line in rows)
    # What was stored for the timing goes, what was made for it stays.
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [
        "names-20x400",
        "runs-20x400",
        "slices-40x8",
        "vectors-40x8",
    ]
    assert run_ids(open_store(tmp_path / "runs-20x400")) == []


def test_bare_reading_reads_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds read every byte, and every number, in a process that has been started; by `make torture` in one anew too."""
    names = patch_names(2, 5)
    make_vectors(tmp_path / "vectors", names, 3)
    files = [f"{name}.pt" for name in names]
    size = sum((tmp_path / "vectors" / file).stat().st_size for file in files)
    with Readers(1) as readers:
        assert readers.read(read_bytes, str(tmp_path / "vectors"), files) == size
        assert readers.read(load_checked, str(tmp_path / "vectors"), files) == 5
        assert readers.read(partial(store_bytes, str(tmp_path), 6), str(tmp_path / "vectors"), files) == 5 * 3 * 2
        assert readers.read(forget, str(tmp_path / "vectors"), files) == 5
    if not WHOLE:
        threads_read(monkeypatch)
    assert by_fresh_processes(load_checked, 1, str(tmp_path / "vectors"), files) == 5
