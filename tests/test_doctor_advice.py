"""Every repair that the doctor advises repairs: what it says is done to the letter, and then it is content and all is as it was."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from milstore.cli.main import main
from milstore.store import Store, create_store, open_store
from milstore.store.cohort import read_cohort
from milstore.store.derived import LISTING, put_derived
from milstore.store.doctor import check, repair
from milstore.store.findings import DAMAGE, LEFTOVER, NOTE, Finding
from milstore.store.io import sha256_of, write_json
from milstore.store.paths import NO_RUN
from milstore.store.run_reader import run_ids
from milstore.store.run_writer import begin_run
from tests.crossing import WHOLE, crossed
from tests.faults import KILL, Faults
from tests.forking import fork
from tests.ingesting import milstore, new_store
from tests.putting_off import bring_up_to_date
from tests.test_ingest_repair import Group, flip, truncate

TRAIN = [
    "train", "--split", "1", "--encoder", "given", "--epochs", "2", "--min-epochs", "1", "--hidden", "4",
    "--attention-dim", "2", "--threads", "1", "--experiment", "small",
]  # fmt: skip
COMMAND = re.compile(
    r"milstore (?:ingest \w+|encode|runs delete|init|info|doctor)\b.*?(?=, or |, and |; | removes | creates | refreshes |$)"
)


@dataclass
class House:
    """A store into which everything was taken in, and the group's own files."""

    group: Group
    store: Store
    before: dict[str, Any]
    """What it holds as it was."""

    def do(self, found: Finding, which: int = 0) -> None:
        """Run the command that a finding advises, with the group's own files in the place of FILE, FOLDER, PATH and NAME."""
        advised = COMMAND.findall(found.repair)
        assert advised, found.repair
        line = advised[which]
        kind = "patches" if "patches" in line else "labels" if "labels" in line else "splits"
        own = {"FILE": self.group.folder / f"{kind}.csv", "FOLDER": self.group.folder / "images"}
        own |= {"PATH": self.group.folder / "vectors"}
        words = [str(own.get(word, "given" if word == "NAME" else word)) for word in shlex.split(line)[1:]]
        if words[:2] == ["ingest", "labels"]:
            words += ["--map", "benign=benign,malignant=malignant"]
        if words[:2] == ["runs", "delete"]:
            # It asks first, and is answered.
            words += ["--yes"]
        assert "--store" in words, found.repair
        assert main(words) == 0, words

    def by_hand(self, found: Finding, path: Path) -> None:
        """Remove what the advice says to remove, or to move away."""
        assert re.search("remove|move", found.repair), found.repair
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    def table(self, name: str) -> Path:
        """The file of a table of the cohort."""
        return self.store.root / str(self.store.manifest()["tables"][name]["file"])

    def run(self) -> Path:
        """The folder of the trained run."""
        (found,) = [run_id for run_id in run_ids(self.store) if run_id.startswith("small")]
        return self.store.run_folder(found)

    def holds(self) -> dict[str, Any]:
        """What the cohort says, what the trained run said, and what the placeholder and the derived file hold."""
        cohort = read_cohort(self.store)
        held: dict[str, Any] = {}
        for name in cohort.names():
            table = cohort.table(name)
            rows = table.select([c for c in table.column_names if c != "folder"]).to_pylist()
            held[name] = sorted(map(str, rows))
        held["predictions"] = pq.read_table(self.run() / "predictions.parquet", partitioning=None).to_pylist()
        held["placeholder"] = {path.name: path.read_bytes() for path in self.store.run_folder(NO_RUN).iterdir()}
        return held


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> House:
    """The files of a group, and a store that they were taken into, with a run that was trained and something derived of it."""
    group = Group(tmp_path_factory.mktemp("advice"))
    # Both classes to train on.
    (group.folder / "splits.csv").write_text("split,case_id,subset\n1,1,train\n1,2,train\n1,3,val\n")
    store = new_store(group.folder)
    for words in group.commands().values():
        assert milstore(store, *words) == 0
    assert milstore(store, *TRAIN) == 0
    put_derived(store, run_ids(store)[0], "evidence.txt", lambda path: path.write_text("first") and None)
    bring_up_to_date(store)
    assert check(store, young=0) == []
    shutil.copytree(store.root, group.folder / "whole")
    house = House(group, Store(store.root), {})
    house.before = house.holds()
    return house


@pytest.fixture
def house(built: House) -> House:
    """The store as it was, at the place where it was made."""
    root, whole = built.store.root, built.group.folder / "whole"
    for path in root.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(root)
    shutil.copytree(whole, root)
    return replace(built, store=Store(root))


