"""How a model is found: built-ins by a table, a user's own by its file, others by entry point; and its settings."""

import hashlib
import importlib.metadata
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from milstore.errors import DataError, MilstoreError, UsageError
from milstore.models import Setting, available, describe, load_model, make_config, read_settings, settings_of
from milstore.models.registry import BUILT_IN
from tests.nursery import nursery

OWN = '''
from dataclasses import dataclass

from torch import nn

from milstore.models import Bag, CaseOutput, MILModel


class Mine(MILModel):
    """The mean of the features, classified."""

    attends = "none"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        bias: bool = True
        """Whether the classifier has a bias."""

    def __init__(self, config: Config, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.classify = nn.Linear(n_features, n_classes, bias=config.bias)

    def forward(self, bag: Bag) -> CaseOutput:
        return CaseOutput(self.classify(bag.feature_ND.mean(0)))
'''


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A user's file."""
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return path


@pytest.fixture(autouse=True)
def _modules(tmp_path: Path) -> Iterator[None]:
    """What a test's files leave among the modules goes."""
    before = dict(sys.modules)
    yield
    for name in sys.modules.keys() - before.keys():
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_built_in_models_are_found_by_name() -> None:
    """Each name of the table gives its class, with the default first."""
    assert available()[0] == "hierarchical"
    for name, where in BUILT_IN.items():
        loaded = load_model(name)
        assert f"{loaded.cls.__module__}:{loaded.cls.__qualname__}" == loaded.class_name == where
        assert loaded.files == ()


def test_a_file_of_ones_own(own: Path) -> None:
    """The class, its settings with their help, and the file with its hash and text come of the path."""
    loaded = load_model(f"{own}:Mine")
    assert loaded.class_name == "Mine"
    assert loaded.settings == (Setting("bias", bool, True, "Whether the classifier has a bias."),)
    assert [(file.name, file.sha256, file.text) for file in loaded.files] == [("mine.py", sha256(own), OWN)]
    made = loaded.build(make_config(loaded.cls.Config, {"bias": False}), 4, 3)
    assert {name: tuple(each.shape) for name, each in made.named_parameters()} == {"classify.weight": (3, 4)}
    assert loaded.cls.__module__.startswith("_milstore_model_")
    assert describe(f"{own}:Mine").summary == "The mean of the features, classified."


