"""The candidates of a greedy selection, and where they lie: channels of the layers that read a group, or kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from deploy_prune.values import ChannelGraph, Group, Member


class Units(Protocol):
    """How the candidates of a selection lie in one layer's weight."""

    def pull(self, gradient: Tensor) -> Tensor:
        """How hard each candidate is pulled at; of several layers these add up."""

    def mask(self, chosen: Tensor) -> Tensor:
        """Where the chosen candidates are: bool, of the weight's shape."""


@dataclass(frozen=True, eq=False)
class Channels:
    """Input channels of a layer."""

    axis: int
    """The axis of the weight along which they lie."""
    indices: Tensor
    """int64 (candidates, channels of each)."""
    shape: tuple[int, ...]
    score: str = "paper"

    def pull(self, gradient: Tensor) -> Tensor:
        """ "paper": squared Frobenius norm of a channel's gradient; "code": sum of the norms of its kernels."""
        columns = gradient.movedim(self.axis, 0)[self.indices].flatten(0, 1)  # (channels, filters, ...)
        kernels = torch.linalg.vector_norm(columns.flatten(2) if columns.dim() > 2 else columns[..., None], dim=2)
        sizes = kernels.square().sum(1) if self.score == "paper" else kernels.sum(1)
        found: Tensor = sizes.reshape(self.indices.shape).sum(1)
        return found

    def mask(self, chosen: Tensor) -> Tensor:
        """All that reads the chosen channels."""
        along = torch.zeros(self.shape[self.axis], dtype=torch.bool)
        along[self.indices[chosen].flatten()] = True
        sizes = [1] * len(self.shape)
        sizes[self.axis] = -1
        return along.reshape(sizes).expand(self.shape)


@dataclass(frozen=True, eq=False)
class Kernels:
    """Kernels of a convolution; with `filters` more than 1, the same input channel of so many filters in a row."""

    shape: tuple[int, ...]
    filters: int = 1

    @property
    def candidates(self) -> int:
        """How many there are."""
        return self._blocks * self.shape[1]

    @property
    def _blocks(self) -> int:
        return math.ceil(self.shape[0] / self.filters)

    def pull(self, gradient: Tensor) -> Tensor:
        """Squared Frobenius norms, filter by filter."""
        squares = gradient.flatten(2).square().sum(2)
        padded = functional.pad(squares, (0, 0, 0, self._blocks * self.filters - self.shape[0]))
        return padded.reshape(self._blocks, self.filters, -1).sum(1).flatten()

    def mask(self, chosen: Tensor) -> Tensor:
        """All elements of the chosen kernels."""
        rows = chosen.reshape(self._blocks, -1).repeat_interleave(self.filters, 0)[: self.shape[0]]
        return rows.reshape(*rows.shape, *[1] * (len(self.shape) - 2)).expand(self.shape)


def readers_of(graph: ChannelGraph, group: Group) -> tuple[Member, ...]:
    """Where layers read a group; a depthwise layer makes what it reads, and is none of them."""
    inputs = {(layer.weight, 1 - layer.output_axis) for layer in graph.layers if not layer.whole_groups}
    return tuple(member for member in group.members if (member.parameter, member.axis) in inputs)
