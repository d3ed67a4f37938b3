"""A network's cost where more groups are locked than it was worked out for: those count as dense."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy_prune.budget.costs import CostModel
from deploy_prune.budget.latency.model import LatencyCost
from deploy_prune.budget.widths import dense_widths
from deploy_prune.values import ChannelGraph


def narrow(cost: CostModel, graph: ChannelGraph, locked: ChannelGraph) -> CostModel:
    """The cost as a function of the widths of fewer groups.

    Args:
        cost: a function of the widths of the free groups of `graph`.
        graph: the network's channel graph.
        locked: the same graph with more groups locked; each of them costs what it costs dense.
    """
    if isinstance(cost, LatencyCost):  # which stays a stepped cost so
        return LatencyCost.of(cost.model, locked)
    column = {group.name: number for number, group in enumerate(graph.free)}
    columns = tuple(column[group.name] for group in locked.free)
    return Narrowed(cost, dense_widths(graph.free), columns)


@dataclass(frozen=True, eq=False)
class Narrowed:
    """A cost as a function of some of its groups' widths; the others stay dense."""

    cost: CostModel
    dense: np.ndarray
    """The dense widths of all groups of the cost, in units: (groups,)."""
    columns: tuple[int, ...]
    """The places of the groups that are free, among all groups of the cost."""

    def __call__(self, widths: np.ndarray) -> np.ndarray:
        """Widths of the free groups (..., free groups) -> cost (...)."""
        whole = np.broadcast_to(self.dense, (*widths.shape[:-1], self.dense.size)).copy()
        whole[..., list(self.columns)] = widths
        return self.cost(whole)
