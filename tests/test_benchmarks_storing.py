"""The timings of storing run, at a size that proves nothing but that; no time is asserted."""

from functools import partial
from pathlib import Path

import pytest

from benchmarks import packing, storing
from benchmarks.bare import Readers, by_fresh_processes, forget, load_checked, read_bytes, store_bytes
from benchmarks.patch_files import make_vectors, patch_names
from milstore.store import open_store
from milstore.store.run_reader import run_ids
from tests.timing_once import each_once

TOY = ["--cases", "20", "--patches", "2000", "--vectors", "60", "--features", "8", "--rounds", "1"]


@pytest.mark.slow
def test_every_part_gives_its_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part ends with a line of the table: from files that it makes, and again from those that are there."""
    each_once(monkeypatch)
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
        "names-20x2000",
        "runs-20x2000",
        "slices-60x8",
        "vectors-60x8",
    ]
    assert run_ids(open_store(tmp_path / "runs-20x2000")) == []


def test_bare_reading_reads_everything(tmp_path: Path) -> None:
    """The bounds read every byte, and every number."""
    names = patch_names(2, 5)
    make_vectors(tmp_path / "vectors", names, 3)
    files = [f"{name}.pt" for name in names]
    size = sum((tmp_path / "vectors" / file).stat().st_size for file in files)
    with Readers(1) as readers:
        assert readers.read(read_bytes, str(tmp_path / "vectors"), files) == size
        assert readers.read(load_checked, str(tmp_path / "vectors"), files) == 5
        assert readers.read(partial(store_bytes, str(tmp_path), 6), str(tmp_path / "vectors"), files) == 5 * 3 * 2
        assert by_fresh_processes(load_checked, 1, str(tmp_path / "vectors"), files) == 5
        assert readers.read(forget, str(tmp_path / "vectors"), files) == 5
