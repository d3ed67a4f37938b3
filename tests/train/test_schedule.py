"""The learning rate's way down is half a cosine."""

from __future__ import annotations

import pytest

from deploy_prune.train.schedule import half_cosine


def test_the_rate_falls_from_one_to_nought_along_half_a_cosine() -> None:
    assert [half_cosine(step, 12) for step in (0, 4, 6, 8, 12)] == pytest.approx([1, 0.75, 0.5, 0.25, 0])
