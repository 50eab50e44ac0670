"""The configuration of a training."""

import hashlib
import json
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milstore.errors import UsageError
from milstore.models import describe
from milstore.training.config import TrainingConfig, field_help
from milstore.training.config_reading import read_config
from milstore.training.model_settings import MODEL_FIELDS
from milstore.training.presets import PRESETS, WHEN_ABSENT
from milstore.training.stored_config import (
    canonical_json,
    config_from_json,
    config_hash,
    default_experiment,
    differences,
    same_settings,
)


def toml(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


DEFAULTS = {
    "model": "hierarchical",
    "pooling": "hierarchical",
    "hidden": 512,
    "attention_dim": 128,
    "gated": True,
    "dropout": 0.3,
    "attention_dropout": 0.0,
    "classifier_dropout": 0.0,
    "standardise": "train",
    "clip": 5.0,
    "epochs": 30,
    "min_epochs": 10,
    "patience": 8,
    "min_delta": 0.0,
    "keep": "best",
    "evaluate_epoch": 0,
    "optimiser": "adamw",
    "lr": 3e-4,
    "weight_decay": 2e-4,
    "plateau_factor": 0.3,
    "plateau_patience": 3,
    "min_lr": 0.0,
    "cases_per_step": 1,
    "precision": "float32",
    "allow_nondeterministic": False,
    "class_weights": "auto",
    "max_patches_per_slice": 0,
    "max_slices_per_stain": 0,
    "stain_entropy": 0.0,
    "slice_entropy": 0.0,
    "patch_entropy": 0.0,
}


def test_defaults_learn_on_features_of_every_scale() -> None:
    """Without a word, features are standardised by the training subset and clipped."""
    assert asdict(TrainingConfig()) == {**DEFAULTS, "settings": {}, "model_sha256": {}}


def test_the_preset_is_the_study() -> None:
    """`study` sets what was published: Adam with L2, ungated attention, three dropouts, features as they are, and so on."""
    assert asdict(read_config(None, {}, "study")) == {
        **DEFAULTS,
        "settings": {},
        "model_sha256": {},
        "gated": False,
        "attention_dropout": 0.3,
        "classifier_dropout": 0.3,
        "standardise": "none",
        "clip": 0.0,
        "min_delta": 1e-3,
        "optimiser": "adam",
        "min_lr": 1e-6,
        "class_weights": "2.5,1",
        "max_patches_per_slice": 800,
    }
    assert PRESETS["study"].keys() == DEFAULTS.keys()


def test_file_and_options_win_over_the_preset(tmp_path: Path) -> None:
    """A preset takes the place of the defaults: the file lies over it, and options over both."""
    config = read_config(toml(tmp_path, "lr = 0.1\ngated = true\n"), {"lr": 0.2, "clip": None}, "study")
    assert (config.lr, config.gated, config.clip, config.optimiser) == (0.2, True, 0.0, "adam")
    with pytest.raises(UsageError, match=r"--preset 'studdy': give one of study \(did you mean study\?\)"):
        read_config(None, {}, "studdy")


OF_0_1 = (
    '{"attention_dim":128,"class_weights":"auto","dropout":0.3,"encoder":"hed","epochs":30,"gated":true,"hidden":512,'
    '"keep":"best","lr":0.0003,"max_patches_per_slice":0,"min_epochs":10,"patch_entropy":0.0,"patience":8,'
    '"plateau_factor":0.3,"plateau_patience":3,"pooling":"hierarchical","slice_entropy":0.0,"split_set":"five",'
    '"stain_entropy":0.0,"standardise":"%s","weight_decay":0.0002}'
)


@pytest.mark.parametrize("standardise", ["none", "train"])
def test_a_configuration_of_0_1_reads_as_what_it_was(standardise: str) -> None:
    """A stored configuration that lacks a field did what was done before there was the field, whatever is default now."""
    then = OF_0_1 % standardise
    was = TrainingConfig(
        attention_dropout=0.0, classifier_dropout=0.0, standardise=standardise, clip=0.0, min_delta=0.0,  # type: ignore[arg-type]
        optimiser="adamw", min_lr=0.0,
    )  # fmt: skip
    now = canonical_json(was, encoder="hed")
    assert config_from_json(then) == was
    assert same_settings(then, now)
    assert differences(then, now) == []
    assert not same_settings(then, canonical_json(replace(was, clip=5.0), encoder="hed"))
    assert differences(then, canonical_json(replace(was, clip=5.0), encoder="hed")) == ["clip 0.0 there, 5.0 here"]


def test_every_field_that_0_1_lacked_has_a_meaning() -> None:
    """Whoever adds a field says in WHEN_ABSENT what trainings did before there was it."""
    assert {field.name for field in fields(TrainingConfig)} - json.loads(OF_0_1).keys() <= WHEN_ABSENT.keys()


def test_every_field_has_a_line_of_help() -> None:
    """What a field means stands under it."""
    assert list(field_help()) == [field.name for field in fields(TrainingConfig)]
    assert field_help()["epochs"] == "Most epochs to train."


def test_options_win_over_the_file(tmp_path: Path) -> None:
    """A TOML file lies over the defaults, and options that were given lie over the file."""
    path = toml(tmp_path, 'epochs = 7\nlr = 1\nclass_weights = [1, 2.5]\ngated = false\npooling = "flat"\n')
    config = read_config(path, {"epochs": 9, "lr": None})
    assert config == TrainingConfig(epochs=9, lr=1.0, class_weights="1,2.5", gated=False, pooling="flat")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning-rate = 1", "unknown key 'learning-rate'"),
        ("drop_out = 0.5", "unknown key 'drop_out': did you mean dropout?"),
        ("zzz = 1", "unknown key 'zzz': the keys are model, pooling, hidden,"),
        ("epochs = 'ten'", "--epochs 'ten': give a whole number"),
        ("epochs = 2.5", "--epochs 2.5: give a whole number"),
        ("epochs = true", "--epochs True: give a whole number"),
        ("gated = 1", "--gated 1: give true or false"),
        ("lr = nan", "--lr nan: give a finite number"),
        ("lr = 0", "--lr 0.0: give a value above 0"),
        ("clip = -1", "--clip -1.0: give a value 0 or more"),
        ("min_delta = -1", "--min-delta -1.0: give a value 0 or more"),
        ("min_lr = 1", "--min-lr 1.0: give a value of at most --lr"),
        ("attention_dropout = 1", "--attention-dropout 1.0: give a value from 0 to below 1"),
        ("classifier_dropout = -0.1", "--classifier-dropout -0.1: give a value from 0 to below 1"),
        ("optimiser = 'adm'", "--optimiser 'adm': give one of adamw, adam (did you mean adam?)"),
        ("dropout = 1.0", "--dropout 1.0: give a value from 0 to below 1"),
        ("patch_entropy = -1", "--patch-entropy -1.0: give a value 0 or more"),
        ("pooling = 'flatt'", "--pooling 'flatt': give one of hierarchical, size-corrected, flat (did you mean flat?)"),
        ("class_weights = '1'", "--class-weights '1': give auto, none, or a number above 0 for each class"),
        ("class_weights = '1,-2'", "--class-weights '1,-2': give auto, none,"),
        ("class_weights = '1,nan'", "--class-weights '1,nan': give auto, none,"),
        ("[training]\nlr = 1", "unknown key 'training'"),
        ("epochs = ", "is not readable as TOML"),
    ],
)
def test_a_bad_file_is_refused_with_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    """What is wrong in a configuration file is named, with the values that would do."""
    with pytest.raises(UsageError) as caught:
        read_config(toml(tmp_path, text), {})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    """A configuration that cannot be read is named."""
    with pytest.raises(UsageError, match=r"absent.toml: No such file"):
        read_config(tmp_path / "absent.toml", {})
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not readable as TOML"):
        read_config(tmp_path / "binary.toml", {})


