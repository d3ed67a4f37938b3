"""Number of trainable parameters."""

from __future__ import annotations

from dataclasses import dataclass

from deploy_prune.budget.bilinear import sum_over, whole
from deploy_prune.budget.costs import Cost, CostModel
from deploy_prune.values import ChannelGraph


@dataclass(frozen=True)
class Params:
    """Elements of all parameters, norms included."""

    unit: str = "parameters"

    def model(self, graph: ChannelGraph) -> CostModel:
        """Parameters of the widths."""
        return sum_over(graph, (whole(graph, name) for name in sorted(graph.parameters)))


plugin: type[Cost] = Params
