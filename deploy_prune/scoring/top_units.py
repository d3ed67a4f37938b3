"""The selection that every scorer has by default: the best-scored units of each group."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deploy_prune.values import Scores, Widths


def best_units(scores: Scores, widths: Widths) -> Mapping[str, tuple[int, ...]]:
    """Select the best-scored units of each group, the lower number at a tie; ascending."""
    return {
        name: tuple(sorted(np.argsort(-np.asarray(scores.by_group[name]), kind="stable")[:width].tolist()))
        for name, width in widths.items()
    }
