"""Runs that know a part of their attention, and runs that contradict the store."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

import milstore as face
from milstore import queries
from milstore.api import OpenStore
from milstore.charts import charted
from milstore.errors import DataError, UsageError
from milstore.ingest.runs import ingest_run, parse_columns
from milstore.report.plan import CLOSING, OPENING
from milstore.store import Store
from milstore.store.attention import check_known, checked_attention
from milstore.store.doctor import check
from milstore.store.run_reader import read_run, run_ids
from tests import crossing
from tests.ingesting import contents, milstore
from tests.making import THREE_LABELS, THREE_PATCHES, MadeOnce, Patch, levels, make_splits, make_store
from tests.reporting import brief

EVERY: dict[Patch, float] = {patch: 1.0 + (7 * i) % 19 for i, patch in enumerate(THREE_PATCHES)}
"""A weight a patch, no two of them the same."""
PREDICTIONS = "case_id,p_0,p_1\n2,0.25,0.75\n10,0.25,0.75\n46,0.75,0.25\n"
WHOLE = {
    "attention-distribution",
    "compare-runs",
    "entropy",
    "level-correlation",
    "patch-profile",
    "regions",
    "selected-slices",
    "slice-attention",
    "slice-map",
    "slice-pattern",
    "stain-attention",
}
"""Sums, means and ranks from below are of all patches: of a part nobody can say them."""
TOP = {
    "concentration",
    "misclassified",
    "near-threshold",
    "patch-gallery",
    "slice-spread",
    "top-patch-list",
    "top-patches",
}
"""What the most attended patches answer."""
NEITHER = {
    "confusion",
    "coverage",
    "deviation",
    "experiments",
    "loss-curves",
    "patch-count",
    "provenance",
    "recall",
    "roc",
    "split-balance",
}
"""What attention has no part in."""
SAID = "of run {} only the top 40 % is known"


@MadeOnce
def split_store(folder: Path) -> Store:
    """The three cases, all of them in test."""
    store = make_store(folder, THREE_LABELS, THREE_PATCHES)
    make_splits(store, "s", [{"train": [], "val": [], "test": ["2", "10", "46"]}])
    return store


def top_rows(pct: float) -> pa.Table:
    """The attention of each case's top patches, as whole as that of all gives it."""
    rows = levels(EVERY).to_pylist()
    kept: list[dict[str, Any]] = []
    for case in THREE_LABELS:
        of_case = sorted((r for r in rows if r["case_id"] == case), key=lambda r: -r["effective_attention"])
        kept += of_case[: max(1, int(len(of_case) * pct / 100))]
    return pa.Table.from_pylist(kept)


def save(folder: Path, attention: pa.Table, predictions: str = PREDICTIONS) -> tuple[Path, Path]:
    (folder / "p.csv").write_text(predictions)
    pacsv.write_csv(attention.drop_columns(["effective_attention"]), folder / "a.csv")
    return folder / "p.csv", folder / "a.csv"


def take(store: Store, folder: Path, pct: float, experiment: str = "top") -> str:
    files = save(folder, top_rows(pct))
    how = {"slices_by": "number", "patches_by": "number"}
    return ingest_run(store, *files, experiment=experiment, split=1, top_pct=pct, **how).run_id  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> tuple[OpenStore, str, str]:
    """A store with a run of the top 40 % and one of all patches, and their ids."""
    folder = tmp_path_factory.mktemp("part")
    store = split_store(folder / "store")
    files = save(folder, levels(EVERY))
    whole = ingest_run(store, *files, experiment="all", split=1, slices_by="number", patches_by="number").run_id
    return face.open(store.root), take(store, folder, 40), whole


