"""Encoding by a network in ONNX: the right vectors, the same bits after a kill, and one clear line for what is wrong."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from milstore.cli.main import main
from milstore.encoders.computing import compute
from milstore.encoders.encode_folder import encode_by_folder
from milstore.encoders.encoder_folder import read_encoder_folder
from milstore.encoders.encoding_plan import FolderOptions, plan_encoding
from milstore.encoders.network import load_network
from milstore.errors import ConflictError, DataError, MilstoreError, UsageError
from milstore.ingest.patches import ingest_patches
from milstore.store import Store, create_store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.features import open_features
from milstore.store.findings import NOTE
from milstore.store.leftovers import find_leftovers, repair
from tests.networks import SIZE, by_hand, mean_colour, save_onnx, write_patches, write_toml
from tests.optional import needs

pytestmark = needs("onnx", "onnxruntime")


@pytest.fixture
def images(tmp_path: Path) -> dict[str, np.ndarray]:
    """Twenty patches of two cases, four slices."""
    return write_patches(tmp_path / "images")


@pytest.fixture
def store(tmp_path: Path, images: dict[str, np.ndarray]) -> Store:
    """A store that knows these patches."""
    made = create_store(tmp_path / "store")
    ingest_patches(made, tmp_path / "images")
    return made


def _vectors(store: Store, encoder: str = "tiny") -> dict[str, np.ndarray]:
    """The stored vector of each patch by its file's name."""
    packed = open_features(store, read_cohort(store), encoder)
    found = {}
    for case_id, (first, end) in packed.case_rows.items():
        rows = packed.patches.slice(first, end - first).to_pylist()
        for row, vector in zip(rows, packed.read(case_id), strict=True):
            found["case_{case_id}_match_1_{stain}_patch{patch_idx}.png".format(**row)] = vector
    return found


def _row(store: Store, encoder: str = "tiny") -> dict[str, object]:
    return next(row for row in read_cohort(store).table("encoders").to_pylist() if row["encoder"] == encoder)


def _files(store: Store) -> dict[str, bytes]:
    return {
        str(path.relative_to(store.root)): path.read_bytes()
        for path in store.root.rglob("*")
        if path.is_file() and path.suffix in (".parquet", ".npy", ".json")
    }


def test_each_patch_gets_the_vector_of_its_image(tmp_path: Path, store: Store, images: dict[str, np.ndarray]) -> None:
    """What is stored is the network's answer to the normalised image, and the store says by which encoder."""
    folder = read_encoder_folder(mean_colour(tmp_path / "tiny"))
    report = encode_by_folder(store, folder, FolderOptions(batch=3))
    assert (report.changed, report.n_features, report.patches, report.without_image) == (True, 3, 20, 0)
    stored = _vectors(store)
    assert stored.keys() == images.keys()
    for name, image in images.items():
        assert stored[name] == pytest.approx(by_hand(image), abs=1e-4)
    row = _row(store)
    wanted = {"weights_sha256": folder.weights_sha256, "tool": "milstore", "patch_px": 16, "grid": None, "mpp": None}
    assert {name: row[name] for name in wanted} == wanted
    assert str(row["source"]).startswith("milstore encode --encoder-folder tiny (16 px; pooled; float32; licence none")
    assert not list((store.root / "features").glob(".*"))
    again = encode_by_folder(store, folder)
    assert (again.changed, again.n_features, again.lines()[-1]) == (False, 3, "nothing changed")


