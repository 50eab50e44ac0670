"""`entropy`: how sparse attention is, and at which level."""

from math import log
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import entropy

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.store import Store
from tests.attended import frame, random_store
from tests.drawing import drawn, subtitle_of


def test_entropies_of_three_cases(three: Store) -> None:
    """Added up by hand; sorted by error; a level with one to choose from has no ratio."""
    rows = ask(three, "entropy").records()
    assert [r["case_id"] for r in rows] == ["10", "46", "2"]
    ten, only, two = rows
    # 46: one slice of patches 1, 2, 1 quarters: ln 4 - (2 ln 2) / 4, and 1 / (1/16 + 1/4 + 1/16) effective patches.
    level = log(4) - log(2) / 2
    assert only == {
        "case_id": "46", "true_class": "benign", "outcome": "right", "error": pytest.approx(0.2), "n_patches": 3,
        "effective_patches": pytest.approx(8 / 3), "entropy": pytest.approx(level), "max_entropy": pytest.approx(log(3)),
        "stain_entropy": 0.0, "slice_entropy": 0.0, "patch_entropy": pytest.approx(level),
        "ratio": pytest.approx(level / log(3)), "stain_ratio": None, "slice_ratio": None,
        "patch_ratio": pytest.approx(level / log(3)), "subset": "test", "run_id": "exp-s3-0",
    }  # fmt: skip
    # 2: two stains of half the attention each; patches 4, 3, 2, 1 tenths in one and even in the other.
    tenths = -sum(p * log(p) for p in (0.4, 0.3, 0.2, 0.1))
    assert (two["stain_entropy"], two["stain_ratio"]) == pytest.approx((log(2), 1))
    assert (two["slice_entropy"], two["slice_ratio"]) == (0.0, None)
    assert two["patch_entropy"] == pytest.approx(tenths / 2 + log(2) / 2, abs=1e-6)
    assert two["patch_ratio"] == pytest.approx((tenths + log(2)) / (log(4) + log(2)), abs=1e-6)
    assert two["effective_patches"] == pytest.approx(400 / (16 + 9 + 4 + 1 + 25 + 25), abs=1e-5)
    # 10: stains 18 and 22 fortieths, slices of the first 12 and 6 eighteenths.
    stain, of_h_e = (-sum(p * log(p) for p in parts) for parts in ((0.45, 0.55), (2 / 3, 1 / 3)))
    assert ten["stain_entropy"] == pytest.approx(stain, abs=1e-6)
    assert ten["slice_entropy"] == pytest.approx(0.45 * of_h_e, abs=1e-6)
    assert ten["slice_ratio"] == pytest.approx(of_h_e / log(2), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_parts_add_up_and_agree_with_scipy(tmp_path: Path, seed: int) -> None:
    """The chain rule holds for every case, and each number is scipy's; a ratio is null where the most there could be is 0."""
    store = random_store(tmp_path / "random", seed)
    attention = frame(store, "select * from attention")
    found = ask(store, "entropy", Choice(subset="all")).df()
    assert len(found) == 24
    for row in found.itertuples():
        of_case = attention[(attention.run_id == row.run_id) & (attention.case_id == row.case_id)]
        p = of_case.effective_attention.to_numpy(float)
        assert row.entropy == pytest.approx(entropy(p), abs=1e-6)
        assert row.entropy == pytest.approx(row.stain_entropy + row.slice_entropy + row.patch_entropy, abs=1e-5)
        assert row.effective_patches == pytest.approx(p.sum() ** 2 / (p**2).sum())
        assert row.max_entropy == pytest.approx(np.log(len(p)))
        stains = of_case.groupby("stain").stain_attention.first()
        slices = of_case.groupby(["stain", "slice_idx"]).slice_attention.first()
        by_stain = {stain: slices[stain].to_numpy(float) for stain in stains.index}
        assert row.stain_entropy == pytest.approx(entropy(stains), abs=1e-6)
        assert row.slice_entropy == pytest.approx(sum(w * entropy(by_stain[s]) for s, w in stains.items()), abs=1e-5)
        most = sum(w * np.log(len(by_stain[s])) for s, w in stains.items())
        ratios = {"stain_ratio": np.log(len(stains)) == 0, "slice_ratio": most == 0, "ratio": len(p) == 1}
        for name, undefined in ratios.items():
            assert np.isnan(getattr(row, name)) == undefined
        if most > 0:
            assert row.slice_ratio == pytest.approx(min(1, row.slice_entropy / most), abs=1e-5)


def test_its_chart(three: Store) -> None:
    """A bar a case, the sparsest first, and a dot a case for each level; a level with one to choose from has none."""
    spec = drawn(three, "entropy")
    rows = [row for rows in spec["datasets"].values() for row in rows]
    # 2: 4 * 100 / 80 = 5 of 6 patches alike; 10: 1600 / 264 = 6.06 of 10; 46: 8/3 of 3.
    assert [row["row"] for row in rows if "row" in row] == [
        "10 (benign, wrong)", "2 (high-grade, right)", "46 (benign, right)",
    ]  # fmt: skip
    dots = {(row["case_id"], row["group"]) for row in rows if "group" in row and "case_id" in row}
    levels = {"10": ("stain", "slice", "patch"), "2": ("stain", "patch"), "46": ("patch",)}
    assert dots == {(case, level) for case, of in levels.items() for level in ("all levels", *of)}
    assert "high-grade: as concentrated as on 5 of 6 patches alike (medians)" in subtitle_of(spec)


def test_its_chart_of_several_runs(three: Store) -> None:
    """A case that several runs predicted has a row for each, told apart by the run."""
    spec = drawn(three, "entropy", Choice(subset="all"))
    assert len({row["row"] for rows in spec["datasets"].values() for row in rows if "row" in row}) == 9
