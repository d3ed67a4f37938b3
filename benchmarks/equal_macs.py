"""The stair-aware plan at which another cost, such as the MACs, meets a target: plans of one size, compared in ms."""

from __future__ import annotations

import numpy as np

from deploy_prune.budget.allocate import allocate, cheapest_widths, say_cost
from deploy_prune.budget.costs import CostModel, Stepped
from deploy_prune.budget.widths import Limits, dense_widths, ladder
from deploy_prune.errors import BudgetError
from deploy_prune.values import ChannelGraph, Scores, Widths

BISECTIONS = 10
"""Halvings of the interval in which the limit lies at which the other cost meets its target."""
NEARBY, WIDER = np.linspace(0.96, 1.04, 17), np.linspace(0.85, 1.15, 121)
"""Shares of that limit at which the search goes on, and where it does if that fails."""


def at_equal(
    graph: ChannelGraph,
    scores: Scores,
    cost: Stepped,
    other: tuple[CostModel, float],
    limits: Limits,
    *,
    tolerance: float = 0.01,
) -> Widths:
    """The stair-aware widths of which another cost, such as the MACs, is closest to a target.

    Args:
        graph: the channel graph of the network.
        scores: a number per unit of every free group.
        cost: the cost that is snapped; its limit is searched.
        other: the other cost and its target.
        limits: what may be done to each group.
        tolerance: how far the other cost may be off, relative to the target.

    Raises:
        BudgetError: none of the plans is so close; the closest is named.
    """
    price, target = other
    ladders = [ladder(group, limits) for group in graph.free]
    dense = dense_widths(graph.free)
    least, most = float(cost(cheapest_widths(cost, ladders))), float(cost(dense)) * (1 - 1e-9)
    seen: dict[float, tuple[float, Widths]] = {}

    def try_limit(limit: float) -> float:
        widths = allocate(graph, scores, cost, min(max(limit, least), most), limits)
        other_cost = float(price(np.array([widths[group.name] for group in graph.free])))
        seen.setdefault(abs(other_cost / target - 1), (other_cost, widths))
        return other_cost

    low, high = least, most
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if try_limit(middle) < target else (low, middle)
    for shares, enough in ((NEARBY, tolerance / 10), (WIDER, tolerance)):
        for share in shares:  # the other cost does not climb evenly with the limit
            if min(seen) > enough:
                try_limit(high * share)
    closest, widths = seen[min(seen)]
    if min(seen) > tolerance:
        raise BudgetError(
            f"no stair-aware plan costs {say_cost(target)} within {tolerance:.0%}; "
            f"the closest costs {say_cost(closest)}, {min(seen):.1%} away",
            hint="choose another target, or a larger tolerance",
        )
    return widths
