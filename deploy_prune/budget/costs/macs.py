"""Multiply-adds of convolutions, linear layers and matrix products at batch 1: what papers quote as MACs."""

from __future__ import annotations

from dataclasses import dataclass

from deploy_prune.budget.bilinear import sum_over, whole
from deploy_prune.budget.costs import Cost, CostModel
from deploy_prune.values import ChannelGraph


@dataclass(frozen=True)
class Macs:
    """Positions x weight elements of every call, which is how fvcore counts; its recount must agree exactly."""

    unit: str = "MACs"

    def model(self, graph: ChannelGraph) -> CostModel:
        """MACs of the widths."""
        terms = [whole(graph, layer.weight, layer.positions) for layer in graph.layers]
        return sum_over(graph, terms, constant=graph.fixed_macs)


plugin: type[Cost] = Macs