def test_the_hash_is_of_everything_but_split_and_seed() -> None:
    """One configuration and encoder is one experiment, over whatever split sets; anything else is another."""
    text = canonical_json(TrainingConfig(), encoder="hed")
    assert config_hash(text) == config_hash(canonical_json(TrainingConfig(), encoder="hed"))
    others = [
        canonical_json(TrainingConfig(lr=0.1), encoder="hed"),
        canonical_json(TrainingConfig(), encoder="deep"),
    ]
    assert len({config_hash(text), *map(config_hash, others)}) == 3
    assert default_experiment(text) == f"mil-{config_hash(text)[:6]}"
    assert not {"split_set", "split", "seed"} & json.loads(text).keys()


def test_the_hash_of_0_1_is_computed_anew() -> None:
    """Its stored configuration, split set and all, has the hash of the same configuration written today."""
    was = TrainingConfig(
        attention_dropout=0.0, classifier_dropout=0.0, standardise="none", clip=0.0, min_delta=0.0,
        optimiser="adamw", min_lr=0.0,
    )  # fmt: skip
    then = OF_0_1 % "none"
    assert (
        config_hash(then)
        == config_hash(then.replace('"five"', '"ten"'))
        == config_hash(canonical_json(was, encoder="hed"))
    )
    assert config_hash(then) != hashlib.sha256(then.encode()).hexdigest()