def test_what_was_killed_goes_on_to_the_same_bits(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill only what is missing is computed; the files are those of a run that nothing interrupted."""
    folder = read_encoder_folder(mean_colour(tmp_path / "tiny"))
    options = FolderOptions(batch=2)

    def dies(what: str, done: int, total: int) -> None:
        if done > 11:
            raise KeyboardInterrupt

    before = _files(store)
    with pytest.raises(KeyboardInterrupt):
        encode_by_folder(store, folder, options, progress=dies)
    shards = {name: content for name, content in _files(store).items() if name not in before}
    assert len(shards) == 2  # of four slices
    told: list[int] = []
    encode_by_folder(store, folder, options, progress=lambda what, done, total: told.append(done))
    assert told[0] == 10
    interrupted = (_row(store)["fingerprint"], _vectors(store))
    other = create_store(tmp_path / "other")
    ingest_patches(other, tmp_path / "images")
    encode_by_folder(other, folder, options)
    assert _row(other)["fingerprint"] == interrupted[0]


def test_doctor_keeps_what_a_stopped_encoding_computed_for_a_week(tmp_path: Path, store: Store) -> None:
    """It is named with what to do; only after a week is it left over, and removed by --repair."""
    compute(plan_encoding(store, read_encoder_folder(mean_colour(tmp_path / "tiny")), FolderOptions()), part=(0, 2))
    (folder,) = (store.root / "features").glob(".*.shards")
    assert [(found.kind, found.where) for found in find_leftovers(store, young=0)] == [
        (NOTE, f"features/{folder.name}")
    ]
    assert repair(store, list(find_leftovers(store, young=0))) == []
    for path in [folder, *folder.iterdir()]:
        os.utime(path, (0, 0))
    assert [found.where for found in repair(store, list(find_leftovers(store, young=0)))] == [f"features/{folder.name}"]
    assert not folder.exists()


def test_an_image_that_was_changed_meanwhile_is_read_again(tmp_path: Path, store: Store) -> None:
    """What was computed of an image before it was changed is not stored."""
    folder = read_encoder_folder(mean_colour(tmp_path / "tiny"))
    compute(plan_encoding(store, folder, FolderOptions()))
    name = "case_2_match_1_h&e_patch0.png"
    white = np.full((SIZE, SIZE, 3), 255, np.uint8)
    Image.fromarray(white).save(tmp_path / "images" / name)
    encode_by_folder(store, folder)
    assert _vectors(store)[name] == pytest.approx(by_hand(white), abs=1e-4)


def test_parts_make_the_whole(tmp_path: Path, store: Store) -> None:
    """Two jobs that compute a part each leave nothing to compute, and the same features as one."""
    folder = read_encoder_folder(mean_colour(tmp_path / "tiny"))
    plan = plan_encoding(store, folder, FolderOptions())
    assert compute(plan, part=(0, 2)).patches == 10
    assert compute(plan, part=(1, 2)).patches == 10
    assert plan.missing == []
    assert encode_by_folder(store, folder).spent.patches == 0  # type: ignore[union-attr]


def test_patches_that_come_later_are_a_further_pack(tmp_path: Path, store: Store) -> None:
    """Only new patches are encoded; what was there stays to the byte."""
    folder = read_encoder_folder(mean_colour(tmp_path / "tiny"))
    encode_by_folder(store, folder)
    before = {name: content for name, content in _files(store).items() if name.startswith("features")}
    more = write_patches(tmp_path / "images", cases=("11",))
    ingest_patches(store, tmp_path / "images")
    report = encode_by_folder(store, folder)
    assert (report.patches, report.spent.patches) == (30, 10)  # type: ignore[union-attr]
    assert report.lines()[0].startswith("tiny: 3 features of 30 patches, 10 of them now, in ")
    assert before.items() <= _files(store).items()
    assert read_cohort(store).table("packs")["n_patches"].to_pylist() == [20, 10]
    for name, image in more.items():
        assert _vectors(store)[name] == pytest.approx(by_hand(image), abs=1e-4)


def test_another_encoder_of_the_same_name_is_refused(tmp_path: Path, store: Store) -> None:
    """Other weights, other settings, features from elsewhere: one line, until another name or `replace`."""
    encode_by_folder(store, read_encoder_folder(mean_colour(tmp_path / "tiny")))
    before = _files(store)
    other = read_encoder_folder(mean_colour(tmp_path / "other", scale=2.0))
    with pytest.raises(ConflictError, match="called tiny that were made by other weights or settings") as caught:
        encode_by_folder(store, other)
    assert "--name, or --replace" in str(caught.value)
    assert _files(store) == before
    named = encode_by_folder(store, read_encoder_folder(tmp_path / "other", name="double"))
    assert named.changed
    assert encode_by_folder(store, other, FolderOptions(replace=True)).changed
    assert _row(store)["weights_sha256"] == other.weights_sha256
    for name, vector in _vectors(store, "double").items():
        assert np.array_equal(_vectors(store)[name], vector)


def test_grids_are_not_mixed(tmp_path: Path, store: Store) -> None:
    """Patches of two grids are two sets; another resolution than the encoder's is refused by name."""
    with edit_cohort(store) as edit:
        rows = edit.table("patches").to_pylist()
        for row in rows:
            row["grid"] = "16px-0.5mpp" if row["case_id"] == "2" else "16px-1mpp"
        grids = [{"grid": "16px-0.5mpp", "edge": 16, "mpp": 0.5}, {"grid": "16px-1mpp", "edge": 16, "mpp": 1.0}]
        edit.replace("grids", edit.table("grids").from_pylist(grids, edit.table("grids").schema))
        edit.replace("patches", edit.table("patches").from_pylist(rows, edit.table("patches").schema))
    folder = read_encoder_folder(mean_colour(tmp_path / "tiny", mpp="0.499"))
    with pytest.raises(UsageError, match=r"on 2 grids \(16px-0.5mpp, 16px-1mpp\): choose one by --grid"):
        encode_by_folder(store, folder)
    with pytest.raises(DataError, match=r"have 1 micrometres a pixel and tiny takes 0\.499"):
        encode_by_folder(store, folder, FolderOptions(grid="16px-1mpp"))
    report = encode_by_folder(store, folder, FolderOptions(grid="16px-0.5mpp"))
    assert report.patches == 10
    row = _row(store)
    assert (row["grid"], row["mpp"], row["patch_px"]) == ("16px-0.5mpp", 0.5, 16)
    assert not encode_by_folder(store, folder).changed
    any_mpp = read_encoder_folder(mean_colour(tmp_path / "tiny", mpp=None))
    with pytest.raises(ConflictError, match=r"of patches on 16px-0\.5mpp, and those on 16px-1mpp are other patches"):
        encode_by_folder(store, any_mpp, FolderOptions(grid="16px-1mpp"))


def _bad(folder: Path, kind: str) -> Path:
    """A folder whose network is not what it should be."""
    from onnx import TensorProto, helper

    mean_colour(folder)
    path = folder / "model.onnx"
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])
    identity = [helper.make_node("Identity", ["pixels"], ["features"])]
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "two inputs":
        both = [pixels, helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])]
        save_onnx(path, [helper.make_node("Add", ["pixels", "mask"], ["features"])], inputs=both)
    elif kind == "another size":
        write_toml(folder, size="24")
    elif kind == "channels last":
        last = [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", SIZE, SIZE, 3])]
        save_onnx(path, identity, inputs=last)
    elif kind == "fixed batch":
        save_onnx(
            path, identity, inputs=[helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [8, 3, SIZE, SIZE])]
        )
    elif kind == "bytes":
        shape = ["n", 3, SIZE, SIZE]
        ends = [helper.make_tensor_value_info(name, TensorProto.UINT8, shape) for name in ("pixels", "features")]
        save_onnx(path, identity, inputs=ends[:1], outputs=ends[1:])
    elif kind == "network of another size":
        save_onnx(path, identity, inputs=[helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 24, 24])])
    elif kind == "another pooling":
        write_toml(folder, pooling='"cls"')
    elif kind == "two outputs":
        given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("features", "tokens")]
        save_onnx(path, [*identity, helper.make_node("Identity", ["pixels"], ["tokens"])], outputs=given)
    elif kind == "NaN":
        nodes = [
            helper.make_node("GlobalAveragePool", ["pixels"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["flat"]),
            helper.make_node("Log", ["flat"], ["features"]),
        ]
        save_onnx(path, nodes)
    return folder


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated", "is damaged or no network that onnxruntime runs"),
        ("empty", "is damaged or no network that onnxruntime runs"),
        ("two inputs", "has 2 inputs (pixels, mask): export one with the image alone"),
        ("another size", "patches have 16 x 16 pixels and tiny takes 24 x 24"),
        ("network of another size", "takes N x 3 x 24 x 24 and encoder.toml says N x 3 x 16 x 16: correct size"),
        ("channels last", "takes N x 16 x 16 x 3 and encoder.toml says N x 3 x 16 x 16"),
        ("fixed batch", "takes 8 patches at once, always"),
        ("bytes", "is of tensor(uint8), not of floats"),
        ("another pooling", "pooling cls takes (N, tokens, D), and the network gives (1, 3)"),
        ("two outputs", "has 2 outputs: say in encoder.toml output = one of features, tokens"),
        ("NaN", "tiny gives NaN or infinity for case_"),
    ],
)
def test_a_network_that_is_wrong_is_one_line(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str], kind: str, message: str
) -> None:
    """The command says what is wrong with the folder, exits with 2, and the store is as it was."""
    folder = _bad(tmp_path / "tiny", kind)
    before = _files(store)
    assert main(["encode", "--encoder-folder", str(folder), "--store", str(store.root)]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said
    assert _files(store) == before


def test_external_data_is_part_of_the_network(tmp_path: Path, store: Store) -> None:
    """Weights beside model.onnx are loaded and make the identity; without them nothing runs."""
    from onnx import helper, numpy_helper

    folder = write_toml(tmp_path / "tiny")
    nodes = [
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["features"]),
    ]
    weight = np.random.default_rng(0).normal(size=(3 * SIZE * SIZE, 4)).astype(np.float32)
    save_onnx(
        folder / "model.onnx", nodes, constants=[numpy_helper.from_array(weight, "weight")],
        save_as_external_data=True, location="weights.bin", size_threshold=0,
    )  # fmt: skip
    found = read_encoder_folder(folder)
    image = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    light = (image.astype(np.float32) / 255 - [0.5, 0.25, 0.75]) / [0.5, 0.25, 1.0]
    expected = light.transpose(2, 0, 1).reshape(1, -1) @ weight
    assert load_network(found).encode([image]) == pytest.approx(expected, abs=1e-4)
    (folder / "weights.bin").unlink()
    with pytest.raises(MilstoreError, match="is damaged or no network"):
        load_network(read_encoder_folder(folder))


