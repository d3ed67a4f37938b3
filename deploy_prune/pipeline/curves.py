"""What every group loses and what the network costs at its widths, where scores add up: for reports to show."""

from __future__ import annotations

import numpy as np

from deploy_prune.analysis.report_curves import LEVELS
from deploy_prune.budget.widths import Limits, kept_widths, ladder
from deploy_prune.pipeline.priced import Price
from deploy_prune.values import ChannelGraph, GroupCurve, Keep, Scores

POINTS = 64
"""How many widths of a group are recorded, evenly spread, besides those that reports name."""


def trace_curves(
    graph: ChannelGraph, scores: Scores, keep: Keep, price: Price, limits: Limits
) -> tuple[GroupCurve, ...]:
    """Trace the curve of every free group that may have more than one width.

        scores of a group's units   0.1  0.4  0.2  0.9
        width                       2    3    4
        error                       0.3  0.1  0.0

    Args:
        graph: the network's channel graph.
        scores: losses that add up, of all free groups.
        keep: the plan.
        price: what plans cost.
        limits: what a plan may do to a group.
    """
    chosen, cost = kept_widths(graph.free, keep), price.on(graph)
    curves = []
    for place, group in enumerate(graph.free):
        steps = ladder(group, limits).steps
        if steps.size == 1:
            continue
        lost = np.concatenate([[0.0], np.cumsum(np.sort(scores.by_group[group.name]))])  # (units gone,)
        widths = np.union1d(_choose_steps(steps, lost[group.width - steps]), chosen[place])
        plans = np.repeat(chosen[None], widths.size, axis=0)
        plans[:, place] = widths
        errors, costs = lost[group.width - widths].tolist(), cost(plans).tolist()
        curves.append(GroupCurve(group.name, tuple(widths.tolist()), tuple(errors), tuple(costs), price.unit))
    return tuple(curves)


def _choose_steps(steps: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """The widths to record: some evenly, and the narrowest that loses no more than each error that reports name."""
    even = np.linspace(0, steps.size - 1, POINTS).round().astype(int)
    named = [int(np.argmax(errors <= level)) for level in LEVELS]
    chosen: np.ndarray = steps[np.union1d(even, named)]
    return chosen
