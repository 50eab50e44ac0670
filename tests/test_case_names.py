"""Case names are data: whatever letters they hold, they travel from ingest to page unharmed, their accents composed."""

import csv
import io
import json
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from milstore.cli.main import main
from milstore.store import open_store
from milstore.store.doctor import check
from tests.reporting import brief

NAMES = [
    "plain", "O'Brien \"x\"", "a\nb\tc", "<b>&amp;</b>", "</script><script>window.hacked=1</script>", "../../etc/passwd",
    "/absolute", "C:\\dir", "$case; drop table cases; --", "{root} %s {0}", "[red]x[/red]", "\x1b[31mred", "*?[a]", "=1+1",
    "病例四十六", "👩🏽‍🔬🧬", "e\u0301", "\u202eright-to-left", "a" * 300, "-dash", "NULL", "nan", "a,b;c|d", "'; --",
]  # fmt: skip
STORED = {unicodedata.normalize("NFC", name) for name in NAMES}
"""The names as the store keeps them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose cases have these names, taken in and trained by command."""
    folder = tmp_path_factory.mktemp("names")
    rng = np.random.default_rng(0)
    bags = [name for name in NAMES for _ in range(4)]
    table = pa.table(
        {
            "bag": bags,
            "label": [NAMES.index(name) % 2 for name in bags],
            "n": [i % 4 for i in range(len(bags))],
            **{f"f{i}": rng.normal(size=len(bags)).astype(np.float32) for i in range(3)},
        }
    )
    pq.write_table(table, folder / "bags.parquet")
    store = ["--store", str(folder / "store")]
    table_options = ["--bag-column", "bag", "--label-column", "label", "--index-column", "n", "--encoder", "e"]
    small = ["--hidden", "4", "--attention-dim", "4", "--epochs", "1", "--min-epochs", "1", "--threads", "1"]
    for words in (
        ["init", *store],
        ["ingest", "features", str(folder / "bags.parquet"), *table_options, *store],
        ["splits", "make", "--folds", "3", *store],
        ["train", "--split", "all", *small, *store],
    ):
        assert main([*words, "--quiet"]) == 0, words
    return folder


def test_every_name_comes_back_from_every_format(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """csv, json and parquet give each case's name as the store has it, letter by letter; markdown and tables keep one row a case."""
    ask = [
        "sql",
        "select distinct case_id from out_of_fold order by case_id",
        "--store",
        str(folder / "store"),
        "--quiet",
    ]
    capsys.readouterr()
    assert main([*ask, "--format", "csv"]) == 0
    assert {row["case_id"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out, newline=""))} == STORED
    assert main([*ask, "--format", "json"]) == 0
    assert {row["case_id"] for row in json.loads(capsys.readouterr().out)} == STORED
    assert main([*ask, "--format", "parquet", "-o", str(folder / "out.parquet")]) == 0
    assert set(pq.read_table(folder / "out.parquet")["case_id"].to_pylist()) == STORED
    assert main([*ask, "--format", "markdown"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(NAMES) + 2
    assert main(ask) == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_each_name_can_be_asked_for(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--case takes the name as it is, and answers for that case alone."""
    capsys.readouterr()
    assert (
        main(
            ["query", "top-patches", f"--case={name}", "--format", "json", "--quiet", "--store", str(folder / "store")]
        )
        == 0
    )
    assert {row["case_id"] for row in json.loads(capsys.readouterr().out)} == {unicodedata.normalize("NFC", name)}


def test_nothing_left_the_store(folder: Path) -> None:
    """No name became a path: beside the store there is only what the test put there, and the doctor is content."""
    assert sorted(path.name for path in folder.iterdir() if path.name != "out.parquet") == ["bags.parquet", "store"]
    assert check(open_store(folder / "store"), young=0) == []


def test_names_are_data_in_a_page(folder: Path) -> None:
    """Nothing of a name becomes markup in a chart's page or in the report, which studies the two that are markup."""
    store = ["--store", str(folder / "store"), "--quiet"]
    assert main(["plot", "deviation", "-o", str(folder / "store" / "d.html"), *store]) == 0
    with brief():
        cases = [f"--case={name}" for name in NAMES if name.startswith("<")]
        assert main(["report", "-o", str(folder / "store" / "r.html"), *cases, *store]) == 0
    for page in ("d.html", "r.html"):
        text = (folder / "store" / page).read_text(encoding="utf-8")
        assert "<script>window.hacked" not in text
        assert "<b>&amp;</b>" not in text
        (folder / "store" / page).unlink()
