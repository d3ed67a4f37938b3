"""The *stair snap*: widths at the edges of a cost's stairs, worth as much as the budget allows.

Maximises the sum of the groups' utilities under a cost that couples them (in x out) and climbs in steps. Lagrange's
relaxation: at a price per unit of cost every group takes the width that is worth most at that price, given the others,
until none moves; the price is bisected (Everett, Operations Research 11, 1963). What the relaxation leaves of the
budget is given out after it, every move checked on the cost itself.

Arrays throughout: a plan is a width per group, (groups,); a group's `steps`, their `utility` and a column of costs are
(widths,); several plans are (plans, groups). A worked example, which a test follows: group a runs in tiles of four
channels at 4 ms each, a unit is worth 1; group b takes 1 ms per channel, a unit is worth 2. The limit is 11 ms.

    start            [5, 3]                               8 + 3 = 11 ms, worth  5 + 6 = 11
    worthwhile       a: 4 8, and 5 where it starts        the widest of each tile
                     b: 1 2 3 4 5 6 7                     from 3 it may move by 4
    price 0.5 / ms   a: 4 - 2, 5 - 4, 8 - 4     -> 8
                     b: 2w - 0.5w               -> 7      8 + 7 = 15 ms, too dear
    price 1.5 / ms   a: 4 - 6, 5 - 12, 8 - 12   -> 4
                     b: 2w - 1.5w               -> 7      4 + 7 = 11 ms, worth  4 + 14 = 18
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deploy_prune.budget.costs import Stepped
from deploy_prune.budget.widths import REACH, Reach

PRICES = np.geomspace(2.0**-8, 2.0**6, 57)
"""Where the first price is looked for, in utility per cost of the start."""
FINER = 17
"""How many prices between two of those the first one is looked for at next."""
STRIDE, STEPS, CLOSE = 1.2, 8, 1.02
"""Search of the price: factor until it lies between two, most steps in all, ratio of two that ends it."""
SWEEPS = 5
"""How often all groups that may want to move are asked again at one price."""
FEW, SWAPS, CHECKED = 8, 8, 32
"""Exchanges: only of so few groups, as with more the price leaves next to nothing; so many at most; so many of the best
are tried on the cost itself for each."""
LEAST_GAIN = 1e-9
"""The utility that an exchange must add: less is rounding."""


@dataclass(frozen=True, eq=False)
class WidthChoice:
    """The widths that one group may have, ascending, and what each is worth; the wider is never worth less."""

    steps: np.ndarray
    """Units kept: int, shape (widths,)."""
    utility: np.ndarray
    """What each of them is worth, in units of the scores' rank percentiles: float, shape (widths,)."""

    def between(self, low: float, high: float) -> WidthChoice:
        """The widths from `low` to `high`, both included."""
        return self.only((self.steps >= low) & (self.steps <= high))

    def only(self, wanted: np.ndarray) -> WidthChoice:
        """The widths where `wanted`, bool of shape (widths,), is true."""
        return WidthChoice(self.steps[wanted], self.utility[wanted])


def snap(
    start: np.ndarray, choices: Sequence[WidthChoice], cost: Stepped, limit: float, *, reach: Reach = REACH
) -> np.ndarray:
    """Widths worth at least as much as the start's, within reach of them, whose cost is at most `limit`.

    Every channel that is free is kept, within reach or not: no wider width of a single group costs no more.

    Args:
        start: widths that fit, (groups,), each one of its group's.
        choices: the widths that each group may have.
        cost: the cost of a plan, in its own unit (ms).
        limit: what a plan may cost at most, in the same unit.
        reach: how far a group may move.
    """
    near = find_worthwhile(start, choices, cost, reach=reach)
    fitting = _bisect_price(start, near, limit)
    chosen = fitting if len(start) <= FEW else fitting[:1]
    polished = [_exchange(fill(plan, near, limit), near, limit) for plan in chosen]
    best = max(polished, key=near.utility)
    wider = [each.between(width, np.inf) for each, width in zip(choices, best, strict=True)]
    return fill(best, CostColumns(cost, wider), float(cost(best)))


def cheapest(choices: Sequence[WidthChoice], cost: Stepped) -> np.ndarray:
    """Widths (groups,) from which no single group can be made cheaper, looked for from the narrowest."""
    worthless = [WidthChoice(each.steps, np.zeros(len(each.steps))) for each in choices]
    return _settle(np.array([each.steps[0] for each in choices]), CostColumns(cost, worthless), 1.0)


