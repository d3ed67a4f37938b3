"""The centred second moments of a layer's inputs and outputs, all that a least-squares fit needs, in float64."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from deploy_prune.train.refit.forms import Rows, join_rows


@dataclass(frozen=True, eq=False)
class Moments:
    """Means over rows, block by block, and what of the second moments is needed: all float64."""

    count: int
    """How many rows they were taken over."""
    input_mean: Tensor
    """Shape (blocks, inputs); zeros where nothing is centred."""
    output_mean: Tensor
    """Shape (blocks, outputs); zeros where nothing is centred."""
    variances: Tensor
    """The mean square of every centred input: shape (blocks, inputs)."""
    inputs: Tensor | None = None
    """The mean products of centred inputs: shape (blocks, inputs, inputs); None: rows are kept."""
    both: Tensor | None = None
    """The mean products of centred outputs and inputs: shape (blocks, outputs, inputs); None: rows are kept."""
    rows: Rows | None = None
    """The centred rows themselves, where they are fewer than the inputs of a block; None: products are kept."""

    @property
    def trouble(self) -> str:
        """Why nothing can be fitted to them; empty: something can."""
        values = [self.input_mean, self.output_mean, self.variances]
        values += [self.both] if self.both is not None else []
        values += [self.rows.outputs] if self.rows is not None else []
        if not all(bool(torch.isfinite(value).all()) for value in values):
            return "its inputs or outputs are not finite"
        if not bool((self.variances > 0).any()):
            return "its inputs are constant"
        return ""


def measure_moments(batches: Iterable[Rows], *, number: int, centred: bool = True) -> Moments:
    """Sum up rows batch by batch; a matrix (inputs, inputs) is made only where there are more rows than inputs.

    Args:
        batches: at least one batch of rows.
        number: how many batches there are.
        centred: whether means are taken off first; a layer that can take no shift is fitted without.
    """
    batches = iter(batches)
    first = next(batches)
    together = chain([first], batches)
    if first.count * number < first.inputs.shape[2]:
        return _keep_rows(together, centred=centred)
    return _sum_products(together, centred=centred)


def _keep_rows(batches: Iterator[Rows], *, centred: bool) -> Moments:
    rows = _widen(join_rows(list(batches)))
    inputs, outputs = rows.inputs.mean(0), rows.outputs.mean(0)
    if not centred:
        inputs, outputs = torch.zeros_like(inputs), torch.zeros_like(outputs)
    less = Rows(rows.inputs - inputs, rows.outputs - outputs)
    return Moments(rows.count, inputs, outputs, less.inputs.square().mean(0), rows=less)


def _sum_products(batches: Iterator[Rows], *, centred: bool) -> Moments:
    """Around the first batch's means, as float64 forgets little of numbers near 0."""
    origin: tuple[Tensor, Tensor] | None = None
    count, sums = 0, list[Tensor]()
    for batch in batches:
        rows = _widen(batch)
        if origin is None:
            origin = (rows.inputs.mean(0), rows.outputs.mean(0))
            if not centred:
                origin = (torch.zeros_like(origin[0]), torch.zeros_like(origin[1]))
        x, y = (rows.inputs - origin[0]).transpose(0, 1), (rows.outputs - origin[1]).transpose(0, 1)
        terms = [x.sum(1), y.sum(1), x.transpose(1, 2) @ x, y.transpose(1, 2) @ x]
        sums = [total + term for total, term in zip(sums, terms, strict=True)] if sums else terms
        count += rows.count
    assert origin
    x_mean, y_mean, xx, yx = (total / count for total in sums)
    if not centred:
        return Moments(count, *origin, _diagonal(xx), xx, yx)
    xx = xx - x_mean[:, :, None] * x_mean[:, None, :]
    yx = yx - y_mean[:, :, None] * x_mean[:, None, :]
    return Moments(count, origin[0] + x_mean, origin[1] + y_mean, _diagonal(xx), xx, yx)


def _diagonal(squares: Tensor) -> Tensor:
    return squares.diagonal(dim1=1, dim2=2).clamp(min=0)


def _widen(rows: Rows) -> Rows:
    """The same in float64, on the CPU where the accelerator has none."""
    place = "cpu" if rows.inputs.device.type == "mps" else rows.inputs.device
    return Rows(rows.inputs.to(place, torch.float64), rows.outputs.to(place, torch.float64))
