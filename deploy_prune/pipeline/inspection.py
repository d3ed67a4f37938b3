"""What could be cut in a network: its size, its groups, what is locked and why, and how far each cost can fall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy_prune import plugins
from deploy_prune.budget.costs import COSTS
from deploy_prune.budget.widths import Limits, dense_widths, ladder
from deploy_prune.errors import Inconclusive, NotProfiled, RecordError, StorageError, Unavailable
from deploy_prune.graph.recount import explain_difference, recount
from deploy_prune.graph.soundness import settle
from deploy_prune.values import ChannelGraph, Count, GroupRow, Network


@dataclass(frozen=True)
class Reach:
    """How far one cost can fall."""

    cost: str
    unit: str
    dense: float
    least: float
    """The cost with every group at its floor."""


@dataclass(frozen=True)
class Inspection:
    """A network as pruning sees it."""

    address: str
    count: Count
    groups: tuple[GroupRow, ...]
    reach: tuple[Reach, ...]
    locked_share: float
    """The share of channels that cannot be removed, the input's and the output's not counted."""
    macs: int
    """MACs by our own trace."""
    difference: str = ""
    """How and why fvcore's `count` is another; empty where it is not."""
    rescalings: tuple[str, ...] = ()
    """The operators and lines that multiply or divide by a number that follows the widths: it may be meant."""


def inspect(network: Network, *, limits: Limits | None = None) -> Inspection:
    """Trace a network, find its baked-in sizes, and work out what is within reach.

    Raises:
        TraceError: it cannot be traced.
    """
    graph = settle(network)
    rows = tuple(
        GroupRow(group.name, group.width, group.width, group.channels_per_unit, group.locked) for group in graph.groups
    )
    reach = tuple(row for name in plugins.list_names(COSTS) if (row := _reach(name, graph, limits or Limits())))
    macs = int(plugins.build(COSTS, "macs").model(graph)(dense_widths(graph.free)))
    count = recount(network)
    difference = explain_difference(macs, count)
    return Inspection(network.address, count, rows, reach, locked_share(graph), macs, difference, graph.rescalings)


def locked_share(graph: ChannelGraph) -> float:
    """Share of channels in locked groups, the input's and the output's left out."""
    made = graph.made
    outputs = {member.parameter for group in graph.groups if group.locked == "model output" for member in group.members}
    inner = [
        (group.width * group.channels_per_unit, group.locked is not None)
        for group in graph.groups
        for makes in [{m.parameter for m in group.members if (m.parameter, m.axis) in made}]
        if makes and not (group.locked == "model output" and makes <= outputs)
    ]
    total = sum(channels for channels, _ in inner)
    return sum(channels for channels, locked in inner if locked) / total if total else 0.0


def _reach(name: str, graph: ChannelGraph, limits: Limits) -> Reach | None:
    """None: of milliseconds that nobody has measured, or not well enough, or whose store is of no use here."""
    cost = plugins.build(COSTS, name)
    try:
        model = cost.model(graph)
    except (Inconclusive, NotProfiled, RecordError, StorageError, Unavailable):
        return None
    dense = dense_widths(graph.free)
    least = np.array([ladder(group, limits).steps[0] for group in graph.free])
    return Reach(name, cost.unit, float(model(dense)), float(model(least)))