def test_a_table_of_the_top_is_stored_as_such(tmp_path: Path) -> None:
    """Weights and ranks are those given, the count of patches is the store's, and no level has to sum to 1."""
    store = split_store(tmp_path / "store")
    run_id = take(store, tmp_path, 40)
    rows = pq.read_table(store.run_folder(run_id) / "attention.parquet", partitioning=None).to_pylist()
    assert [(r["case_id"], r["stain"], r["slice_idx"], r["patch_idx"], r["rank"], r["n_patches"]) for r in rows] == [
        (c, s, i, p, rank, n)
        for c, n, k in (("10", 10, 4), ("2", 6, 2), ("46", 3, 1))
        for rank, (_, s, i, p) in enumerate(
            sorted((patch for patch in EVERY if patch[0] == c), key=lambda patch: -EVERY[patch])[:k], start=1
        )
    ]
    facts = read_run(store, run_id)
    assert (facts["attention"], facts["attention_known"]) == ("part", {"pct": 40.0, "said": "the top 40 %"})
    coverage = pq.read_table(store.run_folder(run_id) / "coverage.parquet", partitioning=None).to_pylist()
    assert {(r["case_id"], r["stain"], r["slice_idx"]): r["evaluated"] for r in coverage} == {
        ("2", "h&e", 0): 4, ("2", "melan", 0): 2, ("10", "h&e", 0): 3, ("10", "h&e", 1): 3, ("10", "sox10", 0): 4,
        ("46", "h&e", 0): 3,
    }  # fmt: skip
    assert check(store) == []


def test_every_question_was_decided() -> None:
    """Each question says in its header whether it needs all attention, the top of it, or no particular part."""
    said = {name: queries.load(name).needs for name in queries.available()}
    assert said == {**dict.fromkeys(WHOLE, "whole"), **dict.fromkeys(TOP, "top"), **dict.fromkeys(NEITHER, "")}


@pytest.mark.parametrize("name", sorted(WHOLE | TOP | NEITHER))
def test_what_a_part_cannot_answer_is_refused_by_name(part: tuple[OpenStore, str, str], name: str) -> None:
    """What needs all patches is refused with its name and the run's; all else answers, and says what is known."""
    opened, run_id, _ = part
    asked: dict[str, Any] = {"case": "10"} if queries.load(name).wants_case else {}
    asked |= {"pct": 40} if any(each.name == "pct" for each in queries.load(name).parameters) else {}
    if name in WHOLE:
        with pytest.raises(UsageError) as caught:
            opened.query(name, experiment="top", **asked)
        assert str(caught.value).startswith(f"{name} needs the attention of every patch, and {SAID.format(run_id)}: ")
        return
    answer = opened.query(name, experiment="top", **asked)
    answer.records()
    assert (SAID.format(run_id) in answer.notes) == (name in TOP)
    # The charts of what attention has no part in are those of any run: make torture draws them too.
    if name in charted() and (name in TOP or crossing.WHOLE):
        assert opened.plot(name, experiment="top", **asked).to_dict()["$schema"]


@pytest.mark.parametrize("name", ["top-patches", "slice-spread", "misclassified", "near-threshold"])
def test_the_top_answers_as_the_whole_does(part: tuple[OpenStore, str, str], name: str) -> None:
    """As far as a part goes, its answers are those of all attention, row by row."""
    opened, _, _ = part
    asked = {"pct": 40, **({"margin": 0.5} if name == "near-threshold" else {})}
    some, every = (opened.query(name, experiment=experiment, **asked).records() for experiment in ("top", "all"))
    own = {"run_id"}
    plain = [[{k: v for k, v in row.items() if k not in own} for row in rows] for rows in (some, every)]
    assert plain[0] == plain[1]
    assert some


def test_the_list_has_the_patches_that_are_known(part: tuple[OpenStore, str, str]) -> None:
    """A list of 8 has the 4 that are known, with their ranks; from below there is nothing to list."""
    opened, *_ = part
    answer = opened.query("top-patch-list", experiment="top", case="10", n=8)
    every = opened.query("top-patch-list", experiment="all", case="10", n=4)
    columns = ("rank", "stain", "slice_idx", "patch_idx", "effective_attention", "case_patches")
    assert [[r[c] for c in columns] for r in answer.records()] == [[r[c] for c in columns] for r in every.records()]
    with pytest.raises(UsageError, match="top-patch-list needs the least attended patches, and of run"):
        opened.query("top-patch-list", experiment="top", end="bottom")


