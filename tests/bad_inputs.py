"""What a command line, a folder or a text can say that cannot be taken: each with the words that answer it.

The same for arrays and images is in `tests/bad_arrays.py`; damage that can happen to any file, in `tests/broken.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tests.broken import FEATURES, IN_STORE, LABELS, ONE, QUESTION, SOURCES, SPLIT, Place, Words, good
from tests.ingesting import NAMES, make_images, make_vectors
from tests.spoiling import npz

LONG = "x" * 10_000_000
DEEP = "[" * 100_000


@dataclass(frozen=True)
class Bad:
    """Something that is refused."""

    make: Callable[[Place], Words]
    """Makes the files, and gives the command that meets them."""
    says: str
    """Is in the one line that answers."""
    copies: bool = False
    """Whether a file of the store itself is bad."""


def bad(source: str, data: bytes | str, says: str = "", *options: str) -> Bad:
    """A file of a kind, with this content. If nothing else, the answer says its name."""
    content = data.encode() if isinstance(data, str) else data
    kind = SOURCES[source]
    says = says or Path(kind.name).name
    return Bad(lambda place: [*kind.put(place, content), *options], says, copies=source in IN_STORE)


def labels(text: str, label_map: str, says: str) -> Bad:
    def make(place: Place) -> Words:
        return [*LABELS, written(place / "bad.csv", text.encode()), "--map", label_map]

    return Bad(make, says)


def in_folder(*files: tuple[str, bytes], command: tuple[str, ...] = FEATURES, says: str) -> Bad:
    """A folder of these files."""

    def make(place: Place) -> Words:
        (place / "bad").mkdir()
        for name, data in files:
            written(place / "bad" / name, data)
        return [*command, place / "bad"]

    return Bad(make, says)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# --- what is named on the command line, and what lies in folders ------------------------------------------------------


def image_beside(data: bytes, name: str) -> Callable[[Place], Words]:
    """A file beside a good image, which is not taken in alone."""

    def make(place: Place) -> Words:
        written(make_images(place / "images", ("case_8_match_1_he_patch1",)) / name, data)
        return ["ingest", "patches", place / "images"]

    return make


def linked(place: Place) -> Words:
    (place / "only").mkdir()
    (place / "only" / "case_5_match_1_he_patch1.png").symlink_to("/etc/hostname")
    return ["ingest", "patches", place / "only"]


def other_root(place: Place) -> Words:
    return ["ingest", "patches", make_images(place / "twin", NAMES[:1])]


def twice(place: Place) -> Words:
    make_images(place / "images")
    make_images(place / "images" / "sub", ("case_52_match1_he_patch003",), "jpg")
    return ["ingest", "patches", place / "images"]


def unnamed(place: Place) -> Words:
    (place / "odd").mkdir()
    Image.new("RGB", (2, 2)).save(place / "odd" / "thumb.png")
    return ["ingest", "patches", place / "odd"]


COMMANDS = {
    "missing folder": Bad(lambda place: ["ingest", "patches", place / "none"], "/none does not exist: name a folder"),
    "file as folder": Bad(
        lambda place: ["ingest", "patches", written(place / "x.csv", b"")], "x.csv is no folder: name a folder"
    ),
    "empty folder": in_folder(says="holds no .pt, .npy, .npz, .h5, .hdf5, .zarr or .parquet file"),
    "missing label file": Bad(
        lambda place: [*LABELS, place / "none.csv"], "none.csv does not exist: name a label file"
    ),
    "unknown group file": Bad(
        lambda place: ["splits", "check", "--group-by", place / "none"],
        "none does not exist: name a file of groups",
    ),
    "few cases to split": Bad(lambda place: ["splits", "make"], "has 1 cases, too few for 5 folds"),
    "unknown option": Bad(lambda place: ["ingest", "patches", "--colour", "red"], "No such option: --colour"),
    "unknown stain": Bad(
        image_beside(b"", "case_5_match_1_cd3_patch1.png"),
        "stain 'cd3' in case_5_match_1_cd3_patch1.png is not in this store (h&e, melan, sox10): add an alias",
    ),
    "an image that is none beside a good one": Bad(
        image_beside(b"hello", "case_5_match_1_he_patch1.png"),
        "case_5_match_1_he_patch1.png is not a PNG, JPEG or TIFF image",
    ),
    "two files of one patch": Bad(twice, "are the same patch (case 52, h&e, match_1, patch 3): remove one"),
    "a known patch elsewhere": Bad(other_root, "use --replace to correct the store"),
    "only links out": Bad(linked, "holds only links that lead out of it"),
    "nothing parses": Bad(unnamed, "none of the 1 images in"),
    "feature without patch": Bad(
        lambda place: [*FEATURES, make_vectors(place / "bad", (*NAMES, "case_9_match_1_he_patch1"))],
        "1 features have no patch in the store, such as case_9_match_1_he_patch1.npy",
    ),
    "feature of unknown name": in_folder(
        ("x.npy", b"x"), says="1 of 1 files do not say by their name which patch they are of, such as x.npy"
    ),
    "mixed kinds": in_folder((f"{ONE}.npy", b"x"), ("case_052_match_1_h&e.npz", b"x"), says="holds files of patches"),
}

# --- cases, classes and splits that contradict ------------------------------------------------------------------------

SPLIT_HEAD = "split,case_id,subset\n"
TEXTS = {
    "missing column": labels("ID,Class\n1,1\n", "1=a", "bad.csv has no column 'Case': it has ID, Class"),
    "map key without row": labels("Case,Class\n1,1\n", "1=benign,7=high-grade", "--map names label 7, which no row of"),
    "class against the store": labels(
        "Case,Class\n52,3\n", "3=high-grade", "such as case 52 (benign there, high-grade here)"
    ),
    "two classes for a case": labels(
        "Case,Class\n8,1\n08,3\n",
        "1=benign,3=high-grade",
        "has case 8 as benign (line 2) and as high-grade (line 3): keep one",
    ),
    "empty case": labels("Case,Class\n,1\n", "1=benign", "line 2, has no case in column Case"),
    "unknown cases in splits": bad(
        "splits csv", f"{SPLIT_HEAD}1,999,train\n", "names 1 cases that the store does not know (999)"
    ),
    "other splits of the name": bad(
        "splits csv", f"{SPLIT_HEAD}1,52,test\n", "has a split set s with other splits", "--split-set", "s"
    ),
    # Twice the same.
    "a case twice in a split": bad(
        "splits npz", npz(**{**SPLIT, "val_cases": [52]}), "has case 52 in train and in val"
    ),
    "a case twice by its zeros": bad(
        "splits csv", f"{SPLIT_HEAD}1,052,train\n1,52,val\n", "split 1, has case 52 in train and in val: keep one"
    ),
    "a case twice in a run": bad("predictions csv", "case_id,p_0,p_1\n52,1,0\n052,1,0\n", "has case 52 more than once"),
    "an instance twice": bad(
        "bags csv", "bag,i,f0\nx,0,1\nx,0,2\n", "are the same patch (case x, h&e, bag, patch 0): remove one"
    ),
    "a column twice": bad("labels", "Case,Class,Class\n52,1,1\n", "has the column Class more than once"),
    "a key twice": bad("settings", "[patches]\n[patches]\n", "is not readable as TOML"),
    "a parameter twice": bad(
        "question",
        QUESTION.replace("-- columns", "-- param n text: again\n-- columns"),
        "a parameter twice",
    ),
    # Other encodings.
    "labels in Latin-1": bad(
        "labels",
        b"Case,Class\n\xe9,1\n",
        "labels.csv is not UTF-8 (line 2; Latin-1 or Windows-1252?): save it as CSV in UTF-8",
    ),
    **{
        f"{name} in Latin-1": bad(name, good(name).replace(b"e", b"\xe9", 1))
        for name in ("splits csv", "coordinates", "groups", "settings", "question", "training settings")
    },
    **{
        f"{name} in UTF-16": bad(name, good(name).decode().encode("utf-16"))
        for name in (
            "labels",
            "splits csv",
            "coordinates",
            "groups",
            "bags csv",
            "predictions csv",
            "settings",
            "question",
        )
    },
    # Names of ten megabytes, and depth without end.
    "a case of 10 MB": bad(
        "splits csv",
        f"{SPLIT_HEAD}1,{LONG},train\n",
        "line 2, is not CSV (field larger than field limit (131072))",
    ),
    "a case of 100 KB": bad(
        "splits csv", f"{SPLIT_HEAD}1,{LONG[:100_000]},train\n", "names 1 cases that the store does not know (xxx"
    ),
    "a case of 10 MB in npz": bad(
        "splits npz", npz(**{**SPLIT, "val_cases": [LONG]}), "1 cases that the store does not know (xxx"
    ),
    "a case of 10 MB in a run": bad(
        "predictions csv",
        f"case_id,p_0,p_1\n{LONG},1,0\n",
        "predictions.csv cannot be read as a table of numbers (straddling object",
    ),
    "a column of 10 MB": bad(
        "labels",
        f"{LONG},Class\n1,1\n",
        "line 1, is not CSV (field larger than field limit (131072))",
    ),
    "a stain of 10 MB": bad("settings", f'[stains]\n"{LONG}" = ["a"]\n', "is larger than 1048576 bytes"),
    "a stain of 1 MB": bad("settings", f'[stains]\n"{LONG[:1_000_000]}" = [7]\n', "stain 'xxx"),
    "a pattern of 1 MB": bad("settings", f"[patches]\npattern = '{LONG[:1_000_000]}'\n", "pattern"),
    "a question of 10 MB": bad("question", QUESTION + f"-- {LONG}\n", "is larger than 1000000 bytes"),
    "a setting of 10 MB": bad("training settings", f'class_weights = "{LONG}"\n', "is larger than 1048576 bytes"),
    "a setting of 1 MB": bad("training settings", f'class_weights = "{LONG[:1_000_000]}"\n', "--class-weights 'xxx"),
    "a setting with a name of 1 MB": bad("training settings", f"{LONG[:1_000_000]} = 1\n", "unknown key 'xxx"),
    "deep settings": bad("settings", f"a = {DEEP}", "is nested too deeply"),
    "deep training settings": bad("training settings", f"a = {DEEP}", "is nested too deeply"),
    "deep settings of a run": bad("settings of a run", f"a = {DEEP}", "is not readable as TOML"),
    "a deep question": bad(
        "question", QUESTION.replace("$n", "(" * 100_000 + "$n" + ")" * 100_000), "memory exhausted"
    ),
    # Questions.
    "a question without a header": bad("question", "select 1 as n\n", "has no line '-- grain: …' in its header"),
    "a question that does more": bad(
        "question", QUESTION.replace("select $n as n", "copy (select $n as n) to 'x.csv'"), "only statements that read"
    ),
    "a question of two statements": bad("question", QUESTION + "; select 2\n", "one question is one statement"),
    "a question that reads files": bad(
        "question",
        QUESTION.replace("$n as n", "$n as n from read_text('/etc/hostname')"),
        "it looks into files itself",
    ),
    "a question with a function": bad(
        "question", QUESTION.replace("-- columns", "-- then: os.system\n-- columns"), "are SQL alone"
    ),
}
