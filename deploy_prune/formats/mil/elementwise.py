"""Activations and arithmetic in numpy: each element by itself, operands broadcast as numpy broadcasts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_erf = np.frompyfunc(math.erf, 1, 1)


def clip(*, x: Any, alpha: Any = -math.inf, beta: Any = math.inf) -> Any:
    """Limit to the range from alpha to beta."""
    return np.clip(x, alpha, beta)


def relu(*, x: Any) -> Any:
    """Set negative numbers to zero."""
    return np.maximum(x, 0)


def relu6(*, x: Any) -> Any:
    """Limit to the range from 0 to 6."""
    return np.clip(x, 0, 6)


def leaky_relu(*, x: Any, alpha: Any) -> Any:
    """Multiply negative numbers by alpha."""
    return np.where(x >= 0, x, alpha * x)


def prelu(*, x: Any, alpha: Any) -> Any:
    """Multiply negative numbers by their channel's own alpha."""
    return np.where(x >= 0, x, alpha.reshape(-1, *(1 for _ in x.shape[2:])) * x)


def thresholded_relu(*, x: Any, alpha: Any) -> Any:
    """Set numbers below alpha to zero."""
    return np.where(x >= alpha, x, 0)


def elu(*, x: Any, alpha: Any) -> Any:
    """Replace negative numbers by alpha (exp(x) - 1)."""
    return np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0)))


def sigmoid(*, x: Any) -> Any:
    """1 / (1 + exp(-x)), by tanh, which does not overflow."""
    return 0.5 * (np.tanh(0.5 * x) + 1)


def sigmoid_hard(*, x: Any, alpha: Any, beta: Any) -> Any:
    """alpha x + beta between 0 and 1."""
    return np.clip(alpha * x + beta, 0, 1)


def silu(*, x: Any) -> Any:
    """x sigmoid(x)."""
    return x * sigmoid(x=x)


def softplus(*, x: Any) -> Any:
    """log(1 + exp(x))."""
    return np.logaddexp(x, 0)


def softsign(*, x: Any) -> Any:
    """x / (1 + |x|)."""
    return x / (1 + np.abs(x))


def scaled_tanh(*, x: Any, alpha: Any, beta: Any) -> Any:
    """alpha tanh(beta x)."""
    return alpha * np.tanh(beta * x)


def erf(*, x: Any) -> Any:
    """The error function, in double precision."""
    return np.asarray(_erf(np.asarray(x, np.float64)), np.float64)


def gelu(*, x: Any, mode: str = "EXACT") -> Any:
    """x times the normal distribution's share below x, or one of its two approximations."""
    if mode == "EXACT":
        return 0.5 * x * (1 + erf(x=x * math.sqrt(0.5)))
    if mode == "TANH_APPROXIMATION":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    if mode == "SIGMOID_APPROXIMATION":
        return x * sigmoid(x=1.702 * x)
    raise ValueError(f"gelu mode '{mode}'")


def rsqrt(*, x: Any, epsilon: Any = 1e-12) -> Any:
    """1 / sqrt(x + epsilon)."""
    return 1 / np.sqrt(x + epsilon)


def log(*, x: Any, epsilon: Any = 1e-45) -> Any:
    """log(x + epsilon)."""
    return np.log(x + epsilon)


def inverse(*, x: Any, epsilon: Any = 1e-4) -> Any:
    """1 / (x + epsilon)."""
    return 1 / (x + epsilon)


def cast(*, x: Any, dtype: str) -> Any:
    """Convert to another type; the fraction is dropped, as in C."""
    return np.asarray(x).astype(CASTS[dtype])


CASTS = {"fp16": "<f2", "fp32": "<f4", "int16": "<i2", "uint16": "<u2", "int8": "i1", "uint8": "u1", "int32": "<i4",
         "int64": "<i8", "bool": "?"}  # fmt: skip


def select(*, cond: Any, a: Any, b: Any) -> Any:
    """`a` where the condition holds, otherwise `b`."""
    return np.where(cond, a, b)


def floor_div(*, x: Any, y: Any) -> Any:
    """Quotient, rounded down."""
    return np.floor_divide(x, y)
