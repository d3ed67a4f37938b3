"""The way down from the dense network: it fits, loses little, and stops where nothing saves any more."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_prune.budget.descent import descend
from deploy_prune.budget.stair_snap import WidthChoice
from examples import examples


def choose(*losses: list[float]) -> list[WidthChoice]:
    """Groups whose units cost these losses, the cheapest first; one unit stays at least."""
    return [WidthChoice(np.arange(1, len(each) + 1), np.cumsum(sorted(each, reverse=True))) for each in losses]


def cost_of(prices):
    def cost(widths):
        return np.asarray(widths, dtype=float) @ np.asarray(prices, dtype=float)

    return cost


def test_the_example_of_the_docstring():
    choices = choose([0.1, 0.2, 0.6, 0.9], [0.3, 0.5, 0.8])
    assert descend(choices, cost_of([1, 2]), 7.0).tolist() == [3, 2]


@examples(60)
@given(
    st.lists(st.lists(st.floats(0.01, 1), min_size=2, max_size=5), min_size=2, max_size=3),
    st.lists(st.integers(1, 4), min_size=3, max_size=3),
    st.floats(0.4, 0.95),
)
def test_a_plan_fits_and_no_single_wider_width_would(losses, prices, share):
    choices, cost = choose(*losses), cost_of(prices[: len(losses)])
    dense = np.array([len(each) for each in losses])
    limit = max(share * float(cost(dense)), float(cost(np.ones(len(losses)))))
    plan = descend(choices, cost, limit)
    assert float(cost(plan)) <= limit
    for group in range(len(losses)):
        wider = plan + np.eye(len(losses), dtype=int)[group]
        assert wider[group] > dense[group] or float(cost(wider)) > limit


@examples(40)
@given(
    st.lists(st.lists(st.floats(0.01, 1), min_size=3, max_size=5), min_size=2, max_size=3),
    st.floats(0.4, 0.9),
)
def test_at_equal_prices_no_plan_that_fits_keeps_more(losses, share):
    choices, cost = choose(*losses), cost_of([1] * len(losses))
    dense = np.array([len(each) for each in losses])
    limit = max(np.floor(share * dense.sum()), len(losses))
    plan = descend(choices, cost, limit)
    plans = itertools.product(*[range(1, width + 1) for width in dense])
    best = max(worth(choices, each) for each in plans if sum(each) <= limit)
    assert worth(choices, plan) == pytest.approx(best)


def worth(choices, plan):
    return sum(each.utility[width - 1] for each, width in zip(choices, plan, strict=True))


def test_where_nothing_saves_the_narrowest_found_is_given():
    def flat(widths):
        return np.full(np.asarray(widths).shape[:-1], 5.0)

    assert descend(choose([0.1, 0.2], [0.3, 0.4]), flat, 1.0).tolist() == [2, 2]
