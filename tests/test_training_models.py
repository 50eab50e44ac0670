"""Training any model: each writes a run that keeps every promise, goes on as its twin, and is kept with the run."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.cli.main import main
from milstore.errors import ConflictError, DataError, UsageError
from milstore.launching.planning import plan_launch
from milstore.launching.task import Task
from milstore.models import available
from milstore.report.building import build_report
from milstore.store import Store
from milstore.store.doctor import check
from milstore.store.findings import DAMAGE
from milstore.store.run_reader import read_run, run_ids
from milstore.store.run_writer import list_drafts
from milstore.training import RunResult, TrainingConfig, resume, train
from milstore.training.config_reading import read_config
from milstore.training.evaluation import dead_units, evaluate, score_table
from milstore.training.loop import Training
from milstore.training.progress import Watcher
from milstore.training.provenance import repeatable_arithmetic
from tests.milbags import SMALL as SMALL_OF
from tests.reporting import brief
from tests.test_training_runs import Killed, Strike, assert_same_numbers, die
from tests.training_cohort import LABELS, SMALL, bags, cases, tiny_store
from tests.trainings import twin_of

CPU = torch.device("cpu")
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
OWN = f"{EXAMPLES}/add_a_model.py:TopPatches"
QUICK = ["--epochs", "1", "--min-epochs", "1", "--threads", "1"]


def of_model(model: str, **settings: Any) -> TrainingConfig:
    """A small configuration of a model."""
    if model == "hierarchical":
        return SMALL
    return TrainingConfig(model=model, settings=settings or SMALL_OF.get(model, {}), epochs=3, min_epochs=1, lr=0.01)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tiny_store(tmp_path / "store")


def own_model(folder: Path, body: str, *, name: str = "mine.py", before: str = "") -> str:
    """A user's own file whose model gives two logits of the mean patch, and does `body` before."""
    (folder / name).write_text(
        f"""
from dataclasses import dataclass
from typing import ClassVar
import torch
from milstore.models import CaseOutput, MILModel
{before}

class Mine(MILModel):
    \"\"\"A model of one's own.\"\"\"
    attends: ClassVar = "none"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        width: int = 3
        \"\"\"Nothing.\"\"\"

    def __init__(self, config, n_features, n_classes):
        super().__init__()
        self.line = torch.nn.Linear(n_features, n_classes)

    def forward(self, bag):
        logits_C = self.line(bag.feature_ND).mean(0)
        {body}
        return CaseOutput(logits_C)
""",
        encoding="utf-8",
    )
    return f"{folder / name}:Mine"


def attention(result: RunResult) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(result.folder / "attention.parquet", partitioning=None).to_pylist()
    return rows


@pytest.mark.parametrize("model", [*available(), OWN])
def test_every_model_writes_a_run_that_keeps_every_promise(store: Store, model: str) -> None:
    """One epoch of each: the doctor finds no damage, and attention sums to 1 over each case, or has no row at all."""
    result = train(store, replace(of_model(model), epochs=1), 1, threads=1)
    assert [finding for finding in check(store) if finding.kind == DAMAGE] == []
    facts, rows = read_run(store, result.run_id), attention(result)
    assert (facts["model"], facts["attention"]) == (result.model, result.attention)
    assert facts["model"] == ("TopPatches" if model == OWN else model)
    if result.attention == "none":
        assert rows == []
        assert {"mean", "max", "transmil"} >= {model}
        return
    sums = dict.fromkeys(LABELS, 0.0)
    for row in rows:
        sums[row["case_id"]] += row["effective_attention"]
    assert sums == pytest.approx(dict.fromkeys(LABELS, 1.0), abs=1e-5)


@pytest.mark.parametrize("model", [OWN, "transmil", "acmil"])
@pytest.mark.parametrize("after", [2, 9])
def test_a_killed_training_of_any_model_ends_as_its_twin(store: Store, model: str, after: int) -> None:
    """Killed within an epoch and continued, a model that draws dropout or hides patches gives the same bits."""
    config = of_model(model)
    if model == "transmil":
        config = replace(config, settings={**SMALL_OF[model], "dropout": 0.4})
    twin = twin_of(config)
    with pytest.raises(Killed):
        train(store, config, 1, threads=1, watcher=Strike(after, die))
    (draft,) = list_drafts(store)
    assert_same_numbers(resume(store, draft.run_id, model=model), twin)


