"""An encoder's folder: what `encoder.toml` may say, what the folder may hold, what makes two encoders one, and resuming."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from milstore.encoders.encoder_folder import EncoderSettings, read_encoder_folder, read_settings
from milstore.encoders.pooling import pooled
from milstore.encoders.preprocessing import prepared
from milstore.errors import DataError, UsageError
from tests.networks import MEAN, SIZE, STD, write_toml

SETTINGS = EncoderSettings(name="tiny", licence="x", size=SIZE, mean=MEAN, std=STD, pooling="pooled")


def _folder(path: Path, **changes: str | None) -> Path:
    """A folder whose weights are a few bytes, which nobody loads here."""
    write_toml(path, **changes)
    (path / "model.onnx").write_bytes(b"weights")
    return path


def test_what_encoder_toml_says(tmp_path: Path) -> None:
    """Every key is read, with its type; what may be left out has the value that the docs say."""
    more = {
        "resize": "20",
        "interpolation": '"bicubic"',
        "registers": "4",
        "output": '"cls"',
        "mpp": "0.5",
        "source": '"a"',
    }
    found = read_settings(write_toml(tmp_path / "all", pooling='"cls+mean"', **more) / "encoder.toml")
    assert found == EncoderSettings(
        name="tiny", licence="none: made by a test", size=16, mean=MEAN, std=STD, pooling="cls+mean", resize=20,
        interpolation="bicubic", registers=4, output="cls", mpp=0.5, source="a",
    )  # fmt: skip
    least = read_settings(write_toml(tmp_path / "least") / "encoder.toml")
    assert (least.resize, least.interpolation, least.registers, least.output, least.mpp) == (
        None,
        "bilinear",
        0,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"licence": None}, "licence is missing: say under which licence its weights may be used"),
        ({"licence": '" "'}, "licence is ' ': give a text"),
        ({"license": '"MIT"'}, "there is no license: did you mean licence?"),
        ({"size": '"224"'}, "size is '224': give a whole number of pixels from 8 to 4096"),
        ({"size": "true"}, "size is True: give a whole number"),
        ({"size": "1.5"}, "size is 1.5: give a whole number"),
        ({"mean": "[0.5, 0.5]"}, "mean is [0.5, 0.5]: give three numbers"),
        ({"mean": "[0.5, nan, 0.5]"}, "give a number"),
        ({"std": "[0.5, 0, 0.5]"}, "give a number above 0"),
        ({"pooling": '"mean"'}, "pooling is 'mean': give cls or cls+mean or pooled or 2x2"),
        ({"pooling": "[1]"}, "pooling is [1]: give cls"),
        ({"interpolation": '"cubic"'}, "interpolation is 'cubic': give bilinear or bicubic"),
        ({"registers": "-1"}, "registers is -1: give a whole number from 0"),
        ({"mpp": "0"}, "mpp is 0: give a number above 0"),
        ({"resize": "8"}, "resize 8 is less than size 16"),
        ({"name": '"A B"'}, "A B"),
        ({"crop": "3"}, "there is no crop"),
        ({"name": "["}, "is not readable as TOML"),
    ],
)
def test_an_encoder_toml_that_is_wrong_is_one_line(
    tmp_path: Path, changes: dict[str, str | None], message: str
) -> None:
    """Unknown keys, wrong types, values out of range, no licence: what it is and what to do."""
    write_toml(tmp_path, **changes)
    with pytest.raises((DataError, UsageError)) as caught:
        read_settings(tmp_path / "encoder.toml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_settings_or_weights_is_refused(tmp_path: Path) -> None:
    """No folder, no encoder.toml, no weights: each is said."""
    with pytest.raises(UsageError, match="there is no folder"):
        read_encoder_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"encoder\.toml is missing"):
        read_encoder_folder(tmp_path)
    with pytest.raises(DataError, match="holds no weights: put model"):
        read_encoder_folder(write_toml(tmp_path))


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.pkl", "weights.pth", "deep/last.ckpt", "a.pt", "b.joblib"]
)
@pytest.mark.parametrize("beside", ["model.onnx", "model.safetensors"])
def test_pickled_weights_are_refused_by_name(tmp_path: Path, name: str, beside: str) -> None:
    """A file that could hold code is named, also beside weights that hold none: nothing is unpickled."""
    write_toml(tmp_path)
    (tmp_path / beside).write_bytes(b"w")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    with pytest.raises(DataError, match=f"{Path(name).name} is pickled, which can hold code"):
        read_encoder_folder(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "config.json is missing"),
        ("{", "cannot be read"),
        ("{}", "names no model_type"),
        ('{"model_type": "x", "auto_map": {"AutoModel": "theirs--repo.Model"}}', "asks for code from elsewhere"),
    ],
)
def test_a_model_that_brings_code_is_refused(tmp_path: Path, config: str | None, message: str) -> None:
    """A model of transformers needs a configuration, and one that asks for code of its own is not run."""
    write_toml(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"w")
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(DataError, match=message):
        read_encoder_folder(tmp_path)


def test_what_makes_two_encoders_one(tmp_path: Path) -> None:
    """The identity changes with any weight, external data too, and with what decides a number; not with name, place or words."""
    first = read_encoder_folder(_folder(tmp_path / "a"))
    words = {"name": '"other"', "licence": '"MIT"', "source": '"there"', "mpp": "0.5"}
    same = _folder(tmp_path / "b", **words)
    (same / "README.md").write_text("words")
    assert read_encoder_folder(same).weights_sha256 == first.weights_sha256
    (same / "model.onnx.data").write_bytes(b"1")
    others = {first.weights_sha256, read_encoder_folder(same).weights_sha256}
    (same / "model.onnx.data").write_bytes(b"2")
    others.add(read_encoder_folder(same).weights_sha256)
    for key, value in {
        "size": "24", "mean": "[0, 0, 0]", "std": "[1, 1, 1]", "pooling": '"cls"', "resize": "16", "registers": "1",
        "interpolation": '"bicubic"',
    }.items():  # fmt: skip
        others.add(read_encoder_folder(_folder(tmp_path / key, **{key: value})).weights_sha256)
    half = read_encoder_folder(tmp_path / "a", fp16=True)
    others.add(half.weights_sha256)
    assert len(others) == 11
    assert (first.name, half.name) == ("tiny", "tiny-fp16")


def test_preprocessing_is_that_of_torchvision(tmp_path: Path) -> None:
    """Scaled to 0 to 1, minus the mean, by the deviation; the shorter side resized, the middle cut out."""
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    (as_it_is,) = prepared([image], SETTINGS)
    light = image.astype(np.float32) / np.float32(255)
    assert np.array_equal(as_it_is, ((light - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1))

    wide = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    settings = EncoderSettings(
        name="t", licence="x", size=16, mean=(0, 0, 0), std=(1, 1, 1), pooling="cls", resize=20, interpolation="bicubic"
    )
    (fitted,) = prepared([wide], settings)
    # 60 x 40 becomes 30 x 20, of which 16 x 16 begin at (7, 2).
    expected = Image.fromarray(wide).resize((30, 20), Image.Resampling.BICUBIC).crop((7, 2, 23, 18))
    assert np.array_equal(fitted, np.asarray(expected, np.float32).transpose(2, 0, 1) / np.float32(255))
    with pytest.raises(DataError, match="patches have 60 x 40 pixels and tiny takes 16 x 16"):
        prepared([wide], SETTINGS)


def test_how_outputs_become_vectors() -> None:
    """cls, cls+mean past the registers, pooled, and the four quarters of a map with its middle row in both halves."""
    tokens = np.array([[[1.0, 2], [90, 90], [3, 5], [5, 7]]])
    assert pooled(tokens, "cls").tolist() == [[1, 2]]
    assert pooled(tokens, "cls+mean", 1).tolist() == [[1, 2, 4, 6]]
    assert pooled(tokens[:, 0], "pooled").tolist() == [[1, 2]]
    maps = np.arange(9.0).reshape(1, 1, 3, 3)
    both = np.concatenate([maps, 10 * maps], axis=1)
    assert pooled(both, "2x2").tolist() == [[2, 3, 5, 6, 20, 30, 50, 60]]
    for output, pooling in ((tokens, "pooled"), (tokens[:, 0], "cls"), (tokens, "2x2"), (tokens[:, :1], "cls+mean")):
        with pytest.raises(ValueError, match=r"pooling|tokens"):
            pooled(output, pooling)


def test_2x2_is_adaptive_pooling_of_torch() -> None:
    """The quarters are what the study's DenseNet gave: 7 x 7 maps by adaptive average pooling, channel by channel."""
    import torch

    maps = np.random.default_rng(0).normal(size=(2, 5, 7, 7)).astype(np.float32)
    theirs = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(maps), 2).flatten(1).numpy()
    assert np.allclose(pooled(maps, "2x2"), theirs, atol=1e-6)
