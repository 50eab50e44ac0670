"""Models: their interface, shared layers, a file for each, and the registry.

Torch is imported by the first use of a name that needs it, not by importing this package.
"""

from typing import TYPE_CHECKING, Any

from milstore.models.registry import available, describe, load_model
from milstore.models.settings import Setting, make_config, read_settings, settings_of
from milstore.processors import wait_asleep

if TYPE_CHECKING:
    from milstore.models.attention import Levels, levels, unevenness_penalty
    from milstore.models.interface import (
        Attention,
        Bag,
        CaseOutput,
        LevelAttention,
        MILModel,
        PatchAttention,
        cross_entropy,
        make_bag,
    )

# Here, for whatever computes with torch imports this package first.
wait_asleep()

__all__ = [
    "Attention",
    "Bag",
    "CaseOutput",
    "LevelAttention",
    "Levels",
    "MILModel",
    "PatchAttention",
    "Setting",
    "available",
    "cross_entropy",
    "describe",
    "levels",
    "load_model",
    "make_bag",
    "make_config",
    "read_settings",
    "settings_of",
    "unevenness_penalty",
]

_INTERFACE = (
    "Attention",
    "Bag",
    "CaseOutput",
    "LevelAttention",
    "MILModel",
    "PatchAttention",
    "cross_entropy",
    "make_bag",
)
_HOME = {
    **dict.fromkeys(_INTERFACE, "interface"),
    **dict.fromkeys(("Levels", "levels", "unevenness_penalty"), "attention"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
