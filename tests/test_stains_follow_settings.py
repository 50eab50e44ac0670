"""The stains of a store are those of its milstore.toml: what is added there later is taken in by the next write."""

from pathlib import Path

import numpy as np
import pytest

from milstore.encoders.encode import encode_patches
from milstore.errors import ConflictError
from milstore.ingest.features import ingest_features
from milstore.ingest.labels import ingest_labels
from milstore.ingest.patches import ingest_patches
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.doctor import check
from milstore.store.summary import contents as summary
from tests.ingesting import contents, make_images, make_labels, milstore, new_store

HE = ("case_1_match_1_he_patch0",)
KI67 = ("case_1_match_1_mib1_patch0",)


def set_stains(store: Store, **stains: list[str]) -> None:
    """Write a milstore.toml; `he` stands for h&e."""
    lines = [f'"{"h&e" if name == "he" else name}" = {aliases}' for name, aliases in stains.items()]
    (store.root / "milstore.toml").write_text("[stains]\n" + "\n".join(lines).replace("'", '"') + "\n")


def stains(store: Store) -> list[tuple[str, int]]:
    rows = read_cohort(store).table("stains").to_pylist()
    return sorted(((row["stain"], row["stain_order"]) for row in rows), key=lambda row: row[1])


def test_a_stain_that_is_added_later_can_be_used_at_once(tmp_path: Path) -> None:
    """A stain written into milstore.toml after `init` is in the store with the ingest that first speaks of it."""
    store = new_store(tmp_path)
    assert stains(store) == [("h&e", 0), ("melan", 1), ("sox10", 2)]
    set_stains(store, he=["he"], ki67=["ki67", "mib1"])
    for name in (*HE, *KI67):
        (tmp_path / "features").mkdir(exist_ok=True)
        np.save(tmp_path / "features" / f"{name}.npy", np.ones(4, np.float32))
    report = ingest_features(store, tmp_path / "features", encoder="e", create_patches=True)
    assert report.notes == (
        "stains: ki67 added, from milstore.toml",
        "stains: melan, sox10 taken away, which milstore.toml does not name any more",
    )
    assert stains(store) == [("h&e", 0), ("ki67", 1)]
    assert read_cohort(store).table("patches")["stain"].to_pylist() == ["h&e", "ki67"]
    assert check(store) == []


def test_it_is_so_in_the_middle_too_and_in_a_store_that_stays_open(tmp_path: Path) -> None:
    """After a first ingest another stain, and another name of one, are welcome, in the order of the file."""
    store = new_store(tmp_path)
    ingest_patches(store, make_images(tmp_path / "images", HE), names_only=True)
    set_stains(store, ki67=["ki67"], he=["he"], melan=["melan"], sox10=["sox10"])
    ingest_labels(store, make_labels(tmp_path / "labels.csv"), case_column="Case", label_column="Class")
    assert stains(store) == [("ki67", 0), ("h&e", 1), ("melan", 2), ("sox10", 3)]
    set_stains(store, ki67=["ki67", "mib1"], he=["he"], melan=["melan"], sox10=["sox10"])
    report = ingest_patches(store, make_images(tmp_path / "images", KI67), names_only=True)
    assert read_cohort(store).table("patches")["stain"].to_pylist() == ["h&e", "ki67"]
    assert report.notes == ()
    assert ingest_patches(store, tmp_path / "images", names_only=True).lines()[-1] == "nothing changed"


def test_a_stain_that_has_patches_cannot_be_taken_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is refused in one line by whatever writes, nothing of the store changes, and info and doctor say it too."""
    store = new_store(tmp_path)
    ingest_patches(store, make_images(tmp_path / "images", HE), names_only=True)
    set_stains(store, melan=["melan"], cd3=["cd3"])
    before = contents(store)
    labels = make_labels(tmp_path / "labels.csv")
    assert milstore(store, "ingest", "labels", labels, "--case-column", "Case", "--label-column", "Class") == 2
    assert capsys.readouterr().err == (
        f"error: {store.root}/milstore.toml does not name the stain 'h&e', and the store has 1 patch of it in 1 case: "
        "put it back under [stains]; another name that files use for it goes into its list\n"
    )
    assert contents(store) == before
    assert dict(summary(store))["stains"] == (
        "h&e, melan, sox10 (the next ingest will add cd3, take h&e, sox10 away: milstore.toml)"
    )
    assert [finding.what for finding in check(store)] == [
        "does not name the stain 'h&e', which has patches: nothing can be taken in"
    ]


def test_a_lost_milstore_toml_takes_no_stain_away(tmp_path: Path) -> None:
    """Where the file is gone, the defaults do not stand in for stains of one's own that have patches."""
    store = new_store(tmp_path)
    set_stains(store, ki67=["mib1"])
    ingest_patches(store, make_images(tmp_path / "images", KI67), names_only=True)
    (store.root / "milstore.toml").unlink()
    with pytest.raises(ConflictError, match=r"milstore.toml is missing, and the defaults do not name the stain 'ki67'"):
        ingest_labels(store, make_labels(tmp_path / "labels.csv"), case_column="Case", label_column="Class")
    assert stains(store) == [("ki67", 0)]


def test_a_stain_can_be_renamed_with_its_patches(tmp_path: Path) -> None:
    """Renamed in milstore.toml and ingested with --replace, the patches are of the new name: no stain is left behind."""
    store = new_store(tmp_path)
    images = make_images(tmp_path / "images", HE)
    ingest_patches(store, images, names_only=True)
    set_stains(store, haematoxylin=["he"])
    ingest_patches(store, images, names_only=True, replace=True)
    assert stains(store) == [("haematoxylin", 0)]
    assert read_cohort(store).table("patches")["stain"].to_pylist() == ["haematoxylin"]
    assert check(store) == []


def test_a_milstore_toml_that_cannot_be_read_stops_what_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line names the file; asking goes on, and info says it beside the stains."""
    store = new_store(tmp_path)
    assert milstore(store, "info", "-q") == 0
    (store.root / "milstore.toml").write_text("[stains\n")
    before = contents(store)
    labels = make_labels(tmp_path / "labels.csv")
    assert milstore(store, "ingest", "labels", labels, "--case-column", "Case", "--label-column", "Class") == 2
    assert capsys.readouterr().err.startswith(f"error: {store.root}/milstore.toml is not readable as TOML")
    assert contents(store) == before
    assert milstore(store, "info") == 0
    assert "is not readable as TOML" in capsys.readouterr().out


def test_it_is_told_before_long_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither encoding nor the reading of features begins where the settings lack a stain that has patches."""
    store = new_store(tmp_path)
    images = make_images(tmp_path / "images", HE)
    ingest_patches(store, images)
    set_stains(store, melan=["melan"])
    np.save(tmp_path / "images" / f"{HE[0]}.npy", np.ones(4, np.float32))

    def begun(*_: object, **__: object) -> None:
        raise AssertionError("it has begun")

    monkeypatch.setattr("milstore.encoders.encode.FeaturePack", begun)
    monkeypatch.setattr("milstore.ingest.features.pack_patch_files", begun)
    with pytest.raises(ConflictError, match="does not name the stain 'h&e'"):
        encode_patches(store)
    with pytest.raises(ConflictError, match="does not name the stain 'h&e'"):
        ingest_features(store, images, encoder="e")
