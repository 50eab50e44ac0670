"""The wheel: built from the source archive, installed into an environment of its own, and used there."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import milstore
from docs.rooms import PACKAGE, ROOT
from tests.making import three_case_store

SOURCES = ("milstore", "schema", "queries", "cli", "tests", "docs", "benchmarks", "examples")
FILES = ("pyproject.toml", "README.md", "LICENSE")
BUILD = "from setuptools import build_meta; import sys; build_meta.build_{kind}(sys.argv[1])"


@dataclass(frozen=True)
class Installed:
    """A wheel that was built, and the environment that it was installed into."""

    wheel: Path
    environment: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, in a folder from which the checkout cannot be imported."""
        program = self.environment / "bin" / words[0]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MILSTORE"))}
        return subprocess.run(
            [program, *words[1:]], cwd=self.environment.parent, env=kept, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The wheel, installed beside the packages that it needs, which are borrowed from this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel = _build(folder)
    environment = folder / "environment"
    _call(sys.executable, "-m", "venv", "--without-pip", str(environment))
    python = str(environment / "bin" / "python")
    _call(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    site = next((environment / "lib").glob("python*/site-packages"))
    # Plain paths, so that an editable install of milstore in one of them is not followed.
    (site / "borrowed.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")) + "\n")
    yield Installed(wheel, environment)
    shutil.rmtree(folder)


def _build(folder: Path) -> Path:
    """The wheel, built without network from the archive of a copy of the checkout."""
    source = folder / "source"
    for name in SOURCES:
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "data" / "study", source / "data" / "study")
    for name in FILES:
        shutil.copy(ROOT / name, source)
    _call(sys.executable, "-c", BUILD.format(kind="sdist"), str(folder), at=source)
    (archive,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    _call(sys.executable, "-c", BUILD.format(kind="wheel"), str(folder), at=unpacked)
    (wheel,) = folder.glob("*.whl")
    return wheel


def _call(*words: str, at: Path | None = None) -> None:
    done = subprocess.run(words, cwd=at, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_holds_the_package_and_nothing_else(installed: Installed) -> None:
    """Every file of the package is in it, those that are no Python too; no tests, pages or examples are."""
    names = zipfile.ZipFile(installed.wheel).namelist()
    about = f"milstore-{milstore.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"milstore", about}
    there = {
        "/".join(("milstore", *(Path(folder) / file).relative_to(PACKAGE).parts))
        for folder, _, files in os.walk(PACKAGE, followlinks=True)
        for file in files
        if not folder.endswith("__pycache__")
    }
    assert {name for name in names if name.startswith("milstore/")} == there
    assert f"{about}/licenses/LICENSE" in names


def test_what_is_installed_is_the_wheel(installed: Installed) -> None:
    """The package comes from the environment, with its version, and not from the checkout."""
    program = "import milstore, importlib.metadata as m; print(milstore.__file__, m.version('milstore'))"
    file, version = installed.run("python", "-c", program).stdout.split()
    assert Path(file).is_relative_to(installed.environment)
    assert version == milstore.__version__
    assert installed.run("milstore", "--version").stdout == f"milstore {milstore.__version__}\n"


def test_it_makes_a_store_and_checks_it(installed: Installed) -> None:
    """`milstore init` makes a store, and `doctor` finds nothing wrong with it."""
    assert installed.run("milstore", "init", "--store", "new").returncode == 0
    checked = installed.run("milstore", "doctor", "--store", "new")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_it_asks_and_draws(installed: Installed) -> None:
    """Questions and charts find their files in it."""
    three_case_store(installed.environment.parent / "three")
    asked = installed.run("milstore", "query", "stain-attention", "--case", "46", "--store", "three", "--format", "csv")
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.startswith("run_id,case_id,")
    drawn = installed.run("milstore", "plot", "recall", "-o", "recall.html", "--store", "three")
    assert drawn.returncode == 0, drawn.stderr
    assert (installed.environment.parent / "recall.html").stat().st_size > 100_000
