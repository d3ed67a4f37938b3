"""What an operator's time may depend on, as functions of the widths: the columns that the latency model weighs.

A kernel works in tiles of channels, so that its time climbs in steps: multiply-adds are counted with channels rounded
up to each size of tile that a runtime's kernels may have, and the fit finds out which of them a processor uses. Beside
them stand the bytes of activations and weights, rows that are not aligned, and a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np

from deploy_prune.latency.sizes import Lines
from deploy_prune.skeletons import WEIGHTED, Kind, Operator

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


Column = Callable[[Sizes], np.ndarray]
"""(plans, operators) of one quantity."""


@dataclass(frozen=True, eq=False)
class Class:
    """The operators of one kind."""

    kind: Kind
    members: np.ndarray
    """Which of the file's operators."""
    places: Mapping[str, np.ndarray]
    columns: Mapping[str, Column]


@dataclass(frozen=True, eq=False)
class Features:
    """Columns of a file's operators."""

    lines: Lines
    classes: tuple[Class, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return (*(f"{each.kind} {name}" for each in self.classes for name in each.columns), CONSTANT)

    def __call__(self, widths: np.ndarray) -> np.ndarray:
        """Widths (plans, free groups) -> (plans, columns): each the sum over the operators of a kind."""
        numbers = self._numbers(widths)
        sums = [column(sizes).sum(axis=1) for each, sizes in self._each(numbers) for column in each.columns.values()]
        return np.stack([*sums, np.ones(len(numbers))], axis=1)

    def weighed(self, widths: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        """Widths (plans, free groups) -> (plans,): the columns but the constant, times their coefficients."""
        return self._sum(self._numbers(widths), coefficients)

    def along(self, widths: np.ndarray, group: int, options: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        """The same of one plan at other widths of a group: (options,)."""
        moves = np.outer(options - widths[group], self._slopes[1 + group])
        return self._sum(self._numbers(widths) + moves, coefficients)

    def _sum(self, numbers: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        total, place = np.zeros(len(numbers)), 0
        for each, sizes in self._each(numbers):
            for column in each.columns.values():
                total += coefficients[place] * column(sizes).sum(axis=1)
                place += 1
        return total

    def by_operator(self, widths: np.ndarray, coefficients: np.ndarray, operators: int) -> np.ndarray:
        """The same operator by operator: (plans, operators)."""
        numbers = self._numbers(widths)
        found, place = np.zeros((len(numbers), operators)), 0
        for each, sizes in self._each(numbers):
            for column in each.columns.values():
                found[:, each.members] += coefficients[place] * column(sizes)
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

    def touched_by(self, group: int) -> tuple[Features, tuple[int, ...]]:
        """The operators that a free group's width changes, and the places of their columns among all columns."""
        chosen: list[Class] = []
        kept: list[int] = []
        place = 0
        moves = np.concatenate([self.lines.rows[:, 1 + group] != 0, [False, False]])
        for each in self.classes:
            changes = np.any([moves[places].any(axis=1) for places in each.places.values()], axis=0)
            if changes.any():
                places = {name: table[changes] for name, table in each.places.items()}
                chosen.append(replace(each, members=each.members[changes], places=places))
                kept += range(place, place + len(each.columns))
            place += len(each.columns)
        return _compact(replace(self, classes=tuple(chosen))), tuple(kept)

    def _numbers(self, widths: np.ndarray) -> np.ndarray:
        found: np.ndarray = self._slopes[0] + np.atleast_2d(widths) @ self._slopes[1:]
        return found

    @cached_property
    def _slopes(self) -> np.ndarray:
        """(1 + free groups, numbers and two constants): floats, as numpy multiplies matrices of these fast."""
        constants = np.zeros((2, self.lines.rows.shape[1]))
        constants[ONE, 0] = 1
        return np.concatenate([self.lines.rows, constants]).T.astype(np.float64)

    def _each(self, numbers: np.ndarray) -> Iterable[tuple[Class, Sizes]]:
        return ((each, Sizes(numbers, each.places)) for each in self.classes)


def features(lines: Lines, operators: Sequence[Operator], tiles: Tiles) -> Features:
    """The columns for a file's operators, whose numbers follow these lines."""
    kinds = sorted({operator.kind for operator in operators})
    return _compact(Features(lines, tuple(_class(kind, operators, tiles) for kind in kinds)))


def _class(kind: Kind, operators: Sequence[Operator], tiles: Tiles) -> Class:
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


def _columns(kind: Kind, tiles: Tiles) -> dict[str, Column]:
    moved: dict[str, Column] = {"MB read": _read, "MB written": _written}
    if kind not in WEIGHTED:
        return {**moved, "count": _count}
    columns = {f"MMACs in {tile}s": partial(_work, tile=tile) for tile in (1, *tiles[kind])}
    for width in ALIGNMENTS:
        columns |= {
            f"rows written not in {width}s": partial(_only, _rows, "out", width),
            f"rows read not in {width}s": partial(_only, _scattered, "in", width),
            f"MMACs read not in {width}s": partial(_only, partial(_work, tile=1), "in", width),
            f"MB read not in {width}s": partial(_only, _read, "in", width),
            f"MB written not in {width}s": partial(_only, _written, "out", width),
            f"MB handed over into {width}s": partial(_handed_over, "in", "made of", width),
            f"MB handed over out of {width}s": partial(_handed_over, "made of", "in", width),
        }
    return {**columns, **moved, "MB of weights": _weights, "MB of weights not in 4s": partial(_only, _weights, "in", 4),
            "count": _count}  # fmt: skip


def _work(sizes: Sizes, *, tile: int) -> np.ndarray:
    """Multiply-adds with the output's channels rounded up: a weight is applied at every position."""
    outs = sizes["out"]
    found: np.ndarray = MEGA * sizes["positions"] * sizes["weight"] * (tile * np.ceil(outs / tile) / outs)
    return found


def _rows(sizes: Sizes) -> np.ndarray:
    found: np.ndarray = MEGA * sizes["positions"]
    return found


def _scattered(sizes: Sizes) -> np.ndarray:
    """A row of the input is begun anew for each channel of the output."""
    found: np.ndarray = MEGA * sizes["positions"] * sizes["out"]
    return found


def _only(column: Column, side: str, width: int, sizes: Sizes) -> np.ndarray:
    """Where the channels on one side are not aligned."""
    found: np.ndarray = column(sizes) * (sizes[side] % width != 0)
    return found


def _handed_over(aligned: str, other: str, width: int, sizes: Sizes) -> np.ndarray:
    """Bytes that change their layout, as one of two neighbours runs in blocks of channels and the other does not."""
    found: np.ndarray = _read(sizes) * (sizes[aligned] % width == 0) * (sizes[other] % width != 0)
    return found


def _read(sizes: Sizes) -> np.ndarray:
    found: np.ndarray = MEGABYTES * (sizes["read"] + sizes["read too"])
    return found


def _written(sizes: Sizes) -> np.ndarray:
    return MEGABYTES * sizes["written"]


def _weights(sizes: Sizes) -> np.ndarray:
    return MEGABYTES * sizes["weight"]


def _count(sizes: Sizes) -> np.ndarray:
    return np.ones_like(sizes["written"])


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
    return replace(features, lines=Lines(features.lines.rows[used]), classes=classes)
