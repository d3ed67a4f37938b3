"""Our own architectures against the figures of their papers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deploy_prune.errors import ConfigError
from deploy_prune.sources.architectures.resnet_cifar import PadShortcut
from deploy_prune.sources.architectures.stem import set_stem_stride
from deploy_prune.sources.networks import build_network


def parameters(network):
    return sum(parameter.numel() for parameter in network.module.parameters())


def test_option_a_subsamples_and_pads_with_zeros_on_both_sides():
    shortcut = PadShortcut(2, 4, stride=2)
    features = torch.arange(1.0, 17.0).reshape(1, 2, 2, 4)
    # Channel 0 is rows (1 2 3 4)(5 6 7 8): every second row and column leaves 1 and 3; channel 1 begins at 9.
    expected = torch.tensor([[[[0.0, 0.0]], [[1.0, 3.0]], [[9.0, 11.0]], [[0.0, 0.0]]]])
    assert torch.equal(shortcut(features), expected)
    assert shortcut.index.tolist() == [2, 0, 1, 2]


def test_the_index_of_a_shortcut_is_a_buffer_that_weights_files_do_not_hold():
    shortcut = PadShortcut(2, 4, stride=2)
    assert [name for name, _ in shortcut.named_buffers()] == ["index"]
    assert not shortcut.state_dict()


@pytest.mark.parametrize(
    ("address", "layers", "thousands"),
    [("resnet20", 20, 270), ("resnet56", 56, 853), ("resnet110", 110, 1728)],
)
def test_cifar_resnets_have_the_size_of_the_paper(address, layers, thousands):
    # He et al. 2015, table 6: 0.27M, 0.85M and 1.7M parameters.
    network = build_network(address)
    weighted = [module for module in network.module.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(weighted) == layers
    assert round(parameters(network) / 1000) == thousands


def test_mobilenet_v1_has_the_size_of_the_paper():
    # Howard et al. 2017, table 6: 4.2M parameters.
    assert parameters(build_network("mobilenet_v1", input_shape=(3, 32, 32))) == 4_231_976


def test_the_cifar_stem_keeps_the_resolution():
    strides = {
        stem: build_network("mobilenet_v1", options={"stem": stem, "width": 0.25}) for stem in ("imagenet", "cifar")
    }
    assert strides["imagenet"].module.stem[0].stride == (2, 2)
    assert strides["cifar"].module.stem[0].stride == (1, 1)


def test_small_mobilenet_v2_is_in_multiples_of_16():
    network = build_network("mobilenet_v2", classes=10, input_shape=(3, 32, 32), options={"setting": "small"})
    widths = {module.out_channels for module in network.module.modules() if isinstance(module, nn.Conv2d)}
    assert {width % 16 for width in widths} == {0}


@pytest.mark.parametrize("address", ["torchvision:googlenet", "torchvision:inception_v3"])
def test_networks_with_auxiliary_heads_answer_with_logits_alone(address):
    network = build_network(address, classes=3, input_shape=(3, 96, 96))
    network.module.train()
    assert network.module(torch.zeros(2, 3, 96, 96)).shape == (2, 3)


def test_a_stem_needs_a_convolution_and_a_positive_stride():
    with pytest.raises(ConfigError, match="no convolution"):
        set_stem_stride(nn.Linear(2, 2), 1)
    with pytest.raises(ConfigError, match="stride is 0"):
        build_network("torchvision:resnet18", options={"stem_stride": 0})


@pytest.mark.parametrize(
    ("options", "said"), [({"stem": "cfar"}, "stem: Input should be"), ({"width": 0.0}, "has no width")]
)
@pytest.mark.parametrize("address", ["mobilenet_v1", "mobilenet_v2"])
def test_values_that_options_do_not_have_are_refused(address, options, said):
    with pytest.raises(ConfigError, match=said):
        build_network(address, options=options)


def test_an_address_without_a_rest_takes_none():
    with pytest.raises(ConfigError, match="takes nothing after its name"):
        build_network("resnet20:32")
