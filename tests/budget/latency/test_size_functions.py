"""Channels as kernels see them, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from deploy_prune.budget.latency.size_functions import Narrow, RoundedUp, Where


def test_channels_are_worked_on_as_often_as_whole_tiles_take() -> None:
    assert RoundedUp(4)(np.array([6, 8, 1])).tolist() == [8 / 6, 1.0, 4.0]


def test_whole_vectors_are_told_from_others() -> None:
    assert Where(4)(np.array([8, 9])).tolist() == [1.0, 0.0]
    assert Where(4, aligned=False)(np.array([8, 9])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("channels", "narrow"),
    [(18, True), (15, False), (16, False), (189, True), (190, True), (191, False), (238, False), (245, True)],
)
def test_channels_go_two_by_two_where_tiles_of_eight_would_waste_a_hundredth(channels: int, *, narrow: bool) -> None:
    """A simulated Cortex-A72 counts so: 15 are 16 either way, 190 would be 192 (1.05 % more), 238 would be 240."""
    assert Narrow(8)(np.array([channels])).tolist() == [float(narrow)]