def test_dropout_of_a_model_is_drawn_anew_for_each_case(store: Store) -> None:
    """Seeds are of (seed, epoch, position): without dropout a model has another course, with another seed too."""
    del store
    with repeatable_arithmetic(1):

        def losses(seed: int, dropout: float) -> list[float]:
            config = replace(of_model("transmil"), settings={**SMALL_OF["transmil"], "dropout": dropout}, epochs=1)
            made = Training(bags(), cases(), config, n_classes=2, seed=seed, device=CPU)
            made.train_epoch(Watcher(), lambda: False)
            return [row["train_loss"] for row in made.history]

        assert losses(0, 0.4) == losses(0, 0.4)
        assert losses(0, 0.4) != losses(0, 0.0)
        assert losses(0, 0.4) != losses(1, 0.4)


def test_a_run_keeps_what_its_model_was_made_of(store: Store, tmp_path: Path) -> None:
    """Class, settings, and of a user's own file and what it imports from its folder the SHA-256 and the text."""
    model = own_model(tmp_path, "logits_C = logits_C * part.SCALE", before="import part")
    (tmp_path / "part.py").write_text("SCALE = 1.0\n", encoding="utf-8")
    result = train(store, of_model(model, width=5), 1, threads=1)
    code = read_run(store, result.run_id)["model_code"]
    texts = {name: (tmp_path / name).read_text(encoding="utf-8") for name in ("mine.py", "part.py")}
    assert code == {
        "class": "Mine",
        "config": {"width": 5},
        "sha256": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()},
        "source": texts,
    }
    built_in = train(store, of_model("abmil"), 1, threads=1)
    code = read_run(store, built_in.run_id)["model_code"]
    assert (code["class"], code["sha256"], code["source"]) == ("milstore.models.abmil:ABMIL", {}, {})
    assert code["config"] == {
        **{"hidden": 6, "attention_dim": 4, "gated": True, "dropout": 0.3},
        **{"attention_dropout": 0.0, "classifier_dropout": 0.0},
    }


def test_a_run_of_a_users_own_model_goes_on_with_the_same_file_alone(store: Store, tmp_path: Path) -> None:
    """It must be named, be of the run, and have the SHA-256 that it had; nothing is executed because a store says so."""
    model = own_model(tmp_path, "pass")
    twin = train(store, of_model(model, width=3), 1, threads=1)
    with pytest.raises(Killed):
        train(store, of_model(model, width=3), 1, threads=1, watcher=Strike(8, die))
    (draft,) = list_drafts(store)
    with pytest.raises(UsageError, match=r"is of a model of your own: say where it is, by --model \./mine\.py:Mine$"):
        resume(store, draft.run_id)
    with pytest.raises(UsageError, match="is of the model Mine, not abmil: leave --model out"):
        resume(store, draft.run_id, model="abmil")
    text = (tmp_path / "mine.py").read_text(encoding="utf-8")
    (tmp_path / "mine.py").write_text(f"{text}raise SystemExit('executed')\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"mine\.py differs from what the run was trained with"):
        resume(store, draft.run_id, model=model)
    # The file may lie elsewhere.
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "mine.py").write_text(text, encoding="utf-8")
    result = resume(store, draft.run_id, model=f"{tmp_path / 'moved' / 'mine.py'}:Mine")
    assert_same_numbers(result, twin)


