"""One way from an address to a network: architectures and run folders, with and without data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deploy_prune.errors import ConfigError, RecordError, WeightsError
from deploy_prune.sources import checkpoint
from deploy_prune.sources.images import ArrayImages
from deploy_prune.sources.open import open_network
from deploy_prune.sources.weights import save_weights
from deploy_prune.values import Data, Network


def images(classes: int) -> Data:
    """Twelve black images of 16x20 pixels, in four classes or without labels."""
    labels = np.arange(12) % 4 if classes else None
    split = ArrayImages(np.zeros((12, 16, 20, 3), np.uint8), labels)
    names, half = tuple(f"class {number}" for number in range(classes)), (0.5, 0.5, 0.5)
    return Data("black", names, half, half, (3, 16, 20), split, split, split, flip=False, crop_padding=0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    checkpoint.save(open_network("resnet20", classes=5, input_shape=(3, 16, 16)), folder)
    return folder


def form(network: Network) -> tuple[int, tuple[int, ...]]:
    return network.classes, network.input_shape


def test_an_architecture_has_the_form_that_is_said_then_that_of_the_data_then_its_own() -> None:
    assert form(open_network("resnet20")) == (10, (3, 32, 32))
    assert form(open_network("resnet20", data=images(4))) == (4, (3, 16, 20))
    assert form(open_network("resnet20", data=images(0))) == (10, (3, 16, 20))
    assert form(open_network("resnet20", classes=7, input_shape=(3, 8, 8), data=images(4))) == (7, (3, 8, 8))


def test_an_architecture_has_the_weights_of_the_file(tmp_path: Path) -> None:
    saved = open_network("resnet20")
    save_weights(saved.module, tmp_path / "weights.safetensors")
    opened = open_network("resnet20", weights=tmp_path / "weights.safetensors").module.state_dict()
    assert all(torch.equal(tensor, opened[name]) for name, tensor in saved.module.state_dict().items())


def test_a_run_folder_is_read_as_it_is_whatever_the_data(run: Path) -> None:
    for data in (None, images(4)):
        assert form(open_network(str(run), data=data)) == (5, (3, 16, 16))
    assert form(open_network(str(run), input_shape=(3, 16, 16))) == (5, (3, 16, 16))


@pytest.mark.parametrize(
    "given", [{"classes": 5}, {"weights": Path("w.pth")}, {"options": {"width": 2}}, {"input_shape": (3, 8, 8)}]
)
def test_a_run_folder_refuses_what_it_has_decided(run: Path, given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"has its own {next(iter(given))}"):
        open_network(str(run), **given)


def test_a_folder_without_a_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no finished network"):
        open_network(str(tmp_path))


def test_a_network_that_is_built_with_nan_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def build(num_classes=2):\n"
        "    layer = nn.Linear(12, num_classes)\n"
        "    layer.bias.data[0] = float('nan')\n"
        "    return nn.Sequential(nn.Flatten(), layer)\n"
    )
    with pytest.raises(WeightsError, match=r"'1\.bias' of .*, as it was built, holds NaN or infinity"):
        open_network(f"{tmp_path / 'net.py'}:build", input_shape=(3, 2, 2))
