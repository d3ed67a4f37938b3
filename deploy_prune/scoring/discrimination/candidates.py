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
        """Say how hard each candidate is pulled at, (candidates,); the pulls in several layers add up."""

    def mask(self, chosen: Tensor) -> Tensor:
        """Say where the chosen candidates, bool of (candidates,), are: bool, of the weight's shape."""


@dataclass(frozen=True, eq=False)
class Channels:
    """Input channels of a layer."""

    axis: int
    """The axis of the weight along which they lie."""
    indices: Tensor
    """The channels of each candidate: int64, shape (candidates, channels of each)."""
    shape: tuple[int, ...]
    """The shape of the weight."""
    score: str = "paper"
    """How hard a channel is pulled at: "paper" or "code", as below."""

    def pull(self, gradient: Tensor) -> Tensor:
        """Take the squared Frobenius norm of a channel's gradient ("paper"), or its kernels' norms' sum ("code")."""
        columns = gradient.movedim(self.axis, 0)[self.indices].flatten(0, 1)  # (channels, filters, ...)
        kernels = torch.linalg.vector_norm(columns.flatten(2) if columns.dim() > 2 else columns[..., None], dim=2)
        sizes = kernels.square().sum(1) if self.score == "paper" else kernels.sum(1)
        pulls: Tensor = sizes.reshape(self.indices.shape).sum(1)
        return pulls

    def mask(self, chosen: Tensor) -> Tensor:
        """Mark all that reads the chosen channels."""
        along = torch.zeros(self.shape[self.axis], dtype=torch.bool)
        along[self.indices[chosen].flatten()] = True
        sizes = [1] * len(self.shape)
        sizes[self.axis] = -1
        return along.reshape(sizes).expand(self.shape)


@dataclass(frozen=True, eq=False)
class Kernels:
    """Kernels of a convolution; with `filters` more than 1, the same input channel of so many filters in a row."""

    shape: tuple[int, ...]
    """The shape of the weight: (filters, channels, ...)."""
    filters: int = 1
    """How many filters in a row keep kernels of the same input channels."""

    @property
    def candidates(self) -> int:
        """How many candidates there are."""
        return self._blocks * self.shape[1]

    @property
    def _blocks(self) -> int:
        return math.ceil(self.shape[0] / self.filters)

    def pull(self, gradient: Tensor) -> Tensor:
        """Take the squared Frobenius norms, filter by filter."""
        squares = gradient.flatten(2).square().sum(2)
        padded = functional.pad(squares, (0, 0, 0, self._blocks * self.filters - self.shape[0]))
        return padded.reshape(self._blocks, self.filters, -1).sum(1).flatten()

    def mask(self, chosen: Tensor) -> Tensor:
        """Mark all elements of the chosen kernels."""
        rows = chosen.reshape(self._blocks, -1).repeat_interleave(self.filters, 0)[: self.shape[0]]
        return rows.reshape(*rows.shape, *[1] * (len(self.shape) - 2)).expand(self.shape)


def readers_of(graph: ChannelGraph, group: Group) -> tuple[Member, ...]:
    """The places where layers read a group; a depthwise layer makes what it reads, and is none of them."""
    inputs = {(layer.weight, 1 - layer.output_axis) for layer in graph.layers if not layer.whole_groups}
    return tuple(member for member in group.members if (member.parameter, member.axis) in inputs)
