"""What every cost promises: one number per plan, for thousands at once, that never falls when a group grows."""

from __future__ import annotations

import numpy as np
import pytest
from nets import NETS

from deploy_prune import plugins
from deploy_prune.costs import CostModel
from deploy_prune.graph import trace
from deploy_prune.values import ChannelGraph

COSTS = plugins.names("costs")
NAMES = ["plain", "dense_block", "transposed", "transposed_grouped", "squeeze_excite", "tied_convs", "two_inputs"]


def of(cost: str, name: str) -> tuple[CostModel, ChannelGraph]:
    graph = trace(NETS[name]())
    return plugins.build("costs", cost).model(graph), graph


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cost", COSTS)
def test_many_plans_at_once_cost_what_each_costs_alone(cost: str, name: str) -> None:
    model, graph = of(cost, name)
    draw = np.random.default_rng(0)
    widths = draw.integers(1, [group.width + 1 for group in graph.free], size=(2, 50, len(graph.free)))
    together = model(widths)
    assert together.shape == (2, 50)
    assert float(model(widths[1, 3])) == together[1, 3]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cost", COSTS)
def test_one_unit_more_never_costs_less(cost: str, name: str) -> None:
    model, graph = of(cost, name)
    widths = np.array([max(1, group.width // 2) for group in graph.free])
    steps = widths + np.eye(widths.size, dtype=int)
    assert (model(steps) >= model(widths)).all()
    assert (model(steps) > model(widths)).any()


@pytest.mark.parametrize("cost", COSTS)
def test_a_cost_has_a_unit_and_is_positive(cost: str) -> None:
    model, graph = of(cost, "plain")
    assert plugins.build("costs", cost).unit
    assert float(model(np.array([1 for _ in graph.free]))) > 0
