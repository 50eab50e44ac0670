"""Questions by a score: `--by cam`, in place of attention."""

from pathlib import Path
from typing import Any

import pytest

import milstore
from milstore import queries
from milstore.api import OpenStore
from milstore.asking.ask import analysis_function, ask_sql
from milstore.cli.main import main
from milstore.cli.output import table_text
from milstore.cli.tables import length
from milstore.errors import DataError, StoreError, UsageError
from milstore.queries.loader import built_in_names
from milstore.store import Store, open_store
from tests.making import THREE_PATCHES, make_store
from tests.scoring import CAM, scored_store
from tests.test_asking_by import keep
from tests.test_completion import offered

BY_SCORE = ("patch-gallery", "patch-profile", "selected-slices", "slice-map", "top-patch-list", "top-patches")
OF_A_CASE = {"patch-gallery", "patch-profile", "slice-map"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return scored_store.anew(tmp_path_factory.mktemp("scored") / "store")


@pytest.fixture
def opened(store: Store) -> OpenStore:
    return milstore.open(store.root)


def columns(answer: Any, *names: str) -> list[tuple[Any, ...]]:
    """These columns of an answer."""
    return [tuple(row[name] for name in names) for row in answer.records()]


def test_top_patches_are_those_of_the_highest_score(opened: OpenStore) -> None:
    """Of the 10 patches of case 10, 3 are top: the three of 2, in one slice. Lift is by patches, and nothing is a share."""
    answer = opened.query("top-patches", case=10, experiment="rec", by="cam", pct=30)
    names = ("stain", "slice_idx", "top_patches", "slice_patches", "highest_score", "mean_score", "lift", "stain_lift")
    assert columns(answer, *names) == [
        ("h&e", 0, 0, 3, -1.0, pytest.approx(-7 / 3), 0.0, pytest.approx(5 / 3)),
        ("h&e", 1, 3, 3, 2.0, 2.0, pytest.approx(10 / 3), pytest.approx(5 / 3)),
        ("sox10", 0, 0, 4, 1.0, -2.125, 0.0, 0.0),
    ]
    case = ("case_top_patches", "case_patches", "case_highest_score", "case_cut_score", "case_tied_patches")
    assert set(columns(answer, *case)) == {(3, 10, 2.0, 2.0, 0)}
    assert answer.title == "experiment rec, seed 0, test subsets, by score cam"
    assert not [name for name in answer.columns if "attention" in name]


def test_ties_of_negative_scores_share_their_places(opened: OpenStore) -> None:
    """Of case 2 one patch is top, and two have -1: names decide which is counted, lift gives each slice half of the place."""
    answer = opened.query("top-patches", case=2, experiment="rec", by="cam")
    assert columns(answer, "stain", "top_patches", "tied_patches", "lift") == [
        ("h&e", 1, 1, pytest.approx(0.5 * 6 / (1 * 4))),
        ("melan", 0, 0, pytest.approx(0.5 * 6 / (1 * 2))),
    ]
    assert "case 2: 1 of 1 top patches tie with one left out" in answer.notes[-1]
    clear = opened.query("top-patches", case=2, experiment="rec", by="cam", top=2)
    assert columns(clear, "top_patches", "tied_patches", "lift") == [(1, 0, 0.75), (1, 0, 1.5)]
    assert columns(opened.query("top-patches", case=2, experiment="rec", by="cam", top=9), "top_patches") == [
        (4,),
        (2,),
    ]


def test_the_list_goes_by_the_score_from_either_end(opened: OpenStore) -> None:
    """The two highest of case 2 are -1 and -1, in the order of their names; the two lowest -4 and -3; of one, it is tied."""
    names = ("rank", "stain", "patch_idx", "score", "tied")
    top = opened.query("top-patch-list", case=2, experiment="rec", by="cam", n=2)
    assert columns(top, *names) == [(1, "h&e", 0, -1.0, False), (2, "melan", 0, -1.0, False)]
    bottom = opened.query("top-patch-list", case=2, experiment="rec", by="cam", n=2, end="bottom")
    assert columns(bottom, *names) == [(6, "h&e", 3, -4.0, False), (5, "h&e", 2, -3.0, False)]
    one = opened.query("top-patch-list", case=2, experiment="rec", by="cam", n=1)
    assert columns(one, *names) == [(1, "h&e", 0, -1.0, True)]


def test_the_gallery_has_both_ends_of_the_score(opened: OpenStore) -> None:
    """Of case 10, two of the three that have 2, which the third ties with, and -9 and -5; or those of a slice alone."""
    names = ("end", "rank", "stain", "slice_idx", "patch_idx", "score", "tied")
    answer = opened.query("patch-gallery", case="10", experiment="rec", by="cam", n=2)
    assert columns(answer, *names) == [
        ("top", 1, "h&e", 1, 0, 2.0, True),
        ("top", 2, "h&e", 1, 1, 2.0, True),
        ("bottom", 10, "sox10", 0, 3, -9.0, False),
        ("bottom", 9, "h&e", 0, 0, -5.0, False),
    ]
    of_slice = opened.query("patch-gallery", case="10", experiment="rec", by="cam", n=1, stain="SOX10", slice="match_1")
    assert columns(of_slice, *names) == [
        ("top", 4, "sox10", 0, 2, 1.0, False),
        ("bottom", 10, "sox10", 0, 3, -9.0, False),
    ]


def test_the_profile_is_of_the_slice_with_the_highest_score(opened: OpenStore) -> None:
    """Of case 10 it is the second of h&e; of sox10, its one, with the mean of its patches and their ranks in the case."""
    highest = opened.query("patch-profile", case="10", experiment="rec", by="cam")
    assert columns(highest, "stain", "slice_name", "patch_idx", "score", "rank") == [
        ("h&e", "match_2", 0, 2.0, 1),
        ("h&e", "match_2", 1, 2.0, 2),
        ("h&e", "match_2", 2, 2.0, 3),
    ]
    answer = opened.query("patch-profile", case="10", experiment="rec", by="cam", stain="sox10")
    assert columns(answer, "patch_idx", "score", "rank") == [(0, -0.5, 6), (1, 0.0, 5), (2, 1.0, 4), (3, -9.0, 10)]
    assert set(columns(answer, "slice_mean_score", "slice_patches", "case_patches")) == {(-2.125, 4, 10)}


def test_slices_stand_by_their_highest_patch(opened: OpenStore) -> None:
    """Over the cases that have the score: 2, 1, and then three slices of -1, of which the first of case 2 is listed, tied."""
    answer = opened.query("selected-slices", experiment="rec", by="cam", n=3)
    names = ("position", "case_id", "stain", "slice_idx", "highest_score", "mean_score", "lowest_score", "tied")
    assert columns(answer, *names) == [
        (1, "10", "h&e", 1, 2.0, 2.0, 2.0, False),
        (2, "10", "sox10", 0, 1.0, -2.125, -9.0, False),
        (3, "2", "h&e", 0, -1.0, -2.5, -4.0, True),
    ]


def test_the_map_has_the_score_itself_as_its_shade(opened: OpenStore) -> None:
    """From the lowest of the case to its highest, whichever slice is asked for; by rank, ties share one; outlined are the top 5 %."""
    answer = opened.query("slice-map", case="10", experiment="rec", by="cam", stain="sox10")
    assert columns(answer, "patch_idx", "score", "shade", "outlined", "x") == [
        (0, -0.5, -0.5, False, 0),
        (1, 0.0, 0.0, False, 64),
        (2, 1.0, 1.0, False, 128),
        (3, -9.0, -9.0, False, 192),
    ]
    assert set(columns(answer, "lowest_shade", "highest_shade", "outlined_patches", "case_slices")) == {
        (-9.0, 2.0, 1, 3)
    }
    ranked = opened.query("slice-map", case="10", experiment="rec", by="cam", scale="rank")
    shades = {row["score"]: row["shade"] for row in ranked.records()}
    assert shades == {
        score: pytest.approx(place / 9) for score, place in {-9: 0, -5: 1, -1: 2, -0.5: 4, 0: 5, 1: 6, 2: 7}.items()
    }
    assert [(row["slice_idx"], row["patch_idx"], row["tied"]) for row in ranked.records() if row["outlined"]] == [
        (1, 0, True)
    ]
    with pytest.raises(UsageError, match="slice-map by a score takes no --share: a score is a signed number"):
        opened.query("slice-map", case="10", experiment="rec", by="cam", share=20)
    with pytest.raises(UsageError, match="case 10 has no such slice with this score: it has h&e match_1"):
        opened.query("slice-map", case="10", experiment="rec", by="cam", slice="match_9").rows()


def test_cases_whose_run_lacks_the_score_are_named(opened: OpenStore) -> None:
    """The run of case 46 has another score alone: it is left out by name; asked for alone, there is no answer."""
    answer = opened.query("top-patch-list", experiment="rec", by="cam")
    assert {row["case_id"] for row in answer.records()} == {"2", "10"}
    (told,) = [note for note in answer.notes if "no score cam" in note]
    assert told.startswith("run rec-s3-0-")
    assert told.endswith("has no score cam of 1 case (46): not in this answer")
    assert {row["case_id"] for row in opened.query("top-patch-list", experiment="rec", by="rest").records()} == set(CAM)
    with pytest.raises(UsageError, match=r"'cam' is no attribute of cases .* and no score .* \(they have rest\)"):
        opened.query("top-patch-list", experiment="rec", split=3, by="cam")
    with pytest.raises(UsageError, match=r"run both-s2-.* has no score cam of 1 case \(2\), so there is no answer"):
        opened.query("top-patch-list", experiment="both", case="2", by="cam")


def test_a_case_that_was_trained_on_may_be_asked_for(opened: OpenStore) -> None:
    """With --split, case 2 answers from the training of split 2's run, and that is told."""
    answer = opened.query("top-patch-list", experiment="rec", split=2, case="2", by="cam", n=1)
    assert columns(answer, "subset", "score") == [("train", -1.0)]
    assert any(note.startswith("case 2 was in ") for note in answer.notes)


def test_a_run_with_both_goes_by_attention_unless_told(opened: OpenStore) -> None:
    """Of even attention names decide the first patch; by the score it is the highest."""
    first = opened.query("top-patch-list", experiment="both", n=1).records()[0]
    assert (first["stain"], first["slice_idx"], first["patch_idx"], first["tied"]) == ("h&e", 0, 0, True)
    by_score = opened.query("top-patch-list", experiment="both", n=1, by="cam").records()[0]
    assert (by_score["stain"], by_score["slice_idx"], by_score["patch_idx"], by_score["score"]) == ("h&e", 1, 0, 2.0)


def test_every_question_takes_a_score_or_names_those_that_do(opened: OpenStore, store: Store) -> None:
    """Six take one, by a file each beside their own, without a word of attention in its columns; others refuse in one line."""
    folder = Path(queries.__file__).parent / "by_score"
    assert queries.names_by_score() == BY_SCORE == tuple(sorted(path.stem for path in folder.glob("*.sql")))
    for name in built_in_names():
        case = {"case": "10"} if queries.load(name).wants_case else {}
        if name not in BY_SCORE:
            with pytest.raises(UsageError) as refused:
                opened.query(name, experiment="rec", by="cam", **case)
            assert str(refused.value) == (
                f"--by 'cam': {name} cannot go by a score of patches; patch-gallery, patch-profile, selected-slices, "
                "slice-map, top-patch-list, top-patches can"
            )
            continue
        asked, usual = queries.by_score(name), queries.load(name)
        takes = {parameter.name for parameter in asked.parameters}
        assert takes - {parameter.name for parameter in usual.parameters} == {"score"}
        answer = opened.query(name, experiment="rec", by="cam", **case)
        assert tuple(answer.columns) == asked.columns
        assert not [column for column in asked.columns if "attention" in column or "even" in column]


def test_a_question_by_a_score_is_written_as_the_others_are() -> None:
    """Its title is no longer than a line, its SQL is ordered at its end, and its functions exist; a store's own take no scores."""
    for name in BY_SCORE:
        asked = queries.by_score(name)
        assert len(asked.title) <= 120
        assert "\norder by" in asked.sql
        assert not (asked.needs_attention or asked.reads_attention or asked.needs_coverage)
        for function in (asked.told, asked.report):
            assert function is None or callable(analysis_function(function))
    header = "-- What is asked.\n-- grain: one row\n-- columns: a\n"
    with pytest.raises(DataError, match="takes scores, as milstore's own questions alone do: leave the line"):
        queries.parse("x", f"{header}-- scores: yes\nselect 1 as a", built_in=False)
    with pytest.raises(DataError, match="has scores 'cam': write yes, or leave the line out"):
        queries.parse("x", f"{header}-- scores: cam\nselect 1 as a")


def test_broken_scores_are_one_line(tmp_path: Path) -> None:
    """A file of scores that is no Parquet is named, and not taken for a run without scores."""
    made = scored_store(tmp_path / "store")
    for path in made.runs.glob("run_id=rec-*/scores.parquet"):
        path.chmod(0o644)
        path.write_bytes(b"no scores")
    with pytest.raises(StoreError, match=r"scores\.parquet"):
        milstore.open(made.root).query("top-patches", experiment="rec", by="cam")


def test_a_name_that_is_neither_lists_what_there_is(
    opened: OpenStore, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with the attributes and the scores of the runs that would answer, exit 2; of runs without scores as before."""
    copy = scored_store(tmp_path / "copy")
    keep(copy, "site", {"2": "Leeds"})
    assert main(["query", "top-patches", "--by", "cm", "--experiment", "rec", "--store", str(copy.root)]) == 2
    assert capsys.readouterr() == (
        "",
        "error: --by 'cm' is no attribute of cases (the store keeps site), and no score of the runs that answer (they have "
        "cam, rest)\n",
    )
    with pytest.raises(UsageError, match="--by 'cam': the store keeps no such attribute of its cases; "):
        opened.query("top-patches", experiment="exp", by="cam")
    empty = milstore.open(make_store(tmp_path / "empty", {"2": 1}, THREE_PATCHES[:1]).root)
    with pytest.raises(UsageError, match="the store keeps no such attribute"):
        empty.query("top-patches", by="cam")


def test_a_name_that_is_both_must_be_told_apart(tmp_path: Path) -> None:
    """`cam` as an attribute too is refused where the question could go by either; `attribute:` and `score:` say which."""
    made = scored_store(tmp_path / "store")
    keep(made, "cam", {"2": "old", "10": "new", "46": "new"})
    opened = milstore.open(made.root)
    with pytest.raises(UsageError, match="write --by attribute:cam or --by score:cam"):
        opened.query("top-patches", experiment="rec", by="cam")
    groups = opened.query("top-patches", experiment="exp", by="attribute:cam")
    assert {(row["cam"], row["case_id"]) for row in groups.records()} == {("old", "2"), ("new", "10"), ("new", "46")}
    scored = opened.query("top-patch-list", experiment="rec", by="score:cam", n=1)
    assert columns(scored, "case_id", "score") == [("2", -1.0), ("10", 2.0)]
    # Where no score can be meant, it is the attribute.
    assert opened.query("recall", experiment="rec", by="cam").columns[0] == "cam"


def test_without_attention_the_line_names_the_option(opened: OpenStore) -> None:
    """Of a run with scores: `--by`, or a question that takes it; of one with neither nothing is added."""
    with pytest.raises(UsageError, match=r"; its scores \(cam, rest\) are no attention: --by cam asks by one$"):
        opened.query("top-patches", experiment="rec", split=1)
    with pytest.raises(UsageError, match=r"milstore query top-patches --run rec-s1-0-[^ ]* --by cam asks by one$"):
        opened.query("entropy", experiment="rec", split=1)
    with pytest.raises(UsageError, match=r"attends \(milstore models\)$"):
        opened.query("top-patches", experiment="bare")


def test_the_macros_answer_sql_of_ones_own(store: Store) -> None:
    """`scores_ranked` and `slices_scored` are there for `milstore sql`."""
    sql = "select rank, patch_idx, score, n_patches from scores_ranked('cam') where run_id like 'rec-s2%' and case_id = '46'"
    assert ask_sql(store, f"{sql} order by rank").rows() == [(1, 5, -1.0, 3), (2, 1, -2.0, 3), (3, 9, -3.0, 3)]
    sql = "select highest_score, mean_score, lowest_score, slice_patches from slices_scored('cam', '10', 'sox10', null)"
    assert ask_sql(store, f"{sql} where run_id like 'rec-s2%'").rows() == [(1.0, -2.125, -9.0, 4)]


@pytest.mark.parametrize("name", BY_SCORE)
def test_every_table_fits_eighty_columns(opened: OpenStore, name: str) -> None:
    """What is shown of it is one table of at most 80 letters a line, also with long names of cases and slices."""
    case = {"case": "10"} if name in OF_A_CASE else {}
    answer = opened.query(name, experiment="rec", by="cam", **case)
    assert set(answer.shown) <= set(answer.columns)
    long = {"case_id": "TCGA-FW-A3R5", "slice_name": "unmatched_12", "rank": 10234, "patch_idx": 1234}
    rows = [[long.get(column, row[column]) for column in answer.shown] for row in answer.records()]
    lines = table_text(answer.shown, rows, 80).splitlines()
    assert max(map(length, lines)) <= 80
    assert sum(set(line) == {"─"} for line in lines) == 1


def test_the_commands_take_it(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`milstore query` gives the table, CSV and the report's text by the score."""
    words = ["--experiment", "rec", "--case", "10", "--by", "cam", "--store", str(store.root)]
    assert main(["query", "top-patch-list", "--n", "1", *words, "-f", "csv", "--columns", "rank,stain,score"]) == 0
    assert capsys.readouterr().out == "rank,stain,score\n1,h&e,2.0\n"
    assert main(["query", "top-patches", "--pct", "30", *words]) == 0
    table = capsys.readouterr().out
    assert "by score cam" in table
    assert "attention" not in table
    assert main(["query", "top-patches", "--pct", "30", *words, "-f", "report"]) == 0
    report = capsys.readouterr().out
    assert "  Lowest score of a top patch: 2\n" in report
    assert "(h&e, slice 1): 3" in report


def test_tab_offers_attributes_and_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scores of the runs that the line names, where the question takes one."""
    made = scored_store(tmp_path / "store")
    keep(made, "site", {"2": "Leeds"})
    monkeypatch.setenv("MILSTORE_STORE", str(open_store(made.root).root))
    assert offered(monkeypatch, capsys, "milstore query top-patches --experiment rec --by ") == ["site", "cam", "rest"]
    assert offered(monkeypatch, capsys, "milstore plot slice-map --experiment rec --by c") == ["cam"]
    assert offered(monkeypatch, capsys, "milstore query recall --experiment rec --by ") == ["site"]
    assert offered(monkeypatch, capsys, "milstore query top-patches --experiment exp --by ") == ["site"]
