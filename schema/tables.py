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
            comment="the slice: its number within case and stain, given once",
        ),
        Column(
            "patch_idx",
            Integer,
            nullable=False,
            comment="the patch: its number within the slice, given once, never a position",
        ),
    ]


def _slice_key() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["case_id", "stain", "slice_idx"], ["slices.case_id", "slices.stain", "slices.slice_idx"]
    )


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

CASE_GROUPS = Table(
    "case_groups",
    METADATA,
    _case_key(),
    Column(
        "group_id", String, nullable=False, comment="what the case shares with others of its group, such as the patient"
    ),
    comment="Cases that must not be parted over the subsets of a split, such as those of one patient.",
    info={"group": "cohort"},
)

CASE_ATTRIBUTES = Table(
    "case_attributes",
    METADATA,
    _case_key(),
    Column("name", String, primary_key=True, comment="name of the attribute, such as site or age"),
    Column("value", String, nullable=False, comment="its value as text"),
    comment="Whatever else a group's tables say of a case, so that a question may go by it.",
    info={"group": "cohort"},
)

SLIDES = Table(
    "slides",
    METADATA,
    Column("slide_id", String, primary_key=True, comment="the slide: the stem of its file's name"),
    Column("case_id", String, ForeignKey("cases.case_id"), nullable=False, comment="the case it is of"),
    Column("stain", String, ForeignKey("stains.stain"), nullable=False, comment="its stain"),
    Column("slice_name", String, comment="name of the slice that it is; null where that is the slide's id"),
    Column("block", String, comment="the tissue block it was cut from; null if unknown"),
    Column("mpp", Double, comment="micrometres a pixel of level 0; null if unknown"),
    Column("magnification", Double, comment="objective magnification of level 0, such as 40; null if unknown"),
    Column("width", Integer, comment="width in pixels of level 0; null if unknown"),
    Column("height", Integer, comment="height in pixels of level 0; null if unknown"),
    Column("vendor", String, comment="maker of the scanner; null if unknown"),
    Column("path", String, comment="where the slide's file lies; null if unknown"),
    comment="Whole slides: which is of whom. A slide holds one slice or several.",
    info={"group": "cohort"},
)

GRIDS = Table(
    "grids",
    METADATA,
    Column("grid", String, primary_key=True, comment="name of the grid, such as 256px-0.5mpp"),
    Column("tool", String, comment="what cut the patches; null if unknown"),
    Column("edge", Integer, comment="edge of a patch at the encoder's input, in pixels; null if unknown"),
    Column("mpp", Double, comment="micrometres a pixel at the encoder's input; null if unknown"),
    Column("overlap", Integer, comment="pixels that neighbours share at the encoder's input; null if unknown"),
    comment="The grids that patches were cut on. Encoders of one slide may use different ones.",
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
        comment="number of the slice within case and stain, from 0: given once, later slices get the next; order for people comes from slice_name",
    ),
    Column("slice_name", String, nullable=False, comment="the slice's name as the files give it, such as match_1"),
    Column("n_patches", Integer, nullable=False, comment="patches of the slice, of all grids"),
    Column("slide_id", String, ForeignKey("slides.slide_id"), comment="the slide it lies on; null if unknown"),
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
        comment="number of the patch within the slice, given once: the number in its file's name, or by (y, x) where it has none",
    ),
    Column(
        "file",
        String,
        comment="path of the patch's image below the patch root; null if the patch is known from features alone",
    ),
    Column("x", Integer, comment="left edge of the patch, in pixels of its unit; null if unknown"),
    Column("y", Integer, comment="upper edge of the patch, in pixels of its unit; null if unknown"),
    Column("width", Integer, comment="width of the patch, in pixels of its unit; null if unknown"),
    Column("height", Integer, comment="height of the patch, in pixels of its unit; null if unknown"),
    Column(
        "unit",
        String,
        comment="what x, y, width and height count: slice (pixels of the slice) or level0 (pixels of the slide's level 0); null without them",
    ),
    Column("grid", String, ForeignKey("grids.grid"), comment="the grid it was cut on; null if unknown"),
    _slice_key(),
    comment="The patches that the slices were cut into.",
    info={"group": "cohort"},
)

