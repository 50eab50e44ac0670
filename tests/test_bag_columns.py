"""Columns of tables of bags: what counts rows or knows the label is no feature."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from milstore.errors import DataError, UsageError
from milstore.ingest.features import FeaturesReport, ingest_features
from milstore.ingest.labels import ingest_labels
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.features import open_features
from tests.ingesting import contents, make_labels, milstore, new_store

BAGS, ROWS = 8, 3
LABELS = [bag % 2 for bag in range(BAGS)]

ONE_STAIN = "the one stain of the store is called all: bags say nothing of staining"


def table(**columns: object) -> pd.DataFrame:
    """Eight bags of three rows, of two classes by turns, with two features of noise and further columns."""
    noise = np.random.default_rng(0).normal(size=(BAGS * ROWS, 2)).round(3)
    bags = np.repeat(np.arange(BAGS), ROWS)
    frame = pd.DataFrame({"bag": bags, "i": np.tile(np.arange(ROWS), BAGS), "f0": noise[:, 0], "f1": noise[:, 1]})
    return frame.assign(**columns)


def of_bags(values: object) -> np.ndarray:
    return np.repeat(np.asarray(values), ROWS)


def take(store: Store, path: Path, **options: object) -> FeaturesReport:
    given: dict[str, object] = {"encoder": "e", "bag_column": "bag", "index_column": "i", **options}
    return ingest_features(store, path, **given)  # type: ignore[arg-type]


def vectors(store: Store) -> np.ndarray:
    features = open_features(store, read_cohort(store), "e")
    return np.concatenate([features.read(str(bag)) for bag in range(BAGS)])


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_what_pandas_saves_of_an_index_is_no_feature(tmp_path: Path, ending: str) -> None:
    """A column without a name, and one that pandas calls Unnamed, are left out and named."""
    frame = table()
    frame.index = pd.Index(np.arange(len(frame)) * 7)
    path = tmp_path / f"t.{ending}"
    if ending == "csv":
        frame.to_csv(path)
        pd.read_csv(path).to_csv(path)
        told = "no feature: column 1, 'Unnamed: 0' without a name"
    else:
        frame.to_parquet(path)
        told = "no feature: '__index_level_0__' without a name"
    store = new_store(tmp_path)
    report = take(store, path)
    assert (report.n_features, report.notes) == (2, (told, ONE_STAIN))
    assert np.array_equal(vectors(store), frame[["f0", "f1"]].to_numpy(np.float32))


@pytest.mark.parametrize(
    "counter",
    [
        np.arange(BAGS * ROWS),
        np.arange(BAGS * ROWS)[::-1] + 1,
        np.random.default_rng(1).permutation(BAGS * ROWS),
        np.cumsum(np.random.default_rng(2).integers(1, 9, BAGS * ROWS)),
        np.tile(np.arange(ROWS) + 1, BAGS),
    ],
    ids=["rows", "backwards", "shuffled", "with gaps", "of each bag"],
)
def test_a_counter_of_rows_is_no_feature(tmp_path: Path, counter: np.ndarray) -> None:
    """However it counts, and by whatever name: it is left out and named."""
    table(row=counter).to_csv(tmp_path / "t.csv", index=False)
    store = new_store(tmp_path)
    report = take(store, tmp_path / "t.csv")
    assert (report.n_features, report.notes) == (2, ("no feature: 'row' counts the rows", ONE_STAIN))
    with pytest.raises(UsageError, match="--feature-column row: it counts the rows"):
        take(store, tmp_path / "t.csv", feature_columns=["row"])


def test_whole_numbers_that_count_nothing_are_features(tmp_path: Path) -> None:
    """Counts of cells, such as integers that repeat, stay."""
    table(cells=np.random.default_rng(3).integers(0, 9, BAGS * ROWS)).to_csv(tmp_path / "t.csv", index=False)
    report = take(new_store(tmp_path), tmp_path / "t.csv")
    assert (report.n_features, report.notes) == (3, (ONE_STAIN,))


KNOWING = {
    "the label itself": LABELS,
    "the label as 3 and 1": [3 - 2 * label for label in LABELS],
    "ages that do not overlap": [40 + bag + 30 * LABELS[bag] for bag in range(BAGS)],
    "codes of hospitals of one class each": [[10, 5, 12, 7][bag % 4] for bag in range(BAGS)],
}


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("known", KNOWING.values(), ids=KNOWING)
def test_a_column_that_knows_the_label_is_refused_by_name(tmp_path: Path, known: list[int], ending: str) -> None:
    """It is refused with the label in the table, and with labels that the store has; and taken where that is wanted."""
    frame = table(y=of_bags(LABELS), hint=of_bags(known))
    path = tmp_path / f"t.{ending}"
    frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path, index=False)
    store = new_store(tmp_path)
    before = contents(store)
    with pytest.raises(
        DataError, match=r"constant within each bag and tells the classes apart alone.*\('hint'\): drop it"
    ):
        take(store, path, label_column="y")
    assert contents(store) == before
    rows = "".join(f"{bag},{label}\n" for bag, label in enumerate(LABELS))
    ingest_labels(
        store, make_labels(tmp_path / "l.csv", "Case,Class\n" + rows), case_column="Case", label_column="Class"
    )
    with pytest.raises(DataError, match=r"\('y', 'hint'\): name it by --label-column y if it is the label"):
        take(store, path)
    assert take(store, path, label_column="y", feature_columns=["hint"]).n_features == 3


def test_a_forgotten_label_column_is_refused_before_any_label_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A number a bag with as few values as labels have may be the label: the options that settle it are named."""
    table(malignant=of_bags(LABELS)).to_csv(tmp_path / "t.csv", index=False)
    store = new_store(tmp_path)
    words = ["ingest", "features", tmp_path / "t.csv", "--encoder", "e", "--bag-column", "bag", "--index-column", "i"]
    assert milstore(store, *words) == 2
    said = capsys.readouterr().err
    assert "('malignant'): name it by --label-column malignant if it is the label" in said
    assert "--feature-column malignant" in said
    assert milstore(store, *words, "--feature-column", "malignant") == 0
    assert vectors(store).shape == (BAGS * ROWS, 3)


def test_a_column_of_bags_that_tells_nothing_is_a_feature(tmp_path: Path) -> None:
    """An age that overlaps over the classes is a feature like others, as is a number that differs within bags."""
    ages = [40, 41, 42, 43, 47, 46, 45, 44]
    mixed = of_bags(LABELS).astype(float)
    mixed[0] = 0.5
    table(y=of_bags(LABELS), age=of_bags(ages), mixed=mixed).to_csv(tmp_path / "t.csv", index=False)
    assert take(new_store(tmp_path), tmp_path / "t.csv", label_column="y").n_features == 4


def test_bags_of_one_row_are_not_looked_at(tmp_path: Path) -> None:
    """Where most bags have a single row every column is constant within them, and that says nothing."""
    frame = table(y=of_bags(LABELS), hint=of_bags(LABELS)).iloc[::ROWS]
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert take(new_store(tmp_path), tmp_path / "t.csv", label_column="y").n_features == 3


def test_a_feature_column_must_be_there(tmp_path: Path) -> None:
    """A name that is no column of numbers is refused with those that are."""
    table().to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(UsageError, match=r"--feature-column g: .* has the columns of numbers f0, f1"):
        take(new_store(tmp_path), tmp_path / "t.csv", feature_columns=["g"])
    with pytest.raises(UsageError, match="--feature-column go with --bag-column"):
        ingest_features(new_store(tmp_path / "b"), tmp_path, encoder="e", feature_columns=["g"])
