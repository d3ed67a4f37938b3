"""The contract of a cost: widths in, one number out, for one plan or thousands at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from deploy_prune.values import ChannelGraph

if TYPE_CHECKING:
    import numpy as np


class CostModel(Protocol):
    """A cost of one network, as a function of how many units its free groups keep."""

    def __call__(self, widths: np.ndarray) -> np.ndarray:
        """Cost of each plan: widths (..., free groups) -> (...)."""


class Cost(Protocol):
    """A cost that can be worked out from a channel graph."""

    unit: str

    def model(self, graph: ChannelGraph) -> CostModel:
        """The cost of this network; widths are in the order of `graph.free`."""
