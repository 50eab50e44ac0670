"""Classes follow the labels that are taken in, and never under the feet of runs, which speak of them by number."""

from pathlib import Path

import pytest

from milstore.errors import ConflictError
from milstore.ingest.labels import ingest_labels
from milstore.store import Store
from milstore.store.cohort import read_cohort
from tests.ingesting import contents, make_labels, new_store
from tests.making import three_without_runs


def classes(store: Store) -> list[str]:
    rows = read_cohort(store).table("classes").to_pylist()
    return [row["class_name"] for row in sorted(rows, key=lambda row: row["label"])]


def take(store: Store, file: Path, **label_map: str) -> None:
    ingest_labels(
        store,
        file,
        case_column="Case",
        label_column="Class",
        label_map={key.removeprefix("_"): name for key, name in label_map.items()},
        replace=True,
    )


def test_a_class_that_was_a_slip_goes_when_it_is_corrected(tmp_path: Path) -> None:
    """A file of all cases leaves, with --replace, no class behind that it lacks: a model would learn one too many."""
    store = new_store(tmp_path)
    file = make_labels(tmp_path / "labels.csv")
    take(store, file, _1="bening", _3="high-grade")
    assert classes(store) == ["bening", "high-grade"]
    take(store, file, _1="benign", _3="high-grade")
    assert classes(store) == ["benign", "high-grade"]
    assert read_cohort(store).table("cases").select(["case_id", "label"]).to_pylist() == [
        {"case_id": "52", "label": 0},
        {"case_id": "7", "label": 1},
    ]


def test_a_class_of_other_cases_stays(tmp_path: Path) -> None:
    """A file that speaks of some cases takes no class away from the others."""
    store = new_store(tmp_path)
    take(store, make_labels(tmp_path / "labels.csv"), _1="benign", _3="high-grade")
    take(store, make_labels(tmp_path / "one.csv", "Case,Class\n52,2\n"), _2="borderline")
    assert classes(store) == ["benign", "high-grade", "borderline"]


def test_a_run_keeps_the_numbers_of_its_classes(three: Store, tmp_path: Path) -> None:
    """While there are runs a new class gets the next number, none goes, and another order is refused: theirs would be swapped."""
    file = make_labels(tmp_path / "labels.csv", "Case,Class\n2,a\n10,b\n46,b\n")
    before = contents(three)
    with pytest.raises(ConflictError) as caught:
        take(three, file, a="high-grade", b="benign")
    assert str(caught.value) == (
        "the store numbers its classes benign, high-grade, and 3 runs speak of them by these numbers: "
        "order the map like the store (it has high-grade, benign), or delete the runs"
    )
    assert contents(three) == before
    take(three, file, b="naevus", a="melanoma")
    assert classes(three) == ["benign", "high-grade", "naevus", "melanoma"]


def test_without_runs_the_order_is_free(tmp_path: Path) -> None:
    """Before there is a run, --replace numbers the classes as the map has them."""
    store = three_without_runs(tmp_path / "three")
    take(store, make_labels(tmp_path / "labels.csv", "Case,Class\n2,a\n10,b\n46,b\n"), a="high-grade", b="benign")
    assert classes(store) == ["high-grade", "benign"]
