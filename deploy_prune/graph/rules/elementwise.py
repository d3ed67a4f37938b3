"""Operators that meet element by element, and content that is made from nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deploy_prune.graph import labels as lab
from deploy_prune.graph.labels import LOCKED, NEUTRAL
from deploy_prune.graph.ledger import Ledger
from deploy_prune.graph.meta import SAME_SHAPE
from deploy_prune.graph.rules.call import Call, Rule, everywhere, tensors


def elementwise(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """Operands meet element by element; along an axis where one is broadcast it ties nothing."""
    operands = tensors((call.args, call.kwargs))
    if not operands:
        return everywhere(LOCKED, call)
    joined, stretched = _align(ledger, operands[0], call.shape)
    for operand in operands[1:]:
        other, other_stretched = _align(ledger, operand, call.shape)
        joined = meet(ledger, (joined, stretched), (other, other_stretched))
        stretched &= other_stretched
    return [joined] * len(everywhere(LOCKED, call))


def _align(ledger: Ledger, operand: Tensor, shape: tuple[int, ...]) -> Operand:
    """An operand's labels in the shape of the result; what was expanded before is stretched as well."""
    labels, stretched = lab.align(ledger.labels(operand), shape)
    missing = len(shape) - operand.dim()
    expanded = (axis + missing for axis, step in enumerate(operand.stride()) if step == 0 and operand.shape[axis] > 1)
    return labels, stretched.union(expanded)


def residual(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """An addition; where two activations with channels of their own meet, it is a residual one."""
    operands = [tensor for tensor in tensors(call.args) if ledger.weight(tensor) is None]
    streams = [ledger.labels(tensor) for tensor in operands]
    if sum(1 for stream in streams if lab.varying(stream)) > 1:
        ledger.recording.residuals += [lab.compact(stream).reshape(-1) for stream in streams]
    return elementwise(ledger, call)


Operand = tuple[Tensor, frozenset[int]]
"""Labels in the shape of the result, and the axes along which they were stretched to it (broadcast)."""


def meet(ledger: Ledger, left: Operand, right: Operand) -> Tensor:
    """Let two operands meet element by element, and give the labels of the result.

    In the pictures the result has the shape (1, 3, 2, 2): channels 0, 1, 2 of the left operand have the labels 10, 11
    and 12 on every pixel. What the right one is decides, and in each case the result is labelled 10 11 12:

        right, as it was given      its labels     what happens
        (1, 3, 2, 2), a residual    20 21 22       tied: 10 with 20, 11 with 21, 12 with 22
        (3, 1, 1), a scale          20 21 22       tied: it is stretched along axes on which nothing varies
        (1, 1, 2, 2), a gate        20             pinned: one channel acts on all, and is not one of several
        (), a number                locked         nothing: a number has no channels
        (1, 3, 2, 2), unknown       locked         tied, so 10 11 12 are locked as well
        (1, 3, 2, 2), zeros         neutral        nothing: zeros go with any channel
        (1, 1, 2, 2) that varies    20 21 on rows  locked: an outer product, whose elements belong to pairs of units;
        along another axis                         one of the two operands must stay whole

    Where the left labels are neutral (a pad's zeros), the right ones are the result's.
    """
    if not lab.varying(left[0]) and (lab.varying(right[0]) or len(left[1]) > len(right[1])):
        left, right = right, left  # the one that varies, else the one that is stretched less, comes first
    (labels, stretched), (others, others_stretched) = left, right
    axes, other_axes = set(lab.varying(labels)), set(lab.varying(others))
    if not other_axes:
        if others.numel() == 0:
            return labels
        if axes <= others_stretched if axes else stretched != others_stretched:
            ledger.pin(others)
            return labels
    elif axes & others_stretched or other_axes & stretched:
        ledger.lock(others, f"crossed with another axis by {ledger.where}")
        return labels
    ledger.tie(labels, others)
    return lab.compress(torch.where(labels == NEUTRAL, others, labels)) if _has_neutral(labels) else labels


def _has_neutral(labels: Tensor) -> bool:
    return bool((lab.compact(labels) == NEUTRAL).any())


def overwrite(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """`copy_`: the target takes the content, and so the labels, of the source."""
    source = ledger.labels(call.args[1])
    return [lab.align(source, call.shape)[0]]


def zeros(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """Known zeros tie with anything."""
    del ledger
    return everywhere(NEUTRAL, call)


def like(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """Content made from nothing in the size of a tensor: it loses what that tensor loses."""
    return [ledger.labels(call.args[0])]


def keep_fixed(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """Content made from nothing (ones, a range): it has the size it was made with."""
    del ledger
    return everywhere(LOCKED, call)


ELEMENTWISE = [
    *SAME_SHAPE,
    "sub",
    "mul",
    "div",
    "pow",
    "maximum",
    "minimum",
    "where",
    "clamp",
    "clamp_min",
    "clamp_max",
    "neg",
    "abs",
    "sqrt",
    "rsqrt",
    "exp",
    "log",
    "log1p",
    "erf",
    "reciprocal",
    "sign",
    "floor",
    "ceil",
    "round",
    "celu",
    "selu",
    "softplus",
    "threshold",
    "_prelu_kernel",
    "prelu",
    "clone",
    "alias",
    "detach",
    "_to_copy",
    "to",
    "lift",
    "lift_fresh",
    "contiguous",
    "dropout",
    "native_dropout",
    "bernoulli",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "logical_and",
    "logical_or",
    "logical_not",
    "sin",
    "cos",
    "square",
    "addcmul",
    "addcdiv",
    "lerp",
    "rsub",
    "remainder",
    "fmod",
    "masked_fill",
    "nan_to_num",
    "log_sigmoid_forward",
    "logit",
    "special_expit",
    "floor_divide",
    "true_divide",
]
FIXED = [
    "ones",
    "full",
    "empty",
    "arange",
    "scalar_tensor",
    "rand",
    "randn",
    "eye",
    "linspace",
    "new_ones",
    "new_full",
    "new_empty",
    "tril",
    "triu",
]

RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys(FIXED, keep_fixed),
    **dict.fromkeys(("zeros", "new_zeros"), zeros),
    **dict.fromkeys(("zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like"), like),
    "add": residual,
    "copy": overwrite,
}
