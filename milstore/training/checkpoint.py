"""Checkpoints and weights on disk."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import torch

from milstore.errors import StoreError
from milstore.store.names import clip
from milstore.store.plain import check_plain
from milstore.store.run_draft import RunDraft
from milstore.training.loop import Training


def write_checkpoint(draft: RunDraft, training: Training) -> None:
    """Replace the draft's last checkpoint with the training's state, atomically.

    Raises:
        StoreError: the disk refuses, or the run was taken over by another process.
    """

    def save(path: Path) -> None:
        # Through a stream: given a path, torch hides what the disk said behind a RuntimeError.
        with path.open("wb") as stream:
            torch.save(training.state(), stream)

    draft.write_checkpoint(save)


def go_on_from_checkpoint(draft: RunDraft, training: Training) -> None:
    """Restore a training from the draft's last checkpoint; if there is none yet, the training starts from the beginning.

    Raises:
        StoreError: the file cannot be read, or is not of such a training.
        DataError: another version of milstore wrote it.
    """
    state = read_checkpoint(draft, training.device)
    if state is None:
        return
    try:
        training.load(state)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(_unusable(draft, f"it is not of this training, {_first_line(error)}")) from error


def read_checkpoint(draft: RunDraft, device: torch.device) -> dict[str, Any] | None:
    """The state of the draft's last checkpoint, with its tensors on the device; None if it has none yet.

    Raises:
        StoreError: the file cannot be read, or a checksum in it does not fit.
    """
    path = draft.checkpoint_path
    if not os.path.lexists(path):
        return None
    try:
        check_plain(path, draft.store.root)
        # torch.load does not look at the checksums of its own format.
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
        if wrong is not None:
            raise ValueError(f"the checksum of {Path(wrong).name} does not fit")
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        if not isinstance(state, dict):
            raise TypeError("it holds no state")
    except Exception as error:
        # zipfile and torch raise what they meet in a damaged file.
        raise StoreError(_unusable(draft, _first_line(error))) from error
    return state


def _unusable(draft: RunDraft, why: str) -> str:
    return f"{draft.checkpoint_path} cannot be read ({clip(why)}): train that split again by --fresh"


def write_weights(path: Path, training: Training, facts: dict[str, Any]) -> None:
    """The model's weights as safetensors, with `facts` (plain JSON) as the metadata entry `milstore`."""
    from safetensors.torch import save

    weights = {name: value.detach().cpu().contiguous() for name, value in training.model.state_dict().items()}
    # One entry: with several, their order in the file, and with it the file's hash, would change from run to run.
    path.write_bytes(save(weights, metadata={"milstore": json.dumps(facts, sort_keys=True)}))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
