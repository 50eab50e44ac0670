"""Checkpoints and weights on disk."""

import json
import pickle
from pathlib import Path
from typing import Any

import torch

from milstore.errors import StoreError
from milstore.store.runs import RunDraft
from milstore.training.loop import Training


def write_checkpoint(draft: RunDraft, training: Training) -> None:
    """Put the training's state in the place of the draft's last checkpoint, whole or not at all.

    Raises:
        StoreError: the disk refuses, or the run was taken over by another process.
    """

    def save(path: Path) -> None:
        # Through a stream: given a path, torch hides what the disk said behind a RuntimeError.
        with path.open("wb") as stream:
            torch.save(training.state(), stream)

    draft.write_checkpoint(save)


def read_checkpoint(draft: RunDraft, device: torch.device) -> dict[str, Any] | None:
    """The state of the draft's last checkpoint, with its tensors on the device; None if it has none yet.

    Raises:
        StoreError: the file cannot be read.
    """
    path = draft.checkpoint_path
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise StoreError(f"{path} cannot be read ({_first_line(error)}): train that split anew by --fresh") from error
    return state


def write_weights(path: Path, training: Training, facts: dict[str, Any]) -> None:
    """The model's weights as safetensors, with `facts` (plain JSON) as the metadata entry `milstore`."""
    from safetensors.torch import save

    weights = {name: value.detach().cpu().contiguous() for name, value in training.model.state_dict().items()}
    # One entry: with several, their order in the file, and with it the file's hash, would change from run to run.
    path.write_bytes(save(weights, metadata={"milstore": json.dumps(facts, sort_keys=True)}))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
