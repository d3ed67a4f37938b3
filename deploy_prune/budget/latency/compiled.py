"""A fitted model as a sum of products of table entries, one factor per size: what allocation asks thousands of times.

Every column is a product of functions of single sizes, and a size takes few values. So each factor is a table, and
terms that differ in one factor alone are one term, whose table is their weighted sum.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deploy_prune.budget.latency.features import Class, Features, Product
from deploy_prune.budget.latency.size_functions import SizeFunction
from deploy_prune.errors import RecordError

AT_ONCE = 512
"""How many plans' entries are looked up together: they stay in the processor's cache."""
MOST_VALUES = 1 << 22
"""The most values that one size may take."""

Function = tuple[int, tuple[SizeFunction, ...]]
"""A factor that depends on one size: a power of it, times functions of it."""
Factors = tuple[tuple[int, Function], ...]
"""The numbers of the sizes' lines, ascending, each with the function of that size."""


@dataclass(frozen=True, eq=False)
class CompiledModel:
    """A sum of products, as a function of the widths of the free groups."""

    constant: float
    """What no width changes."""
    lines: np.ndarray
    """Each size that varies, as a constant and what each unit adds: float, shape (1 + groups, sizes)."""
    entries: np.ndarray
    """All tables, one after another: float, shape (entries,)."""
    sizes: np.ndarray
    """The size that a factor depends on: int, shape (factors, terms)."""
    starts: np.ndarray
    """The place in the tables where a factor's value at size 0 is, or would be: int, shape (factors, terms)."""

    @staticmethod
    def of(features: Features, coefficients: np.ndarray, dense: np.ndarray) -> CompiledModel:
        """Compile the columns but the constant, times their coefficients.

        Args:
            features: the columns.
            coefficients: a number per column but the constant.
            dense: the dense widths of the free groups, (groups,); no plan is asked beyond them.

        Raises:
            RecordError: a size takes more values than any network's does.
        """
        constant, weights = _collect(features, coefficients)
        rows = sorted({row for factors in weights for row, _ in factors})
        tables = _Tables.over(features.rows[rows], dense)
        sizes, starts = _look_up(_merge(weights), {row: place for place, row in enumerate(rows)}, tables)
        absent = np.zeros((1, 1 + len(dense)))  # a size that is always 0, where the first table says 1
        lines = np.concatenate([features.rows[rows], absent]).T.astype(np.float64)
        return CompiledModel(constant, lines, np.concatenate(tables.entries), sizes, starts)

    def __call__(self, widths: np.ndarray) -> np.ndarray:
        """Evaluate the model: widths (plans, free groups) -> (plans,)."""
        parts = [widths[start : start + AT_ONCE] for start in range(0, len(widths), AT_ONCE)]
        sums = [self._sum(self.lines[0] + part @ self.lines[1:]) for part in parts]
        return self.constant + (np.concatenate(sums) if sums else np.zeros(0))

    def along(self, widths: np.ndarray, group: int, options: np.ndarray) -> np.ndarray:
        """Evaluate one plan, (free groups,), at other widths of a group: (options,)."""
        plan = self.lines[0] + widths @ self.lines[1:]
        return self.constant + self._sum(plan + np.outer(options - widths[group], self.lines[1 + group]))

    def touched_by(self, group: int) -> CompiledModel:
        """Keep the terms that a group's width changes."""
        touched = (self.lines[1 + group] != 0)[self.sizes].any(axis=0)
        used, sizes = np.unique(self.sizes[:, touched], return_inverse=True)
        sizes = sizes.reshape(len(self.sizes), -1)
        return replace(self, constant=0.0, lines=self.lines[:, used], sizes=sizes, starts=self.starts[:, touched])

    @property
    def groups(self) -> tuple[int, ...]:
        """The places of the groups whose widths it depends on."""
        return tuple(np.flatnonzero((self.lines[1:] != 0).any(axis=1)).tolist())

    def _sum(self, sizes: np.ndarray) -> np.ndarray:
        """Sum the terms up: sizes (plans, sizes) -> (plans,)."""
        values = sizes.astype(np.intp)
        total = np.ones((len(values), self.sizes.shape[1]))
        for size, start in zip(self.sizes, self.starts, strict=True):
            total *= self.entries[start + values[:, size]]
        sums: np.ndarray = total.sum(axis=1)
        return sums


