"""Label tensors: one integer per element of an activation, saying which removable unit it belongs to.

A label tensor is an int64 tensor of the activation's true shape with stride 0 along every axis on which the label does
not vary. So it takes memory for the channel axis alone, and a shape operator can be run on it as it stands.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

LOCKED = -1
"""Content nobody may remove (inputs, outputs, unknown operators); what is tied to it is locked too."""
NEUTRAL = -2
"""Known zeros, such as a pad's; ties with anything and locks nothing."""


def constant(value: int, shape: Sequence[int]) -> Tensor:
    """The same label everywhere."""
    return torch.full((1,) * len(shape), value, dtype=torch.int64).expand(tuple(shape))


def along(channel: Tensor, axis: int, shape: Sequence[int]) -> Tensor:
    """Labels that vary along one axis: `channel` has shape (shape[axis],)."""
    sizes = [1] * len(shape)
    sizes[axis] = channel.numel()
    return channel.reshape(sizes).expand(tuple(shape))


def varying(labels: Tensor) -> tuple[int, ...]:
    """The axes along which the label changes."""
    strides, sizes = labels.stride(), labels.shape
    return tuple(axis for axis in range(labels.dim()) if sizes[axis] > 1 and strides[axis] != 0)


def compact(labels: Tensor, keep: Sequence[int] = ()) -> Tensor:
    """The labels with every axis they do not vary on narrowed to size 1, but for the axes in `keep`."""
    free = {*varying(labels), *keep}
    for axis in range(labels.dim()):
        if axis not in free and labels.shape[axis] > 1:
            labels = labels.narrow(axis, 0, 1)
    return labels


def compress(labels: Tensor) -> Tensor:
    """The same labels with stride 0 wherever they turn out not to vary (after an operator that copied them)."""
    for axis in varying(labels):
        first = labels.narrow(axis, 0, 1)
        if bool((labels == first).all()):
            labels = first.expand(labels.shape)
    return labels


def reshape(labels: Tensor, shape: Sequence[int]) -> Tensor:
    """View or, where memory order forbids it, copy."""
    try:
        return labels.view(tuple(shape))
    except RuntimeError:
        return compress(labels.reshape(tuple(shape)))


def on_axis(labels: Tensor, axis: int) -> Tensor | None:
    """Labels along one axis, shape (size,); None where they vary along another axis as well."""
    axis %= labels.dim()
    if any(other != axis for other in varying(labels)):
        return None
    line = compact(labels, keep=(axis,)).reshape(-1)
    return line if line.numel() == labels.shape[axis] else line.expand(labels.shape[axis])


def concatenate(parts: Sequence[Tensor], axis: int) -> Tensor:
    """`torch.cat` without writing out the axes on which no part varies."""
    axis %= parts[0].dim()
    varied = {axis}.union(*(varying(part) for part in parts))
    joined = torch.cat([compact(part, keep=tuple(varied)) for part in parts], axis)
    shape = list(parts[0].shape)
    shape[axis] = joined.shape[axis]
    return joined.expand(shape)


def align(labels: Tensor, shape: Sequence[int]) -> tuple[Tensor, frozenset[int]]:
    """Labels expanded to the shape of an element-wise result, and the axes along which they were broadcast."""
    missing = len(shape) - labels.dim()
    sizes = (1,) * missing + tuple(labels.shape)
    broadcast = frozenset(axis for axis, size in enumerate(sizes) if size == 1 and shape[axis] > 1)
    return labels.reshape(sizes).expand(tuple(shape)), broadcast
