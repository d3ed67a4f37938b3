"""Equal forms of poolings whose windows hang over the image, are dilated, or divide by a number of their own.

Every function looks at a call and gives a form for it, or None where the operator may stay as it is.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from deploy_prune.exporting.rewriting.call import Call, Form


def average_padded(call: Call) -> Form | None:
    """Pad with zeros, divide every window by its whole size, and multiply by what torch divides by instead.

    Where padding is counted, where windows hang over the padded image, or where they are divided by a number that is
    not their size. Else rounding up is left out, as Core ML counts a last window that lies outside and torch does not.
    """
    window, divisor = Window(call), call.arguments.get("divisor_override")
    counts_padding = call.arguments["count_include_pad"]
    if divisor is None and not any(window.overhang) and not (counts_padding and any(window.padding)):
        return round_down(call)
    divisors = window.count(include_padding=counts_padding) if divisor is None else np.array(divisor)
    corrections = np.prod(window.kernel) / divisors

    def average(image: Tensor, *_: Any) -> Tensor:
        means: Tensor = call.operator(pad(image, window.ends), window.kernel, window.strides)
        return means if (corrections == 1).all() else means * torch.tensor(corrections.tolist(), dtype=image.dtype)

    return average


def average_exactly(call: Call) -> Form | None:
    """The same, but only where windows hang over or a divisor is given; padding that is counted stays as it is."""
    given = call.arguments.get("divisor_override") is not None
    return average_padded(call) if given or any(Window(call).overhang) else round_down(call)


def average_inside(call: Call) -> Form | None:
    """The same, but only where rounding up adds a window that would begin outside the image: torch has none there."""
    return average_padded(call) if Window(call).begins_outside else round_down(call)


def average_whole(call: Call) -> Form | None:
    """Take the mean where an adaptive pooling leaves one number per channel."""
    if set(call.list_each("output_size", 2)) != {1}:
        return None
    return lambda image, *_: image.mean((-2, -1), keepdim=True)


def compare_taps(call: Call) -> Form | None:
    """Take the pixels of dilated windows one by one, and do without windows that would begin outside the image."""
    window = Window(call)
    if any(step > 1 for step in window.dilation):
        return lambda image, *_: _take_largest(image, window)
    return compare_inside(call)


def compare_inside(call: Call) -> Form | None:
    """Pad with the lowest number where one dimension's last window hangs over and another's would begin outside."""
    window = Window(call)
    if not (any(window.overhang) and window.begins_outside):
        return round_down(call)
    size, stride, step = window.kernel, window.strides, window.dilation
    return lambda image, *_: call.operator(_pad_lowest(image, window), size, stride, [0] * len(size), step)


def round_down(call: Call) -> Form | None:
    """Round down where rounding up adds no window, as one that would begin outside the image is none to torch."""
    if not call.arguments["ceil_mode"] or any(Window(call).overhang):
        return None
    _, *rest = (False if name == "ceil_mode" else value for name, value in call.arguments.items())
    return lambda image, *_: call.operator(image, *rest)


def _pad_lowest(image: Tensor, window: Window) -> Tensor:
    return pad(image, window.ends, value=torch.finfo(image.dtype).min)


def _take_largest(image: Tensor, window: Window) -> Tensor:
    """The largest of every window, by one slice of the image per place in the window."""
    padded = _pad_lowest(image, window)
    parts = []
    for tap in itertools.product(*map(range, window.kernel)):
        starts = [place * step for place, step in zip(tap, window.dilation, strict=True)]
        sides = zip(starts, window.places, window.strides, strict=True)
        index: Any = (..., *(slice(start, start + (count - 1) * stride + 1, stride) for start, count, stride in sides))
        parts.append(padded[index])
    return functools.reduce(torch.maximum, parts)


class Window:
    """How a pooling goes over an image; every list has a number per dimension."""

    def __init__(self, call: Call) -> None:
        self.space = list(call.image.shape[2:])
        count = len(self.space)
        self.kernel = call.list_each("kernel_size", count)
        self.strides = call.list_each("stride", count) or self.kernel
        self.padding = call.list_each("padding", count)
        self.dilation = call.list_each("dilation", count) if "dilation" in call.arguments else [1] * count
        self.extents = [(size - 1) * step + 1 for size, step in zip(self.kernel, self.dilation, strict=True)]
        """How much of the image a window covers."""
        sides = zip(self.space, self.extents, self.strides, self.padding, strict=True)
        self.places = [_count_windows(*side, ceil_mode=call.arguments["ceil_mode"]) for side in sides]
        """How many windows there are."""
        self.begins_outside = call.arguments["ceil_mode"] and any(
            -(-(size + 2 * before - extent) // stride) >= places for places, stride, extent, size, before in self._sides
        )
        """Whether rounding up would add a window to some dimension that begins outside the image."""
        self.overhang = [
            max((places - 1) * stride + extent - size - 2 * before, 0)
            for places, stride, extent, size, before in self._sides
        ]
        """How far the last window reaches beyond the padded image."""

    @property
    def ends(self) -> list[int]:
        """What is padded before and after each dimension, the last one first, as `pad` takes it."""
        ends = [(before, before + more) for before, more in zip(self.padding, self.overhang, strict=True)]
        return [number for pair in reversed(ends) for number in pair]

    def count(self, *, include_padding: bool) -> np.ndarray:
        """How many numbers torch divides each window's sum by, (*places)."""
        counts = []
        for places, stride, extent, size, before in self._sides:
            starts = np.arange(places) * stride - before
            ends = np.minimum(starts + extent, size + before)
            counts.append(ends - starts if include_padding else np.minimum(ends, size) - np.maximum(starts, 0))
        return np.asarray(np.prod(np.meshgrid(*counts, indexing="ij"), axis=0))

    @property
    def _sides(self) -> list[tuple[int, int, int, int, int]]:
        return list(zip(self.places, self.strides, self.extents, self.space, self.padding, strict=True))


def _count_windows(size: int, extent: int, stride: int, padding: int, *, ceil_mode: bool) -> int:
    rest = size + 2 * padding - extent
    count = (-(-rest // stride) if ceil_mode else rest // stride) + 1
    # the last window must begin within the image or the padding before it
    return count - int(ceil_mode and (count - 1) * stride >= size + padding)
