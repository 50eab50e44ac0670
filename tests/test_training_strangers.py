"""What strangers' models do wrong at first: each is one line before an epoch is spent, and leaves nothing."""

from pathlib import Path

import pytest

from milstore.cli.main import main
from milstore.store import Store
from milstore.store.run_reader import run_ids
from milstore.store.run_writer import list_drafts
from tests.test_training_models import QUICK, own_model
from tests.training_cohort import tiny_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tiny_store(tmp_path / "store")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            "self.late = getattr(self, 'late', None) or torch.nn.Linear(2, 2)",
            "Mine: forward makes weights (inner.late.bias, inner.late.weight): make them in __init__",
        ),
        ("logits_C = logits_C * torch.nan", "Mine, case 1: its logits hold NaN or infinite numbers"),
        (
            "return CaseOutput(logits_C, scores={'cam': bag.feature_ND[:, 0] / 0})",
            "Mine, case 1: its score cam hold NaN or infinite numbers",
        ),
        (
            "return CaseOutput(logits_C, scores={'Grad CAM': bag.feature_ND[:, 0]})",
            "Mine: score 'Grad CAM' does not fit: use 1 to 64 of a-z, 0-9, '_', '.', '-', a letter or digit first",
        ),
        ("bag.feature_ND.mul_(0.5)", "Mine: it changes the bag's features in place: compute with a copy"),
    ],
)
def test_a_model_that_cannot_be_meant_is_refused_before_it_is_trained(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], body: str, told: str
) -> None:
    """Weights made within forward, numbers that no run may hold, names that no option could: exit 2, and no draft."""
    model = own_model(tmp_path, body)
    assert main(["train", "--store", str(store.root), "--split", "1", "--model", model, *QUICK]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"error: model {told}\n")
    assert (run_ids(store), list_drafts(store)) == ([], [])


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ("score_N.softmax(0)", "its attention sums to 1 before exp: give logarithms, by log_softmax(0)"),
        ("score_N * torch.nan", "attention has a log-weight of NaN or +inf, or none above -inf"),
        ("score_N.log_softmax(0)", ""),
    ],
)
def test_attention_of_probabilities_is_not_taken_for_logarithms(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], weights: str, told: str
) -> None:
    """It would be stored as nearly even, and nobody would see it; NaN is told at the first case too."""
    file = own_model(
        tmp_path, f"score_N = bag.feature_ND[:, 0]; return CaseOutput(logits_C, PatchAttention({weights}))",
        before="from milstore.models import PatchAttention",
    )  # fmt: skip
    path = tmp_path / "mine.py"
    path.write_text(path.read_text().replace('attends: ClassVar = "none"', 'attends: ClassVar = "patches"'))
    code = main(["train", "--store", str(store.root), "--split", "1", "--model", file, *QUICK])
    err = capsys.readouterr().err
    if told:
        assert (code, err, list_drafts(store)) == (2, f"error: model Mine, case 1: {told}\n", [])
    else:
        assert (code, len(run_ids(store))) == (0, 1)
