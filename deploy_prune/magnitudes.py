"""Norms of the filters that make each unit."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from deploy_prune.values import ChannelGraph, Group


def filter_norms(module: nn.Module, graph: ChannelGraph, *, power: int) -> dict[str, np.ndarray]:
    """Free group -> mean over its layers of ||filter||_power, shape (units,)."""
    made, tensors = graph.made, dict(module.named_parameters())
    return {group.name: _norms(group, made, tensors, power) for group in graph.free}


def _norms(group: Group, made: frozenset[tuple[str, int]], tensors: dict[str, nn.Parameter], power: int) -> np.ndarray:
    makers = [member for member in group.members if (member.parameter, member.axis) in made]
    if not makers:  # made by no layer (an embedding, a scale): nothing says which matters more
        return np.ones(group.width)
    norms = []
    for member in makers:
        rows = tensors[member.parameter].detach().double().movedim(member.axis, 0).flatten(1)
        each = torch.linalg.vector_norm(rows, ord=power, dim=1).numpy()
        norms.append(each[member.indices].mean(axis=1))
    mean: np.ndarray = np.mean(norms, axis=0)
    return mean
