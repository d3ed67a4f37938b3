"""What a run's budget is of: a network's cost as a function of its widths, and the limit in the cost's unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from deploy_prune import plugins
from deploy_prune.budget.costs import COSTS, Cost, CostModel
from deploy_prune.budget.latency.place import Place, format_of
from deploy_prune.budget.parse import in_units
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.values import ChannelGraph


def price(config: RunConfig, graph: ChannelGraph) -> tuple[CostModel, float]:
    """The budget's cost of this network, and its limit in the cost's unit."""
    cost = build_cost(config)
    model = cost.model(graph)
    return model, in_units(config.parsed_budget, cost_of(model, graph, {}), cost.unit)


def cost_of(cost: CostModel, graph: ChannelGraph, keep: Mapping[str, Sequence[int]]) -> float:
    """The cost of what is kept; a group that is not named stays whole."""
    widths = [len(keep[group.name]) if group.name in keep else group.width for group in graph.free]
    return float(cost(np.array(widths)))


def build_cost(config: RunConfig) -> Cost:
    """What the budget is of.

    Raises:
        UnknownName: no such cost, or no such runtime.
    """
    name, options = config.parsed_budget.cost, {}
    if name == "latency":
        format_of(config.runtime)
        options = {**vars(place_of(config)), "store": config.store}
    built: Cost = plugins.build(COSTS, name, options)
    return built


def is_timed(config: RunConfig) -> bool:
    """Whether the budget is in milliseconds on a device that files can be timed on; of others there are tables."""
    return config.parsed_budget.cost == "latency" and place_of(config).measurable


def place_of(config: RunConfig) -> Place:
    """What a budget in milliseconds is of."""
    return Place(config.runtime, config.device, next(iter(config.threads), 1))
