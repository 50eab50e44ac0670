"""`milstore encode --launcher`: several processes, or jobs of SLURM, compute what one would."""

import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from milstore.cli.main import main
from milstore.encoders.computing import compute
from milstore.encoders.encode_folder import encode_by_folder
from milstore.encoders.encoder_folder import read_encoder_folder
from milstore.encoders.encoding_plan import FolderOptions, plan_encoding
from milstore.ingest.patches import ingest_patches
from milstore.launching.encoding import EncodeTask, begin_encoding, encode_side_by_side
from milstore.store import Store, create_store
from milstore.store.cohort import read_cohort
from tests.crossing import WHOLE
from tests.forking import Child, done, fork
from tests.launching import by_forks, by_interpreters
from tests.networks import mean_colour, write_patches
from tests.optional import needs
from tests.test_launching_slurm import node, slurm  # noqa: F401 - fixtures
from tests.waiting import PATIENCE, holds_within, wait_for

pytestmark = [needs("onnx", "onnxruntime")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An encoder, and twenty patches in four slices."""
    write_patches(tmp_path / "images")
    return mean_colour(tmp_path / "tiny")


def _store(tmp_path: Path, name: str) -> Store:
    made = create_store(tmp_path / name)
    ingest_patches(made, tmp_path / "images")
    return made


def _fingerprint(store: Store) -> str:
    return str(read_cohort(store).table("encoders")["fingerprint"].to_pylist()[0])


def launched(tmp_path: Path, folder: Path, store: Store) -> Child:
    """The command, side by side; its processes are forked here, and interpreters by `make torture`."""
    words = ["encode", "--encoder-folder", str(folder), "--launcher", "local", "--store", str(store.root)]
    work = partial(main, words)
    return fork(tmp_path, by_interpreters(work) if WHOLE else by_forks(work))


def test_processes_side_by_side_compute_what_one_would(tmp_path: Path, folder: Path) -> None:
    """Two processes give the bits of one, and go on with what was there; a second time there is nothing to do."""
    alone, together = _store(tmp_path, "alone"), _store(tmp_path, "together")
    encode_by_folder(alone, read_encoder_folder(folder))
    compute(plan_encoding(together, read_encoder_folder(folder), FolderOptions()), part=(0, 4))
    first = launched(tmp_path, folder, together)
    assert first.wait() == 0, first.text()
    assert "tiny: 3 features of 20 patches in" in first.text()
    assert _fingerprint(together) == _fingerprint(alone)
    second = launched(tmp_path, folder, together)
    assert second.wait() == 0, second.text()
    assert "nothing changed" in second.text()


def test_what_a_process_cannot_read_is_one_line(tmp_path: Path, folder: Path) -> None:
    """A damaged image ends all of them with its name; the store is as it was, and goes on when it is repaired."""
    store = _store(tmp_path, "store")
    image = tmp_path / "images" / "case_10_match_1_sox10_patch4.png"
    whole = image.read_bytes()
    image.write_bytes(whole[:100])
    refused = launched(tmp_path, folder, store)
    assert refused.wait() == 2
    assert "case_10_match_1_sox10_patch4.png is damaged" in refused.text()
    assert "\n" not in refused.text().strip()
    assert read_cohort(store).table("encoders").num_rows == 0
    image.write_bytes(whole)
    done(tmp_path, partial(main, ["encode", "--encoder-folder", str(folder), "--store", str(store.root)]))


def test_an_interpreter_of_its_own_computes_its_part(tmp_path: Path, folder: Path) -> None:
    """It finds the milstore that launched it, computes what is missing, and leaves it to the launcher to store that."""
    store = _store(tmp_path, "store")
    assert encode_side_by_side(store, read_encoder_folder(folder), FolderOptions(), 1).patches == 20


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_command_that_was_killed_goes_on(tmp_path: Path, folder: Path, number: signal.Signals) -> None:
    """Killed in the middle, whatever the signal: the same command goes on, and stores the same bits."""
    store, alone = _store(tmp_path, "store"), _store(tmp_path, "alone")
    encode_by_folder(alone, read_encoder_folder(folder), FolderOptions(batch=1))
    words = ["encode", "--encoder-folder", str(folder), "--batch", "1", "--store", str(store.root)]

    def slowly() -> int:
        from milstore.encoders.network import Network

        vectors, begun = Network.vectors, list[Any]()

        def stay(self: Network, batch: Any) -> Any:
            begun.append(batch)
            # A slice has five patches.
            holds_within(lambda: len(begun) < 7, PATIENCE)
            return vectors(self, batch)

        Network.vectors = stay  # type: ignore[method-assign]
        return main(words)

    child = fork(tmp_path, slowly)
    wait_for(lambda: child.ended() or list((store.root / "features").glob(".*.shards/*.npy")), "the first slice")
    child.send(number)
    assert child.wait() == -number
    assert read_cohort(store).table("encoders").num_rows == 0
    told: list[int] = []
    folder_ = read_encoder_folder(folder)
    encode_by_folder(store, folder_, FolderOptions(batch=1), progress=lambda what, done, total: told.append(done))
    assert told[0] >= 5
    assert _fingerprint(store) == _fingerprint(alone)


def test_the_last_job_stores_what_all_have_computed(tmp_path: Path, folder: Path) -> None:
    """Jobs end in any order; the one that finds nothing missing puts the features in, and one that comes later has no work."""
    store = _store(tmp_path, "store")
    launch = begin_encoding(store, read_encoder_folder(folder), FolderOptions(), 2, threads=1)
    assert EncodeTask(launch=str(launch), part=1)() == "computed; other jobs go on"
    assert read_cohort(store).table("encoders").num_rows == 0
    assert EncodeTask(launch=str(launch), part=0)().startswith("tiny: 3 features of 20 patches")
    assert EncodeTask(launch=str(launch), part=1)() == "the features are in the store"


@pytest.mark.slurm
@pytest.mark.usefixtures("slurm")
def test_jobs_of_slurm_encode_a_store(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two jobs compute, and the last of them stores the bits that one process does."""
    alone, store = _store(tmp_path, "alone"), _store(tmp_path, "store")
    encode_by_folder(alone, read_encoder_folder(folder))
    words = ["encode", "--encoder-folder", str(folder), "--launcher", "slurm", "--store", str(store.root)]
    assert main(words) == 0
    assert "tiny: submitted to SLURM as" in capsys.readouterr().err
    wait_for(lambda: read_cohort(store).table("encoders").num_rows, "the last job", every=0.2)
    assert _fingerprint(store) == _fingerprint(alone)