PATCH_REGIONS = Table(
    "patch_regions",
    METADATA,
    Column("case_id", String, primary_key=True, comment="the case"),
    Column("stain", String, primary_key=True, comment="the stain"),
    Column("slice_idx", Integer, primary_key=True, autoincrement=False, comment="the slice"),
    Column("patch_idx", Integer, primary_key=True, autoincrement=False, comment="the patch"),
    Column("region", String, primary_key=True, comment="name of the annotated region that the patch's centre lies in"),
    _slice_key(),
    comment="The annotated regions that patches lie in; a patch may lie in several.",
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
        comment="the split: its number in the file that it came from",
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
    Column("folder", String, nullable=False, comment="folder of its first pack, below the store"),
    Column("source", String, nullable=False, comment="where the features came from"),
    Column("grid", String, ForeignKey("grids.grid"), comment="the grid of its patches; null if unknown"),
    Column("mpp", Double, comment="micrometres a pixel at its input; null if unknown"),
    Column("patch_px", Integer, comment="edge of a patch at its input, in pixels; null if unknown"),
    Column("tool", String, comment="the program that made the features; null if unknown"),
    Column("weights_sha256", String, comment="SHA-256 over the encoder's weights; null if unknown"),
    comment="The encoders whose features the store holds.",
    info={"group": "cohort"},
)

PACKS = Table(
    "packs",
    METADATA,
    Column("encoder", String, primary_key=True, comment="the encoder"),
    Column("pack", Integer, primary_key=True, autoincrement=False, comment="number of the pack, from 1"),
    Column("n_patches", Integer, nullable=False, comment="patches that have a feature vector in it"),
    Column("fingerprint", String, nullable=False, comment="SHA-256 over its vectors and the patches they belong to"),
    Column("folder", String, nullable=False, comment="its folder, below the store"),
    Column("source", String, nullable=False, comment="where its features came from"),
    comment="Packs of features: files that are added as a cohort grows, and never rewritten.",
    info={"group": "cohort"},
)

PACK_CASES = Table(
    "pack_cases",
    METADATA,
    Column("encoder", String, primary_key=True, comment="the encoder"),
    Column("pack", Integer, primary_key=True, autoincrement=False, comment="the pack"),
    Column("case_id", String, primary_key=True, comment="the case"),
    Column("n_patches", Integer, nullable=False, comment="patches of the case in the pack"),
    Column("sha256", String, nullable=False, comment="SHA-256 over the case's vectors and the patches they belong to"),
    comment="What each pack holds of each case.",
    info={"group": "cohort"},
)

EARLIER_RUNS = Table(
    "earlier_runs",
    METADATA,
    Column("run_id", String, primary_key=True, comment="the run"),
    Column("data_fingerprint", String, nullable=False, comment="what runs.data_fingerprint would say of it"),
    comment="Runs of milstore 0.1 whose data were the store's on the day on which it was brought to schema 2.",
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
        comment="row of its pack's file that holds the patch's vector, from 0; a case's rows are contiguous in a pack",
    ),
    comment="Which patches have a feature vector, and where. The vectors themselves are in features/<encoder>/…/vectors.npy.",
    info={"group": "features"},
)

