"""Scores + cost + budget -> how many units each group keeps.

The *rank cut*: units of the whole network in ascending order of score, removed until the cost fits, floors respected.
That is the published behaviour of LeGR and of Network Slimming's budget mode. Where widths must be multiples, a
second pass gives groups back single steps that still fit, best-scored first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deploy_prune.costs import CostModel
from deploy_prune.errors import BudgetError
from deploy_prune.values import ChannelGraph, Group, Scores, Widths


@dataclass(frozen=True)
class Limits:
    """What a plan may do to a group."""

    floor: float = 0.1
    """Share of its units that every group keeps at least (and never fewer than 2)."""
    multiple: int = 1
    """Channel counts are multiples of this, or the dense count."""
    scope: str = "full"
    """`inner` leaves groups that a residual add touches as they are, `full` cuts them too."""


@dataclass(frozen=True, eq=False)
class Ladder:
    """The widths that one group may have, ascending; the last is the dense one."""

    steps: np.ndarray

    def nearest(self, width: np.ndarray) -> np.ndarray:
        """The closest step, the larger one at a tie."""
        middles = (self.steps[1:] + self.steps[:-1]) / 2
        snapped: np.ndarray = self.steps[np.searchsorted(middles, width, side="right")]
        return snapped


def ladder(group: Group, limits: Limits) -> Ladder:
    """Every allowed width of a group."""
    if limits.scope == "inner" and group.residual:
        return Ladder(np.array([group.width]))
    floor = min(group.width, max(2, math.ceil(limits.floor * group.width)))
    step = limits.multiple // math.gcd(limits.multiple, group.channels_per_unit)
    multiples = np.arange(step, group.width, step)
    return Ladder(np.array([*multiples[multiples >= floor], group.width]))


def allocate(graph: ChannelGraph, scores: Scores, cost: CostModel, limit: float, limits: Limits) -> Widths:
    """Widths whose cost is at most `limit`, keeping the units with the highest scores.

    Raises:
        BudgetError: even the narrowest network costs more (the reachable minimum is named), or the dense one fits.
    """
    ladders = [ladder(group, limits) for group in graph.free]
    check_reachable(graph, cost, limit, limits)
    ranked = _Ranked.of(graph, scores)
    low, high = 0, ranked.owner.size
    while low < high:  # the fewest removals that fit: cost falls monotonically with removals
        middle = (low + high) // 2
        if cost(ranked.widths(middle, ladders)) <= limit:
            high = middle
        else:
            low = middle + 1
    widths = ranked.widths(low, ladders)
    if limits.multiple > 1:
        widths = _refill(widths, ladders, ranked, (cost, limit))
    return {group.name: int(width) for group, width in zip(graph.free, widths, strict=True)}


def check_reachable(graph: ChannelGraph, cost: CostModel, limit: float, limits: Limits) -> None:
    """Refuse, before any work starts, what no allocation can reach."""
    ladders = [ladder(group, limits) for group in graph.free]
    dense = float(cost(np.array([group.width for group in graph.free])))
    least = float(cost(np.array([each.steps[0] for each in ladders])))
    if limit >= dense:
        raise BudgetError(f"the dense network already costs {dense:,.0f}, the budget is {limit:,.0f}")
    if limit < least:
        hint = f"lower the floor ({limits.floor}), the multiple ({limits.multiple}) or raise the budget"
        raise BudgetError(
            f"budget {limit:,.0f} ({limit / dense:.3f}x) is below the smallest network, "
            f"{least:,.0f} ({least / dense:.3f}x of {dense:,.0f})",
            hint=f"{hint}; scope is '{limits.scope}'",
        )


@dataclass(frozen=True, eq=False)
class _Ranked:
    """All units in ascending order of score."""

    owner: np.ndarray
    """Group (its column) of each unit."""
    score: np.ndarray
    width: np.ndarray
    """Dense width of each group."""

    @staticmethod
    def of(graph: ChannelGraph, scores: Scores) -> _Ranked:
        values = [np.asarray(scores.by_group[group.name], dtype=np.float64) for group in graph.free]
        owner = np.repeat(np.arange(len(values)), [value.size for value in values])
        score = np.concatenate(values)
        order = np.argsort(score, kind="stable")
        return _Ranked(owner[order], score[order], np.array([value.size for value in values]))

    def widths(self, removed: int, ladders: list[Ladder]) -> np.ndarray:
        """Widths after the lowest `removed` units are gone, snapped to the ladders."""
        asked = self.width - np.bincount(self.owner[:removed], minlength=self.width.size)
        return np.array([each.nearest(width) for each, width in zip(ladders, asked, strict=True)])


def _refill(widths: np.ndarray, ladders: list[Ladder], ranked: _Ranked, target: tuple[CostModel, float]) -> np.ndarray:
    """Give back steps that fit, in descending order of the best unit that each step returns."""
    cost, limit = target
    widths = widths.copy()
    while True:
        options = []
        for column, each in enumerate(ladders):
            larger = each.steps[each.steps > widths[column]]
            if larger.size:
                own = ranked.score[ranked.owner == column]
                options.append((own[own.size - widths[column] - 1], column, larger[0]))
        for _, column, step in sorted(options, reverse=True):
            trial = widths.copy()
            trial[column] = step
            if cost(trial) <= limit:
                widths = trial
                break
        else:
            return widths


def best_units(scores: Scores, widths: Widths) -> Mapping[str, tuple[int, ...]]:
    """The default selection: the best-scored units of each group (the lower number at a tie)."""
    return {
        name: tuple(sorted(np.argsort(-np.asarray(scores.by_group[name]), kind="stable")[:width].tolist()))
        for name, width in widths.items()
    }