def test_a_path_is_told_from_where_one_stands(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`./mine.py:Mine` and `mine.py:Mine` are the file in the working directory."""
    monkeypatch.chdir(own.parent)
    assert load_model("./mine.py:Mine").cls is load_model("mine.py:Mine").cls is load_model(f"{own}:Mine").cls


def test_modules_of_the_same_folder_are_hashed(own: Path) -> None:
    """What the file imports from its own folder, and what that imports, is loaded, hashed and kept; nothing else is."""
    folder = own.parent
    (folder / "own_blocks.py").write_text("from own_parts.widths import WIDTH\n")
    (folder / "own_parts").mkdir()
    (folder / "own_parts" / "__init__.py").write_text("")
    (folder / "own_parts" / "widths.py").write_text("WIDTH = 7\n")
    (folder / "own_late.py").write_text("DEPTH = 3\n")
    (folder / "own_unused.py").write_text("raise SystemExit\n")
    own.write_text(
        "from own_blocks import WIDTH\n" + OWN + "\n\ndef depth():\n    import own_late\n    return own_late.DEPTH\n"
    )
    loaded = load_model(f"{own}:Mine")
    names = ["mine.py", "own_blocks.py", "own_late.py", "own_parts/__init__.py", "own_parts/widths.py"]
    assert loaded.sha256 == {name: sha256(folder / name) for name in names}
    module = sys.modules[loaded.cls.__module__]
    assert (module.WIDTH, module.depth()) == (7, 3)
    assert str(folder) not in sys.path


def test_a_changed_file_is_another_model(own: Path) -> None:
    """After an edit of the file or of a module beside it, the new text is what is loaded, in the same process."""
    sibling = own.parent / "own_number.py"
    sibling.write_text("NUMBER = 1\n")
    own.write_text("from own_number import NUMBER\n" + OWN)
    first = load_model(f"{own}:Mine")
    sibling.write_text("NUMBER = 2\n")
    second = load_model(f"{own}:Mine")
    numbers = [sys.modules[each.cls.__module__].NUMBER for each in (first, second)]
    assert numbers == [1, 2]
    assert first.sha256["mine.py"] == second.sha256["mine.py"]
    with pytest.raises(DataError, match=r"own_number.py differs from what the run was trained with"):
        second.require_same(first.sha256)
    second.require_same(second.sha256)
    with pytest.raises(DataError, match=r"mine\.py, own_number\.py differs"):
        second.require_same({})


def test_two_files_may_have_helpers_of_one_name(tmp_path: Path) -> None:
    """Each file gets the helper of its own folder."""
    loaded = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "own_helper.py").write_text(f"NUMBER = {number}\n")
        late = "\n\ndef late():\n    import own_helper\n    return own_helper.NUMBER\n"
        (folder / "mine.py").write_text("import own_helper\n" + OWN + late)
        loaded.append(load_model(f"{folder}/mine.py:Mine"))
    modules = [sys.modules[each.cls.__module__] for each in loaded]
    assert [module.own_helper.NUMBER for module in modules] == [1, 2]
    assert modules[1].late() == 2
    assert load_model(f"{tmp_path}/1/mine.py:Mine").cls is loaded[0].cls
    assert modules[0].late() == 1


def test_a_file_in_milstores_own_folder_does_not_take_milstore_along() -> None:
    """Beside the package, `from milstore.models import ...` is the package that runs."""
    root = Path(__file__).resolve().parents[1]
    path = root / "own_model_for_a_test.py"
    path.write_text(OWN)
    try:
        assert set(load_model(f"{path}:Mine").sha256) == {"own_model_for_a_test.py"}
    finally:
        path.unlink()


BROKEN = {
    "absent.py:Mine": ("", "there is no file"),
    "mine.py": (OWN, r"say which class, such as .*mine.py:Mine"),
    "mine.py:": (OWN, "say which class"),
    "mine.py:Mime": (OWN, "did you mean Mine\\?"),
    "mine.py:Other": ("X = 1\n", "has no Other"),
    "mine.py:X": ("X = 1\n", "no subclass of milstore.models.MILModel"),
    "mine.py:MILModel": (OWN, "no subclass"),
    "mine.py:A": ("def f(:\n", r"mine.py, line 1: invalid syntax"),
    "mine.py:B": ("import torch\n\n1 / 0\n", r"ZeroDivisionError: division by zero \(mine.py, line 3\)"),
    "mine.py:C": ("from . import helper\n", "ImportError"),
    "mine.py:D": ("import no_such_module_here\n", "ModuleNotFoundError: No module named 'no_such_module_here'"),
    "mine.py:E": ('text = "\\0"\n'.replace("\\0", "\0"), "mine.py"),
    "mine.py:Mine ": (OWN, "has no"),
    "mine.py:Mine#attends": (OWN.replace('"none"', '"all"'), "its attends must be one of levels, patches, none"),
    "mine.py:Mine#forward": (OWN.replace("def forward", "def backward"), "it has no forward"),
    "mine.py:Mine#config": (
        OWN.replace("class Config:", "class Settings:").replace("config: Config", "config"),
        "Config",
    ),
    "mine.py:Mine#frozen": (OWN.replace("frozen=True, ", ""), "no frozen dataclass"),
    "mine.py:Mine#default": (OWN.replace("bias: bool = True", "bias: bool"), "bias has no default"),
    "mine.py:Mine#kind": (OWN.replace("bias: bool = True", "bias: list = None"), "a field is int, float, bool, str"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_model_is_one_clear_line(name: str, tmp_path: Path) -> None:
    """A missing file or class, a fault in the file, and a class that is no model: what, where and what to do."""
    text, told = BROKEN[name]
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UsageError, match=told) as raised:
        load_model(f"{tmp_path}/{name.partition('#')[0]}")
    assert "\n" not in str(raised.value)
    assert not [module for module in sys.modules if module.startswith("_milstore_model_") and "raise" in text]


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """A file that is not UTF-8 could not be kept as text."""
    (tmp_path / "mine.py").write_bytes(b"# \xff\n")
    with pytest.raises(UsageError, match=r"mine.py"):
        load_model(f"{tmp_path}/mine.py:Mine")


@pytest.mark.parametrize("taken", ["random", "numpy"])
def test_a_helper_called_as_a_module_in_use_is_refused(taken: str, own: Path) -> None:
    """Neither is silently taken for the other."""
    (own.parent / f"{taken}.py").write_text("")
    own.write_text(f"import numpy, {taken}\n" + OWN)
    with pytest.raises(UsageError, match=rf"{taken}.py is called as a module that is in use already: rename it"):
        load_model(f"{own}:Mine")


def test_a_helper_that_is_loaded_already_is_the_same(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook that imported the helper itself is no reason to refuse it; what is hashed is what is executed."""
    helper = own.parent / "own_seen.py"
    helper.write_text("NUMBER = 1\n")
    monkeypatch.syspath_prepend(str(own.parent))
    import own_seen

    helper.write_text("NUMBER = 2\n")
    own.write_text("import own_seen\n" + OWN)
    loaded = load_model(f"{own}:Mine")
    assert own_seen.NUMBER == 1
    assert sys.modules[loaded.cls.__module__].own_seen.NUMBER == 2


@dataclass(frozen=True)
class Point:
    """An entry point, as an installed package offers it."""

    name: str
    value: str

    def load(self) -> Any:
        module, class_name = self.value.split(":")
        return getattr(__import__(module, fromlist=[class_name]), class_name)


def test_installed_packages_offer_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that no built-in has is looked up among entry points, and only such a name."""
    asked = []

    def entry_points(*, group: str) -> list[Point]:
        asked.append(group)
        return [Point("theirs", "milstore.models.abmil:ABMIL"), Point("broken", "no_such_package:X")]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    load_model("abmil")
    assert asked == []
    loaded = load_model("theirs")
    assert (loaded.cls.__name__, loaded.class_name, loaded.files) == ("ABMIL", "milstore.models.abmil:ABMIL", ())
    assert asked == ["milstore.models"]
    with pytest.raises(UsageError, match="model broken: no_such_package:X cannot be imported: ModuleNotFoundError"):
        load_model("broken")
    with pytest.raises(UsageError, match=r"there is no model 'their': did you mean theirs\?"):
        load_model("their")
    with pytest.raises(
        UsageError, match=r"there is no model 'q': there are hierarchical, mean, .*theirs, and \./file.py:Class"
    ):
        load_model("q")


def test_a_model_that_wants_stains_is_told_them(own: Path) -> None:
    """A constructor that takes `stains` gets the store's names, sorted; others are not asked."""
    own.write_text(
        OWN.replace(
            "n_classes: int) -> None:\n        super().__init__()",
            "n_classes: int, stains: tuple) -> None:\n        super().__init__()\n        self.stains = stains",
        )
    )
    loaded = load_model(f"{own}:Mine")
    assert loaded.build(loaded.cls.Config(), 4, 2, ["melan", "h&e"]).stains == ("h&e", "melan")


@dataclass(frozen=True, kw_only=True)
class Config:
    width: int = 8
    """How wide."""
    share: float = 0.5
    gated: bool = True
    """Whether it is
    gated."""
    of: Literal["this", "that"] = "this"
    """Which."""
    note: str = ""

    def __post_init__(self) -> None:
        if self.width > 100:
            raise ValueError("width is above 100")


def test_settings_by_hand() -> None:
    """Each field's name, kind, default, help and choices."""
    assert settings_of(Config) == (
        Setting("width", int, 8, "How wide."),
        Setting("share", float, 0.5, ""),
        Setting("gated", bool, True, "Whether it is gated."),
        Setting("of", str, "this", "Which.", ("this", "that")),
        Setting("note", str, "", ""),
    )
    kinds = ["a whole number", "a number", "true or false", "this | that", "text"]
    assert [setting.kind_name for setting in settings_of(Config)] == kinds


def test_set_gives_typed_values() -> None:
    """--set name=value is read as the field's own type; the last of a name wins; an equals sign may be in a text."""
    given = ["width=16", "share=1", "gated=No", "of=that", "note=a=b", "width= 32"]
    values = read_settings(given, settings_of(Config))
    assert values == {"width": 32, "share": 1.0, "gated": False, "of": "that", "note": "a=b"}
    assert type(values["share"]) is float
    assert make_config(Config, values) == Config(width=32, share=1.0, gated=False, of="that", note="a=b")
    assert read_settings([], settings_of(Config)) == {}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("width", "write name=value, such as --set width=8"),
        ("widht=3", r"unknown setting 'widht': did you mean width\?"),
        ("qq=3", "unknown setting 'qq': the model's settings are width, share, gated, of, note"),
        ("width=3.5", "--set width=3.5: give a whole number"),
        ("width=", "--set width=: give a whole number"),
        ("share=half", "--set share=half: give a number"),
        ("share=nan", "--set share=nan: give a finite number"),
        ("share=inf", "give a finite number"),
        ("gated=maybe", "--set gated=maybe: give true or false"),
        ("of=thta", r"--set of=thta: give one of this, that \(did you mean that\?\)"),
    ],
)
def test_a_setting_that_does_not_fit_is_one_line(given: str, told: str) -> None:
    """What was given, and what to give."""
    with pytest.raises(UsageError, match=told):
        read_settings([given], settings_of(Config))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"width": 3.0}, r"mil.toml: width 3.0: give a whole number"),
        ({"width": True}, "give a whole number"),
        ({"share": "0.5"}, "give a number"),
        ({"of": "these"}, "give one of this, that"),
        ({"widths": 3}, r"mil.toml: unknown setting 'widths': did you mean width\?"),
        ({"width": 101}, "mil.toml: width is above 100"),
        ({"note": ["a"]}, "give text"),
    ],
)
def test_a_table_that_does_not_fit_is_one_line(values: dict[str, object], told: str) -> None:
    """As for --set, with the file named."""
    with pytest.raises(UsageError, match=told):
        make_config(Config, values, where="mil.toml")


