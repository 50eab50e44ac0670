"""Ingests features: one vector per patch, from files of three kinds, packed into the store."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from milstore.errors import DataError, UsageError
from milstore.formats.feature_reading import FormatOf
from milstore.formats.missing_marks import Marks
from milstore.formats.registry import BUILT_IN, FORMATS
from milstore.ingest import labels
from milstore.ingest.bag_import import pack_bags
from milstore.ingest.feature_import import Job
from milstore.ingest.file_discovery import Found, find_files
from milstore.ingest.patch_file_import import pack_patch_files
from milstore.ingest.slice_import import pack_slice_files
from milstore.ingest.unread_names import left_out
from milstore.progress import Progress, silent
from milstore.store import Store
from milstore.store.cohort import Cohort, read_cohort
from milstore.store.cohort_edit import CohortEdit
from milstore.store.cohort_stains import follow_settings
from milstore.store.encoded_patches import of_grid, without_features
from milstore.store.features import open_features
from milstore.store.names import check_name, counted, named, natural_key
from milstore.store.paths import real_path


@dataclass(frozen=True, kw_only=True, slots=True)
class FeaturesReport:
    """What `ingest_features` did."""

    changed: bool
    source: str
    encoder: str
    patches: int
    """Patches that the source has a vector of."""
    n_features: int
    dtype: str
    without: int
    """Patches of the store that have none of this encoder."""
    cases_without: tuple[str, ...]
    """Cases that have patches, but none with a vector."""
    created: int
    """Patches that the store did not know before."""
    dropped_encoders: tuple[str, ...]
    """Other encoders whose features no longer fit and were dropped."""
    zeros: tuple[str, ...] = ()
    """File and patch of each vector of a slice's file that is zero throughout."""
    skipped: tuple[str, ...] = ()
    """Lines about the files whose names were not read and that were left out."""
    understood: tuple[str, ...] = ()
    """What was understood of files of slices or slides, and what was not certain."""
    grid: str | None = None
    """The grid that the encoder's patches lie on, within which `without` counts; None where all of the store's count."""
    dry_run: bool = False
    notes: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    """The cases that the source has vectors of, in natural order."""

    def lines(self) -> list[str]:
        """The report, as lines of text."""
        if self.dry_run:
            told = [*self.understood, *self.skipped, *self.notes]
            return [*told, "nothing was written: the same line without --dry-run takes them in"]
        what = f"{counted(self.patches, 'vector')} of {self.n_features} numbers ({self.dtype})"
        lines = [*self.understood, f"{self.source}: {what} of encoder {self.encoder}"]
        lines += self.skipped
        if self.created:
            lines.append(f"made {counted(self.created, 'patch', 'patches')} that the store did not know")
        if self.without:
            lines.append(
                f"without a feature: {counted(self.without, 'patch', 'patches')} of {self._whole()}; training leaves them out"
            )
        if self.cases_without:
            lines.append(
                f"without any feature: {counted(len(self.cases_without), 'case')} ({named(self.cases_without)})"
            )
        if self.zeros:
            lines.append(
                f"zero throughout: {counted(len(self.zeros), 'vector')} ({named(self.zeros, 3)}); "
                "if the job that made them did not end, let it, and ingest them again with --replace"
            )
        if self.dropped_encoders:
            lines.append(f"dropped: the features of {named(self.dropped_encoders)}; ingest or encode them again")
        return [*lines, *self.notes, *([] if self.changed else ["nothing changed"])]

    def _whole(self) -> str:
        return "the store" if self.grid is None else f"the grid {self.grid}"