def test_differences_are_named_with_both_values() -> None:
    """Two configurations' differences are told as people write the options."""
    here = canonical_json(TrainingConfig(lr=0.1, max_patches_per_slice=5), encoder="hed")
    there = canonical_json(TrainingConfig(), encoder="hed")
    assert differences(there, here) == ["lr 0.0003 there, 0.1 here", "max-patches-per-slice 0 there, 5 here"]


HASH_OF_DEFAULTS = "7d8ef8c59de8a2936e71a376a4d6060a7f03cb3422b3d0c5a33a54ee91acb614"
HASH_OF_STUDY = "852e72073ec560387c7f9683962347ec862e7d34e906d84e4937783e7adb7fed"


@given(
    st.builds(
        dict,
        lr=st.floats(min_value=1e-300, max_value=1e300),
        dropout=st.floats(min_value=0, max_value=1, exclude_max=True),
        epochs=st.integers(min_value=1, max_value=10**9),
        gated=st.booleans(),
        pooling=st.sampled_from(["hierarchical", "size-corrected", "flat"]),
    )
)
def test_a_configuration_survives_its_json(changes: dict[str, object]) -> None:
    """What a run stored as its configuration is read back exactly."""
    config = replace(TrainingConfig(), **changes)  # type: ignore[arg-type]
    assert config_from_json(canonical_json(config, encoder="e")) == config


def test_a_configuration_of_the_default_model_keeps_its_hash() -> None:
    """What 0.2 added is not in the JSON where it is as it was before; the hashes are those of the version before."""
    assert config_hash(canonical_json(TrainingConfig(), encoder="hed")) == HASH_OF_DEFAULTS
    study = canonical_json(read_config(None, {}, "study"), encoder="hed")
    assert config_hash(study) == HASH_OF_STUDY
    used = canonical_json(TrainingConfig(cases_per_step=8), encoder="hed")
    assert json.loads(used)["cases_per_step"] == 8
    assert differences(study, canonical_json(read_config(None, {"precision": "bf16"}, "study"), encoder="hed")) == [
        "precision float32 there, bf16 here"
    ]


def test_the_default_models_settings_are_fields_of_the_configuration() -> None:
    """Name, default and choices of each are those that `milstore models hierarchical` lists."""
    listed = {setting.name: setting.default for setting in describe("hierarchical").settings}
    ours = {each.name: each.default for each in fields(TrainingConfig) if each.name in MODEL_FIELDS}
    assert ours == listed
    assert list(ours) == list(MODEL_FIELDS)


def test_a_model_that_is_not_the_default_has_settings_of_its_own() -> None:
    """In a notebook too, a field of the default model is refused for another, and the other way round."""
    with pytest.raises(UsageError, match=r"--hidden is a setting of the model hierarchical: for abmil write --set"):
        TrainingConfig(model="abmil", hidden=8)
    with pytest.raises(UsageError, match=r"settings of hierarchical are fields of their own: pooling, hidden"):
        TrainingConfig(settings={"hidden": 8})
    config = TrainingConfig(model="./models/mine.py:Mine", settings={"width": 3}, model_sha256={"mine.py": "ab"})
    text = canonical_json(config, encoder="e")
    assert "models" not in text  # A file may be moved.
    assert config_from_json(text, "/elsewhere/mine.py:Mine") == replace(config, model="/elsewhere/mine.py:Mine")
