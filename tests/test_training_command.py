"""`milstore train`: the command around the library."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from milstore.cli.main import main
from milstore.store import Store
from milstore.store.run_reader import read_run, run_ids
from milstore.store.run_writer import list_drafts
from tests.forking import done
from tests.holding import Held
from tests.training_cohort import tiny_store

SMALL = ["--hidden", "8", "--attention-dim", "4", "--epochs", "2", "--min-epochs", "1", "--threads", "1"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tiny_store(tmp_path / "store")


def milstore(store: Store, *words: str) -> int:
    return main(["train", "--store", str(store.root), *words])


def test_train_prints_the_summary_to_stdout_and_words_to_stderr(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table is data; progress, run id and the next command are words."""
    assert milstore(store, "--split", "2", *SMALL) == 0
    out, err = capsys.readouterr()
    (run_id,) = run_ids(store)
    assert [word for word in ("recall", "95% interval", "AUC", "called right", "high-grade") if word not in out] == []
    assert max(map(len, out.splitlines())) <= 80
    assert f"next: milstore query top-patches --run {run_id} --store {store.root}" in err
    assert re.search(r"best epoch [12] of 2, \d+\.\d s", err)


def test_quiet_prints_the_table_alone(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """With --quiet nothing goes to stderr."""
    assert milstore(store, "--split", "1", "--quiet", *SMALL) == 0
    assert capsys.readouterr().err == ""


def test_options_win_over_the_config_file(store: Store, tmp_path: Path) -> None:
    """--config fills what the command line leaves open."""
    path = tmp_path / "run.toml"
    path.write_text('pooling = "flat"\nepochs = 9\n')
    assert milstore(store, "--split", "1", "--config", str(path), "--experiment", "mine", *SMALL) == 0
    (run_id,) = run_ids(store)
    text = (store.run_folder(run_id) / "run.json").read_text()
    assert run_id.startswith("mine-s1-0-")
    assert '"pooling": "flat"' in text
    assert r"\"epochs\":2" in text


def test_a_preset_is_laid_below_file_and_options(store: Store, tmp_path: Path) -> None:
    """--preset study takes the place of the defaults; --config and options win over it, and the run says what was used."""
    path = tmp_path / "run.toml"
    path.write_text("lr = 0.01\ngated = true\n")
    words = ["--split", "1", "--preset", "study", "--config", str(path), "--no-gated", *SMALL]
    assert milstore(store, *words) == 0
    (run_id,) = run_ids(store)
    config = json.loads(read_run(store, run_id)["config"])
    told = ("optimiser", "lr", "gated", "attention_dropout", "standardise", "class_weights", "min_lr", "hidden")
    assert [config[name] for name in told] == ["adam", 0.01, False, 0.3, "none", "2.5,1", 1e-6, 8]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--split", "1", "--preset", "studdy"], "--preset 'studdy': give one of study (did you mean study?)"),
        (["--preset", "study", "--resume", "x"], "--resume continues one run as it began"),
        (["--split", "9"], "--split 9: split set tiny has the splits 1, 2"),
        (["--split", "two"], "--split 'two': give a number or all"),
        ([], "say which split to train on: --split 1, or --split all"),
        (["--split", "1", "--resume", "x"], "--resume continues one run as it began"),
        (["--lr", "1", "--resume", "x"], "--resume continues one run as it began"),
        (["--resume", "x"], "there is no unfinished run 'x'"),
        (["--split", "1", "--lr", "fast"], "fast"),
        (["--split", "1", "--dropout", "1"], "--dropout 1.0: give a value from 0 to below 1"),
        (["--split", "1", "--config", "absent.toml"], "--config absent.toml"),
    ],
)
def test_what_does_not_fit_is_one_line_and_exit_2(
    store: Store, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """A wrong option ends with its line, exit 2 and no run."""
    assert milstore(store, *words) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert (out, err.count("\n"), run_ids(store), list_drafts(store)) == ("", 1, [], [])


def test_help_shows_each_setting_with_its_default_without_torch() -> None:
    """`train --help` answers without loading what training needs."""
    code = (
        "import sys; from milstore.cli.main import main; main(['train', '--help']); "
        "print(sorted({'torch', 'sklearn', 'pandas', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    text = " ".join(done.stdout.split())
    assert "--patience <int> Stop after this many epochs without a lower validation loss. [default: 8]" in text
    assert text.endswith("[]")


def test_a_killed_process_goes_on_in_another(store: Store, tmp_path: Path) -> None:
    """SIGTERM ends `milstore train` with exit 75 and a line; `--resume` in a new process finishes the run."""
    words = ["--split", "1", *SMALL, "--epochs", "5", "--min-epochs", "5"]
    killed = Held(tmp_path / "killed").begun(tmp_path, lambda: milstore(store, *words))
    killed.send(signal.SIGTERM)
    assert killed.wait() == 75
    assert killed.text().splitlines()[-1] == "stopped in split 1 of tiny, epoch 3 of 5: the same command goes on"
    assert "error" not in killed.text()
    (draft,) = list_drafts(store)
    assert draft.checkpoint_path.exists()
    done(tmp_path, lambda: milstore(store, "--resume", draft.run_id))
    assert (run_ids(store), list_drafts(store)) == ([draft.run_id], [])
