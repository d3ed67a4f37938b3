"""Convolutions and poolings in numpy, for any number of spatial dimensions; tensors are (batch, channels, *space)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from deploy_prune.formats.mil.doubt import refuse_doubt

BLOCK_BYTES = 1 << 18
"""Channels of a depthwise convolution are taken in blocks that stay in the second-level cache."""

Pads = list[tuple[int, int]]


def conv(
    *, x: Any, weight: Any, strides: Any = None, pad_type: str = "valid", pad: Any = None, dilations: Any = None,
    groups: Any = 1, bias: Any = None,
) -> np.ndarray:  # fmt: skip
    """Cross-correlation: weight (C_out, C_in / groups, *kernel)."""
    space, kernel = x.shape[2:], weight.shape[2:]
    strides, dilations = _list_each(strides, len(space)), _list_each(dilations, len(space))
    extents = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    x = _pad_around(x, find_pads(pad_type, pad, space, extents, strides), 0)
    sizes = _count_places(x, extents, strides)
    if int(groups) == x.shape[1]:
        out = _convolve_depthwise(x, weight, sizes, (strides, dilations))
    else:
        taps = [_view_at(x, place) for place in _find_places(kernel, sizes, strides, dilations)]
        out = _multiply_groups(taps, weight, int(groups))
    return out if bias is None else out + bias.reshape(-1, *(1 for _ in space))


def conv_transpose(
    *, x: Any, weight: Any, bias: Any = None, pad: Any = None, output_shape: Any = None, pad_type: str = "valid",
    strides: Any = None, dilations: Any = None, groups: Any = 1,
) -> np.ndarray:  # fmt: skip
    """The gradient of a convolution with respect to its input: weight (C_in, C_out / groups, *kernel)."""
    space, kernel, groups = x.shape[2:], weight.shape[2:], int(groups)
    strides, dilations = _list_each(strides, len(space)), _list_each(dilations, len(space))
    extents = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    full = [(size - 1) * stride + extent for size, stride, extent in zip(space, strides, extents, strict=True)]
    outputs = weight.shape[1] * groups
    grown = np.zeros((len(x), outputs, *full), x.dtype)
    inputs = x.reshape(len(x), groups, -1, int(np.prod(space)))
    matrices = weight.reshape(groups, -1, weight.shape[1], int(np.prod(kernel)))
    for tap, place in enumerate(_find_places(kernel, space, strides, dilations)):
        part = np.matmul(np.swapaxes(matrices[..., tap], 1, 2), inputs)
        _view_at(grown, place)[...] += part.reshape(len(x), outputs, *space)
    crops = find_pads("custom", pad if pad_type == "custom" else None, space, extents, strides)
    wanted = [size - sum(crop) for size, crop in zip(full, crops, strict=True)]
    if output_shape is not None and [int(size) for size in np.asarray(output_shape)[-len(space) :]] != wanted:
        refuse_doubt("conv_transpose with an output_shape that its pad does not give: Apple does not say what is cut")
    out = _view_at(grown, tuple(slice(before, before + size) for (before, _), size in zip(crops, wanted, strict=True)))
    return out if bias is None else out + bias.reshape(-1, *(1 for _ in space))


def max_pool(
    *, x: Any, kernel_sizes: Any, pad_type: str, strides: Any = None, pad: Any = None, ceil_mode: Any = False
) -> np.ndarray:
    """The largest value of each window; padding never wins."""
    x, places, _ = _pool(x, kernel_sizes, padding=(pad_type, pad), strides=strides, ceil_mode=ceil_mode, fill=-np.inf)
    out = np.full((), -np.inf, x.dtype)
    for place in places:
        out = np.maximum(out, _view_at(x, place))
    return out


def avg_pool(
    *, x: Any, kernel_sizes: Any, pad_type: str, strides: Any = None, pad: Any = None,
    exclude_padding_from_average: Any = False, ceil_mode: Any = False,
) -> np.ndarray:  # fmt: skip
    """The mean of each window, without what is padding."""
    space = x.shape[2:]
    x, places, pads = _pool(x, kernel_sizes, padding=(pad_type, pad), strides=strides, ceil_mode=ceil_mode, fill=0)
    if any(map(any, pads)) and not exclude_padding_from_average:
        refuse_doubt("avg_pool that counts padding: Core ML is reported to do it otherwise")
    counted = _pad_around(np.ones((1, 1, *space), x.dtype), pads, 0)
    if counted.shape[2:] != x.shape[2:]:
        refuse_doubt("avg_pool whose windows hang over: Apple does not say what they are divided by")
    total: Any = sum(_view_at(x, place) for place in places)
    return np.asarray(total / sum(_view_at(counted, place) for place in places))


def find_pads(kind: str, pad: Any, space: Sequence[int], extents: Sequence[int], strides: Sequence[int]) -> Pads:
    """Padding before and after each dimension; `same` puts the odd one after, `same_lower` before."""
    if kind == "valid":
        return [(0, 0)] * len(space)
    if kind == "custom":
        amounts = [int(amount) for amount in np.asarray(pad if pad is not None else [0] * 2 * len(space))]
        return list(zip(amounts[::2], amounts[1::2], strict=True))
    if kind not in {"same", "same_lower"}:
        raise ValueError(f"pad_type '{kind}'")
    totals = [
        max((-(-size // stride) - 1) * stride + extent - size, 0)
        for size, extent, stride in zip(space, extents, strides, strict=True)
    ]
    halves = [(total // 2, total - total // 2) for total in totals]
    return halves if kind == "same" else [(after, before) for before, after in halves]


def _pool(
    x: Any, kernel: Any, *, padding: tuple[str, Any], strides: Any, ceil_mode: Any, fill: float
) -> tuple[Any, list[tuple[slice, ...]], Pads]:
    """The padded input, where each tap of the window reads, and the padding without what ceil_mode adds."""
    kernel = [int(size) for size in kernel]
    space, strides = x.shape[2:], _list_each(strides, len(kernel))
    pads = find_pads(padding[0], padding[1], space, kernel, strides)
    extra = []
    for size, (before, after), extent, stride in zip(space, pads, kernel, strides, strict=True):
        rest = size + before + after - extent
        windows = -(-rest // stride) + 1 if ceil_mode else rest // stride + 1
        # the last window must begin within the input or its left padding
        windows -= int(bool(ceil_mode) and before + after > 0 and (windows - 1) * stride >= size + before)
        extra.append((0, max((windows - 1) * stride + extent - size - before - after, 0)))
    x = _pad_around(_pad_around(x, pads, fill), extra, fill)
    places = list(_find_places(kernel, _count_places(x, kernel, strides), strides, [1] * len(kernel)))
    return x, places, pads


def _multiply_groups(taps: Sequence[np.ndarray], weight: np.ndarray, groups: int) -> np.ndarray:
    """Taps, each (batch, C_in, *sizes), times weights: one matrix product per group."""
    batch, sizes = len(taps[0]), taps[0].shape[2:]
    stacked = np.stack(taps, axis=2) if len(taps) > 1 else taps[0]
    columns = stacked.reshape(batch, groups, -1, int(np.prod(sizes)))
    rows = weight.reshape(groups, len(weight) // groups, -1)
    return np.asarray(np.matmul(rows, columns).reshape(batch, len(weight), *sizes))


def _convolve_depthwise(
    x: np.ndarray, weight: np.ndarray, sizes: Sequence[int], steps: tuple[Sequence[int], Sequence[int]]
) -> np.ndarray:
    """Each channel by its own kernels: taps are added up, a block of channels at a time."""
    if all(stride == 1 for stride in steps[0]):
        return _convolve_depthwise_flat(x, weight, sizes, steps[1])
    out = _add_taps(x, weight, list(_find_places(weight.shape[2:], sizes, *steps)), sizes)
    return out.reshape(len(x), len(weight), *sizes)


def _convolve_depthwise_flat(
    x: np.ndarray, weight: np.ndarray, sizes: Sequence[int], dilations: Sequence[int]
) -> np.ndarray:
    """Convolve where no stride is above 1: a tap is then equally far away for all pixels, also across the ends of rows.

    So planes are taken as one long row, which is several times faster than many short ones; what was computed
    across the ends is dropped.
    """
    whole = x.shape[2:]
    distances = [int(np.prod(whole[axis + 1 :])) for axis in range(len(whole))]
    length = 1 + sum((size - 1) * distance for size, distance in zip(sizes, distances, strict=True))
    taps = itertools.product(*map(range, weight.shape[2:]))
    starts = [sum(int(np.prod(step)) for step in zip(tap, dilations, distances, strict=True)) for tap in taps]
    flat = x.reshape(*x.shape[:2], -1)
    added = _add_taps(flat, weight, [(slice(start, start + length),) for start in starts], [length])
    rows = np.pad(added.reshape(len(x), len(weight), length), [(0, 0), (0, 0), (0, sizes[0] * distances[0] - length)])
    planes = rows.reshape(len(x), len(weight), sizes[0], *whole[1:])
    return _view_at(planes, tuple(slice(size) for size in sizes))


def _add_taps(
    x: np.ndarray, weight: np.ndarray, places: Sequence[tuple[slice, ...]], sizes: Sequence[int]
) -> np.ndarray:
    """(batch, channels, multiplier, *sizes): the sum over taps of weight times what lies at the tap's place."""
    channels, multiplier = x.shape[1], len(weight) // x.shape[1]
    kernels = weight.reshape(channels, multiplier, -1)
    out = np.empty((len(x), channels, multiplier, *sizes), x.dtype)
    step = max(1, BLOCK_BYTES // (4 * len(x) * int(np.prod(sizes))))
    for start in range(0, channels, step):
        block = slice(start, start + step)
        for each in range(multiplier):
            target = out[:, block, each]
            part = np.empty_like(target)
            for tap, place in enumerate(places):
                factor = kernels[block, each, tap].reshape(1, -1, *(1 for _ in sizes))
                np.multiply(_view_at(x[:, block], place), factor, out=part if tap else target)
                if tap:
                    target += part
    return out


def _view_at(x: np.ndarray, place: tuple[slice, ...]) -> np.ndarray:
    """A view of a place in the last dimensions."""
    index: Any = (..., *place)
    return np.asarray(x[index])


def _find_places(
    kernel: Sequence[int], sizes: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Iterator[tuple[slice, ...]]:
    """The slice of the input that each tap of a kernel meets, row by row."""
    for tap in itertools.product(*map(range, kernel)):
        starts = [index * dilation for index, dilation in zip(tap, dilations, strict=True)]
        yield tuple(
            slice(start, start + (size - 1) * stride + 1, stride)
            for start, size, stride in zip(starts, sizes, strides, strict=True)
        )


def _count_places(x: np.ndarray, extents: Sequence[int], strides: Sequence[int]) -> list[int]:
    return [(size - extent) // stride + 1 for size, extent, stride in zip(x.shape[2:], extents, strides, strict=True)]


def _pad_around(x: np.ndarray, pads: Pads, fill: float) -> np.ndarray:
    if not any(map(any, pads)):
        return x
    return np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)


def _list_each(values: Any, count: int) -> list[int]:
    return [1] * count if values is None else [int(value) for value in values]
