"""Widths to time next: within what plans may have, the same for the same seed, and where least is known."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deploy_prune.budget.latency.features import describe_features
from deploy_prune.budget.latency.sampling import plans, unsure
from deploy_prune.budget.latency.size_lines import SizeLines
from deploy_prune.budget.latency.table import GroupWidth
from deploy_prune.formats.templates import Operator
from examples import examples

GROUPS = (GroupWidth("narrow", 1, 1), GroupWidth("pairs", 24, 2), GroupWidth("wide", 320, 1))


@examples(30)
@given(st.lists(st.tuples(st.integers(1, 400), st.integers(1, 4)), min_size=1, max_size=8), st.integers(0, 999))
def test_widths_are_within_a_tenth_and_all_of_a_group(sizes, seed):
    groups = [GroupWidth(str(place), *size) for place, size in enumerate(sizes)]
    dense = np.array([width for width, _ in sizes])
    found = plans(groups, 24, seed=seed)
    assert found.shape[1] == len(groups)
    assert len(found) == len({tuple(plan) for plan in found.tolist()})
    assert (found <= dense).all()
    assert (found >= np.minimum(np.maximum(0.1 * dense, 2), dense)).all()


def test_the_same_seed_gives_the_same_plans_and_another_gives_others():
    assert np.array_equal(plans(GROUPS, 40, seed=1), plans(GROUPS, 40, seed=1))
    assert not np.array_equal(plans(GROUPS, 40, seed=1), plans(GROUPS, 40, seed=2))


def test_more_plans_begin_with_the_fewer_ones():
    """A profile that was killed goes on with the plans it would have taken."""
    assert np.array_equal(plans(GROUPS, 40, seed=1)[:10], plans(GROUPS, 10, seed=1))


def test_no_plan_comes_twice_and_a_tiny_network_has_only_so_many():
    """One group of 12 units may have 2 to 12."""
    group = [GroupWidth("tiny", 12, 1)]
    assert sorted(plans(group, 40, seed=0)[:, 0].tolist()) == list(range(2, 13))
    assert plans(group, 40, seed=0, known=[[width] for width in range(2, 13)]).shape == (0, 1)


def test_known_plans_are_not_chosen_again():
    first = plans(GROUPS, 60, seed=1)
    again = plans(GROUPS, 60, seed=1, known=first.tolist())
    assert len(again) == 60 and not {*map(tuple, first.tolist())} & {*map(tuple, again.tolist())}


def test_a_quarter_of_the_plans_keeps_to_the_edges_of_stairs_or_misses_them_by_one():
    wide = plans([GroupWidth(str(place), 320, 1) for place in range(9)], 400, seed=0)[3::4]
    inside = wide[(wide > 33) & (wide < 319)]
    assert set((inside % 16).tolist()) == {15, 0, 1}


def test_plans_reach_from_small_to_almost_whole_networks():
    shares = plans(GROUPS, 200, seed=0)[:, 2] / 320
    assert shares.min() < 0.25 and shares.max() == 1.0


def test_the_model_chooses_what_it_has_not_seen():
    """Two layers, each of a group; known plans differ in the first group alone."""
    groups = (GroupWidth("seen", 64, 1), GroupWidth("unseen", 64, 1))
    lines = SizeLines(np.array([[0, 1, 0], [0, 0, 1], [16, 0, 0]]))
    operators = [
        Operator("A", "pointwise", ((2, 2),), ((2, 0),), (0, 2), 2, 0),
        Operator("B", "convolution", ((2, 2),), ((2, 1),), (1, 2), 2, 1),
    ]
    columns = describe_features(lines, operators, {"pointwise": (8,), "convolution": (8,)})
    known = np.stack([np.arange(8, 65), np.full(57, 32)], axis=1)
    chosen = unsure(groups, columns, known, 4, seed=0)
    assert chosen.shape == (4, 2)
    assert np.array_equal(chosen, unsure(groups, columns, known, 4, seed=0))
    pool = plans(groups, 300, seed=0)
    assert np.abs(chosen[:, 1] - 32).mean() > np.abs(pool[:, 1] - 32).mean() + 4
    assert len({tuple(plan) for plan in chosen.tolist()}) == 4
