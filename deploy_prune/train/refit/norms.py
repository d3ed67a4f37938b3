"""The statistics of a batch norm, measured on what it reads in a network that is being refitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def measure_statistics(read: Callable[[int], Tensor], batches: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Measure the mean and the unbiased variance of every channel over some batches: shape (channels,) each.

    Args:
        read: the number of a batch -> what the norm reads, (images, channels, ...).
        batches: their numbers.
    """
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    origin: Tensor | None = None
    for number in batches:
        value = read(number)
        rows = value.movedim(1, 0).flatten(1)
        place = "cpu" if rows.device.type == "mps" else rows.device
        rows = rows.to(place, torch.float64)
        if origin is None:
            origin = rows.mean(1, keepdim=True)
            total, squares = torch.zeros_like(origin[:, 0]), torch.zeros_like(origin[:, 0])
        total = total + (rows - origin).sum(1)
        squares = squares + (rows - origin).square().sum(1)
        count += rows.shape[1]
    assert origin is not None
    mean = total / count
    variance = (squares - count * mean.square()) / max(1, count - 1)
    return origin[:, 0] + mean, variance.clamp(min=0)
