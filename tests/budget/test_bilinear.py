"""The worked example of `sum_over`, number by number; its laws are those of the costs that are made of it."""

from __future__ import annotations

import numpy as np

from deploy_prune.budget.bilinear import Term, sum_over
from deploy_prune.values import ChannelGraph, Group, Member


def test_a_convolution_is_one_term_as_in_the_picture() -> None:
    """Weight (8, 6, 3, 3) on 16 positions, whose groups a and b may be cut."""
    groups = (
        Group("a", 6, 1, (Member("b.weight", 1, np.arange(6)[:, None]),)),
        Group("b", 8, 1, (Member("b.weight", 0, np.arange(8)[:, None]),)),
    )
    graph = ChannelGraph(groups, (), (), {"b.weight": (8, 6, 3, 3)}, frozenset({"b.weight"}))
    cost = sum_over(graph, [Term("b.weight", (0, 1, 2, 3), 16)])
    assert cost.coefficient.tolist() == [144]
    assert cost.first.tolist() == [[0, 0, 1]]
    assert cost.second.tolist() == [[0, 1, 0]]
    assert cost(np.array([3, 4])) == 1728
    assert cost(np.array([[6, 8], [3, 4]])).tolist() == [16 * 8 * 6 * 9, 1728]