def writable(folder: Path) -> Path:
    """A run's folder as somebody makes it who spoils it."""
    for path in [folder, *folder.iterdir()]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def spoil_reference(house: House) -> None:
    """A split of a case that is not there, written by something that checks nothing."""
    store, path = house.store, house.table("splits")
    table = read_cohort_table(path)
    case_ids = pa.array(["9", *table["case_id"].to_pylist()[1:]])
    at = table.column_names.index("case_id")
    pq.write_table(table.set_column(at, table.schema.field(at), case_ids), path)
    manifest = store.manifest()
    from milstore.store.cohort import fingerprint_of
    from milstore.store.content_hash import content_hash

    manifest["tables"]["splits"] |= {
        "sha256": sha256_of(path),
        "content": content_hash(read_cohort_table(path)),
    }
    manifest["fingerprint"] = fingerprint_of(manifest["tables"])
    write_json(store.manifest_path, manifest)


def read_cohort_table(path: Path) -> Any:
    """A table as its file has it."""
    return pq.ParquetFile(path).read()


def draft_of(house: House, name: str = "left-s1-0") -> Path:
    """An unfinished run."""
    facts = {"experiment": "left", "split": 1, "split_set": "splits", "seed": 0, "config": "{}", "config_version": 2}
    return begin_run(house.store, name, facts).folder


def edit_manifest(house: House, change: Callable[[dict[str, Any]], object]) -> None:
    """Something else than was written in the manifest."""
    manifest = house.store.manifest()
    change(manifest)
    write_json(house.store.manifest_path, manifest)


def old(path: Path) -> None:
    """Something that was not changed for long."""
    for each in [*path.rglob("*"), path] if path.is_dir() else [path]:
        os.utime(each, (0, 0))


def leftover(house: House, name: str, *, folder: bool = False) -> None:
    """Something that a dead writer left."""
    path = house.store.root / name
    path.mkdir(parents=True) if folder else path.write_bytes(b"x")
    old(path)


LEFT = (
    ".a.tmp", "cohort/.a.tmp", "patches/patches-0.parquet", "cohort/cases-0.parquet", "features/.a.tmp", "runs/.a.tmp",
    "running/.a.tmp", f"runs/run_id={NO_RUN}/.a.tmp",
)  # fmt: skip
"""Where a dead writer leaves something: all at once, and each alone by `make torture`."""


def leftovers(house: House) -> None:
    for name in LEFT:
        leftover(house, name)
    assert {each.where for each in check(house.store) if each.kind == LEFTOVER} == set(LEFT)


def pack(house: House, encoder: str) -> Path:
    """The folder of an encoder's features."""
    rows = read_cohort(house.store).table("encoders").to_pylist()
    return house.store.root / next(str(row["folder"]) for row in rows if row["encoder"] == encoder)


@dataclass(frozen=True)
class Kind:
    """A kind of damage: how it comes, what is found, and what is done about it."""

    name: str
    spoil: Callable[[House], object]
    kind: str
    where: str
    """What the place that is named begins with."""
    repair: Callable[[House, Finding], object]
    again: Callable[[House], object] = lambda _: None
    """What else the finding says to do."""
    same: bool = True
    """Whether everything is as it was."""


def does(house: House, found: Finding) -> None:
    house.do(found)


def train_again(house: House) -> None:
    assert milstore(house.store, *TRAIN) == 0
    put_derived(
        house.store, house.run().name.removeprefix("run_id="), "evidence.txt", lambda p: p.write_text("x") and None
    )


def both_encoders(house: House) -> None:
    assert milstore(house.store, "encode", "--replace", "--jobs", "1") == 0


def do_shell(house: House, found: Finding) -> None:
    subprocess.run(found.repair.partition(": ")[2], shell=True, check=True)


def remove_derived(house: House) -> Path:
    return house.store.derived_folder(house.run().name.removeprefix("run_id="))


def replace_derived(house: House, _: Finding) -> None:
    run_id = house.run().name.removeprefix("run_id=")
    put_derived(house.store, run_id, "evidence.txt", lambda path: path.write_text("first") and None, replace=True)


def in_run(name: str, damage: Callable[[Path], object]) -> Callable[[House], object]:
    return lambda house: damage(writable(house.run()) / name)


def in_placeholder(name: str, damage: Callable[[Path], object]) -> Callable[[House], object]:
    return lambda house: damage(house.store.run_folder(NO_RUN) / name)


