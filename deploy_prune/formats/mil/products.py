"""Operators that add elements up: products with matrices, norms, softmax and reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def linear(*, x: Any, weight: Any, bias: Any = None) -> np.ndarray:
    """x (..., inputs) times weight (outputs, inputs), plus bias."""
    out = np.matmul(x, weight.T)
    return out if bias is None else np.asarray(out + bias)


def matmul(*, x: Any, y: Any, transpose_x: Any = False, transpose_y: Any = False) -> np.ndarray:
    """Matrix product over the last two axes."""
    x = np.swapaxes(x, -1, -2) if transpose_x else x
    return np.asarray(np.matmul(x, np.swapaxes(y, -1, -2) if transpose_y else y))


def batch_norm(*, x: Any, mean: Any, variance: Any, gamma: Any = 1, beta: Any = 0, epsilon: Any = 1e-5) -> np.ndarray:
    """Each channel by its stored mean and variance."""
    scale = gamma / np.sqrt(variance + epsilon)
    shape = (-1, *(1 for _ in x.shape[2:]))
    return np.asarray(x * scale.reshape(shape) + (beta - mean * scale).reshape(shape))


def instance_norm(*, x: Any, gamma: Any = None, beta: Any = None, epsilon: Any = 1e-5) -> np.ndarray:
    """Each channel of each image by its own mean and variance."""
    out = _normalise(x, tuple(range(2, x.ndim)), epsilon)
    shape = (-1, *(1 for _ in x.shape[2:]))
    out = out if gamma is None else out * gamma.reshape(shape)
    return np.asarray(out if beta is None else out + beta.reshape(shape))


def layer_norm(*, x: Any, axes: Any = None, gamma: Any = None, beta: Any = None, epsilon: Any = 1e-5) -> np.ndarray:
    """Normalise over the given axes by their own mean and variance; gamma and beta have those axes' sizes."""
    where = tuple(range(x.ndim)) if axes is None else tuple(sorted(int(axis) % x.ndim for axis in axes))
    out = _normalise(x, where, epsilon)
    shape = [size if axis in where else 1 for axis, size in enumerate(x.shape)]
    out = out if gamma is None else out * gamma.reshape(shape)
    return np.asarray(out if beta is None else out + beta.reshape(shape))


def softmax(*, x: Any, axis: Any = -1) -> np.ndarray:
    """exp(x) over its sum; the largest is taken off first, so that nothing overflows."""
    powers = np.exp(x - x.max(axis=int(axis), keepdims=True))
    return np.asarray(powers / powers.sum(axis=int(axis), keepdims=True))


def make_reduction(reduce: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """MIL's form of a numpy reduction."""

    def reduced(*, x: Any, axes: Any = None, keep_dims: Any = False) -> np.ndarray:
        where = None if axes is None else tuple(int(axis) for axis in axes)
        return np.asarray(reduce(x, axis=where, keepdims=bool(keep_dims)))

    return reduced


def l2_norm(x: Any, *, axis: Any, keepdims: bool) -> np.ndarray:
    """The root of the sum of squares."""
    return np.asarray(np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims)))


def _normalise(x: Any, axes: tuple[int, ...], epsilon: Any) -> Any:
    centred = x - x.mean(axis=axes, keepdims=True)
    return centred / np.sqrt((centred * centred).mean(axis=axes, keepdims=True) + epsilon)