def test_an_experiment_is_of_one_model_and_its_settings(store: Store, tmp_path: Path) -> None:
    """Another model, setting or file under a known name is refused, and what differs is named."""
    model = own_model(tmp_path, "pass")
    first = train(store, of_model(model, width=3), 1, threads=1, experiment="base")
    for config, told in (
        (of_model(model, width=4), "width 3 there, 4 here"),
        (replace(of_model("mean"), lr=0.5), "lr 0.01 there, 0.5 here; model Mine there, mean here"),
        (replace(SMALL, standardise="train"), "model Mine there, hierarchical here"),
    ):
        with pytest.raises(ConflictError) as refused:
            train(store, config, 2, threads=1, experiment="base")
        assert str(refused.value) == (
            f"experiment base stands for another configuration ({told}): choose another --experiment"
        )
    own_model(tmp_path, "logits_C = 2 * logits_C")
    with pytest.raises(ConflictError, match=r"\(mine\.py is another file\)"):
        train(store, of_model(model, width=3), 2, threads=1, experiment="base")
    assert train(store, of_model(model, width=3), 1, threads=1).experiment != first.experiment
    # A setting that is the default's may be left out: it is the same configuration.
    names = {train(store, of_model("mean", **told), 1, threads=1).experiment for told in ({}, {"of": "embeddings"})}
    assert len(names) == 2  # `of_model` makes the model small where nothing is told.
    small = SMALL_OF["mean"]
    names = {
        train(store, of_model("mean", **small, **told), 1, threads=1).experiment for told in ({}, {"dropout": 0.3})
    }
    assert len(names) == 1


