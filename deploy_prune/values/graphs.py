"""The channel graph: what may be cut in a network, and what each cut entails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, eq=False)
class Member:
    """Where a group's units live in one axis of one parameter (or buffer)."""

    parameter: str
    axis: int
    indices: np.ndarray
    """int64, shape (units of the group, indices per unit)."""


@dataclass(frozen=True, eq=False)
class Group:
    """Units that are removed by the same rule: the smallest thing a plan can keep or drop is one unit."""

    name: str
    width: int
    """Units in the dense network."""
    channels_per_unit: int
    members: tuple[Member, ...]
    residual: bool = False
    """Whether one of its tensors enters or leaves a residual add (`full` mode cuts these, `inner` does not)."""
    locked: str | None = None
    """Why no unit may be removed: the operator and the source line; None: free."""


@dataclass(frozen=True)
class GroupRow:
    """One group of the channel graph, before and after."""

    name: str
    width: int
    kept: int
    channels_per_unit: int
    locked: str | None


@dataclass(frozen=True)
class Layer:
    """One operator with a weight, as it was called."""

    name: str
    operator: str
    weight: str
    positions: int
    """Output positions the weight is applied at; MACs = positions x elements of the weight."""
    bias: str | None = None
    whole_groups: bool = False
    """A grouped convolution that loses whole groups (otherwise the same place in every group)."""
    output_axis: int = 0
    """The axis of the weight that makes its channels: 1 for a transposed convolution and for `x @ weight`."""


@dataclass(frozen=True, eq=False)
class Gather:
    """A constant channel index (a buffer) that picks channels by position and must be rewritten by surgery."""

    buffer: str
    units: np.ndarray
    """The unit number of every channel of the input, -1 where the channel cannot be removed."""


@dataclass(frozen=True, eq=False)
class ChannelGraph:
    """What may be cut in a network, and what each cut entails."""

    groups: tuple[Group, ...]
    layers: tuple[Layer, ...]
    gathers: tuple[Gather, ...]
    shapes: Mapping[str, tuple[int, ...]]
    """Shape of every parameter and buffer."""
    parameters: frozenset[str]
    """Names of the parameters among them (the rest are buffers)."""
    fixed_macs: int = 0
    """MACs of products without a weight (attention)."""

    @property
    def made(self) -> frozenset[tuple[str, int]]:
        """Every (weight, axis) that makes channels."""
        return frozenset((layer.weight, layer.output_axis) for layer in self.layers)

    @property
    def free(self) -> tuple[Group, ...]:
        """The groups that may be cut."""
        return tuple(group for group in self.groups if group.locked is None)