def table_kinds() -> list[Kind]:
    """Every table of the cohort, damaged or missing; `make torture` has each of both."""
    names = ("classes", "cases", "stains", "slices", "patches", "patch_roots", "split_sets", "splits")
    kinds = [
        Kind(
            f"{how} {name}",
            lambda h, n=name, d=damage: d(h.table(n)),
            DAMAGE,
            f"{'patches' if name == 'patches' else 'cohort'}/{name}-",
            does,
        )
        for name, (how, damage) in crossed(names, [("flipped", flip), ("missing", Path.unlink)])
    ]
    # The advice names two commands, one for each way in which features came.
    features = [
        Kind(f"flipped {name}", lambda h, n=name: flip(h.table(n)), DAMAGE, f"cohort/{name}-", lambda h, f: h.do(f, 1), both_encoders)
        for name in ("encoders", "packs", "pack_cases")
    ]  # fmt: skip
    return [*kinds, *features]


def broken_draft(house: House) -> None:
    (draft_of(house) / "draft.json").write_text("{")


def epochs_of_draft(house: House) -> None:
    (draft_of(house) / "epochs.jsonl").write_text('{"epoch": 1, "crc32": 1}\n')


def checkpoint_of_draft(house: House) -> None:
    (draft_of(house) / "checkpoint.pt").write_bytes(b"no archive")


def recording_of_draft(house: House) -> None:
    facts = {"kind": "recorded", "experiment": "left", "split": 1, "split_set": "splits", "seed": 0}
    (begin_run(house.store, "left-s1-0", facts).folder / "prediction-1.json").write_text("{")


KINDS = [
    *table_kinds(),
    Kind("manifest, fingerprint", lambda h: edit_manifest(h, lambda m: m.update(fingerprint="0" * 64)), DAMAGE, "cohort/manifest.json", does),
    *(
        Kind(f"manifest, {key} of cases", lambda h, k=key: edit_manifest(h, lambda m: m["tables"]["cases"].update({k: value_of(k)})), DAMAGE, "cohort/", does)
        for key in ("rows", "content", "sha256")
    ),
    Kind("manifest without the rows of splits", lambda h: edit_manifest(h, lambda m: m["tables"]["splits"].pop("rows")), DAMAGE, "cohort/manifest.json", does),
    Kind("a split of no case", spoil_reference, DAMAGE, "cohort/splits-", does),
    Kind("ingested pack", lambda h: flip(pack(h, "given") / "vectors.npy"), DAMAGE, "features/given/", does),
    Kind("ingested pack without rows", lambda h: (pack(h, "given") / "rows.parquet").unlink(), DAMAGE, "features/given", does),
    Kind("ingested pack that is gone", lambda h: shutil.rmtree(pack(h, "given")), DAMAGE, "features/given", does),
    Kind("computed pack", lambda h: truncate(pack(h, "hed") / "vectors.npy"), DAMAGE, "features/hed/", does),
    *(
        Kind(f"run, {how} {name}", in_run(name, damage), DAMAGE, "runs/run_id=small", does, train_again, same=False)
        for how, name, damage in (
            ("flipped", "attention.parquet", flip),
            ("missing", "predictions.parquet", Path.unlink),
            ("cut", "weights.safetensors", truncate),
            ("broken", "run.json", truncate),
            ("missing", "run.json", Path.unlink),
        )
    ),
    Kind("run, a further file", in_run("mine.txt", lambda p: p.write_text("x")), NOTE, "runs/run_id=small", do_shell),
    *(
        Kind(f"placeholder, {how} {name}", in_placeholder(name, damage), DAMAGE, f"runs/run_id={NO_RUN}/{name}", does)
        for how, name, damage in (
            ("missing", "attention.parquet", Path.unlink),
            ("missing", "scores.parquet", Path.unlink),
            ("cut", "epochs.parquet", truncate),
            ("filled", "coverage.parquet", lambda p: pq.write_table(rows(), p)),
            ("missing", "run.json", Path.unlink),
            ("other", "run.json", lambda p: p.write_text("{}")),
        )
    ),
    Kind("no placeholder", lambda h: shutil.rmtree(h.store.run_folder(NO_RUN)), DAMAGE, f"runs/run_id={NO_RUN}/", does),
    Kind("stranger", lambda h: (h.store.runs / "copy").mkdir(), NOTE, "runs/copy", lambda h, f: h.by_hand(f, h.store.runs / "copy")),
    Kind("derived, other content", lambda h: (remove_derived(h) / "evidence.txt").write_text("other"), DAMAGE, "derived/", replace_derived),
    Kind("derived, missing", lambda h: (remove_derived(h) / "evidence.txt").unlink(), DAMAGE, "derived/", replace_derived),
    Kind("derived, listing", lambda h: (remove_derived(h) / LISTING).write_text("{"), DAMAGE, "derived/", lambda h, f: h.by_hand(f, remove_derived(h)), lambda h: replace_derived(h, None)),
    Kind("derived, unnamed", lambda h: (remove_derived(h) / "b.txt").write_text("x"), NOTE, "derived/", lambda h, f: h.by_hand(f, remove_derived(h) / "b.txt")),
    Kind("derived of no run", lambda h: leftover(h, "derived/run_id=gone", folder=True), LEFTOVER, "derived/run_id=gone", does),
    Kind("draft, facts", broken_draft, DAMAGE, "running/left-s1-0/draft.json", does),
    Kind("draft, epochs", epochs_of_draft, DAMAGE, "running/left-s1-0/epochs.jsonl", does),
    Kind("draft, checkpoint", checkpoint_of_draft, DAMAGE, "running/left-s1-0/checkpoint.pt", does),
    Kind("draft, recording", recording_of_draft, DAMAGE, "running/left-s1-0", does),
    Kind("draft that died before it began", lambda h: leftover(h, "running/never", folder=True), LEFTOVER, "running/never", does),
    Kind("leftovers", leftovers, LEFTOVER, "", does),
    *(Kind(f"leftover {name}", lambda h, n=name: leftover(h, n), LEFTOVER, name, does) for name in LEFT if WHOLE),
    Kind("pack that no encoder names", lambda h: leftover(h, "features/given/0000", folder=True), LEFTOVER, "features/given/0000", does),
    Kind("no database", lambda h: h.store.database.unlink(), NOTE, "milstore.duckdb", does),
    Kind("broken database", lambda h: h.store.database.write_bytes(b"x" * 9000), NOTE, "milstore.duckdb", lambda h, f: (h.by_hand(f, h.store.database), h.do(f))),
]  # fmt: skip