def test_a_sum_that_is_not_known_is_left_out(part: tuple[OpenStore, str, str]) -> None:
    """Concentration has the tops that are wholly known: of case 2 the first two, of case 46 the first alone."""
    opened, _, _ = part
    some, every = (
        {
            (r["top"], r["case_id"]): r["attention"]
            for r in opened.query("concentration", experiment=name, pct=40).records()
        }
        for name in ("top", "all")
    )
    known = {"10": 4, "2": 2, "46": 1}
    assert some == {
        key: value
        for key, value in every.items()
        if key[0] == "top 40%" or int(key[0].removeprefix("top ")) <= known[key[1]]
    }


def test_a_larger_top_than_is_known_is_refused(part: tuple[OpenStore, str, str]) -> None:
    """A top of 50 % of what is known to 40 % would be too small: refused, with what can be asked."""
    opened, run_id, _ = part
    with pytest.raises(UsageError) as caught:
        opened.query("top-patches", experiment="top", pct=50)
    assert str(caught.value) == f"top-patches needs the top 50 %, and {SAID.format(run_id)}: give --pct 40 or less"
    with pytest.raises(UsageError, match="top-patches --top counts the most attended patches"):
        opened.query("top-patches", experiment="top", top=3)
    # These can do without attention, and then do.
    answer = opened.query("near-threshold", experiment="top", pct=50, margin=0.5)
    assert [row["concentration"] for row in answer.records()] == [None] * 3
    assert f"{SAID.format(run_id)}: what would be taken from attention is left out" in answer.notes


def test_a_question_of_a_group_says_what_is_known(part: tuple[OpenStore, str, str]) -> None:
    """A group's own file that reads attention gets the note, and may ask for the whole."""
    opened, run_id, _ = part
    opened.store.queries.mkdir(exist_ok=True)
    head = "-- Rows of attention.\n-- grain: one row\n"
    sql = "-- columns: n\nselect count(*) as n from attention join selection using (run_id, case_id) order by n\n"
    (opened.store.queries / "mine.sql").write_text(head + sql)
    (opened.store.queries / "mine-whole.sql").write_text(f"{head}-- needs: whole\n{sql}")
    (opened.store.queries / "mine-odd.sql").write_text(f"{head}-- needs: much\n{sql}")
    answer = opened.query("mine", experiment="top")
    assert (answer.records(), answer.notes) == ([{"n": 7}], [SAID.format(run_id)])
    with pytest.raises(UsageError, match="mine-whole needs the attention of every patch"):
        opened.query("mine-whole", experiment="top")
    with pytest.raises(DataError, match=r"mine-odd\.sql needs 'much': write whole or top"):
        opened.query("mine-odd", experiment="top")


def test_a_report_of_a_part_is_written(part: tuple[OpenStore, str, str], tmp_path: Path) -> None:
    """A page about a run of a part tells what it can, and why not of what it cannot; also where a case was called wrong."""
    opened, _, _ = part
    # Charts of such a run are drawn above, and all questions asked.
    with brief(*(each.anchor for each in (*OPENING, *CLOSING)), charts=False):
        text = opened.report(tmp_path / "report.html", experiment="top").read_text()
    assert "needs the attention of every patch" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.slice(1), "rows of attention, and the top 40 % of its"),
        (lambda rows: pa.concat_tables([rows, rows.slice(0, 1)]), "keys more than once"),
        (
            lambda rows: rows.set_column(6, "patch_attention", [[1.0] * rows.num_rows]),
            "patch_attention sums to 2.000000 over a slice of case",
        ),
    ],
)
def test_a_part_that_cannot_be_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    """Fewer rows than the top has, a patch twice, or sums above 1: refused, and nothing is stored."""
    store = split_store(tmp_path / "store")
    before = contents(store)
    files = save(tmp_path, change(top_rows(40)))
    with pytest.raises(DataError, match=message):
        ingest_run(store, *files, experiment="top", split=1, top_pct=40, slices_by="number", patches_by="number")
    with pytest.raises(UsageError, match="--top-pct is 0: it must be above 0, and at most 100"):
        ingest_run(store, *files, experiment="top", split=1, top_pct=0)
    assert contents(store) == before