def ingest_features(
    store: Store,
    path: str | Path,
    *,
    encoder: str,
    bag_column: str | None = None,
    index_column: str | None = None,
    label_column: str | None = None,
    label_map: Mapping[str, str] | None = None,
    missing: Iterable[str] | None = None,
    stain: str | None = None,
    create_patches: bool = False,
    replace: bool = False,
    format: str | None = None,
    feature_columns: Sequence[str] = (),
    slide_mpp: float | None = None,
    mixed: bool = False,
    companion: str | Path | None = None,
    dry_run: bool = False,
    jobs: int | None = None,
    progress: Progress = silent,
    heed: Callable[[list[str]], None] = lambda _: None,
) -> FeaturesReport:
    """Ingest the feature vectors of one encoder, all at once.

    `path` is (a) a folder with one `.pt` or `.npy` vector a patch, named like the patch; (b) a folder of (or one)
    `.npz`, `.h5`, `.parquet` or `.pt` a slice with `features` (N, D), `patch_idx` (N) and perhaps `coords` (N, 2), named
    like a patch without its number, or as a tool writes them for a slide that the store knows (see `ingest_slides`; its patches
    are made where it has none there); or (c) with `bag_column` and `index_column` one table, CSV or Parquet, of a whole MIL
    benchmark: every column not named is a feature, and a bag becomes a case with one slice of one stain. A column without a name, or
    one that counts the rows, is no feature; one that is constant within each bag and tells the classes apart is refused.

    Vectors are stored as float16 if all of them are, else as float32. The store is open to others while files of (a) and
    (b) are read.

    Args:
        store: the store.
        path: see above.
        encoder: name of what made the features.
        bag_column: (c) the column that says which bag a row is of.
        index_column: (c) the column with the instance's number in its bag.
        label_column: (c) the column with the bag's label; classes are numbered as by `ingest_labels`.
        label_map: (c) class of each label; each label is a class if left out.
        missing: (c) marks of an unknown label, as for `ingest_labels`.
        stain: (c) the stain of all bags; if left out, `all` while nobody has named the store's stains, else its first.
        create_patches: (a, b) make patches that the store does not know, from the names alone.
        replace: take these features in the place of others of this encoder.
        format: name of the files' format, or ./file.py:Class; found by their content if left out.
        feature_columns: (c) columns that are taken as features, though they seem to know the label.
        slide_mpp: (b) micrometres a pixel of level 0 of slides that the store knows no resolution of; it becomes theirs.
        mixed: (b) take patches of several sizes or resolutions at the encoder's input under one name.
        companion: (b) folder of the files that say how large patches are (CLAM's patches), where it does not lie beside.
        dry_run: say what is understood, and write nothing.
        jobs: processes.
        progress: is told how far it is.
        heed: called with the cases before anything of them is stored; an error that it raises keeps all out.

    Raises:
        UsageError: options that do not go together.
        DataError: a damaged file, vectors of differing length, NaN or infinity, a feature without its patch; nothing is
            stored then.
        ConflictError: the encoder has other features in the store, and `replace` is not given; or the patches were
            changed meanwhile.
    """
    path = Path(path)
    check_name(encoder, "encoder")
    if bag_column is None and (
        index_column or label_column or label_map or stain or missing is not None or feature_columns
    ):
        raise UsageError(
            "--index-column, --label-column, --map, --missing, --stain and --feature-column go with --bag-column"
        )
    if bag_column is not None and index_column is None:
        raise UsageError("--bag-column needs --index-column: the number of an instance is its identity in the bag")
    chosen = None if bag_column is not None else _chosen(path, format)
    base = read_cohort(store)
    plan = CohortEdit(
        base,
        rebuilds=_rebuilt(base, create_patches or bag_column is not None, label_column) if replace else frozenset(),
    )
    if slide_mpp is not None and not 0 < slide_mpp <= 20:
        raise UsageError(
            f"--slide-mpp {slide_mpp:g} is no resolution of a slide: give micrometres a pixel, such as 0.25"
        )
    if companion is not None and (chosen is None or chosen.one_patch):
        raise UsageError("--companion is for files of slides: leave it out")
    job = Job(
        store,
        plan,
        encoder,
        str(real_path(path)),
        create_patches,
        replace,
        jobs,
        progress,
        slide_mpp=slide_mpp,
        mixed=mixed,
        dry_run=dry_run,
        companion=None if companion is None else real_path(companion),
        heed=heed,
    )
    follow_settings(plan)  # what the commit would refuse is told before long reading
    if bag_column is not None and index_column is not None:
        packed = pack_bags(
            job,
            path,
            bag_column,
            index_column,
            label_column,
            label_map,
            stain,
            Marks.of(missing),
            format,
            feature_columns,
        )
    else:
        assert chosen is not None
        pack = pack_patch_files if chosen.one_patch else pack_slice_files
        packed = pack(job, chosen.found, chosen.format_of)
    row = next((row for row in packed.edit.table("encoders").to_pylist() if row["encoder"] == encoder), None)
    grid = None if row is None else row["grid"]
    wanted = of_grid(packed.edit.table("patches"), grid)
    # Those of earlier packs count too.
    encoded = packed.patches if dry_run else open_features(store, read_cohort(store), encoder).patches
    left = without_features(wanted, encoded)
    without_any = set(pc.unique(wanted["case_id"]).to_pylist()) - set(pc.unique(encoded["case_id"]).to_pylist())
    return FeaturesReport(
        changed=not dry_run and packed.edit.changed,
        source=str(path),
        encoder=encoder,
        patches=packed.patches.num_rows,
        n_features=packed.n_features,
        dtype=packed.dtype,
        without=left.num_rows,
        cases_without=tuple(sorted(without_any, key=natural_key)),
        created=packed.created,
        dropped_encoders=tuple(name for name in packed.dropped if name != encoder),
        zeros=packed.zeros,
        skipped=tuple(left_out(store.settings.name_pattern, packed.skipped, "file")),
        understood=tuple(() if packed.understood is None else packed.understood.lines()),
        grid=grid,
        dry_run=dry_run,
        notes=(*job.notes, *packed.edit.notes),
        cases=tuple(sorted(pc.unique(packed.patches["case_id"]).to_pylist(), key=natural_key)),
    )


