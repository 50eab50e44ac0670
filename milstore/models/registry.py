"""Finds a model by name: a built-in by the table below, a user's own by its file, any other by entry point.

Nothing here imports torch; `load_model` imports the module of the model that is asked for, which does.
"""

import ast
import importlib.util
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milstore.errors import UsageError
from milstore.models.settings import Setting, lineage, settings_in, settings_of
from milstore.plugins import Registry, first_line
from milstore.userfile import SourceFile, require_same_files

if TYPE_CHECKING:
    from milstore.models.interface import MILModel

DEFAULT = "hierarchical"
BUILT_IN = {
    "hierarchical": "milstore.models.hierarchical:Hierarchical",
    "mean": "milstore.models.mean_pooling:MeanPooling",
    "max": "milstore.models.max_pooling:MaxPooling",
    "abmil": "milstore.models.abmil:ABMIL",
    "clam-sb": "milstore.models.clam:ClamSB",
    "clam-mb": "milstore.models.clam:ClamMB",
    "dsmil": "milstore.models.dsmil:DSMIL",
    "transmil": "milstore.models.transmil:TransMIL",
    "acmil": "milstore.models.acmil:ACMIL",
}
"""Module and class of each model that comes with milstore. A line here is all that a new file needs."""
ENTRY_POINTS = "milstore.models"
"""Group of the entry points by which an installed package offers models."""
_MODELS = Registry(kind="model", built_in=BUILT_IN, group=ENTRY_POINTS)
ATTENDS = ("levels", "patches", "none")


@dataclass(frozen=True, slots=True)
class Description:
    """A model's entry in the list of models."""

    name: str
    summary: str
    """The first line of its class's docstring."""
    attends: str
    """levels, patches or none."""
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model's class, and where it came from."""

    name: str
    """What it was asked for by: a built-in's or an entry point's name, or ./file.py:Class."""
    cls: "type[MILModel]"
    class_name: str
    """Module and class, such as milstore.models.abmil:ABMIL; of a user's own model the class alone."""
    files: tuple[SourceFile, ...] = ()
    """The user's file, and every module that it imports from its own folder; none of a model that is installed."""

    @property
    def sha256(self) -> dict[str, str]:
        """SHA-256 of each of `files` by its name."""
        return {file.name: file.sha256 for file in self.files}

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The fields of its `Config`."""
        return settings_of(self.cls.Config)

    def build(self, config: Any, n_features: int, n_classes: int, stains: Sequence[str] = ()) -> "MILModel":
        """A new model, its weights drawn by torch's global generator.

        Args:
            config: an instance of its `Config`.
            n_features: numbers a patch.
            n_classes: how many classes there are.
            stains: names of the store's stains; told to a constructor that takes `stains`.
        """
        make: Any = self.cls
        if "stains" in inspect.signature(self.cls.__init__).parameters:
            return make(config, n_features, n_classes, stains=tuple(sorted(stains)))  # type: ignore[no-any-return]
        return make(config, n_features, n_classes)  # type: ignore[no-any-return]

    def require_same(self, sha256: Mapping[str, str]) -> None:
        """Refuse files that are not those of a run.

        Args:
            sha256: what `sha256` gave when the run was trained.

        Raises:
            DataError: a file differs, is new or is missing; each is named.
        """
        require_same_files("model", self.name, self.sha256, sha256)


def available() -> list[str]:
    """Names of the built-in models, the default first."""
    return list(BUILT_IN)


def describe(name: str) -> Description:
    """A model's entry in the list of models. A built-in is read from its source; any other is loaded.

    Raises:
        UsageError: as `load_model`.
    """
    if name in BUILT_IN:
        module, class_name = BUILT_IN[name].split(":")
        spec = importlib.util.find_spec(module)
        assert spec is not None and spec.origin is not None
        source = Path(spec.origin).read_text(encoding="utf-8")
        classes = lineage(source, class_name)
        summary = first_line(ast.get_docstring(classes[0]))
        return Description(name, summary, _attends_in(classes), settings_in(source, class_name))
    loaded = load_model(name)
    return Description(name, first_line(loaded.cls.__doc__), loaded.cls.attends, loaded.settings)


def load_model(name: str, sha256: Mapping[str, str] | None = None) -> LoadedModel:
    """A model by its name: a built-in's, ./file.py:Class, or one that an installed package offers.

    A file is executed, with all that the caller may do: load only one that you would run.

    Args:
        name: the model's.
        sha256: of the files of a user's own model, where a run is gone on with; others are not executed.

    Raises:
        UsageError: there is no such model (the nearest is offered), the file or the class is missing or cannot be
            imported, or the class is no model.
        DataError: a file has another SHA-256 than `sha256` says.
    """
    found = _MODELS.find(name, sha256)
    _check_model(name, found.thing)
    return LoadedModel(name, found.thing, found.where, found.files)


def _check_model(name: str, found: Any) -> None:
    from milstore.models.interface import MILModel

    if not (isinstance(found, type) and issubclass(found, MILModel)) or found is MILModel:
        raise UsageError(f"model {name}: it is no subclass of milstore.models.MILModel")
    if getattr(found, "attends", None) not in ATTENDS:
        raise UsageError(f"model {name}: its attends must be one of {', '.join(ATTENDS)}")
    if found.forward is MILModel.forward:
        raise UsageError(f"model {name}: it has no forward(bag)")
    config = getattr(found, "Config", None)
    if not isinstance(config, type):
        raise UsageError(f"model {name}: it has no nested dataclass Config")
    try:
        settings_of(config)
    except UsageError as error:
        raise UsageError(f"model {name}: {error}") from error


def _attends_in(classes: Sequence[ast.ClassDef]) -> str:
    """What a class's `attends` is, read from its source and that of the classes that it inherits from."""
    found = (
        ast.literal_eval(statement.value)
        for definition in classes
        for statement in definition.body
        if isinstance(statement, ast.AnnAssign) and statement.value and ast.unparse(statement.target) == "attends"
    )
    return str(next(found))
