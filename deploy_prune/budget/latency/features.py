"""What an operator's time may depend on, as functions of the widths: the columns that the latency model weighs.

A kernel works in tiles of channels, so that its time climbs in steps: multiply-adds are counted with channels rounded
up to each size of tile that a runtime's kernels may have, and the fit finds out which of them a processor uses. Beside
them stand the bytes of activations and weights, rows that are not aligned, and a constant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from deploy_prune.budget.latency.size_lines import SizeLines
from deploy_prune.formats.templates import WEIGHTED, Operator, OperatorKind

ALIGNMENTS = (4, 8, 16)
"""Floats of a vector register: rows of another length take a slower end."""
MEGABYTES = 4e-6
"""Of one float."""
MEGA = 1e-6
ONE, NOTHING = -1, -2
"""Places that stand for 1 and for 0."""
CONSTANT = "constant"

Tiles = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Sizes:
    """Sizes of the operators of one kind, for some plans; worked out when asked for. Not a value: it remembers."""

    numbers: np.ndarray
    """(plans, numbers of the file and two constants)"""
    places: Mapping[str, np.ndarray]
    """Name -> (operators, factors) places whose product it is."""
    _found: dict[str, np.ndarray] = field(default_factory=dict)

    def __getitem__(self, name: str) -> np.ndarray:
        """(plans, operators)"""
        if name not in self._found:
            factors = self.numbers[:, self.places[name]]
            self._found[name] = factors.prod(axis=2) if factors.shape[2] > 1 else factors[:, :, 0]
        return self._found[name]


@dataclass(frozen=True)
class RoundedUp:
    """Channels rounded up to whole tiles, as a multiple of the channels."""

    tile: int

    def __call__(self, channels: np.ndarray) -> np.ndarray:
        """At each number of channels."""
        some = np.maximum(channels, 1)
        found: np.ndarray = self.tile * np.ceil(some / self.tile) / some
        return found


@dataclass(frozen=True)
class Where:
    """1 where the channels are whole vectors (or where they are not), else 0."""

    width: int
    aligned: bool = True

    def __call__(self, channels: np.ndarray) -> np.ndarray:
        """At each number of channels."""
        found: np.ndarray = ((channels % self.width == 0) == self.aligned).astype(np.float64)
        return found


@dataclass(frozen=True)
class Product:
    """A number times sizes of an operator, times functions of its channels."""

    scale: float
    sizes: tuple[str, ...] = ()
    functions: tuple[tuple[str, RoundedUp | Where], ...] = ()

    def __call__(self, sizes: Sizes) -> np.ndarray:
        """(plans, operators)"""
        found = np.full(sizes["written"].shape, self.scale)
        for name in self.sizes:
            found *= sizes[name]
        for name, function in self.functions:
            found *= function(sizes[name])
        return found


Column = tuple[Product, ...]
"""A quantity: the sum of these."""


@dataclass(frozen=True, eq=False)
class Class:
    """The operators of one kind."""

    kind: OperatorKind
    members: np.ndarray
    """Which of the file's operators."""
    places: Mapping[str, np.ndarray]
    columns: Mapping[str, Column]


