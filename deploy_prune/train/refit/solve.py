"""The weights that fit moments best, held near the old ones by a ridge: W = (Cyx + lambda W0)(Cxx + lambda I)^-1.

They are computed as W0 + (Cyx - W0 Cxx)(Cxx + lambda I)^-1, which leaves weights that fit already exactly as they are,
or in the dual form (Woodbury) as W0 + (Y - X W0^T)^T (X X^T + n lambda I)^-1 X, where there are fewer rows than inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deploy_prune.train.refit.forms import Rows
from deploy_prune.train.refit.moments import Moments

POWERS = 30
"""Steps of the power iteration that estimates a condition number."""


@dataclass(frozen=True, eq=False)
class Solution:
    """New weights."""

    ridge: float
    """The ridge they were solved with, as a share of the mean variance of the inputs."""
    weight: Tensor
    """Float64, shape (blocks, outputs, inputs)."""
    offset: Tensor
    """What is added to what the weights give: float64, shape (blocks, outputs); 0 where nothing is centred."""


def solve(
    moments: Moments, weight: Tensor, ridges: Sequence[float], *, support: Tensor | None = None
) -> tuple[Solution, ...]:
    """Fit weights to moments with each ridge; those that come out singular or not finite are left out.

    Args:
        moments: of the layer's inputs and of what it should give.
        weight: the old weights, shape (blocks, outputs, inputs).
        ridges: shares of the mean centred variance of the inputs.
        support: where weights may be other than 0 (bool, their shape), where not everywhere.
    """
    old = weight.to(moments.variances)
    solutions = (_solve_with(moments, old, ridge, support) for ridge in ridges)
    return tuple(each for each in solutions if each is not None)


def _solve_with(moments: Moments, old: Tensor, ridge: float, support: Tensor | None) -> Solution | None:
    penalty = _penalise(moments, ridge)
    factor, failed = torch.linalg.cholesky_ex(_system(moments, penalty))
    if bool(failed.any()):
        return None
    step = _step(moments, old, factor) if support is None else _masked_step(moments, old, penalty, support)
    new = old + step
    if not bool(torch.isfinite(new).all()):
        return None
    offset = moments.output_mean - (new @ moments.input_mean[:, :, None])[:, :, 0]
    return Solution(ridge, new, offset)


def _penalise(moments: Moments, ridge: float) -> Tensor:
    """What is added to the variance of every input of a block: shape (blocks,)."""
    scale = moments.variances.mean(1)
    return torch.where(scale > 0, ridge * scale, torch.ones_like(scale))


def _system(moments: Moments, penalty: Tensor) -> Tensor:
    """The matrix that is solved, block by block: (inputs, inputs), or (rows, rows) in the dual form."""
    if moments.inputs is not None:
        system = moments.inputs.clone()
    else:
        x = _by_block(moments).inputs
        system = x @ x.transpose(1, 2) / moments.count
    system.diagonal(dim1=1, dim2=2).add_(penalty[:, None])
    return system


def _by_block(moments: Moments) -> Rows:
    """Kept rows as (blocks, rows, ...)."""
    assert moments.rows is not None
    return Rows(moments.rows.inputs.transpose(0, 1), moments.rows.outputs.transpose(0, 1))


def _step(moments: Moments, old: Tensor, factor: Tensor) -> Tensor:
    """What new weights have more than the old ones: (blocks, outputs, inputs)."""
    if moments.inputs is not None:
        assert moments.both is not None
        missing = moments.both - old @ moments.inputs
        return torch.cholesky_solve(missing.transpose(1, 2), factor).transpose(1, 2)
    rows = _by_block(moments)
    residual = rows.outputs - rows.inputs @ old.transpose(1, 2)  # (blocks, rows, outputs)
    return torch.cholesky_solve(residual, factor).transpose(1, 2) @ rows.inputs / moments.count


def _masked_step(moments: Moments, old: Tensor, penalty: Tensor, support: Tensor) -> Tensor:
    """The same with zeros outside a support, one solve for all outputs of a block that share theirs."""
    step = torch.zeros_like(old)
    for block in range(len(old)):
        patterns, which = torch.unique(support[block], dim=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            outputs, inputs = (which == number).nonzero()[:, 0], pattern.nonzero()[:, 0]
            if len(inputs):
                part = _restrict(moments, block, outputs, inputs)
                factor = torch.linalg.cholesky(_system(part, penalty[block : block + 1]))
                kept = old[block][outputs][:, inputs][None]
                step[block, outputs[:, None], inputs] = _step(part, kept, factor)[0]
    return step


def _restrict(moments: Moments, block: int, outputs: Tensor, inputs: Tensor) -> Moments:
    """The moments of some outputs and inputs of one block, as those of a layer of a single block."""
    products = rows = both = None
    if moments.inputs is not None and moments.both is not None:
        products = moments.inputs[block][inputs][:, inputs][None]
        both = moments.both[block][outputs][:, inputs][None]
    if moments.rows is not None:
        rows = Rows(moments.rows.inputs[:, block, inputs][:, None], moments.rows.outputs[:, block, outputs][:, None])
    return Moments(
        moments.count, moments.input_mean[block, inputs][None], moments.output_mean[block, outputs][None],
        moments.variances[block, inputs][None], products, both, rows,
    )  # fmt: skip


def estimate_condition(moments: Moments, ridge: float) -> float:
    """Estimate the condition number of what is solved with a ridge, that of the worst block.

    The largest eigenvalue over the smallest, by power iterations with the factorised matrix and its inverse; of masked
    weights, without regard to the mask.
    """
    penalty = _penalise(moments, ridge)
    factor = torch.linalg.cholesky(_system(moments, penalty))
    largest = _power(factor, lambda vector: factor @ (factor.transpose(1, 2) @ vector))
    inverse = _power(factor, lambda vector: torch.cholesky_solve(vector, factor))
    smallest = penalty if moments.inputs is None else 1 / inverse
    return float((largest / smallest).max())


def _power(factor: Tensor, apply: Callable[[Tensor], Tensor]) -> Tensor:
    """The largest eigenvalue of a symmetric matrix per block: shape (blocks,)."""
    blocks, size, _ = factor.shape
    vector = torch.linspace(1, 2, size, dtype=factor.dtype, device=factor.device).expand(blocks, size)[:, :, None]
    length = torch.ones(blocks, dtype=factor.dtype, device=factor.device)
    for _ in range(POWERS):
        vector = apply(vector)
        length = vector.norm(dim=(1, 2))
        vector = vector / length[:, None, None]
    return length
