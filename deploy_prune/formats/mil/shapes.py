"""Operators that only move elements: cut, joined, turned, padded, picked, enlarged."""

from __future__ import annotations

from typing import Any

import numpy as np

from deploy_prune.formats.mil.doubt import refuse_doubt

PAD_MODES = {"reflect": "reflect", "replicate": "edge"}


def concat(*, values: Any, axis: Any, interleave: Any = False) -> np.ndarray:
    """Join along an axis, one after the other or element by element in turns."""
    parts = values if isinstance(values, tuple) else (values,)
    if not interleave:
        return np.concatenate(parts, axis=int(axis))
    axis = int(axis) % parts[0].ndim
    shape = list(parts[0].shape)
    shape[axis] *= len(parts)
    return np.stack(parts, axis=axis + 1).reshape(shape)


def split(*, x: Any, axis: Any, num_splits: Any = None, split_sizes: Any = None) -> tuple[np.ndarray, ...]:
    """Cut into equal parts, or parts of the given sizes."""
    if split_sizes is None:
        return tuple(np.split(x, int(num_splits), axis=int(axis)))
    return tuple(np.split(x, np.cumsum(split_sizes)[:-1], axis=int(axis)))


def stack(*, values: Any, axis: Any) -> np.ndarray:
    """Join along a new axis."""
    return np.stack(values if isinstance(values, tuple) else (values,), axis=int(axis))


def slice_by_index(
    *, x: Any, begin: Any, end: Any, stride: Any = None, begin_mask: Any = None, end_mask: Any = None,
    squeeze_mask: Any = None,
) -> np.ndarray:  # fmt: skip
    """Take x[begin:end:stride, ...]; a mask leaves the end open, or takes the one index at `begin`."""
    strides = [1] * x.ndim if stride is None else [int(step) for step in stride]
    no = [False] * x.ndim
    open_begin, open_end, single = (no if mask is None else mask for mask in (begin_mask, end_mask, squeeze_mask))
    index = tuple(
        int(begin[axis])
        if single[axis]
        else slice(
            None if open_begin[axis] else int(begin[axis]), None if open_end[axis] else int(end[axis]), strides[axis]
        )
        for axis in range(x.ndim)
    )
    return np.asarray(x[index])


def slice_by_size(*, x: Any, begin: Any, size: Any) -> np.ndarray:
    """Take `size` elements from `begin`; -1: all that follow."""
    starts = [int(start) % extent if start < 0 else int(start) for start, extent in zip(begin, x.shape, strict=True)]
    ends = [None if count == -1 else start + int(count) for start, count in zip(starts, size, strict=True)]
    return np.asarray(x[tuple(map(slice, starts, ends))])


def crop(*, x: Any, crop_height: Any, crop_width: Any) -> np.ndarray:
    """Cut off so many rows at top and bottom, and columns at left and right."""
    (top, bottom), (left, right) = crop_height, crop_width
    return np.asarray(x[..., int(top) : x.shape[-2] - int(bottom), int(left) : x.shape[-1] - int(right)])


def pad(*, x: Any, pad: Any, mode: str = "constant", constant_val: Any = 0) -> np.ndarray:
    """Pad around the last dimensions."""
    amounts = np.asarray(pad, np.int64).reshape(-1, 2)
    widths = [(0, 0)] * (x.ndim - len(amounts)) + [(int(before), int(after)) for before, after in amounts]
    if mode == "constant":
        return np.pad(x, widths, constant_values=constant_val)
    padding: Any = np.pad
    return np.asarray(padding(x, widths, mode=PAD_MODES[mode]))


def reshape(*, x: Any, shape: Any) -> np.ndarray:
    """The same elements in another shape; -1 is what remains, 0 keeps that dimension."""
    sizes = [x.shape[axis] if size == 0 else int(size) for axis, size in enumerate(shape)]
    return np.asarray(np.reshape(x, sizes))


def transpose(*, x: Any, perm: Any) -> np.ndarray:
    """Put the axes in another order."""
    return np.ascontiguousarray(np.transpose(x, [int(axis) for axis in perm]))


def squeeze(*, x: Any, axes: Any = None) -> np.ndarray:
    """Take axes of size 1 away."""
    return np.asarray(np.squeeze(x, axis=None if axes is None else tuple(int(axis) for axis in axes)))


def expand_dims(*, x: Any, axes: Any) -> np.ndarray:
    """Add axes of size 1."""
    return np.expand_dims(x, tuple(int(axis) for axis in axes))


def tile(*, x: Any, reps: Any) -> np.ndarray:
    """Repeat along each axis."""
    return np.tile(x, [int(count) for count in reps])


def gather(*, x: Any, indices: Any, axis: Any = 0, batch_dims: Any = 0, validate_indices: Any = False) -> np.ndarray:
    """Pick along an axis; an index outside is an error here, whatever `validate_indices` says."""
    del validate_indices
    if int(batch_dims):
        refuse_doubt("gather with batch_dims")
    return np.take(x, np.asarray(indices, np.int64), axis=int(axis))


def upsample_nearest_neighbor(*, x: Any, scale_factor_height: Any = 1, scale_factor_width: Any = 1) -> np.ndarray:
    """Each pixel becomes a block of `height` x `width` pixels.

    Raises:
        NotVerifiable: a scale that is no whole number, as Apple does not say which pixel is then the nearest.
    """
    for axis, factor in ((-2, scale_factor_height), (-1, scale_factor_width)):
        if float(factor) != int(factor):
            refuse_doubt(f"upsample_nearest_neighbor by {float(factor):g}")
        x = np.repeat(x, int(factor), axis=axis)
    return np.asarray(x)


def upsample_bilinear(
    *, x: Any, scale_factor_height: Any = 1, scale_factor_width: Any = 1, align_corners: Any = True
) -> np.ndarray:
    """Each output pixel is a mean of the two nearest in each direction; the scale is that of the rounded sizes."""
    for axis, factor in ((-2, scale_factor_height), (-1, scale_factor_width)):
        size = x.shape[axis]
        wanted = int(size * float(factor))
        places = np.arange(wanted)
        corners, centres = places * ((size - 1) / max(wanted - 1, 1)), (places + 0.5) * (size / wanted) - 0.5
        grid = np.clip(corners if align_corners else centres, 0, size - 1)
        low = grid.astype(np.int64)
        share = (grid - low).astype(x.dtype).reshape((-1, 1) if axis == -2 else (-1,))
        high = np.take(x, np.minimum(low + 1, size - 1), axis=axis)
        x = np.take(x, low, axis=axis) * (1 - share) + high * share
    return np.asarray(x)


def pixel_shuffle(*, x: Any, upscale_factor: Any) -> np.ndarray:
    """Channels to space: (n, c r r, h, w) -> (n, c, h r, w r)."""
    factor, (batch, channels, height, width) = int(upscale_factor), x.shape
    parts = x.reshape(batch, channels // factor**2, factor, factor, height, width)
    return np.asarray(parts.transpose(0, 1, 4, 2, 5, 3).reshape(batch, -1, height * factor, width * factor))