@dataclass(frozen=True, eq=False)
class Features:
    """Columns of a file's operators."""

    lines: SizeLines
    classes: tuple[Class, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return (*(f"{each.kind} {name}" for each in self.classes for name in each.columns), CONSTANT)

    def __call__(self, widths: np.ndarray) -> np.ndarray:
        """Widths (plans, free groups) -> (plans, columns): each the sum over the operators of a kind."""
        numbers = self._numbers(widths)
        sums = [
            sum(product(sizes).sum(axis=1) for product in column)
            for each, sizes in self._each(numbers)
            for column in each.columns.values()
        ]
        return np.stack([*sums, np.ones(len(numbers))], axis=1)

    def by_operator(self, widths: np.ndarray, coefficients: np.ndarray, operators: int) -> np.ndarray:
        """The columns but the constant, times their coefficients, operator by operator: (plans, operators)."""
        numbers = self._numbers(widths)
        found, place = np.zeros((len(numbers), operators)), 0
        for each, sizes in self._each(numbers):
            for column in each.columns.values():
                for product in column:
                    found[:, each.members] += coefficients[place] * product(sizes)
                place += 1
        return found

    def only(self, columns: Sequence[bool]) -> Features:
        """With some of its columns (the constant stays)."""
        wanted = iter(columns)
        chosen = [
            replace(each, columns={name: column for name, column in each.columns.items() if next(wanted)})
            for each in self.classes
        ]
        return replace(self, classes=tuple(each for each in chosen if each.columns))

    @cached_property
    def rows(self) -> np.ndarray:
        """(numbers and two constants, 1 + free groups): the lines of all numbers that places stand for."""
        constants = np.zeros((2, self.lines.rows.shape[1]), dtype=np.int64)
        constants[ONE, 0] = 1
        return np.concatenate([self.lines.rows, constants])

    def _numbers(self, widths: np.ndarray) -> np.ndarray:
        slopes = self.rows.T.astype(np.float64)  # numpy multiplies matrices of these fast
        found: np.ndarray = slopes[0] + np.atleast_2d(widths) @ slopes[1:]
        return found

    def _each(self, numbers: np.ndarray) -> Iterable[tuple[Class, Sizes]]:
        return ((each, Sizes(numbers, each.places)) for each in self.classes)


def features(lines: SizeLines, operators: Sequence[Operator], tiles: Tiles) -> Features:
    """The columns for a file's operators, whose numbers follow these lines."""
    kinds = sorted({operator.kind for operator in operators})
    return _compact(Features(lines, tuple(_class(kind, operators, tiles) for kind in kinds)))


def _class(kind: OperatorKind, operators: Sequence[Operator], tiles: Tiles) -> Class:
    members = [index for index, operator in enumerate(operators) if operator.kind == kind]
    chosen = [operators[index] for index in members]
    places = {
        "read": _table([each.inputs[0] if each.inputs else (NOTHING,) for each in chosen]),
        "read too": _table([each.inputs[1] if len(each.inputs) > 1 else (NOTHING,) for each in chosen]),
        "written": _table([each.outputs[0] for each in chosen]),
    }
    if kind in WEIGHTED:
        places |= {
            "in": _table([(each.channels_in,) for each in chosen]),
            "out": _table([(each.channels_out,) for each in chosen]),
            "weight": _table([each.weight for each in chosen]),
            "positions": _table([[p for p in each.outputs[0] if p != each.channels_out] or (ONE,) for each in chosen]),
            "made of": _table([(_made_of(member, operators),) for member in members]),
        }
    return Class(kind, np.array(members), places, _columns(kind, tiles))


def _made_of(operator: int, operators: Sequence[Operator]) -> int:
    """The channels that the weighted operator read from which this one's input comes; 1 where that is the image."""
    read = operators[operator].inputs[0]
    for maker in reversed(operators[:operator]):
        if maker.outputs[0] == read:
            if maker.kind in WEIGHTED:
                return maker.channels_in
            read = maker.inputs[0] if maker.inputs else ()
    return ONE


def _table(rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Rows of places made equally long by ones."""
    longest = max(len(row) for row in rows)
    return np.array([[*row, *[ONE] * (longest - len(row))] for row in rows])


READ: Column = (Product(MEGABYTES, ("read",)), Product(MEGABYTES, ("read too",)))
WRITTEN: Column = (Product(MEGABYTES, ("written",)),)
WEIGHTS: Column = (Product(MEGABYTES, ("weight",)),)
WORK: Column = (Product(MEGA, ("positions", "weight")),)
"""Multiply-adds: a weight is applied at every position."""
ROWS: Column = (Product(MEGA, ("positions",)),)
SCATTERED: Column = (Product(MEGA, ("positions", "out")),)
"""A row of the input is begun anew for each channel of the output."""
COUNT: Column = (Product(1.0),)


def _columns(kind: OperatorKind, tiles: Tiles) -> dict[str, Column]:
    moved = {"MB read": READ, "MB written": WRITTEN}
    if kind not in WEIGHTED:
        return {**moved, "count": COUNT}
    columns = {"MMACs in 1s": WORK}
    columns |= {f"MMACs in {tile}s": _times(WORK, ("out", RoundedUp(tile))) for tile in tiles[kind]}
    for width in ALIGNMENTS:
        aligned, scattered = Where(width), Where(width, aligned=False)
        columns |= {
            f"rows written not in {width}s": _times(ROWS, ("out", scattered)),
            f"rows read not in {width}s": _times(SCATTERED, ("in", scattered)),
            f"MMACs read not in {width}s": _times(WORK, ("in", scattered)),
            f"MB read not in {width}s": _times(READ, ("in", scattered)),
            f"MB written not in {width}s": _times(WRITTEN, ("out", scattered)),
            # Bytes change their layout where one neighbour runs in blocks of channels and the other does not.
            f"MB handed over into {width}s": _times(READ, ("in", aligned), ("made of", scattered)),
            f"MB handed over out of {width}s": _times(READ, ("made of", aligned), ("in", scattered)),
        }
    unaligned = _times(WEIGHTS, ("in", Where(4, aligned=False)))
    return {**columns, **moved, "MB of weights": WEIGHTS, "MB of weights not in 4s": unaligned, "count": COUNT}


def _times(column: Column, *functions: tuple[str, RoundedUp | Where]) -> Column:
    """A quantity, counted as these functions of an operator's channels say."""
    return tuple(replace(product, functions=functions) for product in column)


def _compact(features: Features) -> Features:
    """Without the numbers that no column reads."""
    tables = [table for each in features.classes for table in each.places.values()]
    used = np.unique(np.concatenate([table.ravel() for table in tables])) if tables else np.array([], dtype=int)
    used = used[used >= 0]
    new = {int(old): place for place, old in enumerate(used)} | {ONE: ONE, NOTHING: NOTHING}
    classes = tuple(
        replace(each, places={name: np.vectorize(new.__getitem__)(table) for name, table in each.places.items()})
        for each in features.classes
    )
    return replace(features, lines=SizeLines(features.lines.rows[used]), classes=classes)
