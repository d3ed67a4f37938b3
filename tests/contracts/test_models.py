"""What every model source promises: a network of the classes and the size that are asked for, drawn from the seed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deploy_prune import plugins
from deploy_prune.errors import ConfigError, UnknownName
from deploy_prune.sources.models import MODELS
from deploy_prune.sources.networks import build_network

RESTS = {"timm": ":mobilenetv3_small_050", "torchvision": ":squeezenet1_1"}
"""What comes after the name of a source of many models: a small one."""
OWN = """
from torch import nn

def small(num_classes=7):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))
"""
SHAPE = (3, 64, 48)


@pytest.fixture(params=plugins.list_names(MODELS))
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        (tmp_path / "own.py").write_text(OWN)
        return f"{tmp_path / 'own.py'}:small"
    return f"{request.param}{RESTS.get(request.param, '')}"


def test_a_network_has_the_classes_and_the_size_that_are_asked_for(address: str) -> None:
    network = build_network(address, classes=5, input_shape=SHAPE)
    assert (network.address, network.classes, network.input_shapes) == (address, 5, (SHAPE,))
    assert not network.module.training
    with torch.no_grad():
        assert network.module(torch.zeros(2, *SHAPE)).shape == (2, 5)


def test_the_same_seed_draws_the_same_weights_and_another_one_others(address: str) -> None:
    networks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        networks.append(build_network(address, classes=5, input_shape=SHAPE).module.state_dict())
    first, again, other = networks
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_what_comes_after_the_name_is_not_ignored(address: str) -> None:
    with pytest.raises((ConfigError, UnknownName)):
        build_network(f"{address}x" if ":" in address else f"{address}:x", classes=5, input_shape=SHAPE)


def test_no_network_has_no_classes(address: str) -> None:
    with pytest.raises(ConfigError, match="0 classes"):
        build_network(address, classes=0, input_shape=SHAPE)
