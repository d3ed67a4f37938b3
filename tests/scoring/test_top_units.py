"""The best-scored units stay, listed by number."""

from __future__ import annotations

import numpy as np

from deploy_prune.scoring.top_units import best_units
from deploy_prune.values import Scores


def test_equal_scores_keep_the_lower_numbers() -> None:
    assert best_units(Scores({"a": np.ones(5)}), {"a": 3}) == {"a": (0, 1, 2)}


def test_units_are_listed_by_their_numbers_not_by_their_scores() -> None:
    scores = Scores({"a": np.array([3.0, 1.0, 9.0, 2.0]), "b": np.array([0.1, 0.2])})
    assert best_units(scores, {"a": 3, "b": 1}) == {"a": (0, 2, 3), "b": (1,)}