def test_a_table_may_write_a_real_number_as_a_whole_one() -> None:
    """As TOML writes it more naturally; a hyphen stands for an underscore."""
    assert make_config(Config, {"share": 1}).share == 1.0


def test_a_field_with_a_default_that_is_made_is_refused() -> None:
    """A field is a plain value, so that it can be listed and stored."""

    @dataclass(frozen=True)
    class Made:
        sizes: list[int] = field(default_factory=list)

    with pytest.raises(UsageError, match="sizes is"):
        settings_of(Made)


COMMANDS = {
    ("models",): (0, set(), ["hierarchical", "levels", "clam-mb", "transmil"]),
    ("models", "abmil"): (0, set(), ["attends: patches", "attention_dim", "128", "Width of the attention network."]),
    ("models", "hierarchical"): (0, set(), ["hierarchical | size-corrected | flat", "true or false"]),
    ("models", "abmill"): (2, set(), ["error: there is no model 'abmill': did you mean abmil?"]),
    ("models", "./nowhere.py:X"): (2, set(), ["error: model ./nowhere.py:X: there is no file nowhere.py"]),
}


def test_listing_models_imports_no_torch() -> None:
    """`milstore models` and `milstore models NAME` answer from the sources, in words, and at once."""
    with nursery(Path(__file__).resolve().parents[1]) as process:
        for words, (code, may_load, told) in COMMANDS.items():
            (ended,) = process.run([list(words)])
            assert ended.code == code, ended.said
            assert ended.loaded <= may_load, words
            for words_told in told:
                assert words_told in ended.said


def test_the_command_shows_a_file_of_ones_own(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`milstore models ./mine.py:Mine` lists its settings with help and defaults."""
    from milstore.cli.main import main

    assert main(["models", f"{own}:Mine"]) == 0
    said = capsys.readouterr().out
    assert "The mean of the features, classified." in said
    assert "bias" in said and "true or false" in said and "Whether the classifier has a bias." in said
    assert issubclass(UsageError, MilstoreError)
