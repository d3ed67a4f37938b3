"""Magnitude, uniform and random: what a unit's score is, on weights set by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nets import NETS

from deploy_prune import plugins
from deploy_prune.budget.allocate import allocate
from deploy_prune.budget.widths import Limits
from deploy_prune.errors import ConfigError
from deploy_prune.graph import trace
from deploy_prune.scoring.study import Study
from deploy_prune.scoring.top_units import best_units
from deploy_prune.sources.networks import build_network
from deploy_prune.values import Network


def with_filters(network: Network, **values: list[float]) -> Network:
    """Every element of filter i of a layer is values[i]."""
    for name, filters in values.items():
        weight = network.module.get_submodule(name).weight
        with torch.no_grad():
            weight.copy_(torch.tensor(filters).reshape(-1, *[1] * (weight.dim() - 1)).expand_as(weight))
    return network


def score(method: str, network: Network, *, seed: int = 0, **options: object) -> dict[str, np.ndarray]:
    plugin = plugins.build("methods", method, options)
    return dict(plugin.score(Study(network, trace(network), None, seed)).by_group)


def test_magnitude_is_the_norm_of_the_filter() -> None:
    """27 equal elements c: l1 = 27 |c|, l2 = sqrt(27) |c|."""
    network = with_filters(NETS["plain"](), a=[1, -2, 3, 0, 5, 6])
    l1 = score("magnitude", network, norm="l1", normalise=False)["a"]
    l2 = score("magnitude", network, norm="l2", normalise=False)["a"]
    assert l1.tolist() == pytest.approx([27, 54, 81, 0, 135, 162])
    assert l2.tolist() == pytest.approx([27**0.5 * each for each in (1, 2, 3, 0, 5, 6)])


def test_normalised_magnitude_has_mean_one_in_every_group() -> None:
    scores = score("magnitude", with_filters(NETS["plain"](), a=[1, 2, 3, 4, 5, 6], b=[100.0] * 8))
    assert scores["a"].tolist() == pytest.approx([2 / 7, 4 / 7, 6 / 7, 8 / 7, 10 / 7, 12 / 7])
    assert scores["b"].tolist() == pytest.approx([1.0] * 8)


def test_the_layers_of_a_group_are_averaged() -> None:
    """residual: a (6 filters of 3x3x3) and c (6 of 4x3x3) make one group: (27 a + 36 c) / 2."""
    network = with_filters(NETS["residual"](), a=[1, 2, 3, 4, 5, 6], c=[6, 5, 4, 3, 2, 1.0])
    expected = [(27 * one + 36 * other) / 2 for one, other in zip(range(1, 7), range(6, 0, -1), strict=True)]
    assert score("magnitude", network, norm="l1", normalise=False)["a"].tolist() == pytest.approx(expected)


def test_a_unit_of_several_filters_is_their_mean() -> None:
    """grouped_same_place: a unit of a is its filters i and i + 4."""
    network = with_filters(NETS["grouped_same_place"](), a=[1, 2, 3, 4, 5, 6, 7, 8])
    assert score("magnitude", network, norm="l1", normalise=False)["a"].tolist() == pytest.approx([81, 108, 135, 162])


def test_a_transposed_convolution_is_judged_by_its_columns() -> None:
    network = NETS["transposed"]()
    with torch.no_grad():
        network.module.t.weight.copy_(torch.arange(1.0, 8.0).reshape(1, 7, 1, 1).expand(6, 7, 2, 2))
    expected = [24.0 * each for each in range(1, 8)]  # 6 inputs x 2 x 2
    assert score("magnitude", network, norm="l1", normalise=False)["t"].tolist() == pytest.approx(expected)


def test_dead_filters_do_not_divide_by_zero() -> None:
    scores = score("magnitude", with_filters(NETS["plain"](), a=[0.0] * 6))
    assert scores["a"].tolist() == [0.0] * 6


def test_uniform_is_the_rank_within_the_group() -> None:
    scores = score("uniform", with_filters(NETS["plain"](), a=[3, 1, 2, 6, 5, 4.0]))
    assert scores["a"].tolist() == pytest.approx([3 / 6, 1 / 6, 2 / 6, 6 / 6, 5 / 6, 4 / 6])


@pytest.mark.parametrize("method", ["uniform", "random"])
def test_uniform_widths_are_alike(method: str) -> None:
    """Rank percentiles: a threshold of 0.4 keeps 60 % of every group, give or take one unit."""
    network = build_network("resnet20", classes=10, input_shape=(3, 32, 32))
    graph = trace(network)
    scores = plugins.build("methods", method).score(Study(network, graph, None, 0))
    cost = plugins.build("costs", "channels").model(graph)
    dense = np.array([group.width for group in graph.free])
    widths = allocate(graph, scores, cost, 0.6 * float(cost(dense)), Limits())
    assert all(abs(widths[group.name] - 0.6 * group.width) <= 1 for group in graph.free)


@pytest.mark.parametrize("method", ["magnitude", "uniform"])
def test_an_unknown_norm_is_refused(method: str) -> None:
    with pytest.raises(ConfigError, match="norm: Input should be 'l1' or 'l2', got 'l3'"):
        plugins.build("methods", method, {"norm": "l3"})


def test_random_depends_on_the_seed_alone() -> None:
    network = NETS["plain"]()
    one, same, other = (score("random", network, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one["b"], same["b"])
    assert not np.array_equal(one["b"], other["b"])
    assert sorted(one["b"].tolist()) == pytest.approx([each / 8 for each in range(1, 9)])


def test_magnitude_keeps_the_largest_filters() -> None:
    network = with_filters(NETS["plain"](), a=[1, 6, 2, 5, 3, 4.0])
    graph = trace(network)
    scores = plugins.build("methods", "magnitude").score(Study(network, graph, None, 0))
    assert best_units(scores, {"a": 3, "b": 8})["a"] == (1, 3, 5)
