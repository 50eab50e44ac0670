"""Of a broken file within a store the message names the file and what repairs it, whatever is broken and whoever reads."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from milstore.cli.main import main
from milstore.store import Store, open_store
from milstore.store.run_reader import run_ids
from tests.crossing import covering
from tests.test_store_foreign_input import COMMANDS, FILES

pytestmark = pytest.mark.database

READ = (*COMMANDS, ["splits", "show"], ["runs", "show", "first"], ["query", "recall"], ["sql", "select * from patches"])


def empty(path: Path) -> None:
    """Nothing in it."""
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    """Its first half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def noise(path: Path) -> None:
    """Bytes of nothing."""
    path.write_bytes(bytes(range(256)) * 9)


def a_list(path: Path) -> None:
    """JSON of another type."""
    path.write_text("[1, 2]")


def a_number(path: Path) -> None:
    """JSON of another type, again."""
    path.write_text("7")


def no_keys(path: Path) -> None:
    """An object without any key."""
    path.write_text("{}")


def odd_values(path: Path) -> None:
    """The keys that it has, with values of other types."""
    path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()), 7)))


def other_table(path: Path) -> None:
    """Parquet of other columns."""
    pq.write_table(pa.table({"other": [1, 2]}), path)


def other_types(path: Path) -> None:
    """Parquet of the same columns, all of which hold lists."""
    names = pq.read_schema(path).names
    pq.write_table(pa.table({name: [[1.5]] for name in names}), path)


ANY = (empty, truncated, noise)
OF_JSON = (a_list, a_number, no_keys, odd_values)
OF_PARQUET = (other_table, other_types)
KINDS = {
    **dict.fromkeys(("manifest", "pack", "run", "stamp"), (*ANY, *OF_JSON)),
    **dict.fromkeys(
        ("cases", "patches", "rows of features", "predictions", "attention", "placeholder"), (*ANY, *OF_PARQUET)
    ),
    "vectors": ANY,
    "settings": (noise,),
}
HASHED = ("cases", "patches", "predictions", "attention")
"""Files whose hash another names. None names that of the others, or they hold it themselves."""
CASES = [
    (name, damage, forge)
    for name, damages in KINDS.items()
    for damage in damages
    for forge in (("", "forged") if name in HASHED else ("",))
]


def damaged(store: Store, name: str, damage: Callable[[Path], None], *, forge: bool) -> Path:
    """Break a file. With `forge`, what names its hash gives that of what stands there now: as if it had been stored so."""
    path = FILES[name](store)
    path.parent.chmod(0o755)
    path.chmod(0o644)
    damage(path)
    if forge:
        from milstore.store.io import sha256_of

        for holder in (store.manifest_path, *store.runs.glob("*/run.json")):
            content = json.loads(holder.read_bytes())
            if not isinstance(content, dict):
                continue
            content.pop("facts_sha256", None)
            for entry in [*content.get("tables", {}).values()]:
                if path == store.root / entry["file"]:
                    entry["sha256"] = sha256_of(path)
            if holder.parent == path.parent and path.name in content.get("files", {}):
                content["files"][path.name]["sha256"] = sha256_of(path)
            holder.parent.chmod(0o755)
            holder.chmod(0o644)
            holder.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(("name", "damage", "forge"), covering(CASES))
def test_a_broken_file_is_named_with_what_repairs_it(
    whole: Path,
    tmp_path: Path,
    name: str,
    damage: Callable[[Path], None],
    forge: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No command ends in a fault of milstore; each that fails names the file, and doctor or a backup repairs it.

    Each file and each damage; `make torture` tries each on each.
    """
    shutil.copytree(whole, tmp_path / "store")
    store = open_store(tmp_path / "store")
    (run_id,) = run_ids(store)
    path = damaged(store, name, damage, forge=bool(forge))
    for line in READ:
        words = [run_id if word == "first" else word for word in line]
        code = main([*words, "--store", str(store.root)])
        out, err = capsys.readouterr()
        assert "fault of milstore" not in err and "Traceback" not in err, (words, err)
        if words[0] == "doctor" and name not in ("stamp", "placeholder"):
            assert code in (1, 2)
            assert path.name in out + err or name in ("pack", "vectors", "rows of features")
        if words[0] == "doctor" or code != 2 or "no case is in it" in err:
            continue
        assert path.name in err or path.parent.name in err, (words, err)
        assert any(each in err for each in ("doctor", "backup", "repair", "remove")), (words, err)


def test_a_full_disk_is_called_a_full_disk(
    three: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where milstore.duckdb cannot be made for want of room nobody is sent looking for damage, and info answers."""
    (three.manifest_path.parent / "catalog.json").unlink()

    def full(*_: object) -> None:
        raise duckdb.IOException('IO Error: Could not write file "x": No space left on device')

    monkeypatch.setattr("milstore.store.catalog_build.build", full)
    assert main(["info", "--store", str(three.root)]) == 0
    assert capsys.readouterr().err == (
        f"note: {three.database} could not be brought up to date: the disk is full; a later command does it\n"
    )
