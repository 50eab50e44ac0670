"""Every table of a store as a SQLAlchemy table, with a comment on each table and column.

Three groups, told apart by `Table.info["group"]`:

- `cohort`: what the group works on (classes, cases, slices, patches, splits). One Parquet file a table, all of one
  generation; in `milstore.duckdb` they are tables with keys.
- `features`: which row of a packed feature file belongs to which patch. A view everywhere.
- `run`: what trainings write. One Parquet file a table and run; views everywhere. `run_id` comes from the folder's name.

The order of `METADATA.sorted_tables` is an order in which keys are satisfied.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Double,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    String,
    Table,
)

METADATA = MetaData()


def _case_key() -> Column[str]:
    return Column("case_id", String, ForeignKey("cases.case_id"), primary_key=True, comment="the case")


def _place_columns() -> list[Column[str] | Column[int]]:
    """The columns that identify a patch, for tables that do not carry them as keys."""
    return [
        Column("case_id", String, nullable=False, comment="the case"),
        Column("stain", String, nullable=False, comment="the stain"),
        Column(
            "slice_idx",
            Integer,
            nullable=False,
            comment="the slice: position of its name, in natural order, within case and stain",
        ),
        Column(
            "patch_idx", Integer, nullable=False, comment="the patch: the number in its file's name, never a position"
        ),
    ]


def _run_key() -> Column[str]:
    return Column(
        "run_id", String, primary_key=True, comment="the run; in the files it is the folder's name, not a column"
    )


CLASSES = Table(
    "classes",
    METADATA,
    Column("label", Integer, primary_key=True, autoincrement=False, comment="number of the class, from 0"),
    Column("class_name", String, nullable=False, unique=True, comment="name of the class, such as benign"),
    comment="The classes a case can belong to.",
    info={"group": "cohort"},
)

CASES = Table(
    "cases",
    METADATA,
    Column(
        "case_id",
        String,
        primary_key=True,
        comment="the case (one patient's lesion); ids that are all digits carry no leading zeros",
    ),
    Column(
        "case_order", Integer, nullable=False, comment="position of the case in natural order (2 before 10), from 0"
    ),
    Column("label", Integer, ForeignKey("classes.label"), comment="number of its class; null while no label is known"),
    Column("class_name", String, comment="name of its class; null while no label is known"),
    Column("source_label", String, comment="the label as it stood in the label file, such as 3"),
    comment="The cases, with the label that is believed now. A run keeps the label it saw.",
    info={"group": "cohort"},
)

STAINS = Table(
    "stains",
    METADATA,
    Column("stain", String, primary_key=True, comment="canonical name of the stain, such as h&e"),
    Column("stain_order", Integer, nullable=False, comment="position of the stain in tables and charts, from 0"),
    comment="The stains of the store, from milstore.toml.",
    info={"group": "cohort"},
)

SLICES = Table(
    "slices",
    METADATA,
    _case_key(),
    Column("stain", String, ForeignKey("stains.stain"), primary_key=True, comment="the stain"),
    Column(
        "slice_idx",
        Integer,
        primary_key=True,
        autoincrement=False,
        comment="position of slice_name in natural order within case and stain, from 0",
    ),
    Column("slice_name", String, nullable=False, comment="the slice's name as the files give it, such as match_1"),
    Column("n_patches", Integer, nullable=False, comment="patches of the slice"),
    comment="The slices (tissue sections) of each case and stain.",
    info={"group": "cohort"},
)

PATCHES = Table(
    "patches",
    METADATA,
    Column("case_id", String, primary_key=True, comment="the case"),
    Column("stain", String, primary_key=True, comment="the stain"),
    Column("slice_idx", Integer, primary_key=True, autoincrement=False, comment="the slice within case and stain"),
    Column(
        "patch_idx",
        Integer,
        primary_key=True,
        autoincrement=False,
        comment="the number in the patch's file name, never a position",
    ),
    Column(
        "file",
        String,
        comment="path of the patch's image below the patch root; null if the patch is known from features alone",
    ),
    Column("x", Integer, comment="left edge of the patch on its slice, in pixels; null if unknown"),
    Column("y", Integer, comment="upper edge of the patch on its slice, in pixels; null if unknown"),
    Column("width", Integer, comment="width of the patch, in pixels; null if unknown"),
    Column("height", Integer, comment="height of the patch, in pixels; null if unknown"),
    ForeignKeyConstraint(["case_id", "stain", "slice_idx"], ["slices.case_id", "slices.stain", "slices.slice_idx"]),
    comment="The patches that the slices were cut into.",
    info={"group": "cohort"},
)

PATCH_ROOTS = Table(
    "patch_roots",
    METADATA,
    Column(
        "root",
        String,
        primary_key=True,
        comment="folder that patches.file is relative to: absolute, or below the store",
    ),
    comment="Where the patch images lie; at most one row.",
    info={"group": "cohort"},
)

SPLIT_SETS = Table(
    "split_sets",
    METADATA,
    Column("split_set", String, primary_key=True, comment="name of the family of splits"),
    Column("n_splits", Integer, nullable=False, comment="how many splits it has"),
    Column("source", String, nullable=False, comment="where it came from: the files' names, or how it was drawn"),
    comment="Named families of splits.",
    info={"group": "cohort"},
)

SPLITS = Table(
    "splits",
    METADATA,
    Column("split_set", String, ForeignKey("split_sets.split_set"), primary_key=True, comment="the split set"),
    Column(
        "split",
        Integer,
        primary_key=True,
        autoincrement=False,
        comment="number of the split in the file that it came from",
    ),
    _case_key(),
    Column("subset", String, nullable=False, comment="train, val or test"),
    comment="Which subset each case is in, for each split.",
    info={"group": "cohort"},
)

ENCODERS = Table(
    "encoders",
    METADATA,
    Column("encoder", String, primary_key=True, comment="name of what made the features"),
    Column("n_features", Integer, nullable=False, comment="length of a feature vector"),
    Column("dtype", String, nullable=False, comment="number type in the packed file: float16 or float32"),
    Column("n_patches", Integer, nullable=False, comment="patches that have a feature vector"),
    Column("fingerprint", String, nullable=False, comment="SHA-256 over the vectors and the patches they belong to"),
    Column("folder", String, nullable=False, comment="folder of the packed file, below the store"),
    Column("source", String, nullable=False, comment="where the features came from"),
    comment="The encoders whose features the store holds.",
    info={"group": "cohort"},
)

FEATURES = Table(
    "features",
    METADATA,
    Column("encoder", String, primary_key=True, comment="the encoder"),
    *_place_columns(),
    Column(
        "row",
        BigInteger,
        nullable=False,
        comment="row of the packed file that holds the patch's vector, from 0; a case's rows are contiguous",
    ),
    comment="Which patches have a feature vector, and where. The vectors themselves are in features/<encoder>/…/vectors.npy.",
    info={"group": "features"},
)

RUNS = Table(
    "runs",
    METADATA,
    _run_key(),
    Column("experiment", String, nullable=False, comment="runs that share a configuration"),
    Column("split_set", String, nullable=False, comment="the split set"),
    Column("split", Integer, nullable=False, comment="number of the split in the split set"),
    Column("n_splits", Integer, nullable=False, comment="how many splits the split set had"),
    Column("seed", BigInteger, nullable=False, comment="seed of weights, order and dropout"),
    Column("encoder", String, nullable=False, comment="the encoder whose features were trained on"),
    Column("pooling", String, nullable=False, comment="hierarchical, size-corrected or flat"),
    Column("config", String, nullable=False, comment="the full configuration, as JSON"),
    Column("config_hash", String, nullable=False, comment="SHA-256 of the configuration, split and seed left out"),
    Column("cohort_fingerprint", String, nullable=False, comment="SHA-256 of the cohort tables the run saw"),
    Column("features_fingerprint", String, nullable=False, comment="SHA-256 of the features the run saw"),
    Column(
        "patches_fingerprint",
        String,
        nullable=False,
        comment="SHA-256 of the identities of the patches the run evaluated; runs that agree can be compared patch by patch",
    ),
    Column("code_version", String, nullable=False, comment="milstore's version, and its commit where there is one"),
    Column("host", String, nullable=False, comment="name of the machine"),
    Column("cpu", String, nullable=False, comment="model of its processor"),
    Column("threads", Integer, nullable=False, comment="threads that torch computed with"),
    Column("device", String, nullable=False, comment="cpu, or the name of the GPU"),
    Column("slurm_job_id", String, comment="SLURM job, null outside SLURM"),
    Column("started_at", DateTime, nullable=False, comment="start of the training, UTC"),
    Column("finished_at", DateTime, nullable=False, comment="commit of the run, UTC"),
    Column("seconds", Double, nullable=False, comment="seconds spent training and evaluating, interruptions left out"),
    Column("restarts", Integer, nullable=False, comment="how often the run was continued after an interruption"),
    Column("n_epochs", Integer, nullable=False, comment="epochs that were trained"),
    Column("best_epoch", Integer, nullable=False, comment="epoch whose weights were evaluated, from 1"),
    Column("n_parameters", BigInteger, nullable=False, comment="trainable parameters of the model"),
    Column("weights_sha256", String, nullable=False, comment="SHA-256 of the weights file"),
    comment="Finished runs: one training on one split, with all that is needed to know where its numbers came from.",
    info={"group": "run"},
)

EPOCHS = Table(
    "epochs",
    METADATA,
    _run_key(),
    Column("epoch", Integer, primary_key=True, autoincrement=False, comment="the epoch, from 1"),
    Column(
        "train_loss",
        Double,
        nullable=False,
        comment="mean class-weighted cross-entropy over the training cases, with dropout, in nats",
    ),
    Column(
        "train_accuracy", Double, nullable=False, comment="share of training cases called right while training, 0 to 1"
    ),
    Column(
        "val_loss",
        Double,
        nullable=False,
        comment="mean class-weighted cross-entropy over the validation cases, in nats",
    ),
    Column("val_accuracy", Double, nullable=False, comment="share of validation cases called right, 0 to 1"),
    Column("learning_rate", Double, nullable=False, comment="learning rate of the epoch"),
    Column("seconds", Double, nullable=False, comment="seconds the epoch took"),
    comment="The course of a training, a row an epoch.",
    info={"group": "run"},
)

PREDICTIONS = Table(
    "predictions",
    METADATA,
    _run_key(),
    Column("case_id", String, primary_key=True, comment="the case"),
    Column("subset", String, nullable=False, comment="train, val or test: where the case was in this run's split"),
    Column("true_label", Integer, nullable=False, comment="the label the run was told"),
    Column(
        "pred_label",
        Integer,
        nullable=False,
        comment="the class of the highest probability; the lowest number where several are highest",
    ),
    Column("p_true", Double, nullable=False, comment="probability given to the true class, 0 to 1"),
    Column("error", Double, nullable=False, comment="1 - p_true; for two classes |p - y|"),
    comment="What a run said of each case of all three subsets.",
    info={"group": "run"},
)

PROBABILITIES = Table(
    "probabilities",
    METADATA,
    _run_key(),
    Column("case_id", String, primary_key=True, comment="the case"),
    Column("label", Integer, primary_key=True, autoincrement=False, comment="the class"),
    Column(
        "probability", Double, nullable=False, comment="probability given to the class, 0 to 1; sums to 1 over a case"
    ),
    comment="The probability of every class for each case.",
    info={"group": "run"},
)

ATTENTION = Table(
    "attention",
    METADATA,
    _run_key(),
    *_place_columns(),
    Column("stain_attention", Float, nullable=False, comment="weight of the stain; sums to 1 over the case's stains"),
    Column("slice_attention", Float, nullable=False, comment="weight of the slice; sums to 1 over the stain's slices"),
    Column("patch_attention", Float, nullable=False, comment="weight of the patch; sums to 1 over the slice's patches"),
    Column(
        "effective_attention", Float, nullable=False, comment="stain x slice x patch attention; sums to 1 over the case"
    ),
    Column(
        "rank",
        Integer,
        nullable=False,
        comment="1 for the case's highest effective attention; ties by stain, slice_idx, patch_idx",
    ),
    Column("n_patches", Integer, nullable=False, comment="patches of the case in this run"),
    comment="The weights a run gave to every patch of every case.",
    info={"group": "run"},
)

COVERAGE = Table(
    "coverage",
    METADATA,
    _run_key(),
    Column("case_id", String, primary_key=True, comment="the case"),
    Column("stain", String, primary_key=True, comment="the stain"),
    Column("slice_idx", Integer, primary_key=True, autoincrement=False, comment="the slice"),
    Column("subset", String, nullable=False, comment="train, val or test"),
    Column("existing", Integer, nullable=False, comment="patches the cohort had"),
    Column("with_feature", Integer, nullable=False, comment="of those, patches with a feature vector"),
    Column(
        "trained",
        Integer,
        nullable=False,
        comment="patches one training epoch could see under the cap; 0 outside train",
    ),
    Column("evaluated", Integer, nullable=False, comment="patches that predictions and attention were computed from"),
    comment="How many patches of each slice existed, were trained on and were evaluated.",
    info={"group": "run"},
)


def tables(group: str) -> list[Table]:
    """The tables of one group (`cohort`, `features` or `run`), keys satisfied in order."""
    return [table for table in METADATA.sorted_tables if table.info["group"] == group]
