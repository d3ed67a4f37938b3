"""Every kind of layer as plain matrices: its inputs and outputs at sampled positions, and its weight in blocks.

A block is what one group of a layer does: a dense layer is one block, a depthwise convolution one per channel. Rows are
positions; a block multiplies its inputs at a position (channels x kernel places) by a matrix.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deploy_prune.graph.flat_layers import LayerForm


@dataclass(frozen=True, eq=False)
class Rows:
    """A layer's inputs and outputs at some positions."""

    inputs: Tensor
    """Shape (positions, blocks, inputs of a block)."""
    outputs: Tensor
    """Shape (positions, blocks, outputs of a block)."""

    @property
    def count(self) -> int:
        """How many positions these are."""
        return len(self.inputs)


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Put rows one behind the other."""
    return Rows(torch.cat([part.inputs for part in parts]), torch.cat([part.outputs for part in parts]))


def sample_rows(
    form: LayerForm,
    kernel: Sequence[int],
    given: Tensor,
    wanted: Sequence[Tensor],
    *,
    positions: int,
    generator: torch.Generator,
) -> Rows:
    """Pick a layer's inputs and outputs at random output positions of each image.

    Args:
        form: how the layer applies its weight.
        kernel: the size of its kernel, one number per spatial axis; empty for a linear layer.
        given: what it reads: (images, channels, ...), or (images, ..., channels) for a linear layer.
        wanted: what it should give, in the same order of axes: one way or several, which come side by side in each
            block's outputs.
        positions: how many of each image, at most.
        generator: draws them, on the CPU.
    """
    if form.kind == "linear":
        flat = [value.reshape(len(value), -1, value.shape[-1]) for value in wanted]
        chosen = _draw(flat[0].shape[:2], positions, generator)
        read = _pick(given.reshape(len(given), -1, given.shape[-1]), chosen).flatten(0, 1)
    else:
        flat, inner = [value.flatten(2).transpose(1, 2) for value in wanted], wanted[0].shape[2:]
        chosen = _draw((len(given), math.prod(inner)), positions, generator)
        read = _gather(form, kernel, given, (chosen, inner))
    asked = [_pick(value, chosen).reshape(len(read), form.groups, -1) for value in flat]
    return Rows(read.reshape(len(read), form.groups, -1), torch.cat(asked, dim=2))


def _draw(shape: Sequence[int], positions: int, generator: torch.Generator) -> Tensor:
    """The numbers of some positions of each image: int64 (images, positions)."""
    images, total = shape
    if positions >= total:
        return torch.arange(total).expand(images, total)
    return torch.rand((images, total), generator=generator).topk(positions, dim=1).indices


def _pick(values: Tensor, chosen: Tensor) -> Tensor:
    """The values (images, positions, channels) at chosen positions (images, fewer)."""
    picture = torch.arange(len(values))[:, None].to(values.device)
    return values[picture, chosen.to(values.device)]


def _gather(form: LayerForm, kernel: Sequence[int], given: Tensor, where: tuple[Tensor, Sequence[int]]) -> Tensor:
    """What each kernel place reads at chosen output positions: (images x positions, channels, kernel places).

    Places are worked out on the CPU, whatever the accelerator is.
    """
    chosen, inner = where
    sizes = given.shape[2:]
    outputs = torch.unravel_index(chosen, tuple(inner))
    offsets = torch.tensor(list(itertools.product(*map(range, kernel))))
    source = torch.zeros((*chosen.shape, len(offsets)), dtype=torch.long)
    inside = torch.ones_like(source, dtype=torch.bool)
    for axis, size in enumerate(sizes):
        at, fits = _source(form, axis, outputs[axis][..., None], offsets[:, axis])
        inside &= fits & (at >= 0) & (at < size)
        source = source * size + at.clamp(0, size - 1)
    channels_last = given.flatten(2).transpose(1, 2)  # (images, input positions, channels)
    picture = torch.arange(len(given))[:, None, None].to(given.device)
    read = channels_last[picture, source.to(given.device)] * inside[..., None].to(given)
    return read.flatten(0, 1).transpose(1, 2)


def _source(form: LayerForm, axis: int, output: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Where along an axis a kernel place reads for an output position, and whether it reads there at all."""
    stride, dilation, before = form.stride[axis], form.dilation[axis], form.pads[axis][0]
    if form.kind == "transposed":
        reached = output + before - place * dilation
        return torch.div(reached, stride, rounding_mode="floor"), reached % stride == 0
    at = output * stride + place * dilation - before
    return at, torch.ones_like(at, dtype=torch.bool)


def as_blocks(weight: Tensor, form: LayerForm) -> Tensor:
    """Lay a weight (or its mask) out in blocks: shape (blocks, outputs of a block, inputs of a block)."""
    if form.kind == "transposed":  # (inputs, outputs of a group, ...)
        parts = weight.reshape(form.groups, -1, weight.shape[1], math.prod(weight.shape[2:]))
        return parts.transpose(1, 2).flatten(2)
    return weight.reshape(form.groups, len(weight) // form.groups, -1)


def from_blocks(blocks: Tensor, form: LayerForm, shape: Sequence[int]) -> Tensor:
    """Undo `as_blocks`, for a weight of this shape."""
    if form.kind == "transposed":
        groups, outputs, _ = blocks.shape
        parts = blocks.reshape(groups, outputs, shape[0] // groups, -1)
        return parts.transpose(1, 2).reshape(tuple(shape))
    return blocks.reshape(tuple(shape))
