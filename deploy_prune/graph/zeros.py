"""Which activations are zero on a unit whose parameters are zero: what adds such channels up loses nothing by a cut."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from deploy_prune.graph.ledger import Ledger
from deploy_prune.graph.meta import name_of
from deploy_prune.graph.rules import reductions, shapes
from deploy_prune.graph.rules.call import Call, tensors

MADE = frozenset(["convolution", "mm", "addmm", "native_batch_norm"])
"""Operators that give zeros where all that belongs to a unit is zero."""
KEPT = frozenset(
    [
        *shapes.MOVEMENT,
        "view",
        "_unsafe_view",
        "reshape",
        "_reshape_alias",
        "t",
        "transpose",
        "permute",
        *reductions.SPATIAL,
        "as_strided",
        "mean",
        "sum",
        "amax",
        "amin",
        "relu",
        "relu6",
        "hardswish",
        "silu",
        "gelu",
        "leaky_relu",
        "elu",
        "mish",
        "tanh",
        "neg",
        "abs",
        "sqrt",
        "sin",
        "square",
        "clone",
        "alias",
        "detach",
        "_to_copy",
        "dropout",
    ]
)
"""Operators of one tensor that make zero of zero."""
ALL = frozenset(["add", "sub", "maximum", "minimum", "cat", "stack"])
"""Operators of several tensors that make zero where all are."""


def is_zero(ledger: Ledger, call: Call) -> bool:
    """Whether a result is zero on every unit whose parameters and statistics are zero."""
    name = name_of(call.func)
    operands = tensors(call.args)
    if name in MADE:
        return True
    if name in KEPT:
        return bool(operands) and ledger.is_zero(operands[0])
    if name == "mul":
        return any(ledger.is_zero(each) for each in operands)
    return name in ALL and _are_all_zero(ledger, call.args)


def _are_all_zero(ledger: Ledger, arguments: Sequence[object]) -> bool:
    """Whether the tensors among the first arguments are zero there; a number beside them is not."""
    first = arguments[0] if isinstance(arguments[0], list | tuple) else arguments[:2]
    return all(isinstance(each, Tensor) and ledger.is_zero(each) for each in first)
