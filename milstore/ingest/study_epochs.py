"""The course of a training by the study's trainers: from a checkpoint to the last digit, and from the log what it lacks."""

import math
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from milstore.formats.study_folder import BY_POSITION, StudyFolder
from milstore.formats.study_log import LogEpoch
from milstore.schema.arrow import arrow_schema

if TYPE_CHECKING:
    from milstore.formats.study_checkpoint import StudyCheckpoint


def epoch_table(folder: StudyFolder, checkpoint: "StudyCheckpoint | None") -> tuple[pa.Table, list[str]]:
    """The table `epochs`, and what is said of it.

    The training loss is the cross-entropy. The later form made it less a multiple of the attention's entropy smaller,
    and keeps both apart in its log, some in their checkpoints.

    Args:
        folder: the run's folder.
        checkpoint: the one whose history it is; None where there is none.
    """
    logged = dict(folder.log.epochs) if folder.log else {}
    history = {} if checkpoint is None else dict(checkpoint.history)
    told = len(history.get("train_losses", ()))
    rows, mixed, strange = [], False, 0
    for epoch in sorted({*range(1, told + 1), *logged}):
        line = logged.get(epoch, LogEpoch())

        def stored(name: str, otherwise: float | None, at: int = epoch - 1) -> float | None:
            values = history.get(name, ())
            return values[at] if at < len(values) else otherwise

        cross_entropy = stored("train_ce_losses", line.train_ce)
        train = stored("train_losses", line.train_loss) if cross_entropy is None else cross_entropy
        mixed |= cross_entropy is None and folder.form == BY_POSITION
        row: dict[str, Any] = {
            "epoch": epoch,
            "train_loss": train,
            "val_loss": stored("val_losses", line.val_loss),
            "val_accuracy": stored("val_accuracies", line.val_accuracy),
            "learning_rate": stored("learning_rates", line.learning_rate),
            "seconds": line.seconds,
        }
        row = {name: value if value is None or math.isfinite(value) else None for name, value in row.items()}
        if row["train_loss"] is None:
            strange += 1
        else:
            rows.append(row)
    said = ["the training loss is less a multiple of the attention's entropy: nothing tells it apart"] if mixed else []
    said += [f"left out: {strange} epochs whose training loss is no number"] if strange else []
    return pa.Table.from_pylist(rows, arrow_schema("epochs")), said


def evaluated_epoch(folder: StudyFolder) -> int | None:
    """The epoch whose weights the run's predictions are of: of the checkpoint that it loaded, else its last one."""
    if folder.log is not None and folder.log.loaded is not None:
        return folder.log.loaded_epoch
    return max([*folder.checkpoints, *(folder.log.epochs if folder.log else ())], default=None)