class CostColumns:
    """The cost along each group's widths: a cache, in which it is worked out again only where a neighbour moved."""

    def __init__(self, cost: Stepped, choices: Sequence[WidthChoice]) -> None:
        self.cost = cost
        self.choices = choices
        self._known: dict[tuple[int, ...], np.ndarray] = {}
        """The group and the widths of its neighbours -> the column."""
        self._others = [sorted(near - {group}) for group, near in enumerate(cost.neighbours)]

    def at(self, plan: np.ndarray, group: int) -> np.ndarray:
        """The plan's cost at each of the group's widths, (widths,), less a number that depends on the plan alone."""
        key = self._key(plan, group)
        if key not in self._known:
            self._known[key] = self.cost.along(plan, group, self.choices[group].steps)
        return self._known[key]

    def know(self, plan: np.ndarray, group: int, column: np.ndarray) -> None:
        """Take over a column that was worked out elsewhere."""
        self._known[self._key(plan, group)] = column

    def answer(self, plan: np.ndarray, group: int, price: float) -> int:
        """The width that is worth most at a price (utility per cost), the widest of equals."""
        choice = self.choices[group]
        worth = choice.utility - price * self.at(plan, group)
        return int(choice.steps[worth.size - 1 - int(np.argmax(worth[::-1]))])

    def changes(self, plan: np.ndarray, group: int) -> tuple[np.ndarray, np.ndarray]:
        """What each of the group's widths would add to the utility and to the cost, both (widths,)."""
        choice, column = self.choices[group], self.at(plan, group)
        place = self.place(plan, group)
        return choice.utility - choice.utility[place], column - column[place]

    def utility(self, plan: np.ndarray) -> float:
        """What the whole plan is worth."""
        return float(sum(each.utility[self.place(plan, group)] for group, each in enumerate(self.choices)))

    def place(self, plan: np.ndarray, group: int) -> int:
        """The place of the group's width among its choices."""
        return int(np.searchsorted(self.choices[group].steps, plan[group]))

    def _key(self, plan: np.ndarray, group: int) -> tuple[int, ...]:
        return (group, *plan[self._others[group]].tolist())


def find_worthwhile(
    start: np.ndarray, choices: Sequence[WidthChoice], cost: Stepped, *, reach: Reach = REACH
) -> CostColumns:
    """Choose the widths within reach than which no wider one is as cheap, and the start's.

    Along a group whose tiles hold four channels, from a start of 5:

        steps    1  2  3  4  5  6  7  8
        column   4  4  4  4  8  8  8  8     what the plan costs there, (widths,)
        wider    4  4  4  4  8  8  8  8     the least that this width or any wider one costs, (widths,)
        edges    .  .  .  x  .  .  .  x     cheaper than every wider one
        wanted   .  .  .  x  x  .  .  x     and the start
    """
    kept: list[WidthChoice] = []
    columns: list[np.ndarray] = []
    for group, whole in enumerate(choices):
        width = int(start[group])
        highest = width + reach.units(width)
        choice = whole.between(width - reach.units(width), highest + reach.beyond)
        column = cost.along(start, group, choice.steps)
        wider = np.minimum.accumulate(np.append(column, np.inf)[::-1])[::-1]  # and inf behind the widest
        edges = column < wider[1:]
        beyond = choice.steps > highest
        free = beyond & (wider[:-1] <= column[~beyond][-1])  # than the widest within reach
        wanted = (edges & (~beyond | free)) | (choice.steps == start[group])
        kept.append(choice.only(wanted))
        columns.append(column[wanted])
    near = CostColumns(cost, kept)
    for group, column in enumerate(columns):
        near.know(start, group, column)
    return near


def _bisect_price(start: np.ndarray, columns: CostColumns, limit: float) -> list[np.ndarray]:
    """Bisect the price, and give the plans seen meanwhile that fit, the start among them, the best first."""
    price, plan = _first_price(start, columns, limit)
    seen = {start.tobytes(): start}
    if columns.cost(plan) <= limit:
        seen[plan.tobytes()] = plan
    low, high = 0.0, np.inf  # prices at which the plan is too dear, and at which it fits
    for _ in range(STEPS):
        plan = _settle(plan, columns, price)
        if columns.cost(plan) <= limit:
            high = price
            seen[plan.tobytes()] = plan
        else:
            low = price
        if high <= low * CLOSE:
            break
        price = price * STRIDE if np.isinf(high) else price / STRIDE if low == 0 else float(np.sqrt(low * high))
    return sorted(seen.values(), key=columns.utility, reverse=True)


