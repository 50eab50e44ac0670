"""How slides of new cases are cut and encoded, so that they fit the models."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from milstore.encoders.encode import encode_patches
from milstore.encoders.encode_folder import encode_by_folder
from milstore.encoders.encoder_folder import EncoderFolder, read_encoder_folder
from milstore.encoders.encoding_plan import FolderOptions
from milstore.encoders.registry import load_encoder
from milstore.errors import ConflictError, UsageError
from milstore.pixels.tiling import TileSettings
from milstore.predicting.slides_given import SlidesGiven
from milstore.progress import Progress
from milstore.store.cohort import Cohort
from milstore.store.names import clip
from milstore.store.paths import Store


@dataclass(frozen=True, kw_only=True)
class SlideEncoding:
    """The plan of how slides become features of the models' encoder."""

    encoder: str
    grid: str
    settings: TileSettings
    folder: EncoderFolder | None
    """The encoder's; None for one that is built in, installed or a file."""
    loaded: str
    """What `encode_patches` is to load, where it is no folder."""

    def encode(self, store: Store, cases: Sequence[str], jobs: int | None, progress: Progress) -> list[str]:
        """Compute the features of these cases' patches, and say so."""
        if self.folder is not None:
            options = FolderOptions(grid=self.grid, cases=tuple(cases))
            return encode_by_folder(store, self.folder, options, progress=progress).lines()[:1]
        report = encode_patches(store, self.loaded, grid=self.grid, cases=tuple(cases), jobs=jobs, progress=progress)
        return report.lines()[:1]


def slide_encoding_of(cohort: Cohort, encoder: str, given: SlidesGiven) -> SlideEncoding:
    """Plan how slides become features of an encoder, checked before anything is stored.

    Raises:
        UsageError: the encoder's folder or file is not named, or is none.
        ConflictError: the store's features of it lie on no grid, or were made by another encoder than is given.
        DataError: the encoder's folder is damaged.
    """
    row = next(row for row in cohort.table("encoders").to_pylist() if row["encoder"] == encoder)
    grids = {grid["grid"]: grid for grid in cohort.table("grids").to_pylist()}
    grid = grids.get(row["grid"])
    if grid is None or grid["mpp"] is None:
        raise ConflictError(
            f"the patches of encoder {encoder} lie on no grid of a known resolution, so slides cannot be cut as they were: "
            "make features of the new slides as those were made, and give them by --features"
        )
    settings = TileSettings(mpp=grid["mpp"], patch=grid["edge"], overlap=grid["overlap"] or 0)
    if given.encoder is not None and given.encoder_folder is not None:
        raise UsageError("--encoder and --encoder-folder: give one of them")
    folder, loaded = None, ""
    if given.encoder_folder is not None:
        folder = _folder(given.encoder_folder, encoder, row["weights_sha256"])
    elif row["weights_sha256"] is not None:
        raise UsageError(
            f"the features of {encoder} are of an encoder that is a folder: say where it is, by --encoder-folder DIR"
        )
    else:
        loaded = _loaded(encoder, row["source"], given.encoder)
    return SlideEncoding(encoder=encoder, grid=row["grid"], settings=settings, folder=folder, loaded=loaded)


def _folder(path: Path, encoder: str, known: str | None) -> EncoderFolder:
    """The encoder's folder, in the precision in which it made the store's features. ConflictError if it is another."""
    folder = read_encoder_folder(path, name=encoder)
    if known is not None and folder.weights_sha256 != known:
        folder = read_encoder_folder(path, name=encoder, fp16=True)
    if folder.weights_sha256 != known:
        made = f"by other weights or settings ({known[:12]}…)" if known else "elsewhere"
        raise ConflictError(
            f"the features of {encoder}, on which the models were trained, were made {made}, and not by the folder "
            f"{clip(str(path), 200)}: name the one that made them"
        )
    return folder


def _loaded(encoder: str, source: str, given: str | None) -> str:
    """The name by which the encoder is loaded. Errors as for `slide_encoding_of`."""
    elsewhere = (
        f"the features of {encoder} were not computed by an encoder that is here ({clip(source, 100)}): compute those of the "
        "new slides as they were computed, and give them by --features"
    )
    try:
        loaded = load_encoder(given or encoder)
    except UsageError as error:
        if given is not None:
            raise
        raise ConflictError(elsewhere) from error
    if loaded.encoder.name != encoder:
        raise UsageError(f"encoder {given or encoder} makes features called {loaded.encoder.name}, not {encoder}")
    if not source.startswith(loaded.source):
        raise ConflictError(elsewhere)
    return given or encoder
