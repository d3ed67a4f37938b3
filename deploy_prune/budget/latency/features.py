"""What an operator's time may depend on, as functions of the widths: the columns that the latency model weighs.

A kernel works in tiles of channels, so that its time climbs in steps: multiply-adds are counted with channels rounded
up to each size of tile that a runtime's kernels may have, and the fit finds out which of them a processor uses. Beside
them stand the bytes of activations and weights, rows that are not aligned, and a constant.

A worked example, which a test follows: a pointwise convolution reads 10 units of group a and makes 6 of group b on 4
x 4 positions, on a processor whose kernel works in tiles of four output channels.

    numbers       a        b        16             what the file's sizes are at this plan, (plans, numbers)
                  10       6        16
    places        in = a   out = b  positions = 16      read = 16, a   written = 16, b   weight = a, b
    MMACs in 1s   1e-6 x 16 x 10 x 6      = 960e-6
    MMACs in 4s   the same x 8 / 6        = 1280e-6     six channels are two tiles, as eight would be
    MB read       4e-6 x 16 x 10          = 640e-6
    MB written    4e-6 x 16 x 6           = 384e-6

Each line from `MMACs in 1s` on is a column: one number per plan, summed over all operators of a kind. The latency model
is a weight (ms) per column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from deploy_prune.budget.latency.size_functions import NARROW, Narrow, RoundedUp, SizeFunction, Where
from deploy_prune.budget.latency.size_lines import SizeLines
from deploy_prune.formats.templates import WEIGHTED, Operator, OperatorKind

ALIGNMENTS = (4, 8, 16)
"""Floats of a vector register: rows of another length take a slower end."""
BESIDE = (8, 16)
"""Tiles of the kernels that a narrow one may stand in for."""
MEGABYTES = 4e-6
"""The size of one float."""
MEGA = 1e-6
ONE, NOTHING = -1, -2
"""Places that stand for 1 and for 0."""
CONSTANT = "constant"

Tiles = Mapping[str, tuple[int, ...]]
"""Kind of operator -> the sizes of tile, in output channels, that a runtime's kernels may have."""


class Sizes:
    """The sizes of the operators of one kind, for some plans: a cache, in which each is worked out when asked for."""

    def __init__(self, numbers: np.ndarray, places: Mapping[str, np.ndarray]) -> None:
        self._numbers = numbers
        """The file's numbers at each plan, then 0 and 1: shape (plans, numbers + 2)."""
        self._places = places
        """Name of a size -> the places in `numbers` whose product it is: shape (operators, factors)."""
        self._known: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        """One size of every operator at every plan: shape (plans, operators)."""
        if name not in self._known:
            factors = self._numbers[:, self._places[name]]
            self._known[name] = factors.prod(axis=2) if factors.shape[2] > 1 else factors[:, :, 0]
        return self._known[name]


@dataclass(frozen=True)
class Product:
    """A number times sizes of an operator, times functions of its channels."""

    scale: float
    """Turns the product into the column's unit, such as megabytes of floats."""
    sizes: tuple[str, ...] = ()
    """Names of the sizes that are multiplied."""
    functions: tuple[tuple[str, SizeFunction], ...] = ()
    """Names of sizes, each with the function of it that is a factor."""

    def __call__(self, sizes: Sizes) -> np.ndarray:
        """The product for every operator at every plan: shape (plans, operators)."""
        product = np.full(sizes["written"].shape, self.scale)
        for name in self.sizes:
            product *= sizes[name]
        for name, function in self.functions:
            product *= function(sizes[name])
        return product


Column = tuple[Product, ...]
"""A quantity that an operator's time may depend on: the sum of these products."""


@dataclass(frozen=True, eq=False)
class Class:
    """The operators of one kind."""

    kind: OperatorKind
    members: np.ndarray
    """Which of the file's operators they are: int, shape (operators of this kind,)."""
    places: Mapping[str, np.ndarray]
    """Name of a size -> the places of its factors among the file's numbers: int, shape (operators, factors)."""
    columns: Mapping[str, Column]
    """Name of a column -> what is summed in it."""


