"""The tables of the cohort: classes, cases, slides, slices, patches, splits and encoders."""

from sqlalchemy import Column, Double, ForeignKey, Integer, String, Table

from milstore.schema.keys import METADATA, case_key, slice_key

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
    case_key(),
    Column(
        "group_id", String, nullable=False, comment="what the case shares with others of its group, such as the patient"
    ),
    comment="Cases that must not be parted over the subsets of a split, such as those of one patient.",
    info={"group": "cohort"},
)

CASE_ATTRIBUTES = Table(
    "case_attributes",
    METADATA,
    case_key(),
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
    case_key(),
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
    slice_key(),
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
    slice_key(),
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
    case_key(),
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
