"""The *stair snap*: widths at the edges of a cost's stairs, worth as much as the budget allows.

Maximises the sum of the groups' utilities under a cost that couples them (in x out) and climbs in steps. Lagrange's
relaxation: at a price per unit of cost every group takes the width that is worth most at that price, given the others,
until none moves; the price is bisected (Everett, Operations Research 11, 1963). What the relaxation leaves of the
budget is given out after it, every move checked on the cost itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from deploy_prune.budget.costs import Stepped

SHARE, LEAST, MOST = 0.5, 4, 32
"""A group may move this share of the width that the rank cut left it, within these numbers of units."""
BEYOND = 32
"""So many units farther it may move where that costs nothing: the next edge of a stair."""
PRICES = np.geomspace(2.0**-8, 2.0**6, 57)
"""Where the first price is looked for, in utility per cost of the start."""
FINER = 17
STRIDE, STEPS, CLOSE = 1.2, 8, 1.02
"""Search of the price: factor until it lies between two, most steps in all, ratio of two that ends it."""
SWEEPS = 5
FEW, SWAPS, CHECKED = 8, 8, 32
"""Exchanges: only of so few groups, as with more the price leaves next to nothing; so many at most; so many of the best
are tried on the cost itself for each."""
LEAST_GAIN = 1e-9


@dataclass(frozen=True, eq=False)
class WidthChoice:
    """The widths that one group may have, ascending, and what each is worth; the wider is never worth less."""

    steps: np.ndarray
    utility: np.ndarray

    def between(self, low: float, high: float) -> WidthChoice:
        """Some of the widths."""
        return self.only((self.steps >= low) & (self.steps <= high))

    def only(self, wanted: np.ndarray) -> WidthChoice:
        """The widths where `wanted` is true."""
        return WidthChoice(self.steps[wanted], self.utility[wanted])


def snapped(start: np.ndarray, choices: Sequence[WidthChoice], cost: Stepped, limit: float) -> np.ndarray:
    """Widths worth at least as much as the start's, within reach of them, whose cost is at most `limit`.

    Every channel that is free is kept, within reach or not: no wider width of a single group costs no more.

    Args:
        start: widths that fit, each one of its group's.
        choices: of each group.
        cost: of all of them.
        limit: of the cost.
    """
    near = _worthwhile(start, choices, cost)
    found = _priced(start, near, limit)
    polished = [
        _exchanged(_filled(plan, near, limit), near, limit) for plan in found[: None if len(start) <= FEW else 1]
    ]
    best = max(polished, key=near.utility)
    wider = [each.between(width, np.inf) for each, width in zip(choices, best, strict=True)]
    return _filled(best, _Columns(cost, wider), float(cost(best)))


def reach(width: int) -> float:
    """How far from the rank cut's width a group may move, in units."""
    return min(max(SHARE * width, LEAST), MOST)


def cheapest(choices: Sequence[WidthChoice], cost: Stepped) -> np.ndarray:
    """Widths from which no single group can be made cheaper, found from the narrowest."""
    worthless = [WidthChoice(each.steps, np.zeros(len(each.steps))) for each in choices]
    return _settled(np.array([each.steps[0] for each in choices]), _Columns(cost, worthless), 1.0)


@dataclass(frozen=True, eq=False)
class _Columns:
    """The cost along each group's widths, worked out again only where a neighbour moved. Not a value: it remembers."""

    cost: Stepped
    choices: Sequence[WidthChoice]
    _known: dict[tuple[int, ...], np.ndarray] = field(default_factory=dict)
    _others: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._others.extend(sorted(near - {group}) for group, near in enumerate(self.cost.neighbours))

    def at(self, plan: np.ndarray, group: int) -> np.ndarray:
        """Of each of the group's widths, less a constant of the plan."""
        key = self._key(plan, group)
        if key not in self._known:
            self._known[key] = self.cost.along(plan, group, self.choices[group].steps)
        return self._known[key]

    def know(self, plan: np.ndarray, group: int, column: np.ndarray) -> None:
        """One that was worked out elsewhere."""
        self._known[self._key(plan, group)] = column

    def answer(self, plan: np.ndarray, group: int, price: float) -> int:
        """The width that is worth most at a price, the widest of equals."""
        choice = self.choices[group]
        worth = choice.utility - price * self.at(plan, group)
        return int(choice.steps[worth.size - 1 - int(np.argmax(worth[::-1]))])

    def changes(self, plan: np.ndarray, group: int) -> tuple[np.ndarray, np.ndarray]:
        """What each of the group's widths would add to the utility and to the cost."""
        choice, column = self.choices[group], self.at(plan, group)
        place = self.place(plan, group)
        return choice.utility - choice.utility[place], column - column[place]

    def utility(self, plan: np.ndarray) -> float:
        """Of the whole plan."""
        return float(sum(each.utility[self.place(plan, group)] for group, each in enumerate(self.choices)))

    def place(self, plan: np.ndarray, group: int) -> int:
        """Of the group's width among its choices."""
        return int(np.searchsorted(self.choices[group].steps, plan[group]))

    def _key(self, plan: np.ndarray, group: int) -> tuple[int, ...]:
        return (group, *plan[self._others[group]].tolist())


