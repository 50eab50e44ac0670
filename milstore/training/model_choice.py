"""The model of a training: found by name, checked against the configuration, and recorded with the run.

Errors in a user's own model are told in one line, with the line of the file, as is an operation without a deterministic
form.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milstore.errors import MilstoreError, UsageError
from milstore.models.registry import DEFAULT, LoadedModel, load_model
from milstore.models.settings import make_config
from milstore.training.config import TrainingConfig
from milstore.training.model_settings import MODEL_FIELDS, known_as
from milstore.userfile import is_path, told

if TYPE_CHECKING:
    from milstore.models.interface import MILModel

PENALTIES = ("stain_entropy", "slice_entropy", "patch_entropy")
"""Fields of TrainingConfig that need a model with attention."""
_NOT_DETERMINISTIC = "does not have a deterministic implementation"


@dataclass(frozen=True)
class ChosenModel:
    """A model with its settings, as configured."""

    loaded: LoadedModel
    settings: Any
    """An instance of its `Config`."""
    config: TrainingConfig
    """The training's configuration, with all settings of the model and the SHA-256 of its files."""

    @property
    def name(self) -> str:
        """Its name in the run: that of a built-in model, or the class of a user's own."""
        return known_as(self.config.model)

    @property
    def attends(self) -> str:
        """levels, patches or none."""
        return self.loaded.cls.attends

    def build(self, n_features: int, n_classes: int, stains: Sequence[str] = ()) -> "MILModel":
        """A new model, its weights drawn by torch's global generator.

        Raises:
            UsageError: a user's own model fails, or has nothing to train.
        """
        with self.calling():
            model = self.loaded.build(self.settings, n_features, n_classes, stains)
        if not any(each.requires_grad for each in model.parameters()):
            raise UsageError(f"model {self.name} has no parameter that could be trained")
        return model

    def facts(self) -> dict[str, Any]:
        """What a run records of it, as plain JSON values: `model`, `attention` and `model_code`."""
        return {
            "model": self.name,
            "attention": self.attends,
            "model_code": {
                "class": self.loaded.class_name,
                "config": asdict(self.settings),
                "sha256": self.loaded.sha256,
                "source": {file.name: file.text for file in self.loaded.files},
            },
        }

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Wraps every call of the model, so that an exception in it becomes an error of one line.

        Raises:
            UsageError: in place of an error in a user's own file, and of torch's for an operation that has no
                deterministic form.
        """
        try:
            yield
        except MilstoreError:
            raise
        except Exception as error:
            if _NOT_DETERMINISTIC in str(error):
                operation = str(error).partition(_NOT_DETERMINISTIC)[0].strip()
                raise UsageError(
                    f"model {self.name}: {operation} has no deterministic form here: --allow-nondeterministic trains all "
                    "the same, and gives up that the run can be repeated"
                ) from error
            if not self.loaded.files:
                raise
            raise UsageError(f"model {self.name}: {told(error, self._paths())}") from error

    def _paths(self) -> dict[str, str]:
        """Names of the user's files by their paths."""
        folder = Path(inspect.getfile(self.loaded.cls)).parent
        return {str(folder / file.name): file.name for file in self.loaded.files}


def choose_model(config: TrainingConfig) -> ChosenModel:
    """The model that a configuration names. A user's own file is executed.

    Raises:
        UsageError: there is no such model, a setting does not fit it, or a penalty on uneven attention is asked of a
            model that has none.
        DataError: the files are not those that the configuration holds the SHA-256 of.
    """
    loaded = load_model(config.model, config.model_sha256 or None)
    if config.model == DEFAULT:
        settings = make_config(loaded.cls.Config, {name: getattr(config, name) for name in MODEL_FIELDS}, "settings")
    else:
        settings = make_config(loaded.cls.Config, config.settings)
        config = replace(config, settings=asdict(settings), model_sha256=loaded.sha256)
    for name in PENALTIES:
        if loaded.cls.attends == "none" and getattr(config, name):
            raise UsageError(
                f"--{name.replace('_', '-')} {getattr(config, name)}: model {known_as(config.model)} has no attention "
                "that could be made more even"
            )
    return ChosenModel(loaded, settings, config)


def model_of_run(run_id: str, facts: Mapping[str, Any], given: str | None) -> str | None:
    """The file that a run's model is loaded from: the one given, None for a model that is installed.

    Never from what the store says: a file is executed.

    Args:
        run_id: the run.
        facts: what is known of it.
        given: `--model`, None where it was not said.

    Raises:
        UsageError: another model than the run's is given, or none where the run's lies in a file of the user's.
    """
    name, code = facts.get("model", DEFAULT), facts.get("model_code", {})
    if given is not None and known_as(given) != name:
        raise UsageError(f"run {run_id} is of the model {name}, not {known_as(given)}: leave --model out")
    if not code.get("sha256"):
        return None
    if given is None or not is_path(given):
        file = next(iter(code["sha256"]))
        raise UsageError(f"run {run_id} is of a model of your own: say where it is, by --model ./{file}:{name}")
    return given


def absolute(model: str) -> str:
    """A model's name that holds in any working directory.

    >>> absolute("abmil")
    'abmil'
    """
    if not is_path(model):
        return model
    path, _, name = model.rpartition(":")
    return f"{Path(path).resolve()}:{name}"
