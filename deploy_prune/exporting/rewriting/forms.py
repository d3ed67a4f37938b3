"""Equal forms of convolutions, nearest pixels, expansion, powers, extremes and padding.

Every function looks at a call and gives a form for it, or None where the operator may stay as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv_transpose2d, pad

from deploy_prune.exporting.rewriting.call import Call, Form

DEEPEST = 4
"""The most dimensions that LiteRT's power broadcasts in."""


def crop_transposed(call: Call) -> Form | None:
    """Convolve transposed without padding, cut off what padding takes, and add what output padding adds.

    One dimension is taken as two, and a dilated kernel as a larger one with zeros between. A convolution of two
    dimensions stays as it is without any of these, or where it enlarges the image by just its stride.
    """
    shape = call.arguments["weight"].shape[2:]
    sides = _Sides(*(call.list_each(name, len(shape)) for name in ("stride", "padding", "output_padding", "dilation")))
    groups = call.arguments["groups"]
    if len(shape) == 2 and sides.is_plain(shape):
        return None

    def crop(image: Tensor, weight: Tensor, bias: Tensor | None = None, *_: Any) -> Tensor:
        kernel = _spread(weight, sides.dilation)
        if len(shape) == 1:
            whole = conv_transpose2d(image[:, :, None], kernel[:, :, None], None, (1, *sides.stride), groups=groups)
            whole = whole[:, :, 0]
        else:
            whole = call.operator(image, kernel, None, sides.stride, groups=groups)
        fitting = _fit(whole, sides)
        return fitting if bias is None else fitting + bias.reshape(-1, *(1 for _ in shape))

    return crop


@dataclass(frozen=True)
class _Sides:
    """A transposed convolution's numbers, each per dimension."""

    stride: Sequence[int]
    padding: Sequence[int]
    output_padding: Sequence[int]
    dilation: Sequence[int]

    def is_plain(self, kernel: Sequence[int]) -> bool:
        """Whether there is no padding at all, or just as much as makes the output `stride` times as large."""
        if any(self.output_padding) or any(step > 1 for step in self.dilation):
            return False
        sides = zip(kernel, self.padding, self.stride, strict=True)
        return not any(self.padding) or all(size - 2 * cut == step for size, cut, step in sides)


def _spread(weight: Tensor, steps: Sequence[int]) -> Tensor:
    """A kernel with zeros between its numbers: what a dilation by these steps reads."""
    for axis, step in enumerate(steps, start=2):
        if step > 1:
            size = (weight.shape[axis] - 1) * step + 1
            apart = pad(weight.unsqueeze(axis + 1), _pad_one(weight, axis, step - 1))
            weight = apart.flatten(axis, axis + 1).narrow(axis, 0, size)
    return weight


def _fit(whole: Tensor, sides: _Sides) -> Tensor:
    """The part of a transposed convolution without padding that one with padding gives."""
    for axis, (cut, more) in enumerate(zip(sides.padding, sides.output_padding, strict=True), start=2):
        size = whole.shape[axis] - 2 * cut + more
        there = min(size, whole.shape[axis] - cut)
        whole = whole.narrow(axis, cut, there)
        if size > there:
            whole = pad(whole, _pad_one(whole, axis, size - there))
    return whole


def _pad_one(tensor: Tensor, axis: int, count: int) -> list[int]:
    """What `pad` takes for so many zeros at the end of one axis."""
    return [0, 0] * (tensor.ndim - 1 - axis) + [0, count]


def pick_nearest(call: Call) -> Form | None:
    """Pick rows, columns, ... by their numbers, where an image is resized to a size that is no multiple of its own.

    The numbers are torch's: an image of places is resized by the operator itself, as its kernels round in several ways.
    """
    shape, rest = call.image.shape, list(call.arguments.values())[1:]
    picked = []
    for axis, size in enumerate(shape[2:], start=2):
        places = torch.arange(float(size)).reshape(-1, *[1] * (len(shape) - 1 - axis)).expand(shape).contiguous()
        resized = call.operator(places, *rest).movedim(axis, -1)
        picked.append([int(place) for place in resized.reshape(-1, resized.shape[-1])[0]])
    if not any(len(places) % size for places, size in zip(picked, shape[2:], strict=True)):
        return None

    def pick(image: Tensor, *_: Any, **__: Any) -> Tensor:
        for axis, places in enumerate(picked, start=2):
            image = image.index_select(axis, torch.tensor(places))
        return image

    return pick


def repeat_expanded(call: Call) -> Form | None:
    """Repeat what is expanded, where it becomes larger at all."""
    own, asked = call.image.shape, call.arguments
    sizes = list(asked["other"].shape) if "other" in asked else [int(size) for size in asked["size"]]
    new = len(sizes) - len(own)
    sizes = [own[axis - new] if size == -1 else size for axis, size in enumerate(sizes)]
    counts = [size if axis < new or own[axis - new] == 1 else 1 for axis, size in enumerate(sizes)]
    if all(count == 1 for count in counts):
        return None
    return lambda image, *_, **__: image.repeat(counts)


def raise_flat(call: Call) -> Form | None:
    """Raise all numbers in a row to a power, where they have more dimensions than are broadcast."""
    if call.image.ndim <= DEEPEST:
        return None
    return lambda image, exponent: call.operator(image.flatten(), exponent).reshape(image.shape)


def part_largest(_: Call) -> Form | None:
    """Take the largest numbers and their places, each by an operator of its own."""
    return lambda image, dim, keepdim=False: (image.amax(dim, keepdim), image.argmax(dim, keepdim))


def part_smallest(_: Call) -> Form | None:
    """Take the smallest numbers and their places, each by an operator of its own."""
    return lambda image, dim, keepdim=False: (image.amin(dim, keepdim), image.argmin(dim, keepdim))


def pad_in_turns(call: Call) -> Form | None:
    """Cut off where padding is negative, then pad; around a circle by joining the other end."""
    amounts, mode = [int(amount) for amount in call.arguments["pad"]], call.arguments.get("mode", "constant")
    if all(amount >= 0 for amount in amounts) and mode != "circular":
        return None
    ends = {call.image.ndim - 1 - number: amounts[2 * number : 2 * number + 2] for number in range(len(amounts) // 2)}
    growing = [max(amount, 0) for amount in amounts]

    def padded(image: Tensor, *_: Any, **__: Any) -> Tensor:
        for axis, (before, after) in ends.items():
            size = image.shape[axis]
            image = image.narrow(axis, max(-before, 0), size - max(-before, 0) - max(-after, 0))
        if mode != "circular":
            return pad(image, growing, mode=mode, value=call.arguments["value"])
        for axis, (before, after) in ends.items():
            size, (left, right) = image.shape[axis], (max(before, 0), max(after, 0))
            image = torch.cat([image.narrow(axis, size - left, left), image, image.narrow(axis, 0, right)], axis)
        return image

    return padded


def pad_same(call: Call) -> Form | None:
    """Pad as "same" means it in torch, all of it before the convolution."""
    kernel = call.arguments["weight"].shape[2:]
    if call.arguments["padding"] != "same":
        return None
    steps, ones, groups = call.list_each("dilation", len(kernel)), [1] * len(kernel), call.arguments["groups"]
    totals = [step * (size - 1) for step, size in zip(steps, kernel, strict=True)]
    ends = [end for total in reversed(totals) for end in (total // 2, total - total // 2)]
    return lambda image, weight, bias=None, *_: call.operator(
        pad(image, ends), weight, bias, ones, "valid", steps, groups
    )
