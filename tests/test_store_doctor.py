"""The doctor finds what is broken, is content with what is not, and removes only leftovers."""

import os
import shutil
from contextlib import closing
from pathlib import Path

import duckdb
import numpy as np
import pytest

from milstore.cli.main import main
from milstore.errors import StoreError
from milstore.store import Store
from milstore.store.cohort_check import check_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.doctor import check, repair
from milstore.store.features import FeaturePack
from milstore.store.findings import DAMAGE, LEFTOVER, NOTE, Finding
from milstore.store.lease import write_lease
from milstore.store.paths import open_store
from milstore.store.run_check import check_run
from milstore.store.run_writer import begin_run
from tests.crossing import WHOLE
from tests.making import MadeOnce, three_case_store
from tests.test_store_cohort import snapshot


@MadeOnce
def featured(folder: Path) -> Store:
    """The store of three cases, with features, and writable so that it can be damaged."""
    three = three_case_store(folder)
    with edit_cohort(three) as edit:
        patches = edit.table("patches")
        with FeaturePack(three, encoder="hed", n_features=2, dtype="float16", patches=patches) as pack:
            pack.write(0, np.arange(2 * patches.num_rows, dtype=np.float16).reshape(-1, 2))
            pack.commit(edit, source="by hand")
    for path in three.runs.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return three


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return featured(tmp_path / "three")


def old(path: Path) -> Path:
    os.utime(path, (0, 0))
    return path


def kinds(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.kind, finding.where) for finding in findings]


@pytest.mark.database
def test_a_whole_store_has_no_findings(store: Store) -> None:
    """Nothing is found in a store in which nothing is wrong."""
    assert check(store) == []


def stored_files(store: Store) -> list[Path]:
    manifest = store.manifest()
    files = [store.root / entry["file"] for entry in manifest["tables"].values()]
    files += sorted((store.root / "features").rglob("*.*"))
    return files + sorted(p for p in store.run_folder("exp-s1-0").iterdir() if p.name != "run.json")


def test_a_flipped_byte_is_found_in_every_file(store: Store) -> None:
    """One byte that differs anywhere in a stored file is found, and the file is named."""
    for path in stored_files(store):
        if not path.is_file():
            continue
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 0x10
        path.write_bytes(bytes(flipped))
        found = [finding.where for finding in check(store) if finding.kind == DAMAGE]
        where = path.relative_to(store.root).as_posix()
        assert any(where == each or where.startswith(each + "/") for each in found), where
        path.write_bytes(whole)
    assert check(store) == []


def test_a_flipped_bit_is_found_in_what_a_run_says_of_itself(store: Store) -> None:
    """Each digit and letter of run.json counts, also where no table could contradict it.

    Of some all over the file; `make torture` tries more of them.
    """
    path = store.run_folder("exp-s1-0") / "run.json"
    whole = path.read_bytes()
    for at in range(0, len(whole), 37 if WHOLE else 148):
        if whole[at : at + 1].isspace():
            continue
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        found = [finding.where for finding in check_run(store, "exp-s1-0") if finding.kind == DAMAGE]
        assert found, whole[max(0, at - 20) : at + 10]
    assert [finding.where for finding in check(store) if finding.kind == DAMAGE] == found


def test_a_flipped_bit_is_found_in_the_manifest(store: Store) -> None:
    """Of the cohort's manifest, what names and describes its tables is found, or the store is refused in a line.

    Of some bits all over it; `make torture` tries more of them.
    """
    whole = store.manifest_path.read_bytes()
    # The number of the generation, and what is left of the one before, are nobody's results.
    ends = (whole.index(b'"fingerprint"'), whole.index(b'"previous"'))
    for at in range(*ends, 41 if WHOLE else 164):
        if whole[at : at + 1].isspace():
            continue
        store.manifest_path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            found = [finding.where for finding in check_cohort(open_store(store.root)) if finding.kind == DAMAGE]
        except StoreError as error:
            found = [str(error)]
        assert found, whole[max(0, at - 20) : at + 10]
    store.manifest_path.write_bytes(whole)
    assert check(store) == []


def test_a_missing_file_is_found(store: Store) -> None:
    """A file of a run or of the cohort that is gone is named."""
    (store.run_folder("exp-s2-0") / "attention.parquet").unlink()
    next((store.root / "cohort").glob("classes-*.parquet")).unlink()
    found = [(f.where, f.what) for f in check(store)]
    assert ("runs/run_id=exp-s2-0/attention.parquet", "the file is missing") in found
    assert any(what == "the file of table classes is missing" for _, what in found)