@dataclass(frozen=True, eq=False)
class Features:
    """The columns of a file's operators: a description that the fit evaluates and the look-up compiles."""

    lines: SizeLines
    """How each of the file's numbers that is read follows the widths."""
    classes: tuple[Class, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, the constant last."""
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
        terms, place = np.zeros((len(numbers), operators)), 0
        for each, sizes in self._each(numbers):
            for column in each.columns.values():
                for product in column:
                    terms[:, each.members] += coefficients[place] * product(sizes)
                place += 1
        return terms

    def only(self, columns: Sequence[bool]) -> Features:
        """Keep some of the columns, one truth value each; the constant stays."""
        wanted = iter(columns)
        chosen = [
            replace(each, columns={name: column for name, column in each.columns.items() if next(wanted)})
            for each in self.classes
        ]
        return replace(self, classes=tuple(each for each in chosen if each.columns))

    @cached_property
    def rows(self) -> np.ndarray:
        """The lines of all numbers that places stand for: int64, shape (numbers + 2, 1 + free groups)."""
        constants = np.zeros((2, self.lines.rows.shape[1]), dtype=np.int64)
        constants[ONE, 0] = 1
        return np.concatenate([self.lines.rows, constants])

    def _numbers(self, widths: np.ndarray) -> np.ndarray:
        slopes = self.rows.T.astype(np.float64)  # numpy multiplies matrices of these fast
        numbers: np.ndarray = slopes[0] + np.atleast_2d(widths) @ slopes[1:]
        return numbers

    def _each(self, numbers: np.ndarray) -> Iterable[tuple[Class, Sizes]]:
        return ((each, Sizes(numbers, each.places)) for each in self.classes)


def describe_features(lines: SizeLines, operators: Sequence[Operator], tiles: Tiles) -> Features:
    """Describe the columns for a file's operators, whose numbers follow these lines."""
    kinds = sorted({operator.kind for operator in operators})
    return _drop_unread(Features(lines, tuple(_describe_kind(kind, operators, tiles) for kind in kinds)))


def _describe_kind(kind: OperatorKind, operators: Sequence[Operator], tiles: Tiles) -> Class:
    members = [index for index, operator in enumerate(operators) if operator.kind == kind]
    chosen = [operators[index] for index in members]
    places = {
        "read": _pad([each.inputs[0] if each.inputs else (NOTHING,) for each in chosen]),
        "read too": _pad([each.inputs[1] if len(each.inputs) > 1 else (NOTHING,) for each in chosen]),
        "written": _pad([each.outputs[0] for each in chosen]),
    }
    if kind in WEIGHTED:
        places |= {
            "in": _pad([(each.channels_in,) for each in chosen]),
            "out": _pad([(each.channels_out,) for each in chosen]),
            "weight": _pad([each.weight for each in chosen]),
            "positions": _pad([[p for p in each.outputs[0] if p != each.channels_out] or (ONE,) for each in chosen]),
            "made of": _pad([(_made_of(member, operators),) for member in members]),
        }
    return Class(kind, np.array(members), places, _columns_of_kind(kind, tiles))


def _made_of(operator: int, operators: Sequence[Operator]) -> int:
    """The channels that the weighted operator read from which this one's input comes; 1 where that is the image."""
    read = operators[operator].inputs[0]
    for maker in reversed(operators[:operator]):
        if maker.outputs[0] == read:
            if maker.kind in WEIGHTED:
                return maker.channels_in
            read = maker.inputs[0] if maker.inputs else ()
    return ONE


def _pad(rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Make rows of places equally long with ones: [(2,), (0, 1)] becomes [[2, ONE], [0, 1]]."""
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


def _columns_of_kind(kind: OperatorKind, tiles: Tiles) -> dict[str, Column]:
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
    for tile in BESIDE if kind != "depthwise" else ():
        columns |= {
            f"MMACs in {NARROW}s beside {tile}s": _times(WORK, ("out", Narrow(tile))),
            f"rows in {NARROW}s beside {tile}s": _times(SCATTERED, ("out", Narrow(tile))),
        }
    unaligned = _times(WEIGHTS, ("in", Where(4, aligned=False)))
    return {**columns, **moved, "MB of weights": WEIGHTS, "MB of weights not in 4s": unaligned, "count": COUNT}


def _times(column: Column, *functions: tuple[str, SizeFunction]) -> Column:
    """Count a quantity as these functions of an operator's channels say."""
    return tuple(replace(product, functions=functions) for product in column)


def _drop_unread(features: Features) -> Features:
    """Leave out the numbers that no column reads."""
    tables = [table for each in features.classes for table in each.places.values()]
    used = np.unique(np.concatenate([table.ravel() for table in tables])) if tables else np.array([], dtype=int)
    used = used[used >= 0]
    new = {int(old): place for place, old in enumerate(used)} | {ONE: ONE, NOTHING: NOTHING}
    classes = tuple(
        replace(each, places={name: np.vectorize(new.__getitem__)(table) for name, table in each.places.items()})
        for each in features.classes
    )
    return replace(features, lines=SizeLines(features.lines.rows[used]), classes=classes)
