"""Networks are built from addresses, in eval mode, and were seen to run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from deploy_prune.errors import ConfigError, UnknownName
from deploy_prune.sources.networks import build_network
from deploy_prune.train.outputs import list_tensors


def test_an_unknown_model_offers_the_closest():
    with pytest.raises(UnknownName, match="did you mean 'resnet56'"):
        build_network("resnet65")
    with pytest.raises(UnknownName, match="did you mean 'mobilenet_v2'"):
        build_network("torchvision:mobilnet_v2")
    with pytest.raises(UnknownName, match="did you mean 'width'"):
        build_network("mobilenet_v1", options={"with": 2})


def test_a_network_remembers_what_rebuilds_it():
    network = build_network("mobilenet_v1", classes=7, options={"width": 0.25, "stem": "cifar"})
    assert network.address == "mobilenet_v1"
    assert network.options == {"width": 0.25, "stem": "cifar"}
    assert (network.classes, network.input_shape) == (7, (3, 32, 32))
    assert not any(module.training for module in network.module.modules())


def test_torchs_seed_decides_the_weights():
    def first_weight():
        torch.manual_seed(5)
        return build_network("resnet20").module.state_dict()["conv1.weight"]

    assert torch.equal(first_weight(), first_weight())


def test_an_input_that_the_network_cannot_take_is_refused():
    with pytest.raises(ConfigError, match="does not run on an input of 3x8x8"):
        build_network("vgg16_bn", input_shape=(3, 8, 8))


@pytest.mark.parametrize("classes", [0, -3])
def test_a_number_of_classes_below_one_is_refused(classes):
    with pytest.raises(ConfigError, match="classes"):
        build_network("resnet20", classes=classes)


def test_a_factory_in_a_file_is_an_address(tmp_path: Path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from torch import nn\n"
        "def make(num_classes=3):\n    pool = nn.AdaptiveAvgPool2d(1)\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 3), pool, nn.Flatten(), nn.Linear(4, num_classes))\n"
        "def wrong(num_classes=3):\n"
        "    return num_classes\n"
    )
    counted = build_network(f"{path}:make", input_shape=(1, 9, 12))
    assert (counted.classes, counted.input_shape) == (3, (1, 9, 12))
    asked = build_network(f"{path}:make", classes=5, input_shape=(1, 9, 12))
    assert asked.module(torch.zeros(2, 1, 9, 12)).shape == (2, 5)
    with pytest.raises(ConfigError, match="returned a int"):
        build_network(f"{path}:wrong")
    with pytest.raises(UnknownName, match="did you mean 'make'"):
        build_network(f"{path}:mak")


def test_a_network_of_any_outputs_opens_and_no_classes_are_made_up(tmp_path: Path):
    """A map, an embedding, two outputs, a dictionary: whether that will do is for its task to say."""
    path = tmp_path / "own.py"
    path.write_text(
        "from torch import nn\n"
        "class Several(nn.Conv2d):\n"
        "    def forward(self, images):\n"
        "        features = super().forward(images)\n"
        "        return {'map': features, 'more': (features.mean((2, 3)), features)}\n"
        "def maps():\n    return nn.Conv2d(3, 7, 1)\n"
        "def several():\n    return Several(3, 7, 1)\n"
        "def scores():\n    return nn.Sequential(nn.Flatten(), nn.Linear(12, 10))\n"
    )
    counted = {name: build_network(f"{path}:{name}", input_shape=(3, 2, 2)).classes for name in ("maps", "several")}
    assert counted == {"maps": None, "several": None}
    assert build_network(f"{path}:scores", input_shape=(3, 2, 2)).classes == 10


def test_a_module_is_what_a_source_builds():
    assert isinstance(build_network("timm:mobilenetv1_100", classes=4, input_shape=(3, 32, 48)).module, nn.Module)


def test_a_model_of_torchvision_that_is_no_classifier_is_told_apart_from_a_misspelt_one() -> None:
    with pytest.raises(ConfigError, match="neither classifies nor segments: it is of detection") as caught:
        build_network("torchvision:fasterrcnn_resnet50_fpn")
    assert "my_net.py:build" in caught.value.hint


def test_a_model_of_torchvision_that_segments_returns_a_map_of_its_classes() -> None:
    network = build_network("torchvision:lraspp_mobilenet_v3_large", classes=5, input_shape=(3, 64, 64))
    (maps,) = list_tensors(network.module(torch.zeros(1, 3, 64, 64)))
    assert tuple(maps.shape) == (1, 5, 64, 64)
    assert network.classes == 5
