"""The widths that lose the least under a budget, where what units are worth adds up.

Begins at the dense network and takes, again and again, the narrower width of one group that loses the least for the
cost it saves: to the next edge of a stair, where the cost has stairs. A worked example, which a test follows: a unit of
group a costs 1 and one of b costs 2, the dense network 10, and a plan may cost 7.

    losses, the cheapest unit first    a: 0.1  0.2  0.6  0.9      b: 0.3  0.5  0.8
    [4, 3] costs 10                    a: 0.1 / 1                 b: 0.3 / 2      -> a
    [3, 3] costs  9                    a: 0.2 / 1                 b: 0.3 / 2      -> b
    [3, 2] costs  7
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from deploy_prune.budget.bilinear import Extents
from deploy_prune.budget.costs import CostModel, Stepped
from deploy_prune.budget.stair_snap import CostColumns, WidthChoice, fill

LEVELS = 64
"""How many widths of a group are tried on the way down, where the cost has no stairs; all of them are on the way up."""


def descend(choices: Sequence[WidthChoice], cost: CostModel, limit: float) -> np.ndarray:
    """Widths (groups,) whose cost is at most `limit`, or the narrowest where none were found.

    Args:
        choices: the widths that each group may have, and what each is worth: less its loss.
        cost: the cost of a plan.
        limit: what a plan may cost.
    """
    if isinstance(cost, Stepped):
        stepped, coarse = cost, list(choices)
    else:
        stepped, coarse = _Plain(cost, len(choices)), [_thin_out(each) for each in choices]
    columns = CostColumns(stepped, coarse)
    plan = np.array([each.steps[-1] for each in choices])
    offers: dict[int, _Offer | None] = dict.fromkeys(range(len(choices)))
    stale: Iterable[int] = offers
    while float(cost(plan)) > limit:
        offers.update({group: _make_offer(plan, columns, group) for group in stale})
        best = min((each for each in offers.values() if each), default=None)
        if best is None:
            return plan
        _, group, plan[group] = best
        stale = stepped.neighbours[group]
    return fill(plan, CostColumns(stepped, choices), limit)


_Offer = tuple[float, int, int]
"""What is lost for what is saved, the group, and its narrower width."""


def _make_offer(plan: np.ndarray, columns: CostColumns, group: int) -> _Offer | None:
    """The narrower width of a group that loses the least for what it saves; None: none saves."""
    choice = columns.choices[group]
    gains, prices = columns.changes(plan, group)
    narrower = np.flatnonzero((choice.steps < plan[group]) & (prices < 0))
    if not narrower.size:
        return None
    rates = gains[narrower] / prices[narrower]
    place = int(np.argmin(rates))
    return float(rates[place]), group, int(choice.steps[narrower[place]])


def _thin_out(choice: WidthChoice) -> WidthChoice:
    wanted = np.zeros(len(choice.steps), dtype=bool)
    wanted[np.unique(np.linspace(0, len(choice.steps) - 1, LEVELS).round().astype(int))] = True
    return choice.only(wanted)


@dataclass(frozen=True, eq=False)
class _Plain:
    """A cost without stairs, asked as one with stairs is."""

    cost: CostModel
    groups: int

    def __call__(self, widths: np.ndarray) -> np.ndarray:
        """Cost of each plan."""
        return self.cost(widths)

    def along(self, widths: np.ndarray, group: int, options: np.ndarray) -> np.ndarray:
        """Cost with one group at other widths."""
        plans = np.repeat(widths[None], len(options), axis=0)
        plans[:, group] = options
        return self.cost(plans)

    @cached_property
    def neighbours(self) -> tuple[frozenset[int], ...]:
        """The groups that meet each in a term; all groups, where the cost has no terms."""
        if not isinstance(self.cost, Extents):
            return (frozenset(range(self.groups)),) * self.groups
        meets = (self.cost.first[:, 1:] != 0) | (self.cost.second[:, 1:] != 0)  # (terms, groups)
        together = meets.T.astype(int) @ meets.astype(int) + np.eye(self.groups, dtype=int)
        return tuple(frozenset(np.flatnonzero(row).tolist()) for row in together)