def _first_price(start: np.ndarray, columns: CostColumns, limit: float) -> tuple[float, np.ndarray]:
    """Find the lowest price at which all groups' answers to the start, taken at once, fit; and those answers."""
    prices = PRICES * columns.utility(start) / float(columns.cost(start))
    for _ in range(2):
        plans = np.stack([_best_widths(columns, start, group, prices) for group in range(len(start))], axis=1)
        fitting = np.flatnonzero(columns.cost(plans) <= limit)
        place = int(fitting[0]) if fitting.size else len(prices) - 1
        price, plan = float(prices[place]), plans[place]
        prices = np.geomspace(prices[max(place - 1, 0)], price, FINER)
    return price, plan


def _settle(plan: np.ndarray, columns: CostColumns, price: float) -> np.ndarray:
    """Let each group in turn take what is worth most at this price, given the others, until none would move."""
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


def _best_widths(columns: CostColumns, plan: np.ndarray, group: int, prices: np.ndarray) -> np.ndarray:
    """The width that is worth most at each price, the widest of equals: prices (prices,) -> widths (prices,)."""
    choice = columns.choices[group]
    worth = choice.utility - prices[:, None] * columns.at(plan, group)  # (prices, widths)
    widths: np.ndarray = choice.steps[::-1][np.argmax(worth[:, ::-1], axis=1)]
    return widths


def fill(plan: np.ndarray, columns: CostColumns, limit: float) -> np.ndarray:
    """Grow group by group while something fits, each time where that is worth most."""
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


def _growths(plan: np.ndarray, columns: CostColumns, left: float) -> list[tuple[float, int, int]]:
    """The wider widths of every group that fit, as (gain, group, width); rounding of the cost is let pass."""
    growths = []
    for group in range(len(plan)):
        gains, prices = columns.changes(plan, group)
        steps = columns.choices[group].steps
        fitting = np.flatnonzero((steps > plan[group]) & (prices <= left + 1e-12 * abs(left)))
        growths += [(float(gains[place]), group, int(steps[place])) for place in fitting[-2:]]
    return growths


def _exchange(plan: np.ndarray, columns: CostColumns, limit: float) -> np.ndarray:
    """Let one group shrink so that another can grow, while that is worth more."""
    for _ in range(SWAPS if len(plan) <= FEW else 0):
        left = limit - float(columns.cost(plan))
        trials = _exchanges(plan, columns, left)
        fitting = np.flatnonzero(columns.cost(trials) <= limit) if len(trials) else np.array([])
        if not fitting.size:
            break
        plan = fill(trials[int(fitting[0])], columns, limit)
    return plan


def _exchanges(plan: np.ndarray, columns: CostColumns, left: float) -> np.ndarray:
    """The plans after the most useful exchanges that should fit, best first: (plans, groups).

    A move takes one group to another of its widths; an exchange is a move that shrinks and one that grows.
    """
    moves = [
        np.stack([np.full(gains.size, group), columns.choices[group].steps, gains, prices])
        for group in range(len(plan))
        for gains, prices in [columns.changes(plan, group)]
    ]
    group, width, gain, price = np.concatenate(moves, axis=1)  # (moves of all groups,) each
    shrinks, grows = np.flatnonzero((gain < 0) & (price < 0)), np.flatnonzero(gain > 0)
    gains = gain[shrinks][:, None] + gain[grows]  # (shrinks, grows), as are `fits` and what is useful
    fits = price[shrinks][:, None] + price[grows] <= left
    useful = np.argwhere((gains > LEAST_GAIN) & fits & (group[shrinks][:, None] != group[grows]))
    order = np.argsort(-gains[useful[:, 0], useful[:, 1]], kind="stable")[:CHECKED]
    trials = np.repeat(plan[None], len(order), axis=0)
    for trial, (narrower, wider) in zip(trials, useful[order], strict=True):
        for row in (shrinks[narrower], grows[wider]):
            trial[int(group[row])] = int(width[row])
    return trials
