"""A cost asked of fewer groups is the cost of the whole, with the others dense."""

from __future__ import annotations

import numpy as np
import pytest
from latencies import made_up

from deploy_prune import plugins
from deploy_prune.budget.costs import Stepped
from deploy_prune.budget.latency.model import LatencyCost, fit_model
from deploy_prune.budget.narrowed import narrow
from deploy_prune.graph.soundness import lock
from deploy_prune.values import ChannelGraph

WIDTHS = np.array([[21, 11], [21, 5], [3, 2]])
"""Plans of `a` and `down`; `b`, of 38 units, is locked."""
WHOLE = np.insert(WIDTHS, 1, 38, axis=1)


@pytest.mark.parametrize("cost", ["macs", "params", "size", "channels"])
def test_locked_groups_count_as_dense(graph: ChannelGraph, cost: str) -> None:
    """The channels of a locked group count too: a limit that is a share of the whole stays one."""
    model = plugins.build("costs", cost).model(graph)
    narrowed = narrow(model, graph, lock(graph, {"b": "for a test"}))
    assert np.array_equal(narrowed(WIDTHS), model(WHOLE))
    assert float(narrowed(WIDTHS[0])) == float(model(WHOLE[0]))


def test_milliseconds_stay_a_stepped_cost(graph: ChannelGraph) -> None:
    cost = LatencyCost.of(fit_model(made_up(graph)), graph)
    narrowed = narrow(cost, graph, lock(graph, {"b": "for a test"}))
    assert isinstance(narrowed, Stepped)
    assert np.array_equal(narrowed(WIDTHS), cost(WHOLE))
