"""Channels whose norm gives a constant: what reads them without padding loses nothing when they go."""

from __future__ import annotations

import torch
from studies import stripes
from torch import nn

from deploy_prune.graph import trace
from deploy_prune.graph.norm_scales import trace_flow
from deploy_prune.graph.surgery import cut
from deploy_prune.train.compensation import compensate
from deploy_prune.values import Network


def network(*, bias: bool, padding: int = 0) -> Network:
    """Conv, norm, ReLU, then a reader with a norm of its own (or a bias), a second, and a classifier."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 7, 3, bias=bias, padding=padding), *([] if bias else [nn.BatchNorm2d(7)]), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(7, 4),
    )  # fmt: skip
    with torch.no_grad():
        module.train()(torch.randn(16, 3, 8, 8))
        module[1].weight[1::2] = 0.0  # channels 1, 3, 5 are constants
        module[1].bias.copy_(torch.tensor([0.1, 0.8, -0.2, 0.5, 0.3, -0.4]))
    return Network("tests:constants", module.eval(), ((3, 8, 8),), 4)


def difference(dense: Network, small: Network) -> float:
    x = torch.randn(32, 3, 8, 8)
    with torch.no_grad():
        return float((dense.module(x) - small.module(x)).abs().max())


def cut_and_mended(dense: Network) -> tuple[Network, Network]:
    graph = trace(dense)
    keep = {graph.free[0].name: (0, 2, 4)}
    small = cut(dense, graph, keep)
    return small, compensate(small, dense, graph, keep, stripes())


def test_a_bias_takes_what_constant_channels_gave() -> None:
    dense = network(bias=True)
    small, mended = cut_and_mended(dense)
    assert difference(dense, small) > 1e-2
    assert difference(dense, mended) < 1e-5


def test_without_a_bias_the_norm_behind_takes_it() -> None:
    dense = network(bias=False)
    small, mended = cut_and_mended(dense)
    assert difference(dense, small) > 1e-2
    assert difference(dense, mended) < 1e-5


def test_a_padded_reader_is_left_alone() -> None:
    """It saw zeros at the border, not the constant: nothing exact can be done."""
    small, mended = cut_and_mended(network(bias=True, padding=1))
    assert difference(small, mended) == 0.0


def test_the_cut_network_it_was_given_stays_as_it_is() -> None:
    small, _ = cut_and_mended(dense := network(bias=True))
    again, _ = cut_and_mended(dense)
    assert difference(small, again) == 0.0


def test_flow_knows_which_norm_follows_which_layer() -> None:
    module = network(bias=False).module
    assert trace_flow(module, ((3, 8, 8),)).norm_after == {"0.weight": "1.weight", "3.weight": "4.weight"}


def test_a_norm_is_linear_where_no_non_linearity_follows_before_the_next_weights() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), nn.ReLU6(), nn.Conv2d(6, 4, 1),
        nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4),
    )  # fmt: skip
    assert trace_flow(module.eval(), ((3, 8, 8),)).linear == {"1.weight", "6.weight"}
