"""What one traced forward pass said: the labels it gave out, which of them met, and what may not be removed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from deploy_prune.values import Layer, Step


@dataclass(frozen=True)
class Slots:
    """The labels of one axis of one parameter: `first`, `first + 1`, ..."""

    parameter: str
    axis: int
    first: int
    """The first label."""
    size: int
    """How many labels there are, which is the size of the axis."""


@dataclass(frozen=True, eq=False)
class Tie:
    """Pairs of labels that must be kept or removed together, and the source line that says so."""

    left: Tensor
    """int64, shape (pairs,)."""
    right: Tensor
    """int64, shape (pairs,)."""
    where: str


@dataclass(frozen=True, eq=False)
class Lock:
    """Labels that may not be removed, and why."""

    labels: Tensor
    """int64, shape (labels,)."""
    reason: str


@dataclass(frozen=True, eq=False)
class GatherCall:
    """A constant index buffer applied to a channel axis that carries these labels."""

    buffer: str
    labels: Tensor
    """The labels of the axis that is picked from: int64, shape (channels,)."""


class Recording:
    """What one traced forward pass said: a notebook that grows while the pass runs and is only read afterwards."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        """Parameters and buffers on meta, by name."""
        self.slots: dict[tuple[str, int], Slots] = {}
        """(Parameter, axis) -> its labels, for each that was asked for."""
        self.ties: list[Tie] = []
        self.locks: list[Lock] = []
        self.layers: list[Layer] = []
        """The operators that apply a weight, in the order of their calls."""
        self.pins: list[Lock] = []
        """Single channels that are broadcast over others: locked where they are one of several of their kind."""
        self.gathers: list[GatherCall] = []
        self.residuals: list[Tensor] = []
        """The labels of each operand of each residual add: int64, shape (channels,) each."""
        self.fixed_macs = 0
        """MACs of products without a weight, at batch 1."""
        self.labels_used = 0
        """The next label that nobody has."""
        self.steps: list[Step] = []
        """Every operator in the order of the calls, with the labels that it reads."""
        self.results: list[tuple[Tensor, ...]] = []
        """The labels of what each step returned, in the shapes of its results: int64."""
        self.training_layers: list[Layer] = []
        """The operators that apply a weight which no other call applies, in a pass in training mode."""
        self.training_steps: list[Step] = []
        """The steps of a pass in training mode, where it does something of its own."""

    def fork(self) -> Recording:
        """A second notebook with all that is in this one, to go on in."""
        other = Recording(self.tensors)
        vars(other).update({name: copy.copy(value) for name, value in vars(self).items()})
        return other