def test_questions_about_attention_say_that_there_is_none(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a run without attention: one line and exit 2; what can be told without it is, and the report has its say."""
    result = train(store, of_model("mean"), 1, threads=1)
    begins = f"run {result.run_id} (model mean) has no attention: "
    for name in ("top-patches", "stain-attention", "compare-runs", "slice-spread"):
        words = ["--case", "9"] if name == "top-patches" else []
        assert main(["query", name, "--store", str(store.root), *words]) == 2
        out, err = capsys.readouterr()
        assert (out, err.startswith(f"error: {begins}"), err.count("\n")) == ("", True, 1)
    rows = {row["case_id"]: row for row in ask(store, "near-threshold", Choice(), {"margin": 0.5}).records()}
    assert {case_id: (row["patches"], row["slices"], row["concentration"]) for case_id, row in rows.items()} == {
        "9": (7, 2, None),
        "10": (8, 2, None),
        "11": (14, 4, None),
        "12": (2, 1, None),
    }
    counts = ask(store, "patch-count", Choice()).records()
    assert {row["case_id"]: row["patches"] for row in counts if row["counted"] == "all"} == {
        "9": 7,
        "10": 8,
        "11": 14,
        "12": 2,
    }
    for chart in ("misclassified", "near-threshold", "patch-count"):
        assert main(["plot", chart, "--store", str(store.root), "-o", str(store.root.parent / "x.html")]) == 0
    with brief(charts=False):
        report = build_report(store)
    assert report.faults == []
    assert report.studies_words.startswith(f"Run {result.run_id} (model mean) has no attention")
    assert report.overview_words.startswith(begins)


def test_attending_runs_are_asked_as_before(store: Store) -> None:
    """Of a run with attention nothing is refused, and patches and slices are those that have it."""
    result = train(store, of_model("abmil"), 1, threads=1)
    rows = ask(store, "near-threshold", Choice(subset="all"), {"margin": 0.5}).records()
    assert len(rows) == len(LABELS)
    for row in rows:
        of_case = [each for each in attention(result) if each["case_id"] == row["case_id"]]
        assert row["patches"] == len(of_case) == of_case[0]["n_patches"]
        assert row["slices"] == len({(each["stain"], each["slice_idx"]) for each in of_case})
        assert row["concentration"] == pytest.approx(of_case[0]["effective_attention"])


def test_scores_are_a_number_a_patch_and_never_attention() -> None:
    """What TransMIL and mean pooling say of patches is a table of its own, signed, with each patch's identity."""
    with repeatable_arithmetic(1):
        made = Training(bags(), cases(), of_model("mean"), n_classes=2, seed=0, device=CPU)
        results = evaluate(made.model, made.bags, ["9", "12"], CPU)
    assert [result.attention for result in results] == [None, None]
    table = score_table(results)
    assert table.column_names == ["case_id", "stain", "slice_idx", "patch_idx", "name", "value"]
    of_12 = [row for row in table.to_pylist() if row["case_id"] == "12"]
    assert [(row["name"], row["stain"], row["slice_idx"], row["patch_idx"]) for row in of_12] == [
        (name, "h&e", 0, patch_idx) for name in ("class_0", "class_1") for patch_idx in (3, 13)
    ]
    # Of the mean of embeddings, the scores' mean is the case's logit.
    logits = [np.mean([row["value"] for row in of_12 if row["name"] == f"class_{c}"]) for c in (0, 1)]
    share = np.exp(logits) / np.exp(logits).sum()
    assert results[1].probability_C.tolist() == pytest.approx(share.tolist(), abs=1e-6)
    attending = Training(bags(), cases(), of_model("abmil"), n_classes=2, seed=0, device=CPU)
    assert score_table(evaluate(attending.model, attending.bags, ["9"], CPU)).num_rows == 0


def test_dead_units_of_any_model_that_has_the_projector(tmp_path: Path) -> None:
    """Every model with milstore's projector tells its dead units; one without is not judged by them, and says so."""
    with repeatable_arithmetic(1):
        for model in available():
            made = Training(bags(), cases(), of_model(model), n_classes=2, seed=0, device=CPU)
            project = made.model.inner.get_submodule("project.linear")
            torch.nn.init.zeros_(project.weight)
            torch.nn.init.constant_(project.bias, -1.0)
            assert dead_units(made.model, made.bags, cases().of("train"), CPU) == 1.0, model
        own = of_model(own_model(tmp_path, "pass"), width=3)
        made = Training(bags(), cases(), own, n_classes=2, seed=0, device=CPU)
        assert dead_units(made.model, made.bags, cases().of("train"), CPU) is None


def test_a_run_that_learned_nothing_says_so_without_dead_units(store: Store, tmp_path: Path) -> None:
    """Of a model whose units are not known, the sentence has no word of them, and the run holds null."""
    config = replace(of_model(own_model(tmp_path, "logits_C = 0 * logits_C"), width=3), epochs=1)
    result = train(store, config, 1, threads=1)
    assert result.learning.verdict == "nothing"
    assert read_run(store, result.run_id)["learning"]["dead_units"] is None
    with brief("recall", charts=False):
        report = build_report(store)
    assert [note for note in report.notes if "nothing was learned" in note and "dead" not in note]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("raise ValueError('no\\n way')", "model Mine: ValueError: no way (mine.py, line 23)"),
        ("return logits_C", "model Mine: forward gave Tensor: give a CaseOutput"),
        ("logits_C = logits_C[:1]", "model Mine: its logits have shape (1,): give one a class, (2,)"),
        (
            "return CaseOutput(logits_C, scores={'x': logits_C})",
            "model Mine: its score x has shape (2,): give (",
        ),
        (
            "from milstore.models import PatchAttention; return CaseOutput(logits_C, PatchAttention(logits_C))",
            "model Mine: its attention is PatchAttention, and attends says 'none'",
        ),
    ],
)
def test_what_a_users_own_model_does_wrong_is_one_line_and_leaves_nothing(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], body: str, told: str
) -> None:
    """Its error with the line of the file, or what its output lacks; exit 2, and not even an unfinished run."""
    model = own_model(tmp_path, body)
    assert main(["train", "--store", str(store.root), "--split", "1", "--model", model, *QUICK]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"error: {told}")
    assert (out, err.count("\n"), run_ids(store), list_drafts(store)) == ("", 1, [], [])


UNREPEATABLE = (
    "spot = logits_C.new_zeros(2); spot.put_(torch.tensor([0]), torch.tensor([0.0])); logits_C = logits_C + spot"
)


