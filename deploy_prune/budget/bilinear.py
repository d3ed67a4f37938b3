"""How large a network's tensors are as a function of how many units its free groups keep: what the static costs sum up.

Every tensor loses indices along at most two axes, so any sum over tensors is bilinear in the widths:
sum over tensors of coefficient x (rows kept) x (columns kept). Evaluated for thousands of plans at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from deploy_prune.values import ChannelGraph


@dataclass(frozen=True)
class Term:
    """`coefficient` x the indices kept along `axes` of `tensor`."""

    tensor: str
    """The name of a parameter or buffer."""
    axes: tuple[int, ...]
    """The axes whose indices are counted: (0, 1) of a weight (8, 6, 3, 3) are its 48 kernels."""
    coefficient: float
    """What each of them costs: 9 if every kernel has nine weights."""


@dataclass(frozen=True, eq=False)
class Extents:
    """A cost that is bilinear in the widths; an implementation of `costs.CostModel`."""

    coefficient: np.ndarray
    """What each element costs that a term counts: float, shape (terms,)."""
    first: np.ndarray
    """The length of each term's first cut axis: a constant, then what each unit kept adds; (terms, 1 + free groups)."""
    second: np.ndarray
    """The length of each term's second cut axis, in the same form; a constant 1 where there is none."""
    constant: float
    """What no plan changes, in the cost's unit."""

    def __call__(self, widths: np.ndarray) -> np.ndarray:
        """The cost of each plan: widths (..., free groups) -> costs (...)."""
        widths = np.asarray(widths, dtype=np.float64)
        units = np.concatenate([np.ones((*widths.shape[:-1], 1)), widths], axis=-1)
        result: np.ndarray = ((units @ self.first.T) * (units @ self.second.T)) @ self.coefficient + self.constant
        return result


def sum_over(graph: ChannelGraph, terms: Iterable[Term], *, constant: float = 0.0) -> Extents:
    """Add all terms up to one cost. It is exact: counts stay below 2^53.

    A convolution b of weight (8, 6, 3, 3) reads the 6 units of group a and makes the 8 of group b. Its multiply-adds
    on 16 positions are one term, `Term("b.weight", (0, 1, 2, 3), 16)`, and in columns (1, a, b) that is

        coefficient   16 x 3 x 3 = 144
        first         0 0 1          axis 0 has b units, and nothing that is always there
        second        0 1 0          axis 1 has a units

    so that at widths a = 3, b = 4 it costs 144 x 4 x 3 = 1728.
    """
    listed = list(terms)
    free = {group.name: column for column, group in enumerate(graph.free, start=1)}
    per_unit: dict[tuple[str, int], dict[int, int]] = {}
    for group in graph.free:
        for member in group.members:
            place = per_unit.setdefault((member.parameter, member.axis), {})
            place[free[group.name]] = member.indices.shape[1]
    widths = {free[group.name]: group.width for group in graph.free}
    tables = np.zeros((2, len(listed), 1 + len(free)))
    tables[:, :, 0] = 1
    coefficients = np.empty(len(listed))
    for row, term in enumerate(listed):
        shape = graph.shapes[term.tensor]
        cut = [axis for axis in term.axes if (term.tensor, axis) in per_unit]
        whole = [shape[axis] for axis in term.axes if axis not in cut]
        coefficients[row] = term.coefficient * float(np.prod(whole, dtype=np.float64))
        assert len(cut) <= 2, "a tensor is cut along two axes at most"
        for table, axis in zip(tables, cut, strict=False):
            units = per_unit[term.tensor, axis]
            table[row, 0] = shape[axis] - sum(each * widths[column] for column, each in units.items())
            for column, each in units.items():
                table[row, column] = each
    return Extents(coefficients, tables[0], tables[1], constant)


def whole(graph: ChannelGraph, tensor: str, coefficient: float = 1.0) -> Term:
    """The term that counts every element of a tensor."""
    return Term(tensor, tuple(range(len(graph.shapes[tensor]))), coefficient)
