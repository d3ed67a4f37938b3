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
    joined, broadcast = lab.align(ledger.labels(operands[0]), call.shape)
    for operand in operands[1:]:
        other, narrow = lab.align(ledger.labels(operand), call.shape)
        joined = _meet(ledger, (joined, broadcast), (other, narrow))
        broadcast &= narrow
    return [joined] * len(everywhere(LOCKED, call))


def residual(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """An addition; where two activations with channels of their own meet, it is a residual one."""
    operands = [tensor for tensor in tensors(call.args) if ledger.weight(tensor) is None]
    streams = [ledger.labels(tensor) for tensor in operands]
    if sum(1 for stream in streams if lab.varying(stream)) > 1:
        ledger.recording.residuals += [lab.compact(stream).reshape(-1) for stream in streams]
    return elementwise(ledger, call)


def _meet(ledger: Ledger, left: tuple[Tensor, frozenset[int]], right: tuple[Tensor, frozenset[int]]) -> Tensor:
    (one, one_broadcast), (two, two_broadcast) = left, right
    one_axes, two_axes = set(lab.varying(one)), set(lab.varying(two))
    if not one_axes and two_axes:
        one, two, one_axes, two_axes = two, one, two_axes, one_axes
        one_broadcast, two_broadcast = two_broadcast, one_broadcast
    if not two_axes:
        if two.numel() == 0:
            return one
        if not one_axes and len(one_broadcast) > len(two_broadcast):
            one, two, one_broadcast, two_broadcast = two, one, two_broadcast, one_broadcast
        if one_axes <= two_broadcast if one_axes else one_broadcast != two_broadcast:
            ledger.pin(two)
            return one
    elif one_axes & two_broadcast or two_axes & one_broadcast:
        # An outer product: its elements belong to a pair of units. One of the two must stay whole.
        ledger.lock(two, f"crossed with another axis by {ledger.where}")
        return one
    ledger.tie(one, two)
    return lab.compress(torch.where(one == NEUTRAL, two, one)) if _has_neutral(one) else one


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


def fixed(ledger: Ledger, call: Call) -> Sequence[Tensor]:
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
    **dict.fromkeys(FIXED, fixed),
    **dict.fromkeys(("zeros", "new_zeros"), zeros),
    **dict.fromkeys(("zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like"), like),
    "add": residual,
    "copy": overwrite,
}