def _collect(features: Features, coefficients: np.ndarray) -> tuple[float, dict[Factors, float]]:
    """Collect what does not depend on widths, and the weight of each product that does."""
    columns = [(each, column) for each in features.classes for column in each.columns.values()]
    _, first, alike = np.unique(features.rows, axis=0, return_index=True, return_inverse=True)
    same = first[alike.ravel()]
    weights: dict[Factors, float] = defaultdict(float)
    for (each, column), coefficient in zip(columns, coefficients, strict=True):
        for product, member in itertools.product(column if coefficient else (), range(len(each.members))):
            weight, factors = _split_constant(features.rows, _factors(each, product, member))
            gathered = _gather([(int(same[row]), function) for row, function in factors])
            weights[gathered] += coefficient * product.scale * weight
    return weights.pop((), 0.0), weights


def _split_constant(
    rows: np.ndarray, factors: Iterable[tuple[int, Function]]
) -> tuple[float, list[tuple[int, Function]]]:
    """Split factors into the product of those that no width changes, and the others."""
    weight, others = 1.0, []
    for row, function in factors:
        if (rows[row, 1:] != 0).any():
            others.append((row, function))
        else:
            weight *= float(_values(rows[row, :1], function)[0])
    return weight, others


def _factors(each: Class, product: Product, member: int) -> Iterable[tuple[int, Function]]:
    for name in product.sizes:
        yield from ((int(row), (1, ())) for row in each.places[name][member])
    yield from ((int(each.places[name][member, 0]), (0, (function,))) for name, function in product.functions)


def _gather(factors: Sequence[tuple[int, Function]]) -> Factors:
    """Gather the factors of each size into one."""
    powers: Counter[int] = Counter()
    functions: dict[int, list[SizeFunction]] = defaultdict(list)
    for row, (power, own) in factors:
        powers[row] += power
        functions[row] += own
    return tuple((row, (powers[row], tuple(sorted(functions[row], key=repr)))) for row in sorted(powers))


def _merge(weights: Mapping[Factors, float]) -> dict[tuple[int, Factors], list[tuple[float, Function]]]:
    """Merge terms that differ in the function of their last size: (that size, the other factors) -> its functions."""
    merged: dict[tuple[int, Factors], list[tuple[float, Function]]] = defaultdict(list)
    for (*others, (row, function)), weight in weights.items():
        merged[row, tuple(others)].append((weight, function))
    return merged


class _Tables:
    """Tables of functions of sizes, each made once: they grow while terms are compiled."""

    def __init__(self, lowest: np.ndarray, highest: np.ndarray) -> None:
        self.lowest = lowest
        """The smallest value of each size: int, shape (sizes,)."""
        self.highest = highest
        """The largest value of each size: int, shape (sizes,)."""
        self.entries: list[np.ndarray] = [np.ones(1)]
        """The tables so far; the first one stands for 1."""
        self._starts: dict[tuple[int, tuple[tuple[float, Function], ...]], int] = {}
        """The size and its weighted functions -> where their table has its value at size 0."""

    @staticmethod
    def over(lines: np.ndarray, dense: np.ndarray) -> _Tables:
        """Begin tables for the values that sizes take between no units and the dense network's."""
        ends = lines[:, 1:] * dense
        lowest, highest = (lines[:, 0] + side.sum(axis=1) for side in (np.minimum(ends, 0), np.maximum(ends, 0)))
        if (highest - lowest > MOST_VALUES).any():
            hint = "measure it again"
            raise RecordError("a latency table whose sizes take more values than any network's do", hint=hint)
        return _Tables(lowest, highest)

    def start(self, size: int, weighed: Sequence[tuple[float, Function]]) -> int:
        """Find the place where the weighted sum of some functions has, or would have, its value at size 0."""
        key = (size, tuple(weighed))
        if key not in self._starts:
            values = np.arange(self.lowest[size], self.highest[size] + 1)
            self._starts[key] = sum(map(len, self.entries)) - int(values[0])
            self.entries.append(np.sum([weight * _values(values, function) for weight, function in weighed], axis=0))
        return self._starts[key]


def _look_up(
    merged: Mapping[tuple[int, Factors], Sequence[tuple[float, Function]]], place: Mapping[int, int], tables: _Tables
) -> tuple[np.ndarray, np.ndarray]:
    """Look up the sizes and starts of every term's factors; one past those of `place` is a factor that is not there."""
    longest = max((1 + len(others) for _, others in merged), default=1)
    sizes = np.full((longest, len(merged)), len(place))
    starts = np.zeros((longest, len(merged)), dtype=np.intp)
    for term, ((row, others), weighed) in enumerate(merged.items()):
        factors = [(row, weighed), *((other, [(1.0, function)]) for other, function in others)]
        for number, (own, functions) in enumerate(factors):
            sizes[number, term], starts[number, term] = place[own], tables.start(place[own], functions)
    return sizes, starts


def _values(sizes: np.ndarray, function: Function) -> np.ndarray:
    power, functions = function
    values = sizes.astype(np.float64) ** power
    for each in functions:
        values *= each(sizes)
    return values
