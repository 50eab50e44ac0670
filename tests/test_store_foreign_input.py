"""A store is foreign input: no pipe holds a command up, no link leads it out of the store, no JSON is too deep for it."""

import faulthandler
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from milstore.cli.main import main
from milstore.errors import StoreError
from milstore.store import Store, open_store
from milstore.store.plain import DEEPEST, NotPlain, check_plain, parse_json, plain_bytes, read_json
from milstore.store.run_reader import run_ids
from milstore.store.run_writer import begin_run
from tests.crossing import WHOLE, covering

pytestmark = pytest.mark.database

COMMANDS = (
    ["info"],
    ["doctor"],
    ["runs", "list"],
    ["query", "top-patches", "--subset", "all"],
    ["query", "patch-count", "--subset", "all"],
    ["sql", "select count(*) from attention join runs using (run_id)"],
    ["sql", "select count(*) from features"],
)
"""What reads every file of a store."""
Say = Callable[..., dict[str, tuple[int, str]]]
TOP = "query top-patches --subset all"
MINUTES = 2
"""After so long a command is held up, and the process ends with a traceback of where."""


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Say:
    """Exit code and words of each command, asked one after another; each must end."""

    def ask(store: Store, commands: tuple[list[str], ...] = COMMANDS) -> dict[str, tuple[int, str]]:
        found = {}
        for words in commands:
            # Nothing in Python can stop a process that waits within DuckDB for a pipe.
            faulthandler.dump_traceback_later(60 * MINUTES, exit=True)
            code = main([*words, "--store", str(store.root)])
            faulthandler.cancel_dump_traceback_later()
            out, err = capfd.readouterr()
            found[" ".join(words)] = (code, out + err if words == ["doctor"] else err)
        return found

    return ask


def put_pipe(path: Path) -> None:
    """A pipe that nobody writes to."""
    os.mkfifo(path)


def put_link(path: Path) -> None:
    """A link to a file elsewhere that says the same."""
    path.symlink_to(next(each for each in path.parents if each.name == "store").parent / "elsewhere")


def put_deep(path: Path) -> None:
    """JSON of a hundred thousand lists in one another."""
    path.write_text("[" * 100_000 + "]" * 100_000)


def put_large(path: Path) -> None:
    """Ten gigabytes of nothing, which take no room."""
    with path.open("wb") as stream:
        stream.truncate(10 << 30)


FILES: dict[str, Callable[[Store], Path]] = {
    "manifest": lambda store: store.manifest_path,
    "cases": lambda store: store.root / store.manifest()["tables"]["cases"]["file"],
    "patches": lambda store: store.root / store.manifest()["tables"]["patches"]["file"],
    "rows of features": lambda store: next((store.root / "features").rglob("rows.parquet")),
    "pack": lambda store: next((store.root / "features").rglob("pack.json")),
    "vectors": lambda store: next((store.root / "features").rglob("vectors.npy")),
    "run": lambda store: run_of(store) / "run.json",
    "predictions": lambda store: run_of(store) / "predictions.parquet",
    "attention": lambda store: run_of(store) / "attention.parquet",
    "placeholder": lambda store: store.runs / "run_id=_none" / "attention.parquet",
    "draft": lambda store: begin_run(store, "draft-s1-0", {"split": 1}).folder / "draft.json",
    "stamp": lambda store: store.manifest_path.parent / "catalog.json",
    "settings": lambda store: store.root / "milstore.toml",
    "lock": lambda store: store.manifest_path.parent / ".lock",
}
JSON = ("manifest", "pack", "run", "draft", "stamp")


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Store:
    """A store with a file of every kind, and one run."""
    shutil.copytree(whole, tmp_path / "store")
    return open_store(tmp_path / "store")


def run_of(store: Store) -> Path:
    """The folder of its only run."""
    (run_id,) = run_ids(store)
    return store.run_folder(run_id)


def replace(store: Store, file: str, put: Callable[[Path], None]) -> Path:
    path = FILES[file](store)
    path.parent.chmod(0o755)
    (store.root.parent / "elsewhere").write_bytes(path.read_bytes() if path.exists() else b"")
    path.unlink(missing_ok=True)
    put(path)
    return path


CASES = [
    *((file, put_pipe) for file in FILES),
    *((file, put_link) for file in FILES if file not in ("lock", "stamp")),
    *((file, put) for file in JSON for put in (put_deep, put_large)),
]


