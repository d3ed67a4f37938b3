"""Which numbers of an exported file follow which widths: found by comparing the dense file with files of other widths.

Every size in a file is linear in the widths of the channel groups. Which line it is shows when the same converter
writes the network again at widths that no two groups share: the change of a number names its group.

A worked example, which a test follows: the network has a group a of 6 units and a group b of 8, and is written dense
and with 2 units of a and 3 of b less.

    a's units, b's units      the two files' numbers      the line (constant, per unit of a, per unit of b)
    6, 8                      54   22   128   10
    4, 5                      36   19    80   10
                              9 x 6, 9 x 4                [0, 9, 0]     a 3 x 3 kernel per unit of a
                                   14 + 8, 14 + 5         [14, 0, 1]    b's units behind 14 others
                                        16 x 8, 16 x 5    [0, 0, 16]    b's units on 16 positions, flattened
                                             10, 10       [10, 0, 0]    no width changes it
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deploy_prune.budget.widths import dense_widths
from deploy_prune.errors import ExportFailed
from deploy_prune.values import ChannelGraph

TRIES = 200
"""How many plans are drawn for each number of probes."""
MOST_PROBES = 4
"""How many files are compared with the dense one at most."""
MOST_POSITIONS = 4096
"""The largest number of positions that a flattened channel may stand for."""


@dataclass(frozen=True, eq=False)
class SizeLines:
    """Numbers that are linear in the widths of the free groups."""

    rows: np.ndarray
    """A constant, then what each unit kept adds: int64, shape (numbers, 1 + free groups)."""

    def at(self, widths: np.ndarray) -> np.ndarray:
        """Widths (..., free groups) -> numbers (..., numbers)."""
        widths = np.asarray(widths, dtype=np.int64)
        numbers: np.ndarray = self.rows[:, 0] + widths @ self.rows[:, 1:].T
        return numbers


def known_lines(graph: ChannelGraph) -> SizeLines:
    """Every size that occurs in the network: how long each axis of each tensor is, each group's channels and units.

    (A grouped convolution that loses whole groups counts them.)
    """
    columns = {group.name: column for column, group in enumerate(graph.free, start=1)}
    rows: dict[tuple[str, int], np.ndarray] = {}
    own: list[np.ndarray] = []
    for group in graph.free:
        unit = np.eye(1 + len(graph.free), dtype=np.int64)[columns[group.name]]
        own += [unit, group.channels_per_unit * unit]
        for member in group.members:
            key = (member.parameter, member.axis)
            row = rows.setdefault(key, np.zeros(1 + len(graph.free), dtype=np.int64))
            row[0] -= member.indices.size
            row[columns[group.name]] += member.indices.shape[1]
    for (parameter, axis), row in rows.items():
        row[0] += graph.shapes[parameter][axis]
    lines = np.stack([*own, *rows.values()]) if rows else np.zeros((0, 1), dtype=np.int64)
    single = 1 + np.flatnonzero([group.width == 1 for group in graph.free])  # which is never cut
    lines[:, 0] += lines[:, single].sum(axis=1)
    lines[:, single] = 0
    return SizeLines(np.unique(lines, axis=0))


def probing_widths(graph: ChannelGraph, *, seed: int = 0) -> np.ndarray:
    """Plans at which no two of the network's sizes change alike: (probes, free groups), one probe where that does.

    Where it can be had without one probe more, no size looks like a multiple of another either.

    Raises:
        ExportFailed: no such widths were found.
    """
    lines, dense = known_lines(graph), dense_widths(graph.free)
    draw = np.random.default_rng(seed)
    for probes in range(1, MOST_PROBES + 1):
        told_apart: list[np.ndarray] = []
        for _ in range(TRIES):
            plans = np.stack([_draw_distinct(dense, draw) for _ in range(probes)])
            seen = lines.at(np.concatenate([dense[None], plans]))
            if _all_differ(lines.rows.T, seen):
                told_apart.append(plans)
                if _all_differ(_reduce(lines.rows.T), _reduce(seen)):
                    return plans
        if told_apart:
            return told_apart[0]
    raise ExportFailed(
        f"the {len(graph.free)} groups of channels are too narrow to be told apart",
        hint="this network's milliseconds cannot be predicted; prune it by MACs",
    )


def _reduce(columns: np.ndarray) -> np.ndarray:
    """Divide each column by what its entries share: then a size and its multiples, as flattening makes them, are alike.

    (6, 4) and its multiple (54, 36) both become (3, 2).
    """
    reduced: np.ndarray = columns // np.maximum(np.gcd.reduce(columns, axis=0), 1)
    return reduced


def _all_differ(columns: np.ndarray, seen: np.ndarray) -> bool:
    """Whether sizes look different wherever their lines are."""
    return len(np.unique(columns, axis=1).T) == len(np.unique(seen, axis=1).T)


def _draw_distinct(dense: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Take another number of units from each group, as far as there are enough."""
    widths, lost = dense.copy(), set()
    for column in np.argsort(dense, kind="stable"):
        able = np.arange(1, max(int(0.7 * dense[column]), min(dense[column], 2)))
        fresh = np.array([each for each in able if int(each) not in lost])
        if able.size:
            chosen = int(draw.choice(fresh if fresh.size else able))
            lost.add(chosen)
            widths[column] -= chosen
    return widths


