"""A group's curve: what it loses at each width, convex, and as a score for every unit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deploy_prune.scoring.obs.elimination import Reading, eliminate
from deploy_prune.scoring.obs.held_out import choose_ridge, measure_losses

TILT = 1e-9
"""How much more the unit that goes later is worth where the hull makes several equal: their order must stay."""


def score_group(readings: Sequence[Reading], ridge: float | None = None) -> np.ndarray:
    """Score a group's units by what it loses, as held-out images say it, where there are some: float (units,).

    Args:
        readings: of every layer that reads the group.
        ridge: what is added to the variance of every input, as a share of their mean; None: it is chosen.
    """
    ridges = [choose_ridge(each) if ridge is None else ridge for each in readings]
    order, losses = eliminate(readings, ridges)
    if all(each.judged is not None for each in readings):
        losses = measure_losses(order, readings, ridges)
    return score_units(order, losses)


def score_units(order: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Score units by what the convex curve rises by when they go: the sum over those that go is what a width costs.

        losses at each turn    0.1  0.4  0.2  0.9
        curve                  0.1  0.5  0.7  1.6
        rises of its hull      0.1  0.3  0.3  0.9

    Args:
        order: the units in the order in which they go, int (units,).
        losses: what each costs at its turn, float (units,), 0 or more.

    Returns:
        A score per unit, by its number: float (units,), ascending along the order.
    """
    rises = find_hull_rises(losses)
    scores = np.empty(len(order))
    scores[order] = rises * (1 + TILT * np.arange(len(order)))
    return scores


def find_hull_rises(losses: np.ndarray) -> np.ndarray:
    """The rises of the lower convex hull of the curve whose rises these are: pool adjacent violators."""
    means, counts = list[float](), list[int]()
    for loss in losses.tolist():
        means.append(loss)
        counts.append(1)
        while len(means) > 1 and means[-2] > means[-1]:
            mean, count = means.pop(), counts.pop()
            means[-1] = (means[-1] * counts[-1] + mean * count) / (counts[-1] + count)
            counts[-1] += count
    return np.repeat(means, counts)
