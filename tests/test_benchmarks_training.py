"""The timings of training run, at a size that proves nothing but that; no time is asserted."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks import feeding, launched, training
from benchmarks.computing import has_onednn
from benchmarks.make_cohort import Shape, make_cohort
from benchmarks.page import put_on_page
from benchmarks.rival import Rival, from_files, in_slices, write_patch_files
from benchmarks.trainings import CONFIG
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.features import open_features
from milstore.training.data_loading import open_bags
from tests.crossing import WHOLE
from tests.forking import fork
from tests.timing_once import each_once

TOY = ["--cases", "20", "--features", "16", "--slice-patches", "4", "8", "--threads", "1", "--rounds", "1"]
SHAPE = Shape(cases=20, features=16, slice_patches=(4, 8), large_slice=24)


def trained_in_a_fork(store: Store, **asked: object) -> dict[str, float]:
    """What `launched._trained` measures, in a fork of a process that has imported what trains: that takes longest."""
    with launched.thrown_away(store) as copy:
        child = fork(copy.parent, partial(launched._measure, {"store": str(copy), **asked}))
        assert child.wait() == 0, child.text()
        found = json.loads(child.text().splitlines()[-1])
    # There it may need no memory that is not held already.
    return {**found, "peak": max(1, found["peak"])}


def test_every_part_gives_its_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part ends with a line of the table; the part for a GPU says that there is none.

    `make torture` has each process that is measured import torch anew.
    """
    each_once(monkeypatch)
    if not WHOLE:
        monkeypatch.setattr(launched, "_trained", trained_in_a_fork)
        monkeypatch.setattr(feeding, "seconds_to_import", partial(launched.seconds_to_import, "json"))
    training.main([str(tmp_path), *TOY])
    out, err = capsys.readouterr()
    rows = [line for line in out.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 16 + 2 * has_onednn() + 3 * torch.cuda.is_available()
    assert all(line.count(" | ") == 4 for line in rows)
    assert torch.cuda.is_available() or "gpu: skipped, there is no GPU here" in err


def test_the_page_keeps_its_other_parts(tmp_path: Path) -> None:
    """The training part is replaced, and nothing else; a page that lacks it gets one."""
    page = tmp_path / "performance.md"
    page.write_text("# Performance\n\n## Asking\n\nfast\n")
    for text in ("one", r"two \1"):
        put_on_page("Training", text, page)
    assert page.read_text() == (
        "# Performance\n\n## Asking\n\nfast\n\n## Training\n\n"
        "<!-- training: begin -->\ntwo \\1\n<!-- training: end -->\n"
    )


def test_the_rival_sees_the_same_cases_from_files_and_from_memory(tmp_path: Path) -> None:
    """Fed from one file a patch or from memory, the rival trains on the same numbers."""
    store = make_cohort(tmp_path / "store", SHAPE)
    bags = open_bags(open_features(store, read_cohort(store)), ["1", "2", "3"], torch.device("cpu"))
    files = write_patch_files(bags.in_order(["2", "1"]), tmp_path / "files")
    held = [(bag.case_id, in_slices(bag)) for bag in bags.in_order(["2", "1"])]
    for (case_id, slices), (from_case, from_slices) in zip(held, from_files(files), strict=True):
        assert case_id == from_case
        for (stain, feature_ND), (from_stain, from_ND) in zip(slices, from_slices, strict=True):
            assert stain == from_stain
            assert torch.equal(feature_ND, from_ND)
    losses = [
        Rival(16, replace(CONFIG, dropout=0.0), {"1": 0, "2": 1}).epoch(each) for each in (held, from_files(files))
    ]
    assert losses[0] == losses[1] > 0


def test_the_same_shape_is_the_same_cohort(tmp_path: Path) -> None:
    """Two machines time the same data, and a folder is taken as it is the second time."""
    one, other = (make_cohort(tmp_path / name, SHAPE) for name in ("one", "other"))
    assert read_cohort(one).fingerprint == read_cohort(other).fingerprint
    assert make_cohort(tmp_path / "one", SHAPE) == one
    with pytest.raises(SystemExit, match="holds a cohort of another shape"):
        make_cohort(tmp_path / "one", Shape(cases=21))


def test_a_part_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """With the parts that are; nothing is measured."""
    with pytest.raises(SystemExit) as ended:
        training.main(["--only", "epoch,speed"])
    assert ended.value.code == 2
    assert "there is no part 'speed': the parts are epoch, rival," in capsys.readouterr().err