def _worthwhile(start: np.ndarray, choices: Sequence[WidthChoice], cost: Stepped) -> _Columns:
    """Of the widths within reach those than which no wider one is as cheap, and the start."""
    kept: list[WidthChoice] = []
    columns: list[np.ndarray] = []
    for group, whole in enumerate(choices):
        width = int(start[group])
        highest = width + reach(width)
        choice = whole.between(width - reach(width), highest + BEYOND)
        column = cost.along(start, group, choice.steps)
        wider = np.minimum.accumulate(np.append(column, np.inf)[::-1])[::-1]  # the cheapest from each width on
        edges = column < wider[1:]
        beyond = choice.steps > highest
        free = beyond & (wider[:-1] <= column[~beyond][-1])  # than the widest within reach
        wanted = (edges & (~beyond | free)) | (choice.steps == start[group])
        kept.append(choice.only(wanted))
        columns.append(column[wanted])
    found = _Columns(cost, kept)
    for group, column in enumerate(columns):
        found.know(start, group, column)
    return found


def _priced(start: np.ndarray, columns: _Columns, limit: float) -> list[np.ndarray]:
    """The plans that fit among those seen while the price was bisected, the start among them, the best first."""
    price, plan = _first(start, columns, limit)
    seen = {start.tobytes(): start}
    if columns.cost(plan) <= limit:
        seen[plan.tobytes()] = plan
    low, high = 0.0, np.inf  # prices at which the plan is too dear, and at which it fits
    for _ in range(STEPS):
        plan = _settled(plan, columns, price)
        if columns.cost(plan) <= limit:
            high = price
            seen[plan.tobytes()] = plan
        else:
            low = price
        if high <= low * CLOSE:
            break
        price = price * STRIDE if np.isinf(high) else price / STRIDE if low == 0 else float(np.sqrt(low * high))
    return sorted(seen.values(), key=columns.utility, reverse=True)


def _first(start: np.ndarray, columns: _Columns, limit: float) -> tuple[float, np.ndarray]:
    """The lowest price at which all groups' answers to the start, taken at once, fit; and those answers."""
    prices = PRICES * columns.utility(start) / float(columns.cost(start))
    for _ in range(2):
        plans = np.stack([_answers(columns, start, group, prices) for group in range(len(start))], axis=1)
        fitting = np.flatnonzero(columns.cost(plans) <= limit)
        place = int(fitting[0]) if fitting.size else len(prices) - 1
        price, plan = float(prices[place]), plans[place]
        prices = np.geomspace(prices[max(place - 1, 0)], price, FINER)
    return price, plan


def _settled(plan: np.ndarray, columns: _Columns, price: float) -> np.ndarray:
    """Each group in turn takes what is worth most at this price, given the others, until none would move."""
    plan = plan.copy()
    pending = set(range(len(plan)))
    for _ in range(SWEEPS):
        for group in sorted(pending):
            pending.discard(group)
            width = columns.answer(plan, group, price)
            if width != plan[group]:
                plan[group] = width
                pending |= columns.cost.neighbours[group] - {group}
        if not pending:
            break
    return plan


def _answers(columns: _Columns, plan: np.ndarray, group: int, prices: np.ndarray) -> np.ndarray:
    """The width that is worth most at each price, the widest of equals."""
    choice = columns.choices[group]
    worth = choice.utility - prices[:, None] * columns.at(plan, group)
    found: np.ndarray = choice.steps[::-1][np.argmax(worth[:, ::-1], axis=1)]
    return found


def _filled(plan: np.ndarray, columns: _Columns, limit: float) -> np.ndarray:
    """Grown group by group while something fits, each time where that is worth most."""
    plan, spent = plan.copy(), float(columns.cost(plan))
    while True:
        for _, group, width in sorted(_growths(plan, columns, limit - spent), reverse=True):
            trial = plan.copy()
            trial[group] = width
            price = float(columns.cost(trial))
            if price <= limit:
                plan, spent = trial, price
                break
        else:
            return plan


def _growths(plan: np.ndarray, columns: _Columns, left: float) -> list[tuple[float, int, int]]:
    """The wider widths that fit, of each group: (gain, group, width); rounding of the cost is let pass."""
    found = []
    for group in range(len(plan)):
        gains, prices = columns.changes(plan, group)
        steps = columns.choices[group].steps
        fitting = np.flatnonzero((steps > plan[group]) & (prices <= left + 1e-12 * abs(left)))
        found += [(float(gains[place]), group, int(steps[place])) for place in fitting[-2:]]
    return found


def _exchanged(plan: np.ndarray, columns: _Columns, limit: float) -> np.ndarray:
    """One group shrinks so that another can grow, while that is worth more."""
    for _ in range(SWAPS if len(plan) <= FEW else 0):
        left = limit - float(columns.cost(plan))
        trials = _exchanges(plan, columns, left)
        fitting = np.flatnonzero(columns.cost(trials) <= limit) if len(trials) else np.array([])
        if not fitting.size:
            break
        plan = _filled(trials[int(fitting[0])], columns, limit)
    return plan


def _exchanges(plan: np.ndarray, columns: _Columns, left: float) -> np.ndarray:
    """The most useful exchanges that should fit, best first: (plans, groups)."""
    rows = [
        np.stack([np.full(gains.size, group), columns.choices[group].steps, gains, prices])
        for group in range(len(plan))
        for gains, prices in [columns.changes(plan, group)]
    ]
    group, width, gain, price = np.concatenate(rows, axis=1)
    shrinks, grows = np.flatnonzero((gain < 0) & (price < 0)), np.flatnonzero(gain > 0)
    gains = gain[shrinks][:, None] + gain[grows]
    fits = price[shrinks][:, None] + price[grows] <= left
    useful = np.argwhere((gains > LEAST_GAIN) & fits & (group[shrinks][:, None] != group[grows]))
    order = np.argsort(-gains[useful[:, 0], useful[:, 1]], kind="stable")[:CHECKED]
    trials = np.repeat(plan[None], len(order), axis=0)
    for trial, (narrower, wider) in zip(trials, useful[order], strict=True):
        for row in (shrinks[narrower], grows[wider]):
            trial[int(group[row])] = int(width[row])
    return trials
