"""Every form of run that the study's trainers wrote, against what must come out, to 1e-6."""

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from milstore.ingest.features import ingest_features
from milstore.ingest.importers import FolderOptions, ingest_run_folder
from milstore.ingest.label_map import parse_map
from milstore.ingest.labels import ingest_labels
from milstore.ingest.patches import ingest_patches
from milstore.ingest.splits import ingest_splits
from milstore.store import Store, create_store
from milstore.store.cohort import read_cohort
from milstore.store.doctor import check
from milstore.store.run_check import check_run
from milstore.store.run_reader import read_run

pytestmark = pytest.mark.shared
LEVELS = ("patch_attention", "slice_attention", "stain_attention", "effective_attention")


@pytest.fixture(scope="module")
def runs(shared_data: Path) -> Path:
    folder = shared_data / "study-runs"
    if not folder.is_dir():
        pytest.skip("the study's runs are not on this machine")
    return folder


@pytest.fixture(scope="module")
def store(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The 12 cases, 240 patches, vectors of both kinds, and the split that was loaded."""
    folder = tmp_path_factory.mktemp("study")
    store = create_store(folder / "store")
    label_map = parse_map("1=benign,3=high-grade,4=high-grade")
    ingest_labels(store, runs / "labels.csv", case_column="Case", label_column="Class", label_map=label_map)
    for name in ("images", "fall"):
        (folder / name).mkdir()
    with (runs / "patches.csv").open() as stream:
        for row in csv.DictReader(stream):
            (folder / "images" / f"{row['file']}.png").touch()
    ingest_patches(store, folder / "images", names_only=True, jobs=1)
    ingest_features(store, runs / "features_winter", encoder="winter", jobs=1)
    with np.load(runs / "fall" / "features.npz") as vectors:
        for name, vector in zip(vectors["names"], vectors["features"], strict=True):
            np.save(folder / "fall" / f"{name}.npy", vector)
    ingest_features(store, folder / "fall", encoder="fall", jobs=1)
    ingest_splits(store, [runs / "splits" / "data_splits_new_01.npz"], split_set="new")
    return store


def run_folder(runs: Path, form: str) -> Path:
    return next(path for path in (runs / form).iterdir() if (path / "attention_analysis").is_dir())


def checkpoint(runs: Path, name: str) -> Path:
    form, _, file = name.partition("/")
    return next((run_folder(runs, form) / "checkpoints").glob(file))


def compare(store: Store, run_id: str, expected: Path) -> tuple[int, set[str]]:
    """Compare every row of attention with that of its own patch, and probabilities. How many rows, of which cases."""
    slices = {
        (r["case_id"], r["stain"], r["slice_idx"]): r["slice_name"]
        for r in read_cohort(store).table("slices").to_pylist()
    }
    with expected.open() as stream:
        right = {(r["case_id"], r["stain"], r["slice"], int(r["patch_number"])): r for r in csv.DictReader(stream)}
    cases = {key[0] for key in right}
    folder = store.run_folder(run_id)
    rows = pq.read_table(folder / "attention.parquet", partitioning=None).to_pylist()
    compared = [row for row in rows if row["case_id"] in cases]
    for row in compared:
        place = (row["case_id"], row["stain"], slices[row["case_id"], row["stain"], row["slice_idx"]], row["patch_idx"])
        for level in LEVELS:
            assert row[level] == pytest.approx(float(right[place][level]), abs=1e-6), (place, level)
    return len(compared), {row["case_id"] for row in compared}


def probabilities(store: Store, run_id: str) -> dict[str, float]:
    rows = pq.read_table(store.run_folder(run_id) / "probabilities.parquet", partitioning=None).to_pylist()
    return {row["case_id"]: row["probability"] for row in rows if row["label"] == 1}


def expected_probabilities(path: Path) -> dict[str, float]:
    with path.open() as stream:
        return {row["case_id"]: float(row["prob_high_grade"]) for row in csv.DictReader(stream)}


@pytest.mark.parametrize(
    ("form", "encoder", "expected", "rows", "kind", "pct"),
    [
        ("winter", "winter", "winter", 5, "part", 5.0),
        ("winter_resumed", "winter", "winter_resumed", 6, "part", 5.0),
        ("winter_capped", "winter", "winter_capped", 4, "part", 5.0),
        ("winter_whole", "winter", "winter_whole", 153, "levels", None),
        ("fall", "fall", "fall", 5, "part", 5.0),
        ("fall_paths", "fall", "fall", 137, "part", None),
    ],
)
def test_each_table_is_on_its_own_patches(
    store: Store, runs: Path, form: str, encoder: str, expected: str, rows: int, kind: str, pct: float | None
) -> None:
    """Each form as it is, without an option but the encoder's name: every row of its table on its own patch."""
    report = ingest_run_folder(store, run_folder(runs, form), "study", FolderOptions(encoder=encoder))
    found, _ = compare(store, report.run_id, runs / expected / "expected.csv")
    assert (found, report.patches) == (rows, rows)
    right = expected_probabilities(runs / expected / "expected_cases.csv")
    said = probabilities(store, report.run_id)
    assert said == pytest.approx({case: right[case] for case in said}, abs=1e-6)
    facts = read_run(store, report.run_id)
    assert (facts["attention"], (facts.get("attention_known") or {}).get("pct")) == (kind, pct)
    assert list(check_run(store, report.run_id)) == []


@pytest.mark.parametrize(
    ("form", "encoder", "weights", "expected", "rows", "predicted"),
    [
        ("winter", "winter", "winter/*epoch4.pth", "winter/expected.csv", 238, 12),
        ("winter", "winter", "winter/best.pth", "winter/expected_best.csv", 131, 3),
        ("winter_resumed", "winter", "winter/best.pth", "winter_resumed/expected.csv", 153, 12),
        ("winter_capped", "winter", "winter/best.pth", "winter_capped/expected.csv", 91, 12),
        ("winter_whole", "winter", "winter_whole/*epoch3.pth", "winter_whole/expected.csv", 238, 12),
        ("winter_whole", "winter", "winter_whole/best.pth", "winter_whole/expected_best.csv", 153, 4),
        ("fall", "fall", "fall/*epoch3.pth", "fall/expected.csv", 239, 12),
        ("fall_paths", "fall", "fall/*epoch3.pth", "fall/expected.csv", 239, 12),
        ("fall_capped", "fall", "fall/*epoch3.pth", "fall/expected.csv", 154, 4),
    ],
)
def test_weights_give_what_the_trainers_own_model_gives(
    store: Store, runs: Path, form: str, encoder: str, weights: str, expected: str, rows: int, predicted: int
) -> None:
    """Each checkpoint on its features: the whole attention of every case that may be taken from it, to 1e-6.

    Where weights are not those of the predictions (best.pth, a random cap) only the cases that were predicted go in, with
    the run's own probabilities.
    """
    options = FolderOptions(
        encoder=encoder, weights=checkpoint(runs, weights), experiment=f"w-{form.replace('_', '-')}"
    )
    report = ingest_run_folder(store, run_folder(runs, form), "study", options)
    found, cases = compare(store, report.run_id, runs / expected)
    right = expected_probabilities(
        (runs / expected).with_name(Path(expected).name.replace("expected", "expected_cases"))
    )
    said = probabilities(store, report.run_id)
    assert (found, len(said)) == (rows, predicted)
    lines = "\n".join(report.lines())
    if predicted == 12:
        there = said.keys() & right.keys()
        assert {case: said[case] for case in there} == pytest.approx({case: right[case] for case in there}, abs=1e-6)
        assert cases == set(right)
        assert "predictions: the run's own, which the weights give to" in lines
    else:
        # fall_capped is compared with the whole case, as no file has what it saw.
        off = max(abs(said[case] - right[case]) for case in said)
        assert f"weights and predictions disagree, by up to {off:.3g} in a probability" in lines


def test_a_capped_fall_run_goes_in_without_attention(store: Store, runs: Path) -> None:
    """What was shuffled and capped by chance is on no patch: predictions alone, and that is said."""
    report = ingest_run_folder(store, run_folder(runs, "fall_capped"), "study", FolderOptions(encoder="fall"))
    assert (report.cases, report.patches) == (4, 0)
    assert read_run(store, report.run_id)["attention"] == "none"
    assert "its positions are of a shuffle, and of no file" in "\n".join(report.lines())
    assert check(store) == []
