"""Tab offers the runs, experiments, cases and stains of the store."""

from pathlib import Path

import pytest

from milstore.cli.main import main
from milstore.store import Store
from milstore.store.run_writer import begin_run

RUNS = ["exp-s1-0", "exp-s2-0", "exp-s3-0"]


def offered(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str) -> list[str]:
    """What bash is given for the last word of a line."""
    words = line.split(" ")
    monkeypatch.setenv("_MILSTORE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main([])
    out, err = capsys.readouterr()
    assert err == ""
    return out.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("milstore query deviation --run ", RUNS),
        ("milstore query deviation --run exp-s2", ["exp-s2-0"]),
        ("milstore query deviation --case 4", ["46"]),
        ("milstore query deviation --case ", ["2", "10", "46"]),
        ("milstore plot slice-map --stain m", ["melan"]),
        ("milstore query compare-runs --a exp-s3", ["exp-s3-0"]),
        ("milstore report --experiment e", ["exp"]),
        ("milstore runs list --experiment ", ["exp"]),
        ("milstore runs show exp-s1", ["exp-s1-0"]),
        ("milstore runs diff exp-s1-0 exp-s2", ["exp-s2-0"]),
        ("milstore runs delete ", [*RUNS, "new-1"]),
        ("milstore train --resume ", ["new-1"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_store_has_is_offered(
    three: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, expected: list[str]
) -> None:
    """Runs, finished or not, experiments, cases in natural order and stains, where the command takes one."""
    begin_run(three, "new-1", {"experiment": "new"})
    monkeypatch.setenv("MILSTORE_STORE", str(three.root))
    assert offered(monkeypatch, capsys, line) == expected


def test_the_store_of_the_line(
    three: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--store before the word says which store is meant; where there is none nothing is offered and nothing said."""
    monkeypatch.setenv("MILSTORE_STORE", str(tmp_path / "none"))
    assert offered(monkeypatch, capsys, f"milstore query deviation --store {three.root} --case 1") == ["10"]
    assert offered(monkeypatch, capsys, "milstore query deviation --case 1") == []
