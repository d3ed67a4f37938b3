"""Number of channels that could be removed and are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy_prune.budget.bilinear import Extents
from deploy_prune.budget.costs import Cost, CostModel
from deploy_prune.values import ChannelGraph


@dataclass(frozen=True)
class Channels:
    """Channels of free groups, each group counted once however many layers share it."""

    unit: str = "channels"

    def model(self, graph: ChannelGraph) -> CostModel:
        """Channels of the widths."""
        per_unit = np.array([[0, *(group.channels_per_unit for group in graph.free)]], dtype=np.float64)
        one = np.zeros_like(per_unit)
        one[0, 0] = 1
        return Extents(np.ones(1), per_unit, one, 0.0)


plugin: type[Cost] = Channels
