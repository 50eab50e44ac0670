"""The folder of a run of the study's trainers, in all forms that their code wrote: what is in it, and where.

A run folder holds its predictions, and where it came so far tables of attention, checkpoints, a split that it drew
itself, and texts with counts. Its log lies beside it. Nothing says which form it is of but the columns of its tables.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from milstore.errors import DataError
from milstore.formats.csv_table import columns_of_csv, file_size
from milstore.formats.study_log import StudyLog, find_log, read_log
from milstore.store.names import named

_TOP = re.compile(r"top_effective_patches_per_case_(\d+(?:\.\d+)?)pct\.csv")
_SUMMARY = re.compile(r"top_effective_patches_per_case_summary_.*pct\.txt")
_CHECKPOINT = re.compile(r".*_epoch(\d+)\.pth")
_SAMPLES = re.compile(r"^Number of samples: (\d+)\s*$", re.M)
_TEXT = 1 << 24
BY_POSITION, SHUFFLED = "winter", "fall"
"""The two forms. In the later one (winter), an index of a patch is its place among the names sorted as text; in the
earlier one (fall), its place after a shuffle that nothing tells."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyTable:
    """A table of attention."""

    path: Path
    kind: str
    """`whole`: of every patch that was seen; `top`: of each case's most attended ones; `slices`: of some slices, with
    the files of their patches."""
    pct: float | None = None
    """Of a top: how much of each case it is, in percent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyFolder:
    """What there is of a run."""

    root: Path
    form: str
    """BY_POSITION or SHUFFLED."""
    predictions: Path
    other_predictions: tuple[Path, ...] = ()
    """Of other checkpoints; they are not this run's own."""
    tables: tuple[StudyTable, ...] = ()
    """Those of attention that have a row, the most telling first."""
    splits: Path | None = None
    """The split that it drew itself."""
    checkpoints: Mapping[int, Path] = field(default_factory=dict)
    """By the epoch after which each was written."""
    samples: int | None = None
    """How many cases it says that it predicted."""
    patches_of: Mapping[str, int] = field(default_factory=dict)
    """How many patches of each case it says that it saw."""
    stains_of: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Attention of each stain of each case, rounded to four decimals."""
    log: StudyLog | None = None

    @property
    def last_checkpoint(self) -> Path | None:
        """The one that predictions and tables come from: of the last epoch, never `best.pth`."""
        return self.checkpoints[max(self.checkpoints)] if self.checkpoints else None


def read_study_folder(root: Path, log: Path | None = None) -> StudyFolder:
    """Look through a run's folder.

    Args:
        root: the folder.
        log: its log; looked for in the folder and beside it if left out.

    Raises:
        DataError: it is no folder, holds no predictions of these trainers, or cannot be read.
    """
    try:
        return _read(root, log)
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read: {error.strerror}") from error


def _read(root: Path, log: Path | None) -> StudyFolder:
    """The same; OSError where the disk refuses."""
    if not root.is_dir():
        raise DataError(f"{root} is no folder: give the run's folder, in which predictions.csv lies")
    predictions, others = _predictions(root)
    columns = columns_of_csv(predictions)
    if not any(name.startswith("prob_") for name in columns):
        raise DataError(
            f"{predictions} has the columns {named(columns)}: it is not of the study's trainers (prob_class0 or prob_benign)"
        )
    attention = root / "attention_analysis"
    results = _text(root / "results.txt")
    samples = _SAMPLES.search(results)
    found_log = log or find_log(root)
    summary = next((path for path in _files(attention) if _SUMMARY.fullmatch(path.name)), None)
    return StudyFolder(
        root=root,
        form=BY_POSITION if "prob_class0" in columns else SHUFFLED,
        predictions=predictions,
        other_predictions=others,
        tables=tuple(_tables(attention)),
        splits=path if (path := root / "data_splits.npz").is_file() else None,
        checkpoints=_checkpoints(root / "checkpoints"),
        samples=int(samples[1]) if samples else None,
        patches_of=_patches_of("" if summary is None else _text(summary)),
        stains_of=_stains_of(_text(attention / "attention_summary.txt")),
        log=None if found_log is None else read_log(found_log),
    )


def _files(folder: Path) -> list[Path]:
    """Its files by name; none where there is no such folder."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _predictions(root: Path) -> tuple[Path, tuple[Path, ...]]:
    """The run's predictions, and those that it holds besides, of other checkpoints."""
    files = _files(root)
    own = [path for path in files if path.name == "predictions.csv"]
    others = [path for path in files if re.fullmatch(r"predictions_.+\.csv", path.name)]
    if own:
        return own[0], tuple(others)
    if len(others) == 1:
        return others[0], ()
    if others:
        raise DataError(
            f"{root} has predictions of several checkpoints ({named(path.name for path in others)}) and no "
            "predictions.csv: take one of these files in by milstore ingest run FILE"
        )
    raise DataError(
        f"{root} has no predictions.csv: it is no run of the study's trainers, or one that never came to predict"
    )


def _tables(attention: Path) -> list[StudyTable]:
    """The tables that have a row: of all patches, then of the top ones, then of selected slices."""
    found = [StudyTable(path=path, kind="whole") for path in _files(attention) if path.name == "weights_df.csv"]
    tops = [(path, match) for path in _files(attention) if (match := _TOP.fullmatch(path.name))]
    found += [StudyTable(path=path, kind="top", pct=float(match[1])) for path, match in tops]
    slices = attention / "plots" / "patch_attention_selected_slices.csv"
    found += [StudyTable(path=slices, kind="slices")] if slices.is_file() else []
    return [table for table in found if _has_rows(table.path)]


def _has_rows(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.readline()
        return bool(stream.readline().strip())


def _checkpoints(folder: Path) -> dict[int, Path]:
    """By epoch. Of several of one epoch the one that was written last: names begin with the time."""
    found = {int(match[1]): path for path in _files(folder) if (match := _CHECKPOINT.fullmatch(path.name))}
    return dict(sorted(found.items()))


def _text(path: Path) -> str:
    """The contents of a small text file; empty if there is none."""
    if not path.is_file():
        return ""
    if file_size(path, "a summary") > _TEXT:
        raise DataError(f"{path} is too large for a summary")
    return path.read_text(encoding="utf-8", errors="replace")


def _blocks(text: str) -> dict[str, str]:
    """The block of each case of a summary."""
    parts = re.split(r"^Case (\S+):[^\S\n]*$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _patches_of(text: str) -> dict[str, int]:
    found = {case: re.search(r"# total patches: (\d+)", block) for case, block in _blocks(text).items()}
    return {case: int(match[1]) for case, match in found.items() if match}


def _stains_of(text: str) -> dict[str, dict[str, float]]:
    line = re.compile(r"^  (\S.*?): (\d+\.\d+)\s*$", re.M)
    return {
        case: {stain: float(share) for stain, share in line.findall(block)} for case, block in _blocks(text).items()
    }
