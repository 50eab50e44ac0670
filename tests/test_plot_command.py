"""`milstore plot` and `plot`: the chart of a question, with the question's own options."""

import json
import re
from pathlib import Path
from unittest.mock import ANY

import duckdb
import pytest

from docs.rooms import ROOT
from milstore.asking.ask import ask
from milstore.asking.result import Result
from milstore.asking.selection import Choice
from milstore.charts import charted
from milstore.charts.render import draw, drawing
from milstore.cli.main import main
from milstore.errors import UsageError
from milstore.queries import available, load
from milstore.store import Store
from tests.drawing import rows_of, subtitle_of
from tests.making import three_case_store


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store of three cases, to be asked alone."""
    return three_case_store(tmp_path_factory.mktemp("kept") / "three")


SIGNATURES = {".png": b"\x89PNG", ".svg": b"<svg ", ".pdf": b"%PDF-1.", ".html": b"<!doc", ".json": b'{"'}


@pytest.mark.parametrize("ending", SIGNATURES)
def test_the_ending_of_the_file_says_how_the_chart_is_written(kept: Store, tmp_path: Path, ending: str) -> None:
    """A picture, a drawing, a page, or Vega-Lite; whole, with nothing left beside it."""
    path = tmp_path / "out" / f"chart{ending}"
    path.parent.mkdir()
    words = ["plot", "top-patches", "--case", "046", "--top", "2", "--store", str(kept.root), "-o", str(path)]
    assert main(words) == 0
    assert path.read_bytes().startswith(SIGNATURES[ending])
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_an_unknown_ending_is_refused_before_anything_is_asked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The endings that are known are named, even where there is no store."""
    assert main(["plot", "recall", "--store", str(tmp_path), "-o", "chart.gif"]) == 2
    assert capfd.readouterr().err == (
        "error: chart.gif does not end in .html, .svg, .pdf, .png, .json: its ending says how the chart is written\n"
    )


def test_without_a_file_the_page_has_the_name_of_the_question(
    three: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`milstore plot recall` writes recall.html where one is, and says so."""
    monkeypatch.chdir(tmp_path)
    assert main(["plot", "recall", "--store", str(three.root)]) == 0
    assert capfd.readouterr() == ("", "wrote recall.html\n")
    assert (tmp_path / "recall.html").is_file()


def test_a_folder_that_is_not_there_is_named(three: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A file that cannot be written is an error in one line."""
    path = tmp_path / "missing" / "chart.json"
    assert main(["plot", "recall", "--store", str(three.root), "-o", str(path)]) == 2
    assert capfd.readouterr().err == f"error: {path} cannot be written: No such file or directory\n"


def test_title_and_subtitle_say_what_was_asked_and_who_answered(three: Store) -> None:
    """The title holds the question, the case and every unusual parameter; the subtitle the run and its subset."""
    drawn = drawing(three, "top-patches", Choice(cases=("046",)), {"pct": 10})
    assert drawn.about.title == "Which stains and slices a case's most attended patches come from · case 46, pct 10"
    assert drawn.about.subtitle == "experiment exp, seed 0, test subsets"
    assert (drawn.about.class_names, drawn.about.stains) == (["benign", "high-grade"], ["h&e", "melan", "sox10"])
    text = json.dumps(drawn.spec)
    assert drawn.about.subtitle in text


def test_a_question_without_a_chart_is_refused(three: Store) -> None:
    """A question of the store's own has a table, and no chart."""
    three.queries.mkdir()
    text = "-- How many runs.\n-- grain: one row\n-- columns: n\nselect count(*) as n from runs order by n\n"
    (three.queries / "own.sql").write_text(text)
    with pytest.raises(UsageError, match="query own has no chart"):
        drawing(three, "own")


def test_every_chart_is_that_of_a_question() -> None:
    """One question, one file, one chart, one name: a module that draws answers is called as the question."""
    modules = sorted((ROOT / "milstore" / "charts").glob("*.py"))
    draws = [
        path for path in modules if re.search(r"^def chart\(frame: ", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert charted() == tuple(path.stem.replace("_", "-") for path in draws)
    assert set(charted()) <= set(available())


def test_an_answer_without_rows_is_told_in_words(three: Store) -> None:
    """Where no case is called wrong, the chart says so."""
    text = json.dumps(drawing(three, "misclassified", Choice(run="exp-s1-0")).spec)
    assert "No case is called wrong." in text


@pytest.mark.parametrize("name", charted())
def test_no_rows_are_no_blank_chart(kept: Store, name: str) -> None:
    """Of an answer without rows, each chart says in a sentence that there is nothing to show, and whose answer it is."""
    asked = load(name)
    empty = ask(kept, name, Choice(cases=("46",))).arrow().slice(0, 0)
    nothing = Result(lambda fetch: fetch(lambda _: duckdb.from_arrow(empty)), title="run r")
    spec = draw(kept, asked, nothing, Choice(cases=("46",)), {}).spec
    assert [row["words"] for row in rows_of(spec)] == [ANY]
    assert rows_of(spec)[0]["words"].endswith(".") and "run r" in subtitle_of(spec)
