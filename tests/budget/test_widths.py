"""The widths that a group may have: floors, multiples, and which of them is nearest."""

from __future__ import annotations

import numpy as np
import pytest

from deploy_prune.budget.widths import Ladder, Limits, dense_widths, kept_widths, ladder
from deploy_prune.values import Group


@pytest.mark.parametrize(
    ("width", "per_unit", "limits", "steps"),
    [
        (8, 1, Limits(), [2, 3, 4, 5, 6, 7, 8]),
        (1, 1, Limits(), [1]),
        (2, 1, Limits(), [2]),
        (40, 1, Limits(multiple=16), [16, 32, 40]),  # the dense width stays possible
        (64, 1, Limits(multiple=16, floor=0.4), [32, 48, 64]),  # 0.4 of 64 is 25.6
        (8, 4, Limits(multiple=8), [2, 4, 6, 8]),  # 4 channels a unit: every second unit
        (10, 3, Limits(multiple=4), [4, 8, 10]),  # 3 channels a unit: 12, 24, all 30
        (25, 1, Limits(floor=0.1), list(range(3, 26))),  # 10 % of 25, rounded up
    ],
)
def test_a_ladder_has_the_allowed_widths(width: int, per_unit: int, limits: Limits, steps: list[int]) -> None:
    assert ladder(Group("g", width, per_unit, ()), limits).steps.tolist() == steps


def test_a_width_between_two_steps_snaps_to_the_nearer_and_to_the_larger_at_a_tie() -> None:
    """Steps 2, 4, 8: 3 lies between 2 and 4, 6 between 4 and 8."""
    assert Ladder(np.array([2, 4, 8])).nearest().tolist() == [2, 2, 2, 4, 4, 4, 8, 8, 8]


def test_a_group_that_a_plan_does_not_name_stays_whole() -> None:
    groups = [Group("a", 8, 1, ()), Group("b", 5, 1, ())]
    assert dense_widths(groups).tolist() == [8, 5]
    assert kept_widths(groups, {"b": (0, 3)}).tolist() == [8, 2]
