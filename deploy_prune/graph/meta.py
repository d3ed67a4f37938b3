"""Runs an operator on meta tensors; where its result has the shape of its input, without asking torch.

torch computes shapes of activations and batch norms by decomposing them in Python, which is half of a trace.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SAME_SHAPE = frozenset(
    [
        "relu",
        "relu6",
        "hardtanh",
        "hardswish",
        "hardsigmoid",
        "silu",
        "sigmoid",
        "gelu",
        "leaky_relu",
        "elu",
        "mish",
        "tanh",
    ]
)

JOINS = frozenset(["add", "sub", "mul"])


def name_of(func: Any) -> str:
    """An operator's name, the in-place variant's without its underscore; other libraries' with their namespace."""
    name: str = func._schema.name.removeprefix("aten::")
    return name.removesuffix("_") if func._schema.is_mutable else name


def run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Compute the operator's result on meta: its shape and type, without data."""
    name = name_of(func)
    if name in SAME_SHAPE and args[0].is_floating_point() and "out" not in kwargs:
        return args[0] if func._schema.is_mutable else torch.empty_like(args[0])
    if name in JOINS and _are_alike(args):
        return args[0] if func._schema.is_mutable else torch.empty_like(args[0])
    if name == "native_batch_norm" and _fits(args):
        saved = args[0].shape[1] if args[5] else 0  # mean and deviation of the batch, for the way back
        return torch.empty_like(args[0]), args[0].new_empty(saved), args[0].new_empty(saved)
    if name == "convolution" and (shape := _find_convolved(args)):
        return args[0].new_empty(shape)
    if func is torch.ops.aten._to_copy.default:
        kwargs = {**kwargs, "device": torch.device("meta")}
    return func(*args, **kwargs)


def _are_alike(args: tuple[Any, ...]) -> bool:
    """Whether two tensors of numbers have the same shape, order in memory and type, so that their join has it too."""
    one, other = args[:2]
    return (
        isinstance(other, Tensor)
        and one.is_floating_point()
        and one.dtype == other.dtype
        and one.shape == other.shape
        and one.stride() == other.stride()
    )


def _find_convolved(args: tuple[Any, ...]) -> tuple[int, ...] | None:
    """The shape of a plain convolution's result; None where anything is out of the ordinary, or torch would refuse."""
    source, weight, bias, stride, padding, dilation, transposed, _, groups = args
    plain = source.is_contiguous() and weight.is_contiguous() and source.dim() == weight.dim() > 2
    fits = plain and source.dtype == weight.dtype and source.shape[1] == weight.shape[1] * groups
    wide = len(stride) == len(padding) == len(dilation) == source.dim() - 2
    if transposed or not (fits and wide) or (bias is not None and bias.shape != weight.shape[:1]):
        return None
    spaces = zip(source.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    sizes = [(size + 2 * pad - by * (kernel - 1) - 1) // step + 1 for size, kernel, step, pad, by in spaces]
    return (source.shape[0], weight.shape[0], *sizes) if min(sizes) > 0 and not weight.shape[0] % groups else None


def _fits(args: tuple[Any, ...]) -> bool:
    """Whether the statistics are of the input's own size; anything else is torch's to refuse."""
    source, *statistics = args[:5]
    channels = source.shape[1] if source.dim() > 1 else None
    return all(each.shape == (channels,) for each in statistics if isinstance(each, Tensor))
