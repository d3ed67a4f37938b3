"""The contract of a cost: widths in, one number out, for one plan or thousands at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from deploy_prune.plugins import Kind
from deploy_prune.values import ChannelGraph

if TYPE_CHECKING:
    import numpy as np


class CostModel(Protocol):
    """A cost of one network, as a function of how many units its free groups keep."""

    def __call__(self, widths: np.ndarray) -> np.ndarray:
        """Cost of each plan: widths (..., free groups) -> (...)."""


@runtime_checkable
class Stepped(CostModel, Protocol):
    """A cost that climbs in steps and may fall where a group grows: milliseconds."""

    def along(self, widths: np.ndarray, group: int, options: np.ndarray) -> np.ndarray:
        """Cost with one free group at other widths, less a constant that depends on the plan alone: (options,).

        Args:
            widths: the plan, (free groups,).
            group: its number among the free groups.
            options: its widths to try.
        """

    @property
    def neighbours(self) -> tuple[frozenset[int], ...]:
        """The groups whose widths decide with it over some term, itself among them, for each free group."""


class Cost(Protocol):
    """A cost that can be worked out from a channel graph."""

    @property
    def unit(self) -> str:
        """The unit that the numbers are in: ms, MACs, bytes."""

    def model(self, graph: ChannelGraph) -> CostModel:
        """The cost of this network; widths are in the order of `graph.free`."""


COSTS: Kind[Cost] = Kind("costs")
