"""The tables that runs write, and `features`, which says where each patch's vector is."""

from sqlalchemy import BigInteger, Column, DateTime, Double, Float, Integer, String, Table

from milstore.schema.keys import METADATA, place_columns, run_key

FEATURES = Table(
    "features",
    METADATA,
    Column("encoder", String, primary_key=True, comment="the encoder"),
    *place_columns(),
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
    run_key(),
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
    run_key(),
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
    run_key(),
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
    run_key(),
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
    run_key(),
    *place_columns(),
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
    run_key(),
    *place_columns(),
    Column("name", String, nullable=False, comment="name of the score, such as class_activation"),
    Column("value", Double, nullable=False, comment="the score: a number of any sign that is not attention"),
    comment="Numbers that a run gave to patches and that are not attention.",
    info={"group": "run"},
)

COVERAGE = Table(
    "coverage",
    METADATA,
    run_key(),
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
