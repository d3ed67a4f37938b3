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
    """The name of the parameter or buffer."""
    axis: int
    indices: np.ndarray
    """The indices of each unit along that axis: int64, shape (units of the group, indices per unit)."""


@dataclass(frozen=True, eq=False)
class Group:
    """Units that are removed by the same rule: the smallest thing a plan can keep or drop is one unit."""

    name: str
    """The name of the layer that makes the units; `conv1.input` where no layer does."""
    width: int
    """How many units it has in the dense network."""
    channels_per_unit: int
    """How many channels of that layer are one unit."""
    members: tuple[Member, ...]
    """Every place that loses something when a unit goes."""
    residual: bool = False
    """Whether one of its tensors enters or leaves a residual add (`full` mode cuts these, `inner` does not)."""
    locked: str | None = None
    """Why no unit may be removed: the operator and the source line; None: free."""


@dataclass(frozen=True)
class GroupRow:
    """One group of the channel graph, before and after."""

    name: str
    width: int
    """How many units it has in the dense network."""
    kept: int
    """How many units stay."""
    channels_per_unit: int
    locked: str | None
    """Why no unit may be removed; None: the group is free."""


@dataclass(frozen=True)
class Layer:
    """One operator with a weight, as it was called."""

    name: str
    operator: str
    """The name of the ATen operator, such as `aten::convolution`."""
    weight: str
    """The name of its weight."""
    positions: int
    """How many output positions the weight is applied at; MACs = positions x elements of the weight."""
    bias: str | None = None
    """The name of its bias; None: it has none."""
    whole_groups: bool = False
    """Whether a grouped convolution loses whole groups (otherwise the same place in every group)."""
    output_axis: int = 0
    """The axis of the weight that makes its channels: 1 for a transposed convolution and for `x @ weight`."""


@dataclass(frozen=True, eq=False)
class Gather:
    """A constant channel index (a buffer) that picks channels by position and must be rewritten by surgery."""

    buffer: str
    """The name of the buffer."""
    units: np.ndarray
    """The unit number of every channel of the input, -1 where it cannot be removed: int64, shape (channels,)."""


@dataclass(frozen=True, eq=False)
class Step:
    """One operator as the forward pass called it: what a cut must leave as it is."""

    operator: str
    """Its name without the namespace, such as `relu`."""
    where: str
    """Its full name and the source line."""
    reads: tuple[np.ndarray, ...]
    """What each of its tensors carries, in the order of memory, repeated ones once and fixed content left out: global
    unit numbers in a graph, labels in a recording. int64, shape (n,)."""
    fixed: tuple[tuple[str, object], ...] = ()
    """The arguments that are neither tensors nor numbers of channels."""
    scales: tuple[tuple[str, object], ...] = ()
    """The numbers that it multiplies or divides by."""


@dataclass(frozen=True, eq=False)
class ChannelGraph:
    """What may be cut in a network, and what each cut entails."""

    groups: tuple[Group, ...]
    """All groups, the locked ones included, in the order of the layers that make them."""
    layers: tuple[Layer, ...]
    """All calls of operators with a weight, in order."""
    gathers: tuple[Gather, ...]
    """The buffers that surgery must rewrite."""
    shapes: Mapping[str, tuple[int, ...]]
    """The shape of every parameter and buffer in the dense network."""
    parameters: frozenset[str]
    """The names of the parameters among them (the rest are buffers)."""
    fixed_macs: int = 0
    """The MACs of products without a weight (attention), at batch 1."""
    training_layers: tuple[Layer, ...] = ()
    """The calls with a weight that only training makes: they are cut with the rest, and cost nothing on a device."""
    steps: tuple[Step, ...] = ()
    """Every operator of the forward pass, in order."""
    training_steps: tuple[Step, ...] = ()
    """Those of a pass in training mode, where it does more than drop some of its values."""
    rescalings: tuple[str, ...] = ()
    """The operators and lines that multiply or divide by a number that follows the widths, as far as it was seen."""

    @property
    def made(self) -> frozenset[tuple[str, int]]:
        """Every axis of a weight that makes channels, as (weight, axis)."""
        return frozenset((layer.weight, layer.output_axis) for layer in (*self.layers, *self.training_layers))

    @property
    def free(self) -> tuple[Group, ...]:
        """The groups that may be cut."""
        return tuple(group for group in self.groups if group.locked is None)
