"""Each kind of damage in each kind of file that a command reads: one line and exit 2, or read as what it says.

What a file of one kind can say besides is tested in `test_ingest_bad_input.py`; both draw from `tests/broken.py`.
"""

import io
import json
import os
import pkgutil
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from milstore import formats, workers
from milstore.store import open_store
from tests.broken import DAMAGES, IN_STORE, SOURCES, SPLIT, Place, Words, cannot_be_cut, good, happens, judged, stored
from tests.crossing import crossed
from tests.forking import fork
from tests.ingesting import milstore
from tests.spoiling import Boom, npz


@pytest.mark.parametrize("name", SOURCES)
def test_a_good_file_is_read(place: Place, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is damaged below is right before."""
    place = place.copy()
    said = judged(place, SOURCES[name].put(place, good(name)), capsys, may_pass=True)
    assert said == ("" if name != "training settings" else "error: --split 9: split set s has the splits 1")


OTHER_KIND = "is damaged, or not of the kind its name says"
SAID = {
    **{(name, "a text"): OTHER_KIND for name in ("npz", "h5", "parquet")},
    ("splits npz", "a text"): "split.npz is damaged or no .npz file",
    ("png", "empty"): "case_5_match_1_he_patch1.png is not a PNG, JPEG or TIFF image",
    ("pt", "a pickle"): "is damaged, or holds more than tensors: make it anew",
    ("npy", "a pickle"): "is damaged, or no array of NumPy's format",
    ("labels", "a folder"): "labels.csv is a folder: name a label file",
}
"""What is said besides the name of the file."""


DAMAGED = [pair for pair in crossed([*SOURCES], [*DAMAGES], times=3, besides=[*SAID]) if pair[1] in DAMAGES]


@pytest.mark.parametrize(("name", "damage"), [pair for pair in DAMAGED if happens(*pair)])
def test_damage(place: Place, name: str, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing but a line and exit 2, or reading what is there; and never half of it in the store.

    Each kind of file with three kinds of damage, and each of these with a file; `make torture` tries every one on every kind.
    """
    spoil, may_pass = DAMAGES[damage]
    may_pass = may_pass and not (damage.startswith("cut") and cannot_be_cut(name))
    may_pass = may_pass or (damage == "empty" and SOURCES[name].name.endswith(".toml"))
    if may_pass or name in IN_STORE:
        place = place.copy()
    said = judged(place, SOURCES[name].put(place, spoil(good(name))), capsys, may_pass=may_pass)
    # What may be read is refused, if at all, for what it says.
    assert may_pass or Path(SOURCES[name].name).name in said
    assert SAID.get((name, damage), "") in said


def test_what_is_not_asked_for_is_not_read(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """An array beside those that make a split may be anything: it is never opened."""
    extra = npz(**SPLIT, extra=np.array([Boom()], object))
    assert judged(place.copy(), SOURCES["splits npz"].put(place, extra), capsys, may_pass=True) == ""


NO_FILES = ["a link to itself", "a link to nowhere", "a folder", "a pipe"]
GIVEN = [name for name in SOURCES if name not in IN_STORE]


@pytest.mark.parametrize(("name", "kind"), crossed(GIVEN, NO_FILES, besides=[("labels", "a folder")]))
def test_what_is_no_file(place: Place, name: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A loop of links ends at once, a pipe is not waited for, and a folder is no file.

    Each kind of file is one of these once; `make torture` tries all.
    """
    source = SOURCES[name]
    words = source.put(place, good(name))
    path = place / source.name
    path.unlink()
    if kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path if kind == "a link to itself" else place / "nowhere")
    # Of a folder of vectors, one is missing then, which is said beside the others.
    may_pass = "vectors" in source.name
    said = judged(place.copy() if may_pass else place, words, capsys, may_pass=may_pass)
    assert SAID.get((name, kind), "") in said


@pytest.mark.parametrize("name", IN_STORE)
@pytest.mark.parametrize("kind", ["a link to itself", "a folder", "a pipe"])
def test_what_is_no_file_in_the_store(place: Place, name: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A loop of links, a folder or a pipe in the place of the store's own texts is named."""
    place = place.copy()
    words = SOURCES[name].put(place, good(name))
    path = place / SOURCES[name].name
    path.unlink()
    if kind == "a link to itself":
        path.symlink_to(path)
    else:
        path.mkdir() if kind == "a folder" else os.mkfifo(path)
    wrong = "cannot be read" if kind == "a link to itself" or name == "settings" else "is no plain file"
    assert f"{path.name} {wrong}" in judged(place, words, capsys)


def ask_for_unreadable(root: Path) -> None:
    """Have an ordinary user read files of mode 000, and say what is said of each, and whether the store is as it was."""
    # Forked: what is started afresh could not import the libraries, which may be root's alone.
    workers.ProcessPoolExecutor = lambda jobs, mp_context, **more: ProcessPoolExecutor(jobs, get_context("fork"))  # type: ignore[assignment, misc]
    for module in pkgutil.iter_modules(formats.__path__, "milstore.formats."):
        # Workers import some alone.
        import_module(module.name)
    store = open_store(root / "store")
    prepared: dict[str, tuple[Words, Path]] = {}
    for name, source in SOURCES.items():
        # A first time as root, so that everything is imported.
        folder = root if name in IN_STORE else root / name.replace(" ", "-")
        words = source.put(Place(folder, store), good(name))
        if words[:2] == ["ingest", "patches"] and "--replace" not in words:
            # What is known is not opened a second time, unless that is asked for.
            words.append("--replace")
        prepared[name] = words, folder / source.name
        with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
            milstore(store, *words)
            milstore(store, "ingest", "patches", root / "nowhere")
        if name in IN_STORE:
            prepared[name][1].unlink()
    if os.geteuid() == 0:
        for path in [root, *root.rglob("*")]:
            if not path.is_symlink():
                os.chown(path, 65534, 65534)
    before = stored(store)
    if os.geteuid() == 0:
        # Root reads all, and becomes an ordinary user here.
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    said = {}
    for name, (words, path) in prepared.items():
        if name in IN_STORE:
            path.write_bytes(good(name))
        path.chmod(0)
        stream = io.StringIO()
        with redirect_stderr(stream), redirect_stdout(io.StringIO()):
            code = milstore(store, *words)
        said[name] = [code, stream.getvalue()]
        path.chmod(0o600)
        if name in IN_STORE:
            path.unlink()
    sys.stdout.write(json.dumps([said, stored(store) == before]))


def test_what_may_not_be_read_is_named(whole: Path) -> None:
    """For an ordinary user, a file of mode 000 of every kind is one line, exit 2, and a store that is as it was."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        shutil.copytree(whole, Path(folder) / "store")
        asking = fork(Path(folder), lambda: ask_for_unreadable(Path(folder)))
        assert asking.wait() == 0, asking.text()
        said, unchanged = json.loads(asking.text().splitlines()[-1])
    assert set(said) == set(SOURCES)
    for name, (code, text) in said.items():
        assert (code, text.count("\n")) == (2, 1), (name, code, text)
        assert text.startswith("error: ")
        assert "Permission denied" in text or "is not readable" in text, (name, text)
        assert Path(SOURCES[name].name).name in text, (name, text)
    assert unchanged
