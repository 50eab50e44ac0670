"""Encoding by a model of transformers from a folder of its own: Dinov2 with random weights, made here."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milstore.encoders.encode_folder import encode_by_folder
from milstore.encoders.encoder_folder import read_encoder_folder
from milstore.encoders.network import load_network
from milstore.errors import DataError, UsageError
from milstore.ingest.patches import ingest_patches
from milstore.store import create_store
from milstore.store.cohort import read_cohort
from milstore.store.features import open_features
from tests.networks import write_patches, write_toml
from tests.optional import needs

pytestmark = [needs("transformers")]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A tiny Dinov2, saved, and the model itself."""
    import torch
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=4)
    model = Dinov2Model(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    folder = tmp_path_factory.mktemp("dinov2")
    model.save_pretrained(folder)
    return folder, model


def _folder(path: Path, saved: Path, **changes: str | None) -> Path:
    write_toml(path, **{"name": '"dinov2"', "pooling": '"cls+mean"', **changes})
    for name in ("config.json", "model.safetensors"):
        (path / name).write_bytes((saved / name).read_bytes())
    return path


def _by_hand(model: Any, images: list[np.ndarray], pooling: str) -> np.ndarray:
    """What the model says, with nothing of milstore's between."""
    import torch

    light = (np.stack(images) / 255 - [0.5, 0.25, 0.75]) / [0.5, 0.25, 1.0]
    with torch.no_grad():
        said = model(torch.tensor(light.transpose(0, 3, 1, 2), dtype=torch.float32))
    tokens = said.last_hidden_state
    vectors = {
        "cls": tokens[:, 0],
        "cls+mean": torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1),
        "pooled": said.pooler_output,
    }
    return np.asarray(vectors[pooling].numpy())


@pytest.mark.parametrize("pooling", ["cls", "cls+mean", "pooled"])
def test_it_is_the_model_run_by_hand(tmp_path: Path, saved: tuple[Path, Any], pooling: str) -> None:
    """Each pooling gives what the model gives by hand, to 1e-4."""
    images = [np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8) for i in range(5)]
    network = load_network(read_encoder_folder(_folder(tmp_path / "a", saved[0], pooling=f'"{pooling}"')))
    assert network.encode(images) == pytest.approx(_by_hand(saved[1], images, pooling), abs=1e-4)


def test_a_store_is_encoded_by_it(tmp_path: Path, saved: tuple[Path, Any]) -> None:
    """Patches of a store get its vectors."""
    images = write_patches(tmp_path / "images", patches=2)
    store = create_store(tmp_path / "store")
    ingest_patches(store, tmp_path / "images")
    assert encode_by_folder(store, read_encoder_folder(_folder(tmp_path / "a", saved[0]))).n_features == 16
    packed = open_features(store, read_cohort(store), "dinov2")
    names = ["case_{case_id}_match_1_{stain}_patch{patch_idx}.png".format(**row) for row in packed.patches.to_pylist()]
    stored = np.concatenate([packed.read(case_id) for case_id in packed.case_rows])
    assert stored == pytest.approx(_by_hand(saved[1], [images[name] for name in names], "cls+mean"), abs=1e-4)


def test_half_precision_is_another_encoder(tmp_path: Path, saved: tuple[Path, Any]) -> None:
    """It computes in float16, near the same numbers, under a name and an identity of its own."""
    images = [np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)]
    whole = read_encoder_folder(_folder(tmp_path / "a", saved[0]))
    half = read_encoder_folder(tmp_path / "a", fp16=True)
    assert (half.name, half.weights_sha256 == whole.weights_sha256) == ("dinov2-fp16", False)
    one, other = load_network(whole).encode(images), load_network(half).encode(images)
    assert 0 < np.abs(one - other).max() < 0.05


def test_weights_that_are_not_all_there_are_refused(tmp_path: Path, saved: tuple[Path, Any]) -> None:
    """A layer that is missing is not made up of random numbers; the pooler may be missing where nothing comes from it."""
    from safetensors.numpy import load_file, save_file

    folder = _folder(tmp_path / "a", saved[0])
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.mlp.fc1.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"1 weights of the model are missing .* encoder\.layer\.1\.mlp\.fc1\.weight"):
        load_network(read_encoder_folder(folder))


def test_a_model_without_its_pooler_gives_tokens(tmp_path: Path) -> None:
    """ViT as it is often published lacks the layer behind the class token: cls works, pooled is refused."""
    import torch
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model = ViTModel(ViTConfig(image_size=16, patch_size=8, **sizes), add_pooling_layer=False)
    folder = write_toml(tmp_path, pooling='"cls"')
    model.save_pretrained(folder)
    images = [np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)]
    expected = _by_hand_tokens(model, images)
    assert load_network(read_encoder_folder(folder)).encode(images) == pytest.approx(expected, abs=1e-4)
    write_toml(folder, pooling='"pooled"')
    with pytest.raises(DataError, match=r"weights of the model are missing .* pooler\."):
        load_network(read_encoder_folder(folder))


def _by_hand_tokens(model: Any, images: list[np.ndarray]) -> np.ndarray:
    import torch

    light = (np.stack(images) / 255 - [0.5, 0.25, 0.75]) / [0.5, 0.25, 1.0]
    with torch.no_grad():
        said = model.eval()(torch.tensor(light.transpose(0, 3, 1, 2), dtype=torch.float32))
    return np.asarray(said.last_hidden_state[:, 0].numpy())


def test_what_is_damaged_or_elsewhere_is_one_line(tmp_path: Path, saved: tuple[Path, Any]) -> None:
    """Truncated safetensors, an architecture that transformers lacks, another input size: named, nothing fetched."""
    cut = _folder(tmp_path / "cut", saved[0])
    content = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(content[: len(content) // 2])
    unknown = _folder(tmp_path / "unknown", saved[0])
    config = json.loads((unknown / "config.json").read_text())
    (unknown / "config.json").write_text(json.dumps(config | {"model_type": "their_own"}))
    size = _folder(tmp_path / "size", saved[0], size="18")
    for folder, message in (
        (cut, "cannot be loaded"),
        (unknown, "cannot be loaded"),
        (size, "size 18 in encoder.toml is no multiple of the model's patch_size 4"),
    ):
        with pytest.raises((DataError, UsageError), match=message) as caught:
            load_network(read_encoder_folder(folder))
        assert "\n" not in str(caught.value)
