"""Bytes of the exported fp32 file's tensors."""

from __future__ import annotations

from dataclasses import dataclass

from deploy_prune.budget.bilinear import Term, sum_over, whole
from deploy_prune.budget.costs import Cost, CostModel
from deploy_prune.values import ChannelGraph

BYTES = 4


@dataclass(frozen=True)
class Size:
    """Each layer's weight and one bias per output, as converters write them once batch norms are folded.

    A format's own overhead (operator table, names: some tens of kilobytes) comes on top; the exported file is weighed.
    """

    unit: str = "bytes"

    def model(self, graph: ChannelGraph) -> CostModel:
        """Bytes of the widths."""
        layers = {layer.weight: layer for layer in graph.layers}
        weights = [whole(graph, name, BYTES) for name in layers]
        biases = [Term(name, (layer.output_axis,), BYTES) for name, layer in layers.items()]
        return sum_over(graph, [*weights, *biases])


plugin: type[Cost] = Size