def test_an_operation_without_a_deterministic_form_needs_a_word(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    """One line names the operation and the option; with the option it is trained, and the run says that it was."""
    words = ["train", "--store", str(store.root), "--split", "1", "--model", own_model(tmp_path, UNREPEATABLE), *QUICK]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: model Mine: put_")
    assert "has no deterministic form here: --allow-nondeterministic trains all the same" in err
    assert (err.count("\n"), list_drafts(store)) == (1, [])
    assert main([*words, "--allow-nondeterministic"]) == 0
    (run_id,) = run_ids(store)
    assert json.loads(read_run(store, run_id)["config"])["allow_nondeterministic"] is True
    assert not [each for each in recwarn if "deterministic" in str(each.message)]


def test_weights_that_take_no_part_are_treated_like_the_others(tmp_path: Path) -> None:
    """A parameter without a gradient is given one of 0: the optimiser's weight decay shrinks it as any other."""
    model = own_model(tmp_path, "pass")
    text = (tmp_path / "mine.py").read_text(encoding="utf-8")
    idle = "super().__init__()\n        self.idle = torch.nn.Parameter(torch.ones(1))"
    (tmp_path / "mine.py").write_text(text.replace("super().__init__()", idle), encoding="utf-8")
    config = replace(of_model(model, width=3), lr=0.1, weight_decay=0.5, epochs=1)
    with repeatable_arithmetic(1):
        made = Training(bags(), cases(), config, n_classes=2, seed=0, device=CPU)
        made.train_epoch(Watcher(), lambda: False)
    # AdamW shrinks by lr x weight decay in each of the six steps, and a gradient of 0 adds nothing.
    assert made.model.inner.get_parameter("idle").tolist() == pytest.approx([0.95**6], rel=1e-6)


def test_stains_are_told_to_a_model_that_asks(store: Store, tmp_path: Path) -> None:
    """A constructor that takes `stains` gets the store's; a run that goes on has those that it began with."""
    model = own_model(tmp_path, "assert len(self.stains) == 3")
    text = (tmp_path / "mine.py").read_text(encoding="utf-8")
    text = text.replace("n_features, n_classes):", "n_features, n_classes, stains):")
    text = text.replace("super().__init__()", "super().__init__()\n        self.stains = stains")
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    with pytest.raises(Killed):
        train(store, of_model(model, width=3), 1, threads=1, watcher=Strike(8, die))
    (draft,) = list_drafts(store)
    assert draft.facts["stains"] == ["h&e", "melan", "sox10"]
    assert resume(store, draft.run_id, model=model).n_epochs == 3


def test_three_classes() -> None:
    """Every model has a logit a class, and its training loss falls, whatever the number of classes."""
    three = {case_id: int(case_id) % 3 for case_id in LABELS}
    with repeatable_arithmetic(1):
        for model in available():
            config = replace(of_model(model), standardise="train", epochs=8, min_epochs=8, lr=0.02, patience=8)
            made = Training(bags(), replace(cases(), label_of=three), config, n_classes=3, seed=0, device=CPU)
            losses: list[float] = []
            while not made.finished and losses[-1:] >= losses[:1]:
                made.train_epoch(Watcher(), lambda: False)
                losses.append(made.history[-1]["train_loss"])
            assert losses[-1] < losses[0], model
            assert evaluate(made.model, made.bags, ["9"], CPU)[0].probability_C.shape == (3,)


def test_validation_is_cross_entropy_alone(store: Store) -> None:
    """What ACMIL adds to its loss is not in the losses that are told: a model that knows nothing costs ln 2."""
    del store
    with repeatable_arithmetic(1):
        made = Training(bags(), cases(), of_model("acmil"), n_classes=2, seed=0, device=CPU)
        for each in (made.model.inner.get_submodule("classify"),):
            torch.nn.init.zeros_(each.weight)
            torch.nn.init.zeros_(each.bias)
        assert made._validate().tolist()[0] == pytest.approx(0.6931471805599453)


def test_a_model_and_its_settings_are_told_by_options_or_a_file(store: Store, tmp_path: Path) -> None:
    """`--model` with `--set`, or [model] in a file, whose `name` says which; --set wins, and both agree with `models`."""
    path = tmp_path / "run.toml"
    path.write_text("lr = 0.02\n[model]\nname = 'abmil'\nhidden = 6\nattention-dim = 4\n", encoding="utf-8")
    told = read_config(path, {}, None, ["hidden=7"])
    assert (told.model, told.settings, told.lr) == ("abmil", {"hidden": 7, "attention_dim": 4}, 0.02)
    words = ["train", "--store", str(store.root), "--split", "1", "--config", str(path), "--set", "hidden=7", *QUICK]
    assert main(words) == 0
    (run_id,) = run_ids(store)
    config = json.loads(read_run(store, run_id)["config"])
    assert (config["model"], config["lr"]) == ("abmil", 0.02)
    assert config["settings"] == {
        **{"hidden": 7, "attention_dim": 4, "gated": True, "dropout": 0.3},
        **{"attention_dropout": 0.0, "classifier_dropout": 0.0},
    }
    assert not {"pooling", "hidden", "dropout"} & config.keys()
    assert read_run(store, run_id)["pooling"] is None
    # Of the default model, --set and [model] mean the fields that have options of their own.
    path.write_text("[model]\npooling = 'flat'\nhidden = 9\n", encoding="utf-8")
    told = read_config(path, {"hidden": 10}, None, ["gated=no"])
    assert told == TrainingConfig(pooling="flat", hidden=10, gated=False)
    path.write_text("model = 'mean'\n", encoding="utf-8")
    assert read_config(path, {}).model == "mean"
    assert read_config(path, {"model": "max"}).model == "max"


@pytest.mark.parametrize(
    ("text", "options", "assignments", "message"),
    [
        ("", {"model": "meen"}, [], "there is no model 'meen': did you mean mean?"),
        (
            "",
            {"model": "mean", "hidden": 8},
            [],
            "--hidden is a setting of the model hierarchical: for mean write --set",
        ),
        (
            "gated = true\n",
            {"model": "mean"},
            [],
            "--gated is a setting of the model hierarchical: for mean write --set",
        ),
        ("", {"model": "mean"}, ["gated=yes"], "--set: unknown setting 'gated'"),
        ("", {"model": "mean"}, ["hidden=wide"], "--set hidden=wide: give a whole number"),
        ("", {"model": "mean"}, ["hidden"], "--set 'hidden': write name=value"),
        ("", {"hidden": 8}, ["hidden=9"], "--set hidden and --hidden are the same: leave one of them out"),
        ("hidden = 8\n[model]\nhidden = 9\n", {}, [], "hidden stands both at the top and under [model]"),
        ("[model]\nname = 'mean'\nhiden = 9\n", {}, [], "[model]: unknown setting 'hiden': did you mean hidden?"),
        ("[model]\nname = 'mean'\nhidden = 9\n", {"model": "max"}, [], "its [model] is of mean, and --model says max"),
        ("", {"cases_per_step": 0}, [], "--cases-per-step 0: give a value at least 1"),
        ("", {"precision": "bf61"}, [], "--precision 'bf61': give one of float32, bf16 (did you mean bf16?)"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(
    tmp_path: Path, text: str, options: dict[str, Any], assignments: list[str], message: str
) -> None:
    """An unknown model or setting, one of another model, one that is said twice, and a value out of range are named."""
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        read_config(path, options, None, assignments)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "mean", "--patch-entropy", "1"], "--patch-entropy 1.0: model mean has no attention"),
        (["--model", "mean", "--preset", "study"], "--preset study is of the model hierarchical: leave it out"),
        (["--model", "transmil", "--set", "hidden=10"], "--set hidden=10: give a value that 8 heads divide"),
        (["--model", "./absent.py:Mine"], "model ./absent.py:Mine: there is no file absent.py"),
        (["--precision", "bf16", "--device", "cpu"], "--precision bf16 needs a GPU: leave it out, or --device cpu"),
    ],
)
def test_a_model_that_does_not_fit_is_one_line_and_exit_2(
    store: Store, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """What the model cannot be told ends with its line, exit 2 and no run."""
    assert main(["train", "--store", str(store.root), "--split", "1", *words]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert (out, err.count("\n"), run_ids(store), list_drafts(store)) == ("", 1, [], [])


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_half_the_digits_need_a_gpu(store: Store) -> None:
    """Asked for where torch finds none, also by a file, it is refused before anything is written."""
    with pytest.raises(UsageError, match="--precision bf16 needs a GPU, and this training has none: leave it out"):
        train(store, replace(SMALL, precision="bf16"), 1, threads=1)
    assert list_drafts(store) == []


def test_the_command_trains_a_users_own_model_and_says_what_it_attends_to(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """examples/add_a_model.py by its path; the summary names the model, and a model without attention says none."""
    words = ["train", "--store", str(store.root), "--split", "1", *QUICK]
    assert main([*words, "--model", OWN, "--set", "hidden=8", "--set", "top=2"]) == 0
    err = capsys.readouterr().err
    assert "model TopPatches, attention: patches" in err
    assert "next: milstore query top-patches --run " in err
    (run_id,) = run_ids(store)
    assert main(["query", "stain-attention", "--store", str(store.root), "--run", run_id]) == 0
    assert main([*words, "--model", "max", "--set", "hidden=8"]) == 0
    err = capsys.readouterr().err
    assert "model max, attention: none" in err
    assert "next: milstore query recall --run " in err
    assert main(["runs", "show", run_id, "--store", str(store.root)]) == 0
    out = capsys.readouterr().out
    assert "add_a_model.py, " in out
    assert "class TopPatches" not in out


def test_the_command_trains_a_model_of_torchmil(store: Store) -> None:
    """examples/torchmil_model.py by its path writes a run that the doctor passes."""
    pytest.importorskip("torchmil")
    model = f"{EXAMPLES}/torchmil_model.py:TransformerABMIL"
    words = ["train", "--store", str(store.root), "--split", "1", *QUICK, "--model", model]
    assert main([*words, "--set", "hidden=8", "--set", "heads=2", "--set", "attention_dim=4"]) == 0
    assert [finding for finding in check(store) if finding.kind == DAMAGE] == []


def test_a_checkpoint_of_an_earlier_version_says_how_to_train_anew(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its state is not this version's: one line with the command, whether it is resumed or the split is asked for."""
    words = ["train", "--store", str(store.root), "--split", "1", "--hidden", "8", *QUICK]
    with pytest.raises(Killed):
        train(store, replace(SMALL, epochs=2), 1, threads=1, experiment="old", watcher=Strike(8, die))
    (draft,) = list_drafts(store)
    state = torch.load(draft.checkpoint_path, weights_only=True)
    draft.write_checkpoint(lambda path: torch.save({**state, "format": 3}, path))
    draft.update_facts(model=None)
    assert main(["train", "--store", str(store.root), "--resume", draft.run_id]) == 2
    err = capsys.readouterr().err
    assert err == (
        "error: the checkpoint has format 3, not 4, as another version of milstore wrote it: train that split anew by "
        "milstore train ... --fresh\n"
    )
    assert main([*words, "--fresh"]) == 0


def test_a_launch_trains_a_users_own_file_from_anywhere(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its path is written down whole, its SHA-256 beside it; a job that finds another file does not execute it."""
    own_model(tmp_path, "pass")
    monkeypatch.chdir(tmp_path)
    config = of_model("./mine.py:Mine", width=3)
    launch = plan_launch(store, config, [1, 2], launcher="local", threads=1)
    assert launch is not None
    assert launch.facts["model"] == f"{tmp_path / 'mine.py'}:Mine"
    monkeypatch.chdir("/")
    run_id = Task(store=str(store.root), folder=str(launch.folder), split=1)()
    assert read_run(store, run_id)["model"] == "Mine"
    with (tmp_path / "mine.py").open("a", encoding="utf-8") as stream:
        stream.write("raise SystemExit('executed')\n")
    with pytest.raises(DataError, match=r"mine\.py differs from what the run was trained with"):
        Task(store=str(store.root), folder=str(launch.folder), split=2)()
