"""The parts of docs/architecture.md and docs/api.md that the code says, and the public surface."""

import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import pytest

import milstore
from docs import pages
from docs.rooms import ROOT, imported_rooms, reachable, without_shortcuts
from tests.nursery import HEAVY


def test_the_pages_are_what_the_code_says() -> None:
    """docs/architecture.md and docs/api.md are as `python -m docs.pages` writes them."""
    stale = [path.name for path, text in pages.pages().items() if path.read_text(encoding="utf-8") != text]
    assert stale == []


def test_a_page_that_is_out_of_date_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--check` names the page, says what to run, and changes nothing."""
    page = ROOT / "docs" / "architecture.md"
    before = page.read_bytes()
    changed = {**pages.BLOCKS, "picture": ("architecture.md", lambda: "another picture")}
    monkeypatch.setattr(pages, "BLOCKS", changed)
    monkeypatch.setattr(sys, "argv", ["pages", "--check"])
    assert pages.main() == 1
    assert capsys.readouterr().err == "docs/architecture.md is not what the code says: run python -m docs.pages\n"
    assert page.read_bytes() == before


def test_only_what_stands_between_the_marks_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What people wrote around a part stays, a part may be empty at first, and a page without the marks is named."""
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "page.md"
    page.write_text(
        "above\n<!-- a: begin -->\n<!-- a: end -->\nbetween\n<!-- b: begin -->\nold\n<!-- b: end -->\nbelow\n"
    )
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "BLOCKS", {"a": ("page.md", lambda: r"one \1"), "b": ("page.md", lambda: "two")})
    expected = (
        "above\n<!-- a: begin -->\none \\1\n<!-- a: end -->\nbetween\n<!-- b: begin -->\ntwo\n<!-- b: end -->\nbelow\n"
    )
    assert pages.pages() == {page: expected}
    page.write_text("nothing\n")
    with pytest.raises(LookupError, match=r"page\.md lacks <!-- a: begin -->"):
        pages.pages()


SMALL: Mapping[str, set[str]] = {
    "cli": {"api", "store"},
    "api": {"asking", "store"},
    "asking": {"store"},
    "store": set(),
}


def test_the_picture_leaves_out_what_a_longer_way_says() -> None:
    """An arrow stays only if nothing else says it, and what can be reached stays the same."""
    fewer = without_shortcuts(SMALL)
    assert fewer == {"cli": {"api"}, "api": {"asking"}, "asking": {"store"}, "store": set()}
    rooms = imported_rooms()
    fewer = without_shortcuts(rooms)
    assert {room: reachable(fewer, room) for room in rooms} == {room: reachable(rooms, room) for room in rooms}


def test_the_picture_shows_real_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every room is in the picture by the arrows that it has, and a new import makes a new arrow."""
    rooms = imported_rooms()
    drawn = pages.picture()
    assert all(room in drawn for room in rooms)
    assert "    store --> schema" in drawn.splitlines()
    monkeypatch.setattr(pages, "imported_rooms", lambda: {**rooms, "queries": {"pixels"}})
    assert "    queries --> pixels" in pages.picture().splitlines()


def test_milstore_shows_its_public_names_and_no_others() -> None:
    """`dir(milstore)` is `__all__`, whatever has been imported, and each of the names is there."""
    import_module("milstore.asking.ask")
    assert dir(milstore) == sorted(milstore.__all__)
    assert all(getattr(milstore, name) is not None for name in milstore.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'opne'"):
        milstore.opne  # type: ignore[attr-defined]  # noqa: B018 - what a typing mistake says


@pytest.mark.parametrize("module", pages.PUBLIC)
def test_every_public_name_exists_and_is_listed(module: str) -> None:
    """Each name of a public module's `__all__` can be had from it, and has a row with words in docs/api.md."""
    section = (
        (ROOT / "docs" / "api.md").read_text(encoding="utf-8").partition(f"### `{module}`\n")[2].partition("###")[0]
    )
    names = import_module(module).__all__
    assert sorted(names) == sorted(pages.public_names(module))
    for name in names:
        assert getattr(import_module(module), name) is not None
        assert f"| `{name}` | {pages.line_of(module, name)} |" in section
        assert len(pages.line_of(module, name)) > 10


def test_an_answer_and_a_store_are_of_the_public_classes(tmp_path: Path) -> None:
    """What `milstore.open` raises can be caught by the public names, without importing anything else."""
    program = (
        "import sys, milstore\n"
        f"try: milstore.open({str(tmp_path / 'none')!r})\n"
        "except milstore.StoreError as error: print(type(error).__name__, isinstance(error, milstore.MilstoreError))\n"
        "print(milstore.OpenStore.__name__, milstore.Result.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["StoreError", "True", "OpenStore", "Result"]


def test_importing_what_is_public_is_light() -> None:
    """The public modules bring no heavy library when they are imported, but for the one that is for charts."""
    light = [module for module in pages.PUBLIC if module != "milstore.charts.theme"]
    program = f"import sys, {', '.join(light)}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & (HEAVY | {"duckdb", "typer", "rich"}) == set()