def value_of(key: str) -> Any:
    """What is not so."""
    return 9 if key == "rows" else "0" * 64


def rows() -> Any:
    """A table with a row."""
    return pa.table({"case_id": ["1"]})


DATABASE = (
    "flipped cases",
    "computed pack",
    "run, missing run.json",
    "no placeholder",
    "no database",
    "broken database",
)
"""After the repair of these milstore.duckdb is as it should be, too; `make torture` has it so after all."""


def param(kind: Kind) -> Any:
    return pytest.param(kind, id=kind.name, marks=[pytest.mark.database] if kind.name in DATABASE else [])


@pytest.mark.parametrize("kind", [param(kind) for kind in KINDS])
def test_what_the_doctor_advises_repairs(kind: Kind, house: House) -> None:
    """Of each kind of damage, leftover and note: what it says to do is done, then nothing is found and the content is right."""
    kind.spoil(house)
    found = [each for each in check(house.store, young=60) if each.kind == kind.kind]
    assert found, kind.name
    assert all(each.where.startswith(kind.where) for each in found), found
    kind.repair(house, found[0])
    kind.again(house)
    left = check(house.store, young=0)
    assert {each.kind for each in left} <= {LEFTOVER}, left
    if left:
        repair(house.store, left)
        assert check(house.store, young=0) == []
    after = house.holds()
    if not kind.same:
        # Trained again it is another run, of the same cases and the same numbers.
        assert house.run().is_dir()
    assert after == house.before


def test_what_a_killed_init_leaves_is_seen_and_completed(tmp_path: Path) -> None:
    """Killed at every fifth operation, it leaves no store or one that doctor speaks of; the same again completes it.

    `make torture` tries every operation.
    """
    whole = create_store(tmp_path / "whole")
    step = 1 if WHOLE else 5
    at, killed = 1 - step, True
    while killed:
        at += step
        root = tmp_path / f"killed-{at}"

        def init(root: Path = root, at: int = at) -> None:
            Faults(at, KILL).install()
            create_store(root)

        killed = fork(tmp_path, init).wait() == 137
        assert main(["init", "--store", str(root)]) == 0
        left = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.name.endswith(".tmp")}
        found = check(open_store(root), young=0)
        assert {each.where for each in found if each.kind == LEFTOVER} == left
        assert main(["doctor", "--repair", "--older-than", "0", "--store", str(root)]) == 0
        # The lock is made by whoever changes the store first.
        names = {path.relative_to(root).as_posix() for path in root.rglob("*")} - {"cohort/.lock"}
        assert names == {path.relative_to(whole.root).as_posix() for path in whole.root.rglob("*")}
        shutil.rmtree(root)
    assert at > 20


def test_init_says_what_it_puts_back(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing where nothing is missing."""
    assert main(["init", "--store", str(house.store.root)]) == 0
    assert "put back" not in capsys.readouterr().err
    (house.store.run_folder(NO_RUN) / "epochs.parquet").unlink()
    assert main(["init", "--store", str(house.store.root)]) == 0
    assert f"put back runs/run_id={NO_RUN}/epochs.parquet\n" in capsys.readouterr().err
