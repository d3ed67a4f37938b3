"""What one traced forward pass said: the labels it gave out, which of them met, and what may not be removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from deploy_prune.values import Layer


@dataclass(frozen=True)
class Slots:
    """The labels of one axis of one parameter: `first`, `first + 1`, ..."""

    parameter: str
    axis: int
    first: int
    size: int


@dataclass(frozen=True, eq=False)
class Tie:
    """Pairs of labels that must be kept or removed together, and the source line that says so."""

    left: Tensor
    right: Tensor
    where: str


@dataclass(frozen=True, eq=False)
class Lock:
    """Labels that may not be removed, and why."""

    labels: Tensor
    reason: str


@dataclass(frozen=True, eq=False)
class GatherCall:
    """A constant index buffer applied to a channel axis that carries these labels."""

    buffer: str
    labels: Tensor


@dataclass
class Recording:
    """What one traced forward pass said. Grows while the pass runs, is only read afterwards."""

    tensors: Mapping[str, Tensor]
    """Parameters and buffers on meta, by name."""
    slots: dict[tuple[str, int], Slots] = field(default_factory=dict)
    ties: list[Tie] = field(default_factory=list)
    locks: list[Lock] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    pins: list[Lock] = field(default_factory=list)
    """Single channels that are broadcast over others: locked where they are one of several of their kind."""
    gathers: list[GatherCall] = field(default_factory=list)
    residuals: list[Tensor] = field(default_factory=list)
    fixed_macs: int = 0
    labels_used: int = 0
