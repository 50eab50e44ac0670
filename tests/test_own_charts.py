"""A question of a group's own with its chart: examples/add_a_question.sql and .py, and files that are wrong."""

from pathlib import Path

import altair as alt
import pandas as pd
import pytest

import milstore
from docs.rooms import ROOT
from milstore.charts.own import load_chart
from milstore.charts.render import drawing
from milstore.charts.save import as_png
from milstore.charts.theme import About
from milstore.cli.main import main
from milstore.errors import UsageError
from milstore.store import Store
from tests.drawing import rows_of, subtitle_of

EXAMPLES = ROOT / "examples"
CHART = EXAMPLES / "add_a_question.py"
LEADERS = [("h&e", "right", 1), ("sox10", "wrong", 1)]
"""Case 46 has h&e alone; in case 10 sox10 has 22 of 40; in case 2 both stains have half, and none leads."""


@pytest.fixture
def asked(three: Store) -> Store:
    """The store of three cases, with the example in its `queries/`."""
    three.queries.mkdir()
    text = (EXAMPLES / "add_a_question.sql").read_text(encoding="utf-8")
    (three.queries / "leading-stains.sql").write_text(text, encoding="utf-8")
    return three


def test_the_example_is_a_command(asked: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """The file, copied into a store, answers by its own command, with its option, and in the list of questions."""
    words = ["query", "leading-stains", "--store", str(asked.root), "--format", "csv"]
    assert main(words) == 0
    assert capsys.readouterr().out == "stain,outcome,cases\nh&e,right,1\nsox10,wrong,1\n"
    assert main([*words, "--share", "0.9"]) == 0
    assert capsys.readouterr().out == "stain,outcome,cases\nh&e,right,1\n"
    assert main(["query", "--list", "--store", str(asked.root)]) == 0
    assert "Which stain leads" in capsys.readouterr().out


def test_the_example_is_drawn_by_its_chart(asked: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`milstore plot --chart FILE` draws the answer of a store's own question, with the runs that gave it."""
    path = tmp_path / "leading.html"
    words = ["plot", "leading-stains", "--store", str(asked.root), "--chart", str(CHART), "-o", str(path)]
    assert main(words) == 0
    assert capsys.readouterr().err == f"wrote {path}\n"
    assert "experiment exp, seed 0, test subsets" in path.read_text(encoding="utf-8")


def test_the_example_is_drawn_from_python(asked: Store) -> None:
    """`milstore.open(…).plot(…, chart=…)` takes a function: a bar a stain and outcome, in the stains' order and colours."""
    spec = milstore.open(asked.root).plot("leading-stains", chart=load_chart(CHART)).to_dict()
    assert [tuple(row.values()) for row in rows_of(spec)] == LEADERS
    encoding = spec["spec"]["encoding"]
    assert {name: encoding[name]["field"] for name in ("x", "y", "color")} == {
        "x": "stain",
        "y": "cases",
        "color": "stain",
    }
    assert encoding["x"]["sort"] == ["h&e", "melan", "sox10"]
    assert spec["facet"]["column"]["field"] == "outcome"
    assert subtitle_of(spec) == "experiment exp, seed 0, test subsets"


def test_the_example_is_no_blank_picture(asked: Store) -> None:
    """Its picture can be drawn, and has more on it than a frame."""
    spec = milstore.open(asked.root).plot("leading-stains", chart=load_chart(CHART)).to_dict()
    assert len(as_png(spec, 1.0)) > 5000


def test_a_chart_of_ones_own_takes_the_place_of_a_questions(three: Store) -> None:
    """Any question can be drawn so, those that come with milstore too; the function sees its columns and parameters."""
    seen: list[object] = []

    def draw(frame: pd.DataFrame, about: About) -> alt.Chart:
        seen.extend([list(frame.columns)[:2], about.values["pct"], about.stains])
        return alt.Chart(frame).mark_point().encode(x="n_patches:Q")

    drawn = milstore.open(three.root).plot("misclassified", pct=10, chart=draw)
    assert drawn.to_dict()["mark"] == {"type": "point"}
    assert seen == [["case_id", "true_class"], 10, ["h&e", "melan", "sox10"]]


def test_without_rows_nothing_is_drawn_by_it(asked: Store) -> None:
    """An answer without rows says so in words, and the function is not called."""

    def draw(frame: pd.DataFrame, about: About) -> alt.Chart:
        raise AssertionError

    spec = milstore.open(asked.root).plot("leading-stains", share=1, chart=draw).to_dict()
    assert [row["words"] for row in rows_of(spec)] == ["No row answers this: there is nothing to show."]


WRONG = {
    "1 / 0": "chart own.py: own.py cannot be imported: ZeroDivisionError: division by zero (own.py, line 1)",
    "def chart(:": "chart own.py: own.py, line 1: invalid syntax",
    "chart = 1": "chart own.py: it defines no function chart(frame, about)",
    "def chart(frame, about):\n    return frame['stian']": (
        "the chart cannot be drawn: KeyError: 'stian' (own.py, line 2)"
    ),
    "def chart(frame, about):\n    return frame": (
        "the chart cannot be drawn: chart(frame, about) gave DataFrame, no Altair chart"
    ),
    "import altair\n\ndef chart(frame, about):\n    return altair.Chart(frame).mark_bar().encode(x='nothing')": (
        'the chart cannot be drawn: ValueError: Unable to determine data type for the field "nothing"'
    ),
}
"""What a file may hold, and what is said of it."""


@pytest.mark.parametrize("text", WRONG)
def test_a_file_that_is_wrong_is_one_line(
    text: str, three: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that fails, defines no chart or draws none is told in one line, with the line of the file; exit code 2."""
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(text, encoding="utf-8")
    assert main(["plot", "recall", "--store", str(three.root), "--chart", "own.py", "-o", "own.json"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {WRONG[text]}") and told.count("\n") == 1
    assert not Path("own.json").exists()


def test_a_file_that_is_missing_is_named() -> None:
    """There is no search: the path is what it says."""
    with pytest.raises(UsageError, match=r"chart none\.py: there is no file none\.py"):
        load_chart(Path("none.py"))


def test_no_chart_is_looked_for_in_a_store(asked: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A Python file beside a store's question is not executed: who plots a stranger's store runs none of its code."""
    ran = tmp_path / "ran"
    (asked.queries / "leading-stains.py").write_text(f"open({str(ran)!r}, 'w')\n")
    (asked.queries / "leading_stains.py").write_text(f"open({str(ran)!r}, 'w')\n")
    assert main(["plot", "leading-stains", "--store", str(asked.root), "-o", str(tmp_path / "x.json")]) == 2
    assert capsys.readouterr().err == (
        "error: query leading-stains has no chart: milstore query leading-stains gives its table, "
        "--chart ./file.py draws it\n"
    )
    assert not ran.exists()


def test_too_many_rows_are_told_as_of_any_chart(three: Store) -> None:
    """A chart of more rows than anybody could read says how to narrow it."""

    def draw(frame: pd.DataFrame, about: About) -> alt.Chart:
        return alt.Chart(pd.DataFrame({"x": range(5001)})).mark_point()

    with pytest.raises(UsageError, match="would hold too many rows: narrow it by --case"):
        _ = drawing(three, "recall", chart=draw).spec
