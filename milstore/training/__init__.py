"""Training: the loop around a model, and the run that it produces.

`from milstore.training import train` is what the command `milstore train` calls. Torch is imported by the first use of
a name that needs it, not by importing this package.
"""

from typing import TYPE_CHECKING, Any

from milstore.training.config import TrainingConfig

if TYPE_CHECKING:
    from milstore.training.experiment import resume, train, train_all
    from milstore.training.summary import RunResult

__all__ = ["RunResult", "TrainingConfig", "resume", "train", "train_all"]

_HOME = {"train": "experiment", "train_all": "experiment", "resume": "experiment", "RunResult": "summary"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
