"""A curve's hull is convex, nowhere above the curve, and the order of elimination stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_prune.scoring.obs.curves import find_hull_rises, score_units
from examples import examples

LOSSES = st.lists(st.floats(0, 100), min_size=1, max_size=30).map(np.array)


def test_the_example_of_the_docstring():
    assert find_hull_rises(np.array([0.1, 0.4, 0.2, 0.9])) == pytest.approx([0.1, 0.3, 0.3, 0.9])


@examples(100)
@given(LOSSES)
def test_the_hull_is_convex_and_touches_the_curve_from_below(losses):
    rises = find_hull_rises(losses)
    assert (np.diff(rises) >= -1e-9).all()
    assert (np.cumsum(rises) <= np.cumsum(losses) + 1e-6).all()
    assert rises.sum() == pytest.approx(losses.sum())


@examples(100)
@given(LOSSES, st.integers(0, 1000))
def test_scores_ascend_along_the_order_and_add_up_to_the_curve(losses, seed):
    order = np.random.default_rng(seed).permutation(len(losses))
    scores = score_units(order, losses)
    assert (np.diff(scores[order]) >= 0).all()
    assert scores.sum() == pytest.approx(losses.sum(), rel=1e-6)