def test_without_onnxruntime_the_extra_is_named(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with what to install, exit 2."""
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    folder = mean_colour(tmp_path / "tiny")
    assert main(["encode", "--encoder-folder", str(folder), "--store", str(store.root)]) == 2
    assert "needs the package onnxruntime: pip install 'milstore[onnx]'" in capsys.readouterr().err


def test_half_precision_is_what_the_network_says(tmp_path: Path) -> None:
    """A network of float16 needs --fp16, one of float32 refuses it; both are told, and the first computes."""
    from onnx import TensorProto, helper

    folder = write_toml(tmp_path / "half")
    ends = [helper.make_tensor_value_info("pixels", TensorProto.FLOAT16, ["n", 3, SIZE, SIZE])]
    nodes = [
        helper.make_node("GlobalAveragePool", ["pixels"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["features"]),
    ]
    given = [helper.make_tensor_value_info("features", TensorProto.FLOAT16, None)]
    save_onnx(folder / "model.onnx", nodes, inputs=ends, outputs=given)
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    network = load_network(read_encoder_folder(folder, fp16=True))
    assert network.encode([image])[0] == pytest.approx(by_hand(image), abs=2e-3)
    with pytest.raises(UsageError, match="computes in float16: say --fp16"):
        load_network(read_encoder_folder(folder))
    with pytest.raises(UsageError, match="computes in float32: leave out --fp16"):
        load_network(read_encoder_folder(mean_colour(tmp_path / "whole"), fp16=True))


def test_the_bar_says_how_fast_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal: how many patches, how many a second, and the time left; what was done before counts for no speed."""
    import io

    from rich.console import Console

    from milstore.cli import output
    from milstore.cli.progress import telling

    shown = io.StringIO()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(output, "console", lambda **_: Console(file=shown, force_terminal=True, width=120))
    with telling(speed="patches/s") as progress:
        progress("encoding", 50, 100)
        for done in range(60, 101, 10):
            progress("encoding", done, 100)
    assert "100/100" in shown.getvalue()
    assert "patches/s" in shown.getvalue()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--batch", "8"], "--batch goes with --encoder-folder"),
        (["--launcher", "local"], "--launcher goes with --encoder-folder"),
        (["--encoder", "hed", "--encoder-folder", "tiny"], "--encoder and --encoder-folder: give one of them"),
        (["--encoder-folder", "nowhere"], "there is no folder"),
        (["--encoder-folder", "tiny", "--launcher", "elsewhere"], "--launcher 'elsewhere': give none, local, slurm"),
        (["--encoder-folder", "tiny", "--device", "tpu"], "--device tpu: give auto, cpu, cuda"),
        (["--encoder-folder", "tiny", "--device", "cuda"], "--device cuda: the installed onnxruntime has no CUDA"),
        (["--encoder-folder", "tiny", "--name", "A B"], "A B"),
        (["--encoder-folder", "tiny", "--grid", "9px"], "--grid 9px: no patch with an image or a slide is on it"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    words: list[str], message: str,
) -> None:  # fmt: skip
    """Exit 2 with what to say instead, and the store as it was."""
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    mean_colour(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    before = _files(store)
    assert main(["encode", *words, "--store", str(store.root)]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said
    assert _files(store) == before
