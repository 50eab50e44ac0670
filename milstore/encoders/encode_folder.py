"""Computes features by an encoder's folder: pixels are read ahead while the network runs, and a killed run can resume."""

import time

from milstore.encoders.choice import describe
from milstore.encoders.computing import compute
from milstore.encoders.encoder_folder import EncoderFolder
from milstore.encoders.encoding_plan import FolderOptions, Plan, plan_encoding
from milstore.encoders.report import EncodeReport, Spent
from milstore.encoders.shards import remove_shards
from milstore.errors import ConflictError
from milstore.pixels.image_file import SEEN
from milstore.progress import Progress, silent
from milstore.store import Store
from milstore.store.cohort_edit import edit_cohort
from milstore.store.features import PLACE, FeaturePack


def encode_by_folder(
    store: Store, folder: EncoderFolder, options: FolderOptions | None = None, *, progress: Progress = silent
) -> EncodeReport:
    """Compute the features of every patch that has an image or lies on a slide, and store them under the encoder's name.

    Only those are computed that the store does not have, as a further pack, unless `options.replace`. What was computed stays
    when this is killed, slice by slice: called again it goes on, and stores the same bits. The store is open to others
    meanwhile; what they ingest while this runs gets no features.

    Raises:
        UsageError, ConflictError, StoreError: as `plan_encoding`; what runs the network is not installed.
        DataError: likewise; an image, a slide or the encoder's weights are damaged. Nothing is stored.
    """
    plan = plan_encoding(store, folder, options or FolderOptions())
    if not plan.todo.patches.num_rows:
        return _nothing_to_do(plan)
    started = time.perf_counter()
    spent = compute(plan, progress=progress)
    return store_shards(plan, started, spent)


def store_shards(plan: Plan, started: float, spent: Spent | None = None) -> EncodeReport:
    """Put every shard of a plan, all of them computed, into a pack of the store.

    started: when it began, by `time.perf_counter`. ConflictError if a shard is missing.
    """
    folder, store = plan.folder, plan.store
    first = plan.shards[0].read()
    if first is None:
        raise _taken_away(folder)
    n_features = first.shape[1]
    places = plan.todo.patches.select(list(PLACE))
    with FeaturePack(store, encoder=folder.name, n_features=n_features, dtype="float32", patches=places) as pack:
        for shard in plan.shards:
            vectors = shard.read(n_features)
            if vectors is None:
                raise _taken_away(folder)
            pack.write(shard.first, vectors)
        pack.finish()
        with edit_cohort(store, rebuild=plan.cohort.rebuilds) as edit:
            pack.commit(edit, source=f"{folder.source} ({SEEN})", replace=plan.options.replace)
            describe(edit, folder.name, plan.every, folder.weights_sha256)
    remove_shards(store, folder.name, folder.weights_sha256)
    return EncodeReport(
        changed=edit.changed,
        encoder=folder.name,
        n_features=n_features,
        patches=plan.every.patches.num_rows,
        without_image=plan.every.without,
        seconds=time.perf_counter() - started,
        spent=spent,
        notes=tuple(edit.notes),
    )


def _taken_away(folder: EncoderFolder) -> ConflictError:
    return ConflictError(
        f"features of {folder.name} that were computed are gone or damaged: the same command computes them again"
    )


def _nothing_to_do(plan: Plan) -> EncodeReport:
    rows = [row for row in plan.cohort.table("encoders").to_pylist() if row["encoder"] == plan.folder.name]
    return EncodeReport(
        changed=False,
        encoder=plan.folder.name,
        n_features=rows[0]["n_features"],
        patches=plan.every.patches.num_rows,
        without_image=plan.every.without,
        seconds=0.0,
    )
