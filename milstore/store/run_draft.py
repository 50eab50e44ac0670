"""An unfinished run: a folder in `running/`, which one process at a time may write to, until a rename makes it a run.

The folder is called `<run_id>` while the process that began it trains, and `<run_id>~<token>` after others took it
over. Nobody can write to it by a name that it had before (see `milstore.store.lease`).
"""

import json
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from milstore.errors import StoreError
from milstore.store.io import sync_folder, temporary_sibling, write_json, write_text, write_whole
from milstore.store.lease import TAKEN, is_gone, read_lease, run_id_of
from milstore.store.locks import in_work
from milstore.store.paths import Store, store_option
from milstore.store.plain import parse_json, plain_bytes, read_object, unreadable

DRAFT_FILE = "draft.json"
EPOCHS_FILE = "epochs.jsonl"
_CRC = "crc32"
"""Entry of an epoch's line that holds the CRC-32 of the line without it. Lines of 0.1 have none."""
_CHECKPOINT = "checkpoint.pt"
LEASES = "leases"
"""Folder in `running/` of who trains what (see `milstore.store.training_lease`)."""


@dataclass(frozen=True)
class RunDraft:
    """A run in training or interrupted: what is on the disk of it so far."""

    store: Store
    run_id: str
    facts: dict[str, Any]
    """What was known when it began, as plain JSON values."""
    folder: Path
    """Its folder, as long as nobody takes the run over."""

    @property
    def is_taken_over(self) -> bool:
        """Whether the process that trains it took it over from another."""
        return TAKEN in self.folder.name

    @property
    def checkpoint_path(self) -> Path:
        """The last checkpoint; it need not exist."""
        return self.folder / _CHECKPOINT

    def write_checkpoint(self, writer: Callable[[Path], None]) -> None:
        """Put what `writer` writes in the place of the last checkpoint, whole or not at all.

        Raises:
            StoreError: the disk refuses, or the run was taken over; the last checkpoint stays as it is.
        """
        with self.writing("the checkpoint"):
            write_whole(self.checkpoint_path, writer)

    def update_facts(self, **facts: Any) -> "RunDraft":
        """The draft with some facts changed, on disk too. StoreError as for `write_checkpoint`."""
        changed = {**self.facts, **facts}
        with self.writing(DRAFT_FILE):
            write_json(self.folder / DRAFT_FILE, changed)
        return replace(self, facts=changed)

    def record_error(self, text: str) -> None:
        """Store why its training ended, if the disk allows and the run still belongs to this process.

        What was written since it was read stays: only the fact `error` is changed.
        """
        with suppress(StoreError, OSError):
            on_disk = read_draft(self.store, self.folder)
            if on_disk is not None:
                on_disk.update_facts(error=text)

    @property
    def error(self) -> str | None:
        """Why the last training of it ended, if it ended by an error."""
        error = self.facts.get("error")
        return str(error) if error else None

    def epochs(self) -> list[dict[str, Any]]:
        """The rows of the epochs that have ended, in order.

        StoreError if they cannot be read, or are not what was stored.
        """
        path = self.folder / EPOCHS_FILE
        try:
            lines = plain_bytes(path, self.store.root).decode().splitlines()
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read ({error}): {self._anew()}") from error
        rows = []
        for number, line in enumerate(lines, start=1):
            try:
                rows.append(epoch_of_line(line))
            except ValueError as error:
                raise StoreError(f"{path}, line {number}: {error}: {self._anew()}") from error
        return rows

    def _anew(self) -> str:
        where = store_option(self.store)
        return f"remove the run by milstore runs delete {self.run_id}{where}, and begin it again"

    def append_epoch(self, row: dict[str, Any]) -> None:
        """Store the row of an epoch that has ended.

        Rows of that epoch and later ones, left by a killed process, are dropped.

        StoreError as for `write_checkpoint`.
        """
        rows = [old for old in self.epochs() if old["epoch"] < row["epoch"]]
        with self.writing("the epoch"):
            write_text(self.folder / EPOCHS_FILE, "".join(map(line_of_epoch, [*rows, row])))

    def put_epoch(self, row: dict[str, Any]) -> None:
        """Store the row of an epoch, replacing that epoch's row.

        Later ones stay. Raises StoreError as `write_checkpoint`.
        """
        rows = sorted(
            [row, *(old for old in self.epochs() if old["epoch"] != row["epoch"])], key=lambda each: each["epoch"]
        )
        with self.writing("the epoch"):
            write_text(self.folder / EPOCHS_FILE, "".join(map(line_of_epoch, rows)))

    def check_own(self) -> None:
        """Raises StoreError, saying what became of the run, if its folder no longer has the name that this process knows."""
        if is_gone(self.folder):
            raise StoreError(self._what_became())

    def _what_became(self) -> str:
        if self.store.run_folder(self.run_id).is_dir():
            return f"run {self.run_id} was taken over and finished by another process: this one writes nothing more"
        other = draft_folder(self.store, self.run_id)
        if other is None:
            return f"run {self.run_id} is gone: its folder {self.folder} was removed while it was trained"
        lease = read_lease(other)
        owner = "another process" if lease is None else lease.owner
        return f"run {self.run_id} was taken over by {owner} and goes on there: this process writes nothing more"

    @contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Turn an OSError within the block into a StoreError of one line."""
        try:
            yield
        except OSError as error:
            self.check_own()
            why = error.strerror or error
            raise StoreError(
                f"run {self.run_id}: {what} cannot be written ({why}); what was written before is kept"
            ) from error

    def settle(self, final: Path) -> None:
        """What follows the rename. The run is in the store by now, even if this fails."""
        try:
            sync_folder(self.store.runs)
        except OSError as error:
            raise StoreError(
                f"run {self.run_id} is in the store, but the disk did not confirm it ({error.strerror}): run milstore doctor"
            ) from error
        # After the rename: an ordinary user cannot move a folder that is read-only.
        with suppress(OSError):
            final.chmod(0o555)
        self.remove()

    def remove(self) -> None:
        """Remove the draft from the disk. Readers stop seeing it at once."""
        gone = temporary_sibling(self.folder)
        with in_work(self.folder):
            try:
                self.folder.rename(gone)
            except OSError:
                gone = self.folder
            shutil.rmtree(gone, ignore_errors=True)


def line_of_epoch(row: dict[str, Any]) -> str:
    """The line of an epoch, with the CRC-32 of what it says."""
    text = json.dumps(row, allow_nan=False)
    return json.dumps({**row, _CRC: zlib.crc32(text.encode())}) + "\n"


def epoch_of_line(line: str) -> dict[str, Any]:
    """The row of an epoch. ValueError if the line is none, or another than was written."""
    row = parse_json(line)
    if not isinstance(row, dict) or "epoch" not in row:
        raise ValueError("it is no line of an epoch")
    crc = row.pop(_CRC, None)
    if crc is not None and crc != zlib.crc32(json.dumps(row, allow_nan=False).encode()):
        raise ValueError("it is not what was stored (its CRC-32 differs)")
    return row


def begun_by_earlier(draft: RunDraft) -> str:
    """The message that milstore 0.1 began the run, so that its checkpoint cannot be continued, and what to do."""
    return (
        f"it was begun by milstore 0.1, whose checkpoints do not go on here: train its split again by --split "
        f"{draft.facts.get('split')} --fresh, and remove it by milstore runs delete {draft.run_id}{store_option(draft.store)}"
    )


def read_draft(store: Store, folder: Path) -> RunDraft | None:
    """The draft of a folder; None if there is none in it, or no folder."""
    path = folder / DRAFT_FILE
    try:
        facts = read_object(path, store.root)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    return RunDraft(store, run_id_of(folder), facts, folder)


def draft_folders(store: Store) -> list[Path]:
    """The folders in `running/` that may be unfinished runs."""
    if not store.running.is_dir():
        return []
    return sorted(path for path in store.running.iterdir() if not path.name.startswith(".") and path.name != LEASES)


def draft_folder(store: Store, run_id: str) -> Path | None:
    """The folder of an unfinished run, by whatever name it has now; None if there is none."""
    return next((folder for folder in draft_folders(store) if run_id_of(folder) == run_id), None)
