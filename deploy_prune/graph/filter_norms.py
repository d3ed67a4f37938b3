"""Sizes of the filters that make each unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from deploy_prune.values import ChannelGraph, Group, Scores

Measure = Callable[[Tensor], Tensor]
"""Gives filters, one per row (filters, elements), a number each (filters,)."""


def filter_norms(module: nn.Module, graph: ChannelGraph, *, power: int) -> dict[str, np.ndarray]:
    """Free group -> mean over its layers of ||filter||_power, shape (units,)."""
    by_layer = filter_sizes(module, graph, partial(torch.linalg.vector_norm, ord=power, dim=1))
    return {group: np.mean(list(sizes.values()), axis=0) for group, sizes in by_layer.items()}


def percentiles(sizes: Mapping[str, np.ndarray]) -> Scores:
    """Rank every unit within its own group, in (0, 1]: a cut by these ranks takes the same share of every group.

    Two groups of sizes (3.0, 1.0, 2.0) and (0.1, 0.2) get (1, 1/3, 2/3) and (1/2, 1).
    """
    return Scores({group: (np.argsort(np.argsort(values)) + 1) / values.size for group, values in sizes.items()})


def squared_norms(module: nn.Module, graph: ChannelGraph) -> dict[str, dict[str, np.ndarray]]:
    """Free group -> weight of each of its layers -> ||filter||_2^2 of every unit, shape (units,)."""
    return filter_sizes(module, graph, lambda rows: rows.square().sum(dim=1))


def filter_sizes(module: nn.Module, graph: ChannelGraph, measure: Measure) -> dict[str, dict[str, np.ndarray]]:
    """Free group -> weight of each layer that makes it -> the measure of every unit, shape (units,).

    A unit of several filters has their mean. A group that no layer makes (an embedding, a scale) has ones, under its
    own name: nothing says which of its units matters more.
    """
    made, tensors = graph.made, dict(module.named_parameters())
    return {group.name: _sizes(group, made, tensors, measure) for group in graph.free}


def _sizes(
    group: Group, made: frozenset[tuple[str, int]], tensors: Mapping[str, nn.Parameter], measure: Measure
) -> dict[str, np.ndarray]:
    by_weight = {}
    for member in group.members:
        if (member.parameter, member.axis) in made:
            rows = tensors[member.parameter].detach().double().movedim(member.axis, 0).flatten(1)
            by_weight[member.parameter] = measure(rows).cpu().numpy()[member.indices].mean(axis=1)
    return by_weight or {group.name: np.ones(group.width)}