@pytest.mark.parametrize("text", ["", "{", "{}", '{"run_id": "other"}', "[]", '"x"', "null"])
def test_a_broken_run_json_is_found(store: Store, text: str) -> None:
    """A run.json that cannot be read, or is not of its run, is damage and no traceback."""
    (store.run_folder("exp-s1-0") / "run.json").write_text(text, encoding="utf-8")
    assert (DAMAGE, "runs/run_id=exp-s1-0/run.json") in kinds(check(store))


def test_leftovers_are_named_and_mended(store: Store) -> None:
    """What dead writers left is removed by repair; what is stored, unfinished or young is not."""
    before = snapshot(store.root)
    draft = begin_run(store, "unfinished", {})
    left = [store.root / "cohort" / ".cases-1.parquet.x.tmp", store.root / "patches" / "patches-000.parquet"]
    for path in left:
        old_file = path
        old_file.write_bytes(b"x")
        old(old_file)
    for folder in (store.root / "features" / "hed" / "0000", store.root / "features" / ".hed.x.tmp"):
        folder.mkdir()
        left.append(old(folder))
    (store.running / "exp-s1-0").mkdir()
    (store.running / "never-begun").mkdir()
    young = store.root / "cohort" / ".cases-2.parquet.y.tmp"
    young.write_bytes(b"x")
    findings = check(store)
    assert sorted(kinds(findings)) == sorted([
        (LEFTOVER, "cohort/.cases-1.parquet.x.tmp"), (LEFTOVER, "patches/patches-000.parquet"),
        (LEFTOVER, "features/hed/0000"), (LEFTOVER, "features/.hed.x.tmp"),
        (LEFTOVER, "running/exp-s1-0"), (LEFTOVER, "running/never-begun"),
        (NOTE, "running/unfinished"), (NOTE, "cohort/.cases-2.parquet.y.tmp"),
    ])  # fmt: skip
    assert len(repair(store, findings)) == 6
    assert not any(path.exists() for path in left)
    assert young.exists()
    assert draft.folder.exists()
    young.unlink()
    shutil.rmtree(draft.folder)
    assert snapshot(store.root) == before


def test_a_run_in_training_is_no_finding(store: Store) -> None:
    """A run that a living process claims is nobody's leftover, nor worth a word."""
    draft = begin_run(store, "alive", {})
    write_lease(draft.folder, "token")
    assert check(store) == []


def test_a_moved_store_is_whole(store: Store, tmp_path: Path) -> None:
    """Nothing in a store says where it lies."""
    store.root.rename(tmp_path / "moved")
    assert check(open_store(tmp_path / "moved")) == []


@pytest.mark.database
def test_a_database_that_is_behind_is_named(store: Store) -> None:
    """A database of another cohort than the store's is said to be behind, and a refresh repairs it."""
    with closing(duckdb.connect(str(store.database))) as con:
        con.execute("update milstore_catalog set fingerprint = 'another'")
    assert [(found.what, found.repair) for found in check(store)] == [
        ("it is behind the store", f"remove cohort/catalog.json, and milstore info --store {store.root} makes it anew")
    ]
    (store.root / "cohort" / "catalog.json").unlink()
    assert main(["info", "--store", str(store.root), "--quiet"]) == 0
    assert check(store) == []


@pytest.mark.database
def test_the_command_tells_by_its_exit_code(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """0 for a whole store, 1 for one with damage or leftovers, 0 after they are repaired."""
    words = ["doctor", "--store", str(store.root)]
    assert main(words) == 0
    leftover = store.root / "cohort" / ".x.tmp"
    leftover.write_bytes(b"")
    assert main([*words, "--older-than", "0"]) == 1
    assert main([*words, "--older-than", "0", "--repair"]) == 0
    assert not leftover.exists()
    leftover.write_bytes(b"")
    assert main([*words, "--older-than", "0", "--repair"]) == 0, "the former word"
    assert not leftover.exists()
    assert "the store keeps its promises" in capsys.readouterr().err


def test_the_option_of_another_name_says_so(three: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """`--mend` does what `--repair` does, and says how it is called now, on stderr alone."""
    assert main(["doctor", "--mend", "--store", str(three.root)]) == 0
    said = capsys.readouterr()
    assert said.err.startswith("--mend is called --repair now\n")
    assert "--repair" not in said.out