def solve_lines(graph: ChannelGraph, plans: np.ndarray, numbers: np.ndarray) -> SizeLines:
    """Find the line of each number of a file.

    Args:
        graph: the dense network's.
        plans: widths of each file, (files, free groups), the dense one first.
        numbers: the numbers of each file, (files, numbers).

    Raises:
        ExportFailed: a number changes as no size of the network does.
    """
    known = _Known.of(graph, plans)
    rows = np.zeros((numbers.shape[1], known.rows.shape[1]), dtype=np.int64)
    rows[:, 0] = numbers[0]
    cache: dict[tuple[int, ...], np.ndarray] = {}
    for place in np.flatnonzero((numbers != numbers[0]).any(axis=0)):
        column = tuple(numbers[:, place].tolist())
        if column not in cache:
            cache[column] = _find_line(column, known)
        rows[place] = cache[column]
    return SizeLines(rows)


@dataclass(frozen=True, eq=False)
class _Known:
    """The network's own sizes, to be found by what they are in the files, or by how they change between them."""

    rows: np.ndarray
    """The line of each size: int64, shape (sizes, 1 + free groups)."""
    dense: np.ndarray
    """Each size in the dense file: int64, shape (sizes,)."""
    by_value: Mapping[tuple[int, ...], list[int]]
    """What a size is in the files, one after the other -> the places of the sizes that are so."""
    by_change: Mapping[tuple[int, ...], list[int]]
    """How a size changes from the dense file to each other -> the places of the sizes that do."""

    @staticmethod
    def of(graph: ChannelGraph, plans: np.ndarray) -> _Known:
        lines = known_lines(graph)
        seen = lines.at(plans)
        return _Known(lines.rows, seen[0], _index_columns(seen.T), _index_columns((seen - seen[0])[1:].T))


def _index_columns(columns: Iterable[np.ndarray]) -> Mapping[tuple[int, ...], list[int]]:
    places: dict[tuple[int, ...], list[int]] = {}
    for place, column in enumerate(columns):
        places.setdefault(tuple(column.tolist()), []).append(place)
    return places


def _find_line(column: Sequence[int], known: _Known) -> np.ndarray:
    """Find the line of a size itself, of a size times the positions of a flattened image, or of a size and a constant.

    `column` is the number in each of the files, the dense one first.
    """
    for times in _divisors(int(np.gcd.reduce(column))):
        if same := known.by_value.get(tuple(each // times for each in column)):
            whole: np.ndarray = times * known.rows[same[0]]
            return whole
    shifted = known.by_change.get(tuple(each - column[0] for each in column[1:]), [])
    if len(shifted) == 1:
        row: np.ndarray = known.rows[shifted[0]].copy()
        row[0] += column[0] - known.dense[shifted[0]]
        return row
    raise ExportFailed(
        f"a size of the exported file ({', '.join(map(str, column))}) follows no group of channels",
        hint="this network's milliseconds cannot be predicted; prune it by MACs",
    )


def _divisors(number: int) -> Iterable[int]:
    return (times for times in range(1, min(number, MOST_POSITIONS) + 1) if number % times == 0)