def _rebuilt(base: Cohort, creates: bool, label_column: str | None) -> frozenset[str]:
    """Tables that this ingest rebuilds where their files are damaged.

    Patches that came with images are not among them: their files would be lost.
    """
    images = base.manifest["tables"].get("patch_roots", {"rows": 0})["rows"]
    patches = ("slices", "patches") if creates and not images else ()
    return frozenset(
        {"encoders", "packs", "pack_cases", *patches, *(labels.REBUILT if label_column is not None else ())}
    )


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Files of features, all of one kind."""

    found: Found
    format_of: FormatOf
    one_patch: bool
    """Whether each is of a patch; else of a slice."""


_FORMATS = FORMATS["features"]


def _chosen(path: Path, name: str | None) -> _Chosen:
    """The files of features, and their formats."""
    if path.is_file() or _is_folder_file(path, name):
        name = name or _FORMATS.recognised([path])
        if name is None or _is_of_patch(name):
            raise UsageError(
                f"{path} is one file: a table of a benchmark needs --bag-column and --index-column, "
                f"and the features of one slice are {named(_endings(of_patch=False))}"
            )
        return _Chosen(Found(real_path(path).parent, [path.name], [path.stem]), {"": name}, one_patch=False)
    endings = _FORMATS.endings(None if name is None else [name])
    folders = _FORMATS.folders(None if name is None else [name])
    found = _without_companions(find_files(path, endings, follow_links=True, as_files=folders))
    if not found.files:
        raise DataError(
            f"{path} holds no {_or([f'.{each}' for each in endings])} file: name the folder of the features"
        )
    if name is not None:
        return _Chosen(found, {"": name}, _is_of_patch(name))
    format_of = _FORMATS.by_ending(found.root, found.files)
    of_patch = {ending: _is_of_patch(own) for ending, own in format_of.items()}
    if len(set(of_patch.values())) > 1:
        one, other = (
            next(file for file in sorted(found.files) if of_patch[file.rpartition(".")[2].lower()] is each)
            for each in (True, False)
        )
        raise DataError(f"{path} holds files of patches ({one}) and of slices ({other}): name a folder of one kind")
    return _Chosen(found, format_of, all(of_patch.values()))


def _without_companions(found: Found) -> Found:
    """What was found, without the files that a format reads beside its own."""
    ends = tuple(end for name in BUILT_IN["features"] for end in getattr(_FORMATS.find(name), "beside", ()))
    own = [i for i, file in enumerate(found.files) if not file.lower().endswith(ends)]
    if not ends or len(own) == len(found.files):
        return found
    return Found(found.root, [found.files[i] for i in own], [found.stems[i] for i in own], found.links_out)


def _is_folder_file(path: Path, name: str | None) -> bool:
    """Whether a folder is one slide's file, such as <slide>.zarr, and not a folder of files."""
    return path.suffix[1:].lower() in _FORMATS.folders(None if name is None else [name]) and path.is_dir()


def _is_of_patch(name: str) -> bool:
    return hasattr(_FORMATS.find(name), "vector")


def _endings(*, of_patch: bool) -> list[str]:
    return _FORMATS.endings([name for name in BUILT_IN["features"] if _is_of_patch(name) is of_patch])


def _or(words: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
