"""Scores + cost + budget -> how many units each group keeps.

The *rank cut*: units of the whole network in ascending order of score, removed until the cost fits, floors respected.
That is the published behaviour of LeGR and of Network Slimming's budget mode. Where widths must be multiples, a
second pass gives groups back single steps that still fit, best-scored first. Where the cost climbs in steps, the rank
cut is only where the stair snap (`stair_snap`) begins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deploy_prune import plugins
from deploy_prune.budget.costs import COSTS, CostModel, Stepped
from deploy_prune.budget.stair_snap import WidthChoice, cheapest, snap
from deploy_prune.budget.widths import Ladder, Limits, dense_widths, ladder
from deploy_prune.errors import BudgetError
from deploy_prune.values import ChannelGraph, Scores, Widths

BLOCKS = (8, 16)
"""Multiples at whose widths kernels are usually fast: where the stair snap may begin, besides free widths."""
AT_ONCE = 16
"""Plans that the search for the rank cut asks the cost of together."""


def allocate(graph: ChannelGraph, scores: Scores, cost: CostModel, limit: float, limits: Limits) -> Widths:
    """Widths whose cost is at most `limit`, keeping the units with the highest scores.

    Raises:
        BudgetError: even the narrowest network costs more (the reachable minimum is named), or the dense one fits.
    """
    ladders = [ladder(group, limits) for group in graph.free]
    check_reachable(graph, cost, limit, limits)
    ranked = _Ranked.of(graph, scores)
    widths = _rank_cut(ranked, ladders, cost, limit)
    if isinstance(cost, Stepped):
        starts = [widths, *_coarser_cuts(graph, ranked, (cost, limit), limits)]
        whole = ranked.choices(ladders, _unit_macs(graph, dense_widths(graph.free)))
        widths = max(starts, key=lambda start: _worth(whole, start))
        widths = snap(widths, ranked.choices(ladders, _unit_macs(graph, widths)), cost, limit)
    elif limits.multiple > 1:
        widths = _refill(widths, ladders, ranked, (cost, limit))
    return {group.name: int(width) for group, width in zip(graph.free, widths, strict=True)}


def _coarser_cuts(
    graph: ChannelGraph, ranked: _Ranked, target: tuple[Stepped, float], limits: Limits
) -> Iterator[np.ndarray]:
    """Rank cuts at multiples, for the snap to begin at where they keep more than the one at free widths.

    Where a kernel falls off a cliff beside its stairs (depthwise layers in ONNX Runtime), the cut at free widths has
    to go so deep to fit that no snap finds its way back.
    """
    cost, limit = target
    for block in BLOCKS:
        coarser = [ladder(group, replace(limits, multiple=math.lcm(limits.multiple, block))) for group in graph.free]
        if cost(_floors(coarser)) <= limit:
            yield _rank_cut(ranked, coarser, cost, limit)


def _worth(choices: Sequence[WidthChoice], plan: np.ndarray) -> float:
    """The utility of a whole plan."""
    pairs = zip(choices, plan, strict=True)
    return float(sum(each.utility[int(np.searchsorted(each.steps, width))] for each, width in pairs))


def _unit_macs(graph: ChannelGraph, widths: np.ndarray) -> np.ndarray:
    """Multiply-adds that a unit of each group stands for at these widths; 1 each, where nothing is multiplied.

    The rank cut takes units of one rank alike, whatever they cost. That is the best there is to do, if what a unit is
    worth is its rank times its multiply-adds and time is proportional to these: so only where time is not, in the
    stairs, is it worth moving away from the rank cut. Were each unit worth its rank alone, the snap would trade a few
    units that many layers read for many that one layer reads.
    """
    macs = plugins.build(COSTS, "macs").model(graph)
    found: np.ndarray = macs(widths) - macs(widths - np.eye(len(widths), dtype=int))
    return np.maximum(found, 1e-3 * found.max()) if found.any() else np.ones(len(widths))


def check_reachable(graph: ChannelGraph, cost: CostModel, limit: float, limits: Limits) -> None:
    """Refuse, before any work starts, what no allocation can reach."""
    ladders = [ladder(group, limits) for group in graph.free]
    dense = float(cost(dense_widths(graph.free)))
    if limit >= dense:
        raise BudgetError(f"the dense network already costs {say_cost(dense)}, the budget is {say_cost(limit)}")
    if limit < float(cost(_floors(ladders))) and limit < (least := float(cost(cheapest_widths(cost, ladders)))):
        hint = f"lower the floor ({limits.floor}), the multiple ({limits.multiple}) or raise the budget"
        raise BudgetError(
            f"budget {say_cost(limit)} ({limit / dense:.3f}x) is below the smallest network, "
            f"{say_cost(least)} ({least / dense:.3f}x of {say_cost(dense)})",
            hint=f"{hint}; scope is '{limits.scope}'",
        )


def _floors(ladders: Sequence[Ladder]) -> np.ndarray:
    return np.array([each.steps[0] for each in ladders])


def cheapest_widths(cost: CostModel, ladders: Sequence[Ladder]) -> np.ndarray:
    """The cheapest widths: the floors, unless the cost is stepped and something wider is cheaper."""
    floors = _floors(ladders)
    if not isinstance(cost, Stepped):
        return floors
    return cheapest([WidthChoice(each.steps, np.zeros(each.steps.size)) for each in ladders], cost)


def say_cost(value: float) -> str:
    """Three digits at least: `5.00`, `40,551,104`."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def _rank_cut(ranked: _Ranked, ladders: list[Ladder], cost: CostModel, limit: float) -> np.ndarray:
    """The fewest removals that fit; the cheapest widths where not even all do, as a stepped cost may have it."""
    tables = [each.nearest() for each in ladders]
    low, high = 0, ranked.owner.size
    while low < high:  # cost falls monotonically with removals, or nearly so: `high` fits, or is everything
        tried = np.unique(np.linspace(low, high - 1, AT_ONCE).astype(int))
        fits = cost(ranked.widths(tried, tables)) <= limit
        first = int(np.argmax(fits)) if fits.any() else len(tried)
        low, high = (int(tried[first - 1]) + 1 if first else low), (int(tried[first]) if first < len(tried) else high)
    (widths,) = ranked.widths(np.array([low]), tables)
    return widths if cost(widths) <= limit else cheapest_widths(cost, ladders)


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

    def choices(self, ladders: Sequence[Ladder], unit_worth: np.ndarray) -> list[WidthChoice]:
        """Each group's widths, worth the rank percentiles (over the whole network) of the units that they keep.

        Positive, and the same for every monotone change of the scores; equals share their mean rank. `unit_worth` is
        what a unit of each group counts for.
        """
        _, same, count = np.unique(self.score, return_inverse=True, return_counts=True)
        percentile = (np.cumsum(count) - (count - 1) / 2)[same] / self.score.size
        kept = [np.cumsum(percentile[self.owner == column][::-1]) for column in range(len(ladders))]
        return [
            WidthChoice(each.steps, unit * worth[each.steps - 1])
            for each, worth, unit in zip(ladders, kept, unit_worth, strict=True)
        ]

    def widths(self, removed: np.ndarray, nearest: Sequence[np.ndarray]) -> np.ndarray:
        """Widths after the lowest `removed` units are gone, snapped to the ladders: (cuts, groups)."""
        gone = np.stack([np.bincount(self.owner[:count], minlength=self.width.size) for count in removed])
        asked = self.width - gone
        return np.stack([table[asked[:, column]] for column, table in enumerate(nearest)], axis=1)


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
