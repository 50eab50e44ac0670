"""The pages that are written by hand: their links lead somewhere, and what they quote is so."""

import re
from pathlib import Path

import pytest

import milstore
from docs.rooms import PACKAGE, ROOT

WRITTEN = sorted(
    [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
    + list((ROOT / "docs").glob("*.md"))
)
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
STYLE = CONTRIBUTING.partition("## Style, by example\n")[2]


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    """Each link of a page to another file of the project finds it."""
    found = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [link for link in found if "://" not in link and not (page.parent / link).exists()] == []


def test_a_newcomer_finds_the_pages() -> None:
    """The README leads to the pages for who carries on, and every page of docs/ is linked from one of them or the README."""
    linked = {
        (page.parent / link).resolve()
        for page in WRITTEN
        for link in re.findall(r"\]\(([^)#\s]+\.md)", page.read_text(encoding="utf-8"))
    }
    assert sorted(page.name for page in WRITTEN if page.resolve() not in linked - {ROOT / "README.md"}) == ["README.md"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"]({page})" in readme for page in ("CONTRIBUTING.md", "docs/architecture.md", "docs/api.md"))


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md", "docs/releasing.md"])
def test_files_that_are_named_are_there(page: str) -> None:
    """A file that a page names, from the root or from the package, is there: one that moves takes its mention along."""
    named = re.findall(r"`((?:[\w*.-]+/)+[\w*.-]+\.(?:py|md|sql))`", (ROOT / page).read_text(encoding="utf-8"))
    made_up = {"queries/name.sql", "tests/test_query_name.py", "milstore/charts/name.py"}
    made_up |= {path for path in named if re.search("patches.a.stain", path)}
    assert len(named) > 3
    assert [path for path in named if path not in made_up and not (_there(ROOT, path) or _there(PACKAGE, path))] == []


def _there(folder: Path, pattern: str) -> bool:
    return any(folder.glob(pattern))


def test_style_is_shown_by_pieces_of_this_code() -> None:
    """Each piece of code in the style section stands, letter by letter, in the file that is named above it."""
    pieces = re.findall(r"^\[.*?\]\((\S+)\)\n\n```\w+\n(.*?)^```$", STYLE, flags=re.DOTALL | re.MULTILINE)
    assert len(pieces) == STYLE.count("```") // 2 == 8
    assert [path for path, text in pieces if text not in (ROOT / path).read_text(encoding="utf-8")] == []


def test_the_commands_of_the_page_are_there() -> None:
    """Every `make` target that a newcomer is told is in the Makefile, and every mark of tests in pyproject.toml."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    told = {word for words in re.findall(r"make ((?:[a-z-]+ ?)+)`", CONTRIBUTING) for word in words.split()}
    assert told >= {"demo", "test", "test-fast", "lint", "pages", "docs"}
    assert told <= targets
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(f'"{mark}: ' in settings for mark in ("database", "slurm", "shared"))


def test_the_newest_changes_are_those_of_this_version() -> None:
    """CHANGELOG.md begins with the version of the code, versions fall from top to bottom, and none is there twice."""
    headings = re.findall(
        r"^## (\d+)\.(\d+)\.(\d+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    versions = [tuple(map(int, heading)) for heading in headings]
    assert ".".join(map(str, versions[0])) == milstore.__version__
    assert versions == sorted(set(versions), reverse=True)


def test_the_version_stands_in_one_place() -> None:
    """No other file of the package or of its build holds the number."""
    holders = [
        path
        for path in [ROOT / "pyproject.toml", *(ROOT / "milstore").glob("*.py"), *(ROOT / "milstore").glob("*/*.py")]
        if re.search(rf"(?<![\d.]){re.escape(milstore.__version__)}(?![\d.])", path.read_text(encoding="utf-8"))
    ]
    assert [path.name for path in holders] == ["_version.py"]