RUNS = Table(
    "runs",
    METADATA,
    _run_key(),
    Column("experiment", String, nullable=False, comment="runs that share a configuration"),
    Column("split_set", String, comment="the split set; null if the run has none"),
    Column("split", Integer, comment="the split: its number in the file that it came from; null if the run has none"),
    Column("n_splits", Integer, comment="how many splits the split set had; null if the run has none"),
    Column("seed", BigInteger, comment="seed of weights, order and dropout; null if unknown"),
    Column("encoder", String, comment="the encoder whose features were trained on; null if unknown"),
    Column(
        "pooling", String, comment="how the default model pools: hierarchical, size-corrected or flat; null for others"
    ),
    Column("config", String, nullable=False, comment="the full configuration, as JSON"),
    Column(
        "config_hash",
        String,
        nullable=False,
        comment="SHA-256 of the configuration; split set, split and seed are no part of it",
    ),
    Column(
        "config_version",
        Integer,
        nullable=False,
        comment="version of the rule by which config_hash was made; by 1 the split set was part of it",
    ),
    Column("cohort_fingerprint", String, comment="SHA-256 of the cohort tables the run saw; null if unknown"),
    Column(
        "features_fingerprint",
        String,
        comment="SHA-256 of the features of the split's cases; by schema 1 of all the encoder's; null if unknown",
    ),
    Column(
        "data_fingerprint",
        String,
        comment="SHA-256 of the split's cases, their subsets, labels, patches and features; null if unknown",
    ),
    Column(
        "patches_fingerprint",
        String,
        comment="SHA-256 of the identities of the patches the run evaluated, null without attention; runs that agree can be compared patch by patch",
    ),
    Column(
        "code_version", String, comment="version of what trained it, and its commit where there is one; null if unknown"
    ),
    Column("host", String, comment="name of the machine; null if unknown"),
    Column("cpu", String, comment="model of its processor; null if unknown"),
    Column("threads", Integer, comment="threads that torch computed with; null if unknown"),
    Column("device", String, comment="cpu, or the name of the GPU; null if unknown"),
    Column("slurm_job_id", String, comment="SLURM job, null outside SLURM"),
    Column("started_at", DateTime, comment="start of the training, UTC; null if unknown"),
    Column("finished_at", DateTime, nullable=False, comment="commit of the run, UTC"),
    Column("seconds", Double, comment="seconds spent training and evaluating, interruptions left out; null if unknown"),
    Column("restarts", Integer, comment="how often the run was continued after an interruption; null if unknown"),
    Column("n_epochs", Integer, comment="epochs that were trained; null if unknown"),
    Column("best_epoch", Integer, comment="epoch whose weights were evaluated, from 1; null if unknown"),
    Column("n_parameters", BigInteger, comment="trainable parameters of the model; null if unknown"),
    Column("weights_sha256", String, comment="SHA-256 of the weights file; null if there is none"),
    Column("schema_version", Integer, nullable=False, comment="version of the schema that wrote the run"),
    Column(
        "model", String, comment="the model: a name that milstore knows, or file:class of a user's own; null if unknown"
    ),
    Column("kind", String, nullable=False, comment="training, recorded (by another trainer), imported or prediction"),
    Column(
        "attention",
        String,
        nullable=False,
        comment="what it holds of attention: levels, patches (one distribution over the case), part (of some cases, or of some of their patches) or none",
    ),
    Column("source_run_id", String, comment="for a prediction: the run whose weights made it"),
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
        "train_accuracy", Double, comment="share of training cases called right while training, 0 to 1; null if unknown"
    ),
    Column(
        "val_loss",
        Double,
        comment="mean class-weighted cross-entropy over the validation cases, in nats; null if unknown",
    ),
    Column("val_accuracy", Double, comment="share of validation cases called right, 0 to 1; null if unknown"),
    Column("learning_rate", Double, comment="learning rate of the epoch; null if unknown"),
    Column("seconds", Double, comment="seconds the epoch took; null if unknown"),
    comment="The course of a training, a row an epoch.",
    info={"group": "run"},
)

PREDICTIONS = Table(
    "predictions",
    METADATA,
    _run_key(),
    Column("case_id", String, primary_key=True, comment="the case"),
    Column(
        "subset",
        String,
        nullable=False,
        comment="train, val or test: where the case was in this run's split; new for cases of a prediction",
    ),
    Column("true_label", Integer, comment="the label the run was told; null for a case without one"),
    Column(
        "pred_label",
        Integer,
        nullable=False,
        comment="the class of the highest probability; the lowest number where several are highest",
    ),
    Column("p_true", Double, comment="probability given to the true class, 0 to 1; null without a label"),
    Column("error", Double, comment="1 - p_true; for two classes |p - y|; null without a label"),
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

SCORES = Table(
    "scores",
    METADATA,
    _run_key(),
    *_place_columns(),
    Column("name", String, nullable=False, comment="name of the score, such as class_activation"),
    Column("value", Double, nullable=False, comment="the score: a number of any sign that is not attention"),
    comment="Numbers that a run gave to patches and that are not attention.",
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
