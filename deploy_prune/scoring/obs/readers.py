"""The layers that read a group's units, whichever way a network is run: what is known of each, and what it sees."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from deploy_prune.graph.flat_layers import LayerForm, NormBehind
from deploy_prune.train.refit.dense_map import Constant
from deploy_prune.values import ChannelGraph


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer that reads units, and that is not itself cut along."""

    weight: str
    """The name of its weight."""
    values: Tensor
    """Its weight."""
    form: LayerForm
    """How it applies it."""
    slope: Tensor | None
    """What the norm that it alone feeds multiplies each channel by: shape (channels,). None: there is no such norm."""
    constant: Constant | None
    """What takes a constant that its output lacks; None: nothing does."""
    columns: Mapping[str, Tensor]
    """Group -> the inputs of each of its units within a block of the layer: int64 (units, columns)."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What a reader saw of one batch."""

    calls: tuple[tuple[Tensor, Tensor], ...]
    """What it read and what it gave, call by call."""
    landed: Tensor
    """The stream that what it gives lands in, with channels along the same axis."""


class Readers(Protocol):
    """The readers of a network, front to back."""

    @property
    def readers(self) -> tuple[Reader, ...]:
        """The readers in the order in which they are called first."""

    def watch(self, reader: Reader) -> Callable[[int], Seen]:
        """Prepare to run one reader, never one before a reader that was watched already: a batch's number -> ..."""


def find_constant(bias: str | None, norm: NormBehind | None) -> Constant | None:
    """Find what takes a constant: the layer's own bias, else the mean of the norm that it alone feeds."""
    if bias is not None:
        return Constant(bias, 1)
    return None if norm is None else Constant(norm.mean, -1)


def find_columns(graph: ChannelGraph, weight: str, form: LayerForm, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Find which inputs of a layer go with each unit of the free groups that it reads; empty where it reads none."""
    if form.kind == "transposed" and form.groups > 1:
        return {}
    axis, places = (0 if form.kind == "transposed" else 1), math.prod(shape[2:])
    columns: dict[str, Tensor] = {}
    for group in graph.free:
        for member in group.members:
            if (member.parameter, member.axis) == (weight, axis):
                inputs = member.indices[:, :, None] * places + np.arange(places)
                columns[group.name] = torch.from_numpy(inputs.reshape(group.width, -1))
    return columns
