"""Folded networks compute what they did, and norms that others read as well stay."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from deploy_prune import plugins
from deploy_prune.graph.fold_norms import find_foldable, fold_exported_norms, fold_modules
from deploy_prune.values import Network

IMAGE = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


class Shared(nn.Module):
    """Two convolutions with a norm each; the second one's result is read a second time."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1, bias=False)
        self.after_one, self.after_two = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.after_one(self.one(x)).relu()
        y = self.two(x)
        return self.after_two(y) + y


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    module = Shared().train()
    module(torch.randn(16, 3, 6, 6))  # statistics that say something
    return Network("tests:shared", module.eval(), ((3, 6, 6),), 4)


def test_modules_are_folded_by_their_names_and_compute_the_same(network: Network) -> None:
    assert find_foldable(network) == (("one", "after_one"),)
    folded = fold_modules(copy.deepcopy(network.module), find_foldable(network))
    assert isinstance(folded.after_one, nn.Identity)
    assert isinstance(folded.after_two, nn.BatchNorm2d)
    with torch.no_grad():
        torch.testing.assert_close(folded(IMAGE), network.module(IMAGE), rtol=1e-5, atol=1e-5)


def test_an_exported_graph_is_folded_and_computes_the_same(network: Network) -> None:
    for parameter in network.module.parameters():
        parameter.requires_grad_(False)
    graph = fold_exported_norms(network.module, (IMAGE,))
    norms = [node for node in graph.graph.nodes if node.target == torch.ops.aten.batch_norm.default]
    assert len(norms) == 1, "the norm whose convolution is read twice stays"
    torch.testing.assert_close(graph(IMAGE), network.module(IMAGE), rtol=1e-5, atol=1e-5)


class Joined(nn.BatchNorm2d):
    """A norm that does something else as well, which its class alone knows."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


def test_a_norm_that_does_more_stays_but_for_timms_whose_activation_is_kept(network: Network) -> None:
    network.module.after_one = Joined(4).eval()
    assert find_foldable(network) == ()
    network.module.after_one = (
        plugins.build("models", "timm").build("mobilenetv2_035", classes=None, input_shape=None).module.bn1.eval()
    )
    network.module.one = nn.Conv2d(3, 16, 1)
    network.module.two = nn.Conv2d(16, 4, 1)
    pairs = find_foldable(network)
    assert pairs == (("one", "after_one"),)
    folded = fold_modules(copy.deepcopy(network.module), pairs)
    with torch.no_grad():
        torch.testing.assert_close(folded(IMAGE), network.module(IMAGE), rtol=1e-5, atol=1e-5)


def test_a_module_with_a_hook_stays(network: Network) -> None:
    network.module.after_one.register_forward_hook(lambda module, inputs, output: output + 1)
    assert find_foldable(network) == ()
