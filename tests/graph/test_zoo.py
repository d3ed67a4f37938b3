"""One network of each CNN family: traced, halved in MACs by a plan, and held to the law and to fvcore's recount."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from laws import inputs, law_error, lively, outputs
from torch import Tensor, nn

from deploy_prune import plugins
from deploy_prune.budget.allocate import allocate
from deploy_prune.budget.widths import Limits
from deploy_prune.graph.recount import recount
from deploy_prune.graph.soundness import find, settle
from deploy_prune.graph.surgery import cut
from deploy_prune.pipeline.inspection import locked_share
from deploy_prune.scoring.study import Study
from deploy_prune.scoring.top_units import best_units
from deploy_prune.sources.networks import build_network
from deploy_prune.values import ChannelGraph, Network

QUICK = {
    "torchvision:alexnet": 64, "torchvision:squeezenet1_1": 32, "torchvision:mobilenet_v3_small": 32,
    "torchvision:mnasnet0_5": 32, "torchvision:shufflenet_v2_x0_5": 32, "torchvision:regnet_y_400mf": 32,
    "torchvision:googlenet": 32, "resnet20": 32, "mobilenet_v1": 32, "vgg16_bn": 32,
}  # fmt: skip
"""Address -> side of the input."""

SLOW = {
    "torchvision:vgg11_bn": 32, "torchvision:resnet18": 32, "torchvision:resnext50_32x4d": 32,
    "torchvision:wide_resnet50_2": 32, "torchvision:densenet121": 32, "torchvision:inception_v3": 96,
    "torchvision:mobilenet_v2": 32, "torchvision:efficientnet_b0": 32, "torchvision:efficientnet_v2_s": 32,
    "torchvision:regnet_x_400mf": 32, "resnet56": 32, "timm:mobilenetv1_100": 32, "timm:tf_efficientnet_lite0": 32,
    "timm:resnetblur18": 32, "timm:ghostnet_050": 32, "timm:mobilenetv4_conv_small": 32, "timm:dla34": 32,
    "timm:cspresnet50": 64, "timm:hardcorenas_a": 32, "timm:repvgg_a0": 32, "timm:res2net50_26w_4s": 64,
    "timm:selecsls42b": 32, "timm:hrnet_w18_small": 64, "timm:fastvit_t8": 64,
}  # fmt: skip

LOCKED = {
    "timm:resnetblur18": 0.333,  # blur_pool.py: groups=self.channels
    "timm:cspresnet50": 0.267,  # cspnet.py: split(self.expand_chs // 2)
    "timm:res2net50_26w_4s": 0.497,  # res2net.py: split(self.width)
}
"""Share of inner channels that cannot be cut, where it is not zero."""

NAMES = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


def built(name: str) -> Network:
    torch.manual_seed(0)
    side = {**QUICK, **SLOW}[name]
    network = build_network(name, classes=10, input_shape=(3, side, side))
    lively(network.module).float()
    return network


def halved(network: Network, graph: ChannelGraph) -> dict[str, tuple[int, ...]]:
    cost = plugins.build("costs", "macs").model(graph)
    scores = plugins.build("methods", "random").score(Study(network, graph, None, 0))
    limit = 0.5 * float(cost(np.array([group.width for group in graph.free])))
    return dict(best_units(scores, allocate(graph, scores, cost, limit, Limits())))


@pytest.mark.heavy
@pytest.mark.parametrize("name", NAMES)
def test_a_family_is_halved_soundly(name: str) -> None:
    network = built(name)
    graph = settle(network)
    keep = halved(network, graph)
    assert find(network, graph, keep) == {}
    small = cut(network, graph, keep)
    assert law_error(network, graph, keep, small=small) < 1e-5
    widths = np.array([len(keep[group.name]) for group in graph.free])
    dense, counted = recount(network), recount(small)
    assert int(plugins.build("costs", "macs").model(graph)(widths)) == counted.macs
    assert int(plugins.build("costs", "params").model(graph)(widths)) == counted.params
    assert 0.4 * dense.macs < counted.macs <= 0.55 * dense.macs
    assert locked_share(graph) == pytest.approx(LOCKED.get(name, 0.0), abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torchvision:convnext_tiny"])
def test_a_network_with_norms_over_channels_is_cut_and_runs(name: str) -> None:
    torch.manual_seed(0)
    network = build_network(name, classes=10, input_shape=(3, 32, 32))
    graph = settle(network)
    keep = halved(network, graph)
    small = cut(network, graph, keep)
    assert recount(small).macs <= 0.55 * recount(network).macs
    assert outputs(small.module, inputs(small))[0].shape == (2, 10)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torchvision:vit_b_16", "torchvision:swin_t"])
def test_attention_stays_locked_with_its_reason(name: str) -> None:
    network = build_network(name, classes=10, input_shape=(3, 224, 224))
    graph = settle(network)
    reasons = " ".join(group.locked or "" for group in graph.groups)
    assert "aten.bmm" in reasons or "aten._scaled_dot_product" in reasons or "aten.view" in reasons
    assert graph.free  # the MLPs


class Boxed(nn.Conv2d):
    """A convolution that returns an object, which torch's trace cannot open."""

    def forward(self, images: Tensor) -> SimpleNamespace:  # type: ignore[override]
        return SimpleNamespace(map=super().forward(images))


def test_fvcore_counts_a_network_that_returns_an_object() -> None:
    assert recount(Network("tests:boxed", Boxed(3, 8, 1), ((3, 4, 4),))).macs == 3 * 8 * 4 * 4