@pytest.mark.parametrize(("file", "put"), covering(CASES), ids=lambda each: getattr(each, "__name__", each))
def test_what_is_no_file_of_the_store_is_refused_by_its_name(
    store: Store, said: Say, file: str, put: Callable[[Path], None]
) -> None:
    """Every command ends, with 0 or 2 (doctor 1), and what cannot do without the file names it; doctor always does.

    Each file and each kind of what is no file; `make torture` puts each in the place of each.
    """
    path = replace(store, file, put)
    found = said(store)
    shown = path.relative_to(store.root).as_posix()
    assert not any("fault of milstore" in told or "Traceback" in told for _, told in found.values()), found
    assert {code for code, _ in found.values()} <= {0, 1, 2}
    assert all(shown in told for command, (code, told) in found.items() if code == 2), found
    if file != "stamp":
        # Of a pack its folder is named, and which file in it.
        folder, _, name = shown.rpartition("/")
        assert all(each in found["doctor"][1] for each in (folder, name)), found["doctor"]
    needed = {
        "manifest": set(found),
        "cases": {TOP, "info"},
        "run": {TOP, "sql select count(*) from attention join runs using (run_id)"},
        "attention": {TOP, "sql select count(*) from attention join runs using (run_id)"},
        "rows of features": {"sql select count(*) from features"},
    }
    assert all(found[command][0] in (1, 2) for command in needed.get(file, ())), found


FOLDERS = ("runs", "features", "patches", "derived")


@pytest.mark.parametrize("folders", [FOLDERS, *([(folder,) for folder in FOLDERS] if WHOLE else [])])
def test_a_group_may_keep_these_folders_on_another_disk(
    store: Store, said: Say, folders: tuple[str, ...], tmp_path: Path
) -> None:
    """A link at the top is followed, and doctor says where it leads; all commands answer as before.

    All of them here; each alone by `make torture`, too.
    """
    (tmp_path / "disk").mkdir()
    for folder in folders:
        (store.root / folder).mkdir(exist_ok=True)
        (store.root / folder).rename(tmp_path / "disk" / folder)
        (store.root / folder).symlink_to(tmp_path / "disk" / folder)
    found = said(store)
    assert {code for code, _ in found.values()} == {0}, found
    assert all(f"a link to {tmp_path / 'disk' / folder}" in found["doctor"][1] for folder in folders)


def test_any_other_folder_must_lie_in_the_store(store: Store, said: Say, tmp_path: Path) -> None:
    """A run that is a link to a folder elsewhere is not read, and is named."""
    elsewhere = tmp_path / "elsewhere"
    folder = run_of(store)
    folder.chmod(0o755)
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    found = said(store, (["query", "top-patches", "--subset", "all"], ["sql", "select count(*) from runs"], ["doctor"]))
    assert [code for code, _ in found.values()] == [2, 2, 1]
    assert all(f"runs/{folder.name}" in told and str(elsewhere) in told for _, told in found.values())


def test_a_manifest_names_no_file_out_of_the_store(store: Store) -> None:
    """A table whose file is `../../x` is refused before anything opens it."""
    manifest = store.manifest()
    manifest["tables"]["cases"]["file"] = "../../etc/passwd"
    store.manifest_path.write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match=r"it names '\.\./\.\./etc/passwd', which is not in the store"):
        open_store(store.root)


def test_without_comparing_the_kind_of_a_file_is_still_looked_at(store: Store) -> None:
    """`--no-verify` reads damaged files, but never a pipe."""
    from milstore.asking.ask import ask, ask_sql
    from milstore.asking.selection import Choice

    path = replace(store, "attention", put_pipe)
    unverified = open_store(store.root, verify=False)
    with pytest.raises(StoreError, match="it is a pipe, not a file") as first:
        ask(unverified, "top-patches", Choice(subset="all")).rows()
    with pytest.raises(StoreError, match="it is a pipe, not a file"):
        ask_sql(unverified, "select * from attention").rows()
    assert str(path) in str(first.value)


def test_json_is_as_deep_as_milstore_writes_it_at_most() -> None:
    """Brackets within texts do not count; one level more than the limit is refused before it is parsed."""
    assert parse_json("[" * DEEPEST + "]" * DEEPEST) is not None
    with pytest.raises(ValueError, match=f"nested deeper than {DEEPEST} levels"):
        parse_json("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1))
    text = "[{" * 500 + '"\\"'
    assert parse_json(json.dumps({"code": text})) == {"code": text}
    assert parse_json(json.dumps([[] for _ in range(500)])) == [[]] * 500


def test_what_is_read_is_a_plain_file_of_bounded_size(tmp_path: Path) -> None:
    """Devices, pipes and folders are named for what they are; links within the store are followed."""
    (tmp_path / "there").write_text('{"a": 1}')
    (tmp_path / "link").symlink_to(tmp_path / "there")
    (tmp_path / "device").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    assert read_json(tmp_path / "link", tmp_path) == {"a": 1}
    with pytest.raises(NotPlain, match="it is a device, not a file"):
        plain_bytes(tmp_path / "device", tmp_path)
    with pytest.raises(NotPlain, match="it is a pipe, not a file"):
        check_plain(tmp_path / "pipe", tmp_path)
    with pytest.raises(NotPlain, match="it is a folder, not a file"):
        check_plain(tmp_path)
    with pytest.raises(ValueError, match="it has 8 bytes, more than the 4 that are read"):
        plain_bytes(tmp_path / "there", tmp_path, 4)
    with pytest.raises(NotPlain, match="leads out of the store, to /etc/passwd"):
        (tmp_path / "out").symlink_to("/etc/passwd")
        plain_bytes(tmp_path / "out", tmp_path)
