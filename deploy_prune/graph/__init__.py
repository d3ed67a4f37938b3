"""Traces a network into its channel graph: which channels belong together, and which may not be removed and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from deploy_prune.errors import TraceError
from deploy_prune.values import ChannelGraph, Network

if TYPE_CHECKING:
    from deploy_prune.graph.recording import Recording


def trace(network: Network) -> ChannelGraph:
    """Record one forward pass on meta tensors, and one in training mode, and solve what both say.

    Sizes that the forward pass has baked in do not show here: `soundness.settle` finds them.

    Raises:
        TraceError: the forward pass fails, or decides by the values of its tensors.
    """
    from deploy_prune.graph.groups import build

    graph, tried = build(_record(network, network.whole_groups)), dict(network.whole_groups)
    while finer := {weight: False for weight in _list_stuck(graph) if weight not in tried}:
        tried |= finer
        graph = build(_record(network, tried))
    return graph


def _record(network: Network, whole_groups: Mapping[str, bool]) -> Recording:
    from deploy_prune.graph.recorder import record, record_training

    recording = record(network.module, network.input_shapes, whole_groups=whole_groups)
    try:
        return record_training(network.module, network.input_shapes, recording, whole_groups=whole_groups)
    except TraceError:  # it wants what nobody has here, such as the boxes that a detector learns from
        return recording


def _list_stuck(graph: ChannelGraph) -> list[str]:
    """Weights that lose whole groups of their convolution, where something else lets none of them go alone.

    A norm over each of four groups wants the same place of every group, a convolution of four groups whole groups:
    together one unit. Where the convolution loses the same places as well, there are as many units as places.
    """
    stuck = {member.parameter for group in graph.free if group.width == 1 for member in group.members}
    layers = (*graph.layers, *graph.training_layers)
    return [layer.weight for layer in layers if layer.whole_groups and layer.weight in stuck]
