"""Traces a network into its channel graph: which channels belong together, and which may not be removed and why."""

from __future__ import annotations

from deploy_prune.values import ChannelGraph, Network


def trace(network: Network) -> ChannelGraph:
    """Record one forward pass on meta tensors and solve it.

    Sizes that the forward pass has baked in do not show here: `soundness.settle` finds them.

    Raises:
        TraceError: the forward pass fails, or decides by the values of its tensors.
    """
    from deploy_prune.graph.groups import build
    from deploy_prune.graph.recorder import record

    return build(record(network.module, network.input_shapes, whole_groups=network.whole_groups))
