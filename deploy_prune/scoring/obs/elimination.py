"""Optimal brain surgeon, unit by unit: the cheapest goes, and what reads the others makes up for it as far as it can.

A layer reads inputs X (centred second moments C, float64) with weights W. A = C + lambda I, P = A^-1. To take the
columns j of a unit away and refit the others costs tr(W_j P_jj^-1 W_j^T); then W <- W - W_j P_jj^-1 P_j: and
P <- P - P_:j P_jj^-1 P_j:. Where several layers read a group, each has its own W and P, and their costs add up, each as
a share of the variance of the stream that it lands in. The order of elimination is the selection for every width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

COMPACT = 0.85
"""The share of its columns below which the matrices are made smaller: their size decides how long a turn takes."""
CONSTANT = 1e-12
"""What takes the ridge's place where all inputs are constant, so that their units cost next to nothing."""
SMALL = 2048
"""The inputs below which one thread is faster than several."""


@dataclass(frozen=True, eq=False)
class Reading:
    """How one layer reads the units of a group; all tensors float64 on one device."""

    products: Tensor | None
    """The mean products of its centred inputs: shape (blocks, inputs, inputs). None: they are too many."""
    own: Tensor | None
    """Where they are, those of each unit's own columns alone: shape (units, blocks, columns, columns)."""
    weight: Tensor
    """Its weight, scaled by the norm behind it: shape (blocks, outputs, inputs)."""
    columns: Tensor
    """The inputs of each unit within a block: int64, shape (units, columns)."""
    variance: float
    """The variance of the stream that it lands in, summed over channels."""
    judged: Tensor | None = None
    """The mean products of its inputs on held-out images, around the means of the others: as `products`. None: there
    are too few images, or too many inputs."""


def eliminate(readings: Sequence[Reading], ridges: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Take all units but the last, the cheapest first.

    Args:
        readings: of every layer that reads the group, at least one.
        ridges: lambda, as a share of the mean diagonal of the products, for each of them.

    Returns:
        The units in the order in which they go, int (units,), the one that is left last; and what each costs at its
        turn as a share of the variance, summed over layers, float (units,).
    """
    with _one_thread(max(each.weight.shape[2] for each in readings)):
        return _eliminate(readings, ridges)


@contextmanager
def _one_thread(inputs: int) -> Iterator[None]:
    """Thousands of short steps on small matrices: threads that wait for one another take more than they give."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if inputs < SMALL else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _eliminate(readings: Sequence[Reading], ridges: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    units = len(readings[0].columns)
    states = [
        _Coupled(each, ridge) if each.products is not None else _Alone(each, ridge)
        for each, ridge in zip(readings, ridges, strict=True)
    ]
    left = np.arange(units)
    order, losses = np.empty(units, dtype=np.int64), np.empty(units)
    for turn in range(units):
        costs = torch.stack([state.costs() for state in states]).sum(0)
        place = int(costs.argmin())
        order[turn], losses[turn] = left[place], max(float(costs[place]), 0.0)
        left = np.delete(left, place)
        if left.size:
            for state in states:
                state.remove(place)
    return order, losses


class _Alone:
    """A layer of so many inputs that its units count as independent of one another."""

    def __init__(self, reading: Reading, ridge: float) -> None:
        assert reading.own is not None
        diagonal = reading.own.diagonal(dim1=2, dim2=3)
        system = reading.own + torch.diag_embed(torch.full_like(diagonal, ridge * float(diagonal.mean())))
        weight = reading.weight[:, :, reading.columns].permute(2, 0, 1, 3)  # (units, blocks, outputs, columns)
        self._costs = (weight @ system * weight).sum((1, 2, 3)) / reading.variance

    def costs(self) -> Tensor:
        """What each unit that is left costs: shape (units left,)."""
        return self._costs

    def remove(self, place: int) -> None:
        """Take the unit at a place away."""
        self._costs = torch.cat([self._costs[:place], self._costs[place + 1 :]])


class _Coupled:
    """A layer whose other inputs make up for those that go."""

    def __init__(self, reading: Reading, ridge: float) -> None:
        assert reading.products is not None
        system = reading.products.clone()
        diagonal = system.diagonal(dim1=1, dim2=2)
        mean = diagonal.mean()
        diagonal.add_(torch.where(mean > 0, ridge * mean, torch.full_like(mean, CONSTANT)))
        self._inverse = torch.cholesky_inverse(torch.linalg.cholesky(system))
        self._weight = reading.weight.clone()
        self._columns = reading.columns
        self._variance = reading.variance
        self._gone = torch.zeros(system.shape[1], dtype=torch.bool, device=system.device)

    def costs(self) -> Tensor:
        """What each unit that is left costs: shape (units left,)."""
        weight = self._weight[:, :, self._columns]  # (blocks, outputs, units, columns)
        if self._columns.shape[1] == 1:
            own = self._inverse.diagonal(dim1=1, dim2=2)[:, self._columns[:, 0]]
            return (weight[..., 0].square().sum(1) / own).sum(0) / self._variance
        own = self._own(self._columns)
        products = torch.einsum("bouc,boud->bucd", weight, weight)
        solved: Tensor = torch.linalg.solve(own, products)
        return solved.diagonal(dim1=2, dim2=3).sum((0, 2)) / self._variance

    def remove(self, place: int) -> None:
        """Take the unit at a place away, and let the others' weights make up for it."""
        gone = self._columns[place]
        rows = self._inverse[:, gone]  # (blocks, columns, inputs)
        steps = torch.linalg.solve(rows[:, :, gone], rows)
        self._weight.baddbmm_(self._weight[:, :, gone], steps, alpha=-1)  # in place: these are large
        self._inverse.baddbmm_(rows.transpose(1, 2), steps, alpha=-1)
        self._gone[gone] = True
        self._columns = torch.cat([self._columns[:place], self._columns[place + 1 :]])
        if int(self._gone.sum()) > (1 - COMPACT) * len(self._gone):
            self._compact()

    def _own(self, columns: Tensor) -> Tensor:
        """The part of the inverse that is each unit's own: shape (blocks, units, columns, columns)."""
        return self._inverse[:, columns[:, :, None], columns[:, None, :]]

    def _compact(self) -> None:
        stays = (~self._gone).nonzero()[:, 0]
        self._inverse = self._inverse[:, stays][:, :, stays].contiguous()
        self._weight = self._weight[:, :, stays].contiguous()
        places = torch.cumsum(~self._gone, 0) - 1
        self._columns = places[self._columns]
        self._gone = self._gone[stays]
