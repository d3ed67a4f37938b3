"""Constants, plain and compressed: what a weight is before anything runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from deploy_prune.formats.mil.elementwise import CASTS


def const(*, val: Any) -> Any:
    """The value itself."""
    return val


def constexpr_affine_dequantize(*, quantized_data: Any, zero_point: Any, scale: Any, axis: Any) -> np.ndarray:
    """scale (data - zero_point), both a number or one per place along the axis."""
    shape = [1] * quantized_data.ndim
    shape[int(axis)] = -1
    wide = np.float32
    shifted = quantized_data.astype(wide) - np.asarray(zero_point, wide).reshape(shape)
    return np.asarray(shifted * np.asarray(scale, wide).reshape(shape))


def constexpr_cast(*, source_val: Any, output_dtype: str) -> np.ndarray:
    """The same numbers in a wider type."""
    return np.asarray(source_val).astype(CASTS[output_dtype])


def constexpr_lut_to_dense(*, indices: Any, lut: Any, shape: Any) -> np.ndarray:
    """The numbers that indices pick from a table; indices are packed, lowest bit first, and may cross bytes."""
    bits = int(lut.size).bit_length() - 1
    count = int(np.prod(shape, dtype=np.int64))
    stream = np.unpackbits(indices, bitorder="little")[: count * bits].reshape(count, bits)
    places = stream.astype(np.int64) @ (1 << np.arange(bits))
    return np.asarray(lut[places].reshape([int(size) for size in shape]))


def constexpr_sparse_to_dense(*, nonzero_data: Any, mask: Any, shape: Any) -> np.ndarray:
    """A bit per element says whether it is in the list of non-zeros, lowest bit first."""
    count = int(np.prod(shape, dtype=np.int64))
    there = np.unpackbits(mask, bitorder="little")[:count].astype(bool)
    out = np.zeros(count, nonzero_data.dtype)
    out[there] = nonzero_data
    return out.reshape([int(size) for size in shape])
