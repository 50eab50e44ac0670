"""What is read is checked: every file that a command reads is compared with what was stored, the first time."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import milstore
from milstore.asking.ask import ask, ask_sql
from milstore.cli.main import main
from milstore.errors import StoreError
from milstore.store import Store, open_store, verified
from milstore.store.cohort import read_cohort
from milstore.store.features import open_features
from milstore.store.run_draft import epoch_of_line, line_of_epoch
from milstore.store.run_reader import run_ids
from milstore.store.run_writer import begin_run, mint_run_id
from milstore.store.verified import cache_folder, files_of_cohort, verify


def flip(path: Path, at: int = -20) -> None:
    """Change one bit of a file, and keep its size and times."""
    before, mode = path.stat(), path.stat().st_mode
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.chmod(mode)


def flip_middle(path: Path) -> None:
    flip(path, path.stat().st_size // 2)


def run_file(store: Store, name: str) -> Path:
    return store.run_folder(run_ids(store)[-1]) / name


ASKED: dict[str, Callable[[Store], object]] = {
    "query": lambda store: ask(store, "top-patches").arrow(),
    "sql": lambda store: ask_sql(store, "select sum(effective_attention) from attention").arrow(),
    "sql of a view": lambda store: ask_sql(store, "select * from slice_weights").arrow(),
    "sql of one run": lambda store: ask_sql(
        store, f"select count(*) from attention where run_id = '{run_ids(store)[-1]}'"
    ).arrow(),
    "plot": lambda store: milstore.open(store.root).plot("top-patches"),
}


@pytest.mark.parametrize("how", ASKED)
def test_a_flipped_bit_of_a_run_is_never_answered_from(three: Store, how: str) -> None:
    """Whoever asks is told the file and what to do, not a sum that is wrong."""
    path = run_file(three, "attention.parquet")
    flip_middle(path)
    with pytest.raises(StoreError, match="is not what was stored") as raised:
        ASKED[how](open_store(three.root))
    assert str(path) in str(raised.value) and "milstore doctor" in str(raised.value)


@pytest.mark.parametrize("how", ASKED)
def test_damage_that_comes_after_the_first_reading_is_seen_where_the_file_says_so(three: Store, how: str) -> None:
    """A file that changed is compared again, though its size and the time of its content are as they were."""
    ASKED[how](three)
    flip_middle(run_file(three, "attention.parquet"))
    with pytest.raises(StoreError, match="is not what was stored"):
        ASKED[how](open_store(three.root))


def test_a_rewritten_run_json_is_seen(three: Store) -> None:
    """The facts of a run hold their own hash: another seed is no answer."""
    path = run_file(three, "run.json")
    path.parent.chmod(0o755)
    path.chmod(0o644)
    path.write_text(json.dumps({**json.loads(path.read_text()), "seed": 7}))
    for how in ("query", "sql"):
        with pytest.raises(StoreError, match=r"run\.json is not what was stored"):
            ASKED[how](three)


@pytest.mark.parametrize("table", ["cases", "patches"])
def test_the_cohort_is_always_compared(three: Store, table: str) -> None:
    """Labels or patches of a damaged file reach neither a question nor a training."""
    path = three.root / three.manifest()["tables"][table]["file"]
    flip_middle(path)
    with pytest.raises(StoreError, match="is not what was stored"):
        read_cohort(three).table(table)
    with pytest.raises(StoreError, match="is not what was stored"):
        ask_sql(three, f"select * from {table}").arrow()


def test_a_case_of_damaged_features_is_not_read(whole: Path, tmp_path: Path) -> None:
    """The vectors of each case are compared when they are first read; those of other cases are still good."""
    store = open_store(shutil.copytree(whole, tmp_path / "copy"))
    features = open_features(store, read_cohort(store))
    first, second, *_ = features.case_rows
    good = features.read(second)
    path = features.packs[0].folder / "vectors.npy"
    begin = path.stat().st_size - features.patches.num_rows * features.n_features * np.dtype(features.dtype).itemsize
    path.chmod(0o644)
    flip(path, begin)
    again = open_features(store, read_cohort(store))
    assert np.array_equal(again.read(second), good)
    with pytest.raises(StoreError, match=rf"vectors\.npy is not what was stored \(case '?{first}"):
        again.read(first)
    unchecked = open_store(store.root, verify=False)
    assert open_features(unchecked, read_cohort(unchecked)).read(first).shape[1] == features.n_features


def test_it_is_remembered_outside_the_store(three: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was right is not read again by the next process; the folder may be deleted, and need not be writable."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = sorted(three.root.rglob("*"))
    hashes = {entry["sha256"] for entry in three.manifest()["tables"].values()}
    program = (
        "import sys; from milstore.store import open_store; from milstore.store.verified import *\n"
        "store = open_store(sys.argv[1]); verify(store, files_of_cohort(store))"
    )
    subprocess.run([sys.executable, "-c", program, str(three.root)], check=True)
    (kept,) = cache_folder().iterdir()
    assert {entry[-1] for entry in json.loads(kept.read_text()).values()} == hashes
    assert sorted(three.root.rglob("*")) == before
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("no folder")
    monkeypatch.setattr(verified, "_AT_ONCE", 0)
    verify(three, files_of_cohort(three))
    assert ask(three, "top-patches").arrow().num_rows


def test_what_took_long_is_remembered_at_once(three: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process that is killed later has not read many bytes for nothing; what others remembered stays."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(verified, "_AT_ONCE", 0)
    for tables in (["cases"], ["patches"]):
        verify(three, files_of_cohort(three, tables))
        verified._seen.cache_clear()
    (kept,) = cache_folder().iterdir()
    assert {entry[-1] for entry in json.loads(kept.read_text()).values()} == {
        three.manifest()["tables"][name]["sha256"] for name in ("cases", "patches")
    }


def test_those_who_know_may_leave_it_out(three: Store) -> None:
    """`open_store(verify=False)` compares nothing, and reads what is there."""
    path = run_file(three, "run.json")
    path.parent.chmod(0o755)
    path.chmod(0o644)
    path.write_text(path.read_text().replace('"threads": ', '"threads": 1'))
    with pytest.raises(StoreError, match="is not what was stored"):
        ASKED["query"](three)
    assert ASKED["query"](open_store(three.root, verify=False))


def test_a_line_of_an_epoch_says_when_it_was_changed(three: Store) -> None:
    """A flipped digit of a loss is told with file and line; lines of 0.1, without a CRC-32, are read as they are."""
    draft = begin_run(three, mint_run_id("e", 1, 0), {})
    draft.append_epoch({"epoch": 1, "train_loss": 0.5})
    draft.append_epoch({"epoch": 2, "train_loss": 0.25})
    assert draft.epochs() == [{"epoch": 1, "train_loss": 0.5}, {"epoch": 2, "train_loss": 0.25}]
    path = draft.folder / "epochs.jsonl"
    path.write_text(path.read_text().replace("0.25", "0.26"))
    with pytest.raises(StoreError, match=r"epochs\.jsonl, line 2: it is not what was stored"):
        draft.epochs()
    assert epoch_of_line('{"epoch": 1, "train_loss": 0.5}') == {"epoch": 1, "train_loss": 0.5}
    assert epoch_of_line(line_of_epoch({"epoch": 3, "x": 1e-300})) == {"epoch": 3, "x": 1e-300}


@pytest.mark.parametrize("words", [("query", "top-patches"), ("sql", "select max(rank) from attention")])
def test_the_command_says_what_is_damaged_and_answers_only_when_told_to(
    three: Store, words: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with the file and exit code 2; `--no-verify` answers from what is there."""
    run_id = run_ids(three)[-1]
    path = three.run_folder(run_id) / "attention.parquet"
    path.parent.chmod(0o755)
    path.chmod(0o644)
    # Rewritten with the same content, the file has other bytes: it can still be read.
    pq.write_table(pq.read_table(path), path, compression="gzip")
    assert main([*words, "--store", str(three.root)]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert f"{path} is not what was stored" in said.err and "--no-verify" in said.err
    assert main([*words, "--store", str(three.root), "--no-verify"]) == 0
    assert capsys.readouterr().out


def test_a_table_that_the_run_does_not_name_is_no_part_of_it(three: Store) -> None:
    """A file of a table's name that was put among a run's is told, and not read."""
    folder = three.run_folder(run_ids(three)[-1])
    folder.chmod(0o755)
    shutil.copy(three.run_folder("_none") / "scores.parquet", folder / "scores.parquet")
    with pytest.raises(StoreError, match=r"scores\.parquet is not what was stored"):
        ask_sql(three, "select count(*) from scores").arrow()