def test_what_is_said_of_a_part_is_checked() -> None:
    """A run cannot say that it knows a part and have none, or all; nor more rows than patches."""
    rows = levels({("2", "h&e", 0, 0): 1.0})
    with pytest.raises(DataError, match="knows attention of a part of its patches, and that it has levels of it"):
        check_known({"pct": 5}, "levels", checked_attention(rows, {"2": 3}))
    with pytest.raises(DataError, match="the top 500 %: that is no share"):
        check_known({"pct": 500}, "part", checked_attention(rows, {"2": 3}))
    with pytest.raises(DataError, match="case '2' has 1 rows of attention, and 0 patches were evaluated"):
        checked_attention(rows, {})


def test_a_run_may_come_without_attention(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Predictions alone are a run, of which questions about attention are refused."""
    store = split_store(tmp_path / "store")
    predictions, _ = save(tmp_path, levels(EVERY))
    assert milstore(store, "ingest", "run", predictions, "--experiment", "e", "--split", "1") == 0
    (run_id,) = run_ids(store)
    assert read_run(store, run_id)["attention"] == "none"
    assert milstore(store, "query", "recall") == 0
    capsys.readouterr()
    assert milstore(store, "query", "top-patches") == 2
    assert "has no attention" in capsys.readouterr().err
    assert check(store) == []


# --- contradictions ---------------------------------------------------------------------------------------------------

LABELLED = "case_id,p_0,p_1,true_label\n2,0.25,0.75,{}\n10,0.25,0.75,{}\n46,0.75,0.25,{}\n"


def test_labels_that_differ_are_refused_with_all_cases(tmp_path: Path) -> None:
    """Every case whose label is another is named; where all are turned round, that is said."""
    store = split_store(tmp_path / "store")
    before = contents(store)
    for labels, words in (
        ((1, 1, 1), "of 2 of its 3 cases: 10 (label 1, the store label 0), 46 (label 1, the store label 0). In the store 0 is benign, 1 is high-grade. Correct"),
        ((0, 1, 1), "of 3 of its 3 cases: 2 (label 0, the store label 1), 10 (label 1, the store label 0), 46 (label 1, the store label 0). All are turned round"),
    ):  # fmt: skip
        files = save(tmp_path, levels(EVERY), LABELLED.format(*labels))
        with pytest.raises(DataError) as caught:
            ingest_run(store, *files, experiment="e", split=1, slices_by="number", patches_by="number")
        assert words in str(caught.value)
        assert str(caught.value).endswith("or keep the run's own by --labels-of-run")
    assert contents(store) == before


def test_a_run_may_keep_its_labels_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --labels-of-run right and wrong are by the run's labels, and each answer says it, whatever is asked."""
    store = split_store(tmp_path / "store")
    files = save(tmp_path, levels(EVERY), LABELLED.format(1, 1, 0))
    words = ("ingest", "run", files[0], "--attention", files[1], "--experiment", "e", "--split", "1")
    words += ("--slices-by", "number", "--patches-by", "number")
    assert milstore(store, *words) == 2
    assert milstore(store, *words, "--labels-of-run") == 0
    assert "it keeps its own labels, which the store contradicts, of 1 case" in capsys.readouterr().err
    (run_id,) = run_ids(store)
    said = (
        f"run {run_id} keeps its own labels, and the store has others of 1 of its cases (10): true class, right and wrong "
        "are by the run's"
    )
    opened = face.open(store.root)
    # By the store's labels case 10 would be wrong.
    assert [r["outcome"] for r in opened.query("deviation").records()] == ["right"] * 3
    for name in queries.available():
        asked: dict[str, Any] = {"case": "10"} if queries.load(name).wants_case else {}
        try:
            assert said in opened.query(name, **asked).notes, name
        except UsageError as error:
            assert name == "compare-runs", error
    assert [finding.kind for finding in check(store)] == ["note"]


def test_subsets_that_differ_are_refused_with_all_cases(tmp_path: Path) -> None:
    """Every case that the split has elsewhere is named."""
    store = split_store(tmp_path / "store")
    subsets = "case_id,p_0,p_1,subset\n2,0.25,0.75,val\n10,0.25,0.75,train\n46,0.75,0.25,test\n"
    files = save(tmp_path, levels(EVERY), subsets)
    with pytest.raises(DataError) as caught:
        ingest_run(store, *files, experiment="e", split=1)
    assert "case 2 in val, and the split has it in test, case 10 in train, and the split has it in test" in str(
        caught.value
    )


# --- columns of others ------------------------------------------------------------------------------------------------


def test_tables_of_others_go_in_by_their_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--columns says what their columns are called here; the run is the one that our names give."""
    store = split_store(tmp_path / "store")
    ours = save(tmp_path, levels(EVERY))
    how = ("--split", "1", "--slices-by", "number", "--patches-by", "number")
    assert milstore(store, "ingest", "run", ours[0], "--attention", ours[1], "--experiment", "ours", *how) == 0
    other = tmp_path / "other"
    other.mkdir()
    renamed = {"case_id": "patient", "p_0": "low", "p_1": "high", "patch_attention": "w", "stain": "marker"}
    for file in ours:
        header, _, rest = file.read_text().replace('"', "").partition("\n")
        names = [renamed.get(name, name) for name in header.split(",")]
        (other / file.name).write_text(",".join(names) + "\n" + rest)
    columns = ",".join(f"{theirs}={name}" for name, theirs in renamed.items())
    words = ("ingest", "run", other / "p.csv", "--attention", other / "a.csv", "--experiment", "theirs", *how)
    assert milstore(store, *words, "--columns", columns) == 0
    first, second = (store.run_folder(run_id) for run_id in run_ids(store))
    for name in ("attention", "predictions", "probabilities", "coverage"):
        assert pq.read_table(first / f"{name}.parquet", partitioning=None).equals(
            pq.read_table(second / f"{name}.parquet", partitioning=None)
        ), name
    capsys.readouterr()
    for wrong, message in (
        ("patient", "cannot be read: write theirs=ours,…"),
        ("patient=case", "no table of a run has a column 'case': did you mean case_id?"),
        ("a=case_id,b=case_id", "names case_id twice"),
        (f"{columns},nobody=x", "have no column nobody"),
    ):
        assert milstore(store, *words, "--columns", wrong) == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1


def test_a_column_that_has_our_name_and_is_another_gives_way(tmp_path: Path) -> None:
    """Where a table has a column of our name that means something else, the user's word counts."""
    store = split_store(tmp_path / "store")
    text = "row,case_id,patient,prob_benign,prob_high_grade\n0,a,2,0.25,0.75\n1,b,10,0.25,0.75\n2,c,46,0.75,0.25\n"
    (tmp_path / "p.csv").write_text(text)
    run = ingest_run(store, tmp_path / "p.csv", experiment="e", split=1, columns=parse_columns("patient=case_id"))
    rows = pq.read_table(store.run_folder(run.run_id) / "predictions.parquet", partitioning=None).to_pylist()
    assert [(row["case_id"], row["p_true"]) for row in rows] == [("10", 0.25), ("2", 0.75), ("46", 0.75)]
