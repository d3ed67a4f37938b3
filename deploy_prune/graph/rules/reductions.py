"""Operators that mix elements along some axes: sums, softmax, pooling, resizing, products of activations."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from deploy_prune.graph import labels as lab
from deploy_prune.graph.labels import LOCKED
from deploy_prune.graph.ledger import Ledger
from deploy_prune.graph.meta import name_of
from deploy_prune.graph.rules.call import Call, Rule, everywhere, lock_unknown, tensors


def reduction(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """Summing over an axis without labels of its own is free; over a labelled axis it mixes units.

    Where a removed unit adds nothing to a sum, the sum is what it was: it belongs to no unit, and locks none.
    """
    base = ledger.labels(call.args[0])
    axes = _reduced_axes(call, base.dim())
    if axes.intersection(lab.varying(base)):
        if name_of(call.func) in SUMS and ledger.is_zero(call.args[0]):
            return everywhere(LOCKED, call)
        ledger.lock(base, f"reduced over channels by {ledger.where}")
        return everywhere(LOCKED, call)
    kept = base
    for axis in sorted(axes, reverse=True):
        kept = kept.narrow(axis, 0, 1) if len(call.shape) == base.dim() else kept.select(axis, 0)
    return [kept.expand(call.shape)] * len(everywhere(LOCKED, call))


def _reduced_axes(call: Call, dimensions: int) -> set[int]:
    names = [argument.name for argument in call.func._schema.arguments]
    given = dict(zip(names, call.args, strict=False)) | dict(call.kwargs)
    axes = given.get("dim")
    if axes is None or axes == []:
        return set(range(dimensions))
    return {axis % dimensions for axis in (axes if isinstance(axes, list | tuple) else [axes])}


def softmax(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """Same shape, but every element of the axis has a say in every other."""
    base = ledger.labels(call.args[0])
    if int(call.args[1]) % base.dim() in lab.varying(base):
        ledger.lock(base, f"normalised over channels by {ledger.where}")
        return everywhere(LOCKED, call)
    return [base]


def spatial(dimensions: int) -> Rule:
    """Pooling and resizing: the last axes are mixed, channels keep their labels."""

    def rule(ledger: Ledger, call: Call) -> Sequence[Tensor]:
        base = ledger.labels(call.args[0])
        mixed = range(base.dim() - dimensions, base.dim())
        if set(mixed).intersection(lab.varying(base)):
            return lock_unknown(ledger, call)
        for axis in mixed:
            base = base.narrow(axis, 0, 1)
        return [base.expand(call.shape)] * len(everywhere(LOCKED, call))

    return rule


def product(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """A matrix product of two activations (attention) mixes both; its MACs stay as they are."""
    ledger.recording.fixed_macs += math.prod(call.shape) * tensors(call.args)[-2].shape[-1]
    return lock_unknown(ledger, call)


SUMS = frozenset(["sum", "norm", "linalg_vector_norm"])
"""Reductions to which a zero adds nothing."""
REDUCTIONS = [
    "mean",
    "sum",
    "amax",
    "amin",
    "max",
    "min",
    "argmax",
    "argmin",
    "var",
    "std",
    "var_mean",
    "std_mean",
    "norm",
    "linalg_vector_norm",
    "logsumexp",
    "prod",
    "any",
    "all",
    "cumsum",
    "median",
]
SPATIAL = {
    "max_pool2d_with_indices": 2, "max_pool2d": 2, "avg_pool2d": 2, "_adaptive_avg_pool2d": 2, "adaptive_avg_pool2d": 2,
    "adaptive_max_pool2d": 2, "upsample_nearest2d": 2, "upsample_bilinear2d": 2, "upsample_bicubic2d": 2,
    "_upsample_nearest_exact2d": 2, "_upsample_bilinear2d_aa": 2, "reflection_pad2d": 2, "replication_pad2d": 2,
    "avg_pool1d": 1, "adaptive_avg_pool1d": 1, "max_pool1d": 1, "upsample_nearest1d": 1, "upsample_linear1d": 1,
    "reflection_pad1d": 1, "replication_pad1d": 1, "avg_pool3d": 3, "max_pool3d_with_indices": 3,
    "_adaptive_avg_pool3d": 3, "upsample_nearest3d": 3, "upsample_trilinear3d": 3,
}  # fmt: skip

RULES: dict[str, Rule] = {
    **dict.fromkeys(REDUCTIONS, reduction),
    **{name: spatial(dimensions) for name, dimensions in SPATIAL.items()},
    **dict.fromkeys(("softmax", "_softmax", "log_softmax", "_log_softmax"), softmax),
    **dict.fromkeys(("bmm", "baddbmm"), product),
}
