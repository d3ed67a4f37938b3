"""Unit numbers of a network that was cut before: its own (what is left, counted from 0) and those of the dense one.

Records hold dense numbers. Of a group whose units 1, 3 and 5 are left, dense unit 3 is unit 1 of the network's own.
"""

from __future__ import annotations

import numpy as np

from deploy_prune.errors import PlanError
from deploy_prune.graph import trace
from deploy_prune.sources.networks import rebuild_network
from deploy_prune.values import ChannelGraph, Keep, Network


def units_left(graph: ChannelGraph, network: Network) -> Keep:
    """What a cut network keeps, as units of the dense network's groups; groups that lost none are left out."""
    left: dict[str, tuple[int, ...]] = {}
    for group in graph.groups:
        member = group.members[0]
        indices = network.kept.get(member.parameter, {}).get(member.axis)
        if indices is None:
            continue
        stays = np.isin(member.indices[:, 0], indices)
        if not stays.all():
            left[group.name] = tuple(np.flatnonzero(stays).tolist())
    return left


def in_dense_numbers(network: Network, keep: Keep) -> Keep:
    """A plan for a network that was cut before, in the unit numbers of its dense architecture."""
    left = units_left_of_dense(network)
    everything = {name: range(len(units)) for name, units in left.items()}
    return {
        name: tuple(left[name][unit] for unit in units) if name in left else tuple(units)
        for name, units in {**everything, **keep}.items()
    }


def in_own_numbers(network: Network, keep: Keep) -> Keep:
    """The way back: dense unit numbers as those of a network that was cut before.

    Raises:
        PlanError: a unit that an earlier cut has removed.
    """
    left = units_left_of_dense(network)
    for name, units in keep.items():
        gone = sorted(set(units) - set(left[name])) if name in left else []
        if gone:
            hint = f"left of it: {', '.join(map(str, left[name]))}"
            raise PlanError(f"group '{name}' lost unit {gone[0]} in an earlier run", hint=hint)
    return {
        name: tuple(left[name].index(unit) for unit in units) if name in left else tuple(units)
        for name, units in keep.items()
    }


def units_left_of_dense(network: Network) -> Keep:
    """What a network keeps of its dense architecture's groups; of one that was never cut, nothing is named.

    The architecture is built and traced for it.
    """
    if not network.kept:
        return {}
    channels, height, width = network.input_shape
    dense = rebuild_network(network.address, network.classes, (channels, height, width), network.options)
    return units_left(trace(dense), network)
