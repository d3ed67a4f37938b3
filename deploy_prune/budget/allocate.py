"""Decides how many units each group keeps, from scores, a cost and what a plan may cost.

The *rank cut*: units of the whole network in ascending order of score, removed until the cost fits, floors respected.
That is the published behaviour of LeGR and of Network Slimming's budget mode. Where widths must be multiples, a
second pass gives groups back single steps that still fit, best-scored first. Where the cost climbs in steps, the rank
cut is only where the stair snap (`stair_snap`) begins.

A plan is a width per free group, int, shape (groups,); several are (plans, groups). A worked example, which a test
follows: groups a (4 units) and b (3 units), a unit of a costs 1 and one of b costs 2, so that the dense network costs
10; a plan may cost 7, and every group keeps two units at least.

    scores      a: 0.9 0.1 0.5 0.7      b: 0.2 0.6 0.8
    ranked      owner  a    b    a    b    a    b    a         (units,), the least first
                score  0.1  0.2  0.5  0.6  0.7  0.8  0.9
    removed     0      [4, 3] costs 10
                1      [3, 3] costs 9
                2      [3, 2] costs 7: the fewest removals that fit
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deploy_prune import plugins
from deploy_prune.budget.costs import COSTS, CostModel, Stepped
from deploy_prune.budget.descent import descend
from deploy_prune.budget.stair_snap import WidthChoice, cheapest, snap
from deploy_prune.budget.widths import REACH, Ladder, Limits, Reach, dense_widths, ladder
from deploy_prune.errors import BudgetError
from deploy_prune.values import ChannelGraph, Scores, Widths

BLOCKS = (8, 16)
"""Multiples at whose widths kernels are usually fast: where the stair snap may begin, besides free widths."""
AT_ONCE = 16
"""How many plans the search for the rank cut asks the cost of together."""


def allocate(
    graph: ChannelGraph, scores: Scores, cost: CostModel, limit: float, limits: Limits, *, reach: Reach = REACH
) -> Widths:
    """Widths whose cost is at most `limit`, keeping the units with the highest scores.

    Where the cost climbs in steps, no group is farther than `reach` from the rank cut.

    Raises:
        BudgetError: even the narrowest network costs more (the reachable minimum is named), or the dense one fits.
    """
    ladders = [ladder(group, limits) for group in graph.free]
    check_reachable(graph, cost, limit, limits)
    if scores.additive:
        widths = _lose_least(graph, scores, ladders, (cost, limit))
        return {group.name: int(width) for group, width in zip(graph.free, widths, strict=True)}
    ranked = _Ranked.of(graph, scores)
    widths = _cut_ranks(ranked, ladders, cost, limit)
    if isinstance(cost, Stepped):
        starts = [widths, *_cut_coarser(graph, ranked, (cost, limit), limits)]
        whole = ranked.choices(ladders, _unit_macs(graph, dense_widths(graph.free)))
        widths = max(starts, key=lambda start: _worth(whole, start))
        widths = snap(widths, ranked.choices(ladders, _unit_macs(graph, widths)), cost, limit, reach=reach)
    elif limits.multiple > 1:
        widths = _refill(widths, ladders, ranked, (cost, limit))
    return {group.name: int(width) for group, width in zip(graph.free, widths, strict=True)}


def _lose_least(
    graph: ChannelGraph, scores: Scores, ladders: Sequence[Ladder], target: tuple[CostModel, float]
) -> np.ndarray:
    """The widths that lose the least, where losses add up: what a width is worth is the sum of what it keeps."""
    cost, limit = target
    values = [np.sort(np.asarray(scores.by_group[group.name], dtype=np.float64))[::-1] for group in graph.free]
    choices = [
        WidthChoice(each.steps, np.cumsum(value)[each.steps - 1]) for each, value in zip(ladders, values, strict=True)
    ]
    widths = descend(choices, cost, limit)
    if float(cost(widths)) > limit:
        return cheapest_widths(cost, ladders)
    return snap(widths, choices, cost, limit) if isinstance(cost, Stepped) else widths


def _cut_coarser(
    graph: ChannelGraph, ranked: _Ranked, target: tuple[Stepped, float], limits: Limits
) -> Iterator[np.ndarray]:
    """Cut ranks at multiples, for the snap to begin at where that keeps more than the cut at free widths.

    Where a kernel falls off a cliff beside its stairs (depthwise layers in ONNX Runtime), the cut at free widths has
    to go so deep to fit that no snap finds its way back.
    """
    cost, limit = target
    for block in BLOCKS:
        coarser = [ladder(group, replace(limits, multiple=math.lcm(limits.multiple, block))) for group in graph.free]
        if cost(_lowest_widths(coarser)) <= limit:
            yield _cut_ranks(ranked, coarser, cost, limit)


def _worth(choices: Sequence[WidthChoice], plan: np.ndarray) -> float:
    """The utility of a whole plan."""
    pairs = zip(choices, plan, strict=True)
    return float(sum(each.utility[int(np.searchsorted(each.steps, width))] for each, width in pairs))


def _unit_macs(graph: ChannelGraph, widths: np.ndarray) -> np.ndarray:
    """The multiply-adds that a unit of each group stands for at these widths, (groups,); 1 where nothing is multiplied.

    The rank cut takes units of one rank alike, whatever they cost. That is the best there is to do, if what a unit is
    worth is its rank times its multiply-adds and time is proportional to these: so only where time is not, in the
    stairs, is it worth moving away from the rank cut. Were each unit worth its rank alone, the snap would trade a few
    units that many layers read for many that one layer reads.
    """
    macs = plugins.build(COSTS, "macs").model(graph)
    macs_of_one: np.ndarray = macs(widths) - macs(widths - np.eye(len(widths), dtype=int))
    return np.maximum(macs_of_one, 1e-3 * macs_of_one.max()) if macs_of_one.any() else np.ones(len(widths))


def check_reachable(graph: ChannelGraph, cost: CostModel, limit: float, limits: Limits, *, unit: str = "") -> None:
    """Refuse, before any work starts, what no allocation can reach; `unit` is what messages say costs are in."""
    ladders = [ladder(group, limits) for group in graph.free]
    dense = float(cost(dense_widths(graph.free)))
    if limit >= dense:
        raise BudgetError(
            f"the budget, {say_cost(limit, unit)}, is not below the dense network's {say_cost(dense, unit)}: "
            "nothing to prune",
            hint="ask for less, such as 0.5x; the dense network is exported as it is by `deploy-prune export`",
        )
    if limit < float(cost(_lowest_widths(ladders))) and limit < (least := float(cost(cheapest_widths(cost, ladders)))):
        hint = f"lower the floor ({limits.floor}), the multiple ({limits.multiple}) or raise the budget"
        raise BudgetError(
            f"the budget, {say_cost(limit, unit)} ({limit / dense:.3f}x), is below the smallest network, "
            f"{say_cost(least, unit)} ({least / dense:.3f}x of {say_cost(dense, unit)})",
            hint=f"{hint}; scope is '{limits.scope}'",
        )


def _lowest_widths(ladders: Sequence[Ladder]) -> np.ndarray:
    return np.array([each.steps[0] for each in ladders])


def cheapest_widths(cost: CostModel, ladders: Sequence[Ladder]) -> np.ndarray:
    """The cheapest widths: the floors, unless the cost is stepped and something wider is cheaper."""
    floors = _lowest_widths(ladders)
    if not isinstance(cost, Stepped):
        return floors
    return cheapest([WidthChoice(each.steps, np.zeros(each.steps.size)) for each in ladders], cost)


def say_cost(value: float, unit: str = "") -> str:
    """Write a cost with three digits at least, and its unit where it is known: `5.00 ms`, `40,551,104`."""
    return f"{value:,.0f} {unit}".strip() if abs(value) >= 100 else f"{value:#.3g} {unit}".strip()


def _cut_ranks(ranked: _Ranked, ladders: list[Ladder], cost: CostModel, limit: float) -> np.ndarray:
    """Remove as few units as fit; the cheapest widths where not even all do, as a stepped cost may have it."""
    tables = [each.nearest() for each in ladders]
    low, high = 0, ranked.owner.size
    while low < high:  # cost falls monotonically with removals, or nearly so: `high` fits, or is everything
        removals = np.unique(np.linspace(low, high - 1, AT_ONCE).astype(int))
        fits = cost(ranked.widths(removals, tables)) <= limit
        first = int(np.argmax(fits)) if fits.any() else len(removals)
        low = int(removals[first - 1]) + 1 if first else low
        high = int(removals[first]) if first < len(removals) else high
    (widths,) = ranked.widths(np.array([low]), tables)
    return widths if cost(widths) <= limit else cheapest_widths(cost, ladders)


@dataclass(frozen=True, eq=False)
class _Ranked:
    """All units in ascending order of score."""

    owner: np.ndarray
    """The group that each unit is of, by its place among the free groups: int, shape (units of the network,)."""
    score: np.ndarray
    """The score of each unit, ascending: float, shape (units of the network,)."""
    width: np.ndarray
    """The dense width of each group, in units: int, shape (groups,)."""

    @staticmethod
    def of(graph: ChannelGraph, scores: Scores) -> _Ranked:
        """Sort all units of the free groups by their scores."""
        values = [np.asarray(scores.by_group[group.name], dtype=np.float64) for group in graph.free]
        owner = np.repeat(np.arange(len(values)), [value.size for value in values])
        score = np.concatenate(values)
        order = np.argsort(score, kind="stable")
        return _Ranked(owner[order], score[order], np.array([value.size for value in values]))

    def choices(self, ladders: Sequence[Ladder], unit_worth: np.ndarray) -> list[WidthChoice]:
        """Say what each group's widths are worth: the rank percentiles, over the whole network, of what they keep.

        These are positive and the same for every monotone change of the scores; equals share their mean rank.
        `unit_worth`, shape (groups,), is what a unit of each group counts for. In the example above, at a worth of 1:

            percentile    1/7  2/7  3/7  4/7  5/7  6/7  7/7
            a keeps 2     7/7 + 5/7;    3: 3/7 more;    4: 1/7 more
        """
        _, same, count = np.unique(self.score, return_inverse=True, return_counts=True)
        percentile = (np.cumsum(count) - (count - 1) / 2)[same] / self.score.size
        kept = [np.cumsum(percentile[self.owner == column][::-1]) for column in range(len(ladders))]
        return [
            WidthChoice(each.steps, unit * worth[each.steps - 1])
            for each, worth, unit in zip(ladders, kept, unit_worth, strict=True)
        ]

    def widths(self, removed: np.ndarray, nearest: Sequence[np.ndarray]) -> np.ndarray:
        """Widths after the lowest `removed` units, (cuts,), are gone, snapped to the ladders: (cuts, groups)."""
        gone = np.stack([np.bincount(self.owner[:count], minlength=self.width.size) for count in removed])
        left = self.width - gone
        return np.stack([table[left[:, column]] for column, table in enumerate(nearest)], axis=1)


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
