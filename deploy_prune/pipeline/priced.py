"""What a run's budget is of: what plans of its network cost, and the limit, in the cost's unit."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deploy_prune import plugins
from deploy_prune.budget.costs import COSTS, Cost, CostModel
from deploy_prune.budget.latency.model import LatencyCost, LatencyModel
from deploy_prune.budget.latency.place import Place, format_of
from deploy_prune.budget.narrowed import narrow
from deploy_prune.budget.parse import in_units
from deploy_prune.budget.widths import dense_widths, kept_widths
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.timing.devices import THIS_MACHINE, Device, device_at, is_address
from deploy_prune.values import Budget, ChannelGraph, Keep


@dataclass(frozen=True, eq=False)
class Price:
    """A budget held against a network: what its plans cost, and the most that one may cost."""

    budget: Budget
    graph: ChannelGraph
    cost: CostModel
    """The cost as a function of the widths of the graph's free groups."""
    unit: str
    """What plans are priced in, such as "ms"."""
    limit: float
    """The most that a plan may cost, in `unit`."""

    @property
    def dense(self) -> float:
        """What the whole network costs, in `unit`."""
        return self.of({})

    def of(self, keep: Keep) -> float:
        """What a plan costs, in `unit`; a group that is not named stays whole."""
        return float(self.cost(kept_widths(self.graph.free, keep)))

    def on(self, graph: ChannelGraph) -> CostModel:
        """The cost as a function of the widths of fewer free groups, those of a graph that has locked the others."""
        return narrow(self.cost, self.graph, graph)

    def by(self, model: LatencyModel) -> Price:
        """The same limit, with what plans cost by another latency model of this network."""
        return replace(self, cost=LatencyCost.of(model, self.graph))


def price(budget: Budget, cost: Cost, graph: ChannelGraph) -> Price:
    """What plans of a network cost, and what a budget allows them to.

    Raises:
        UnitError: the budget is in another unit than the cost.
        NotProfiled, Inconclusive: a budget in milliseconds, and the store has no table of this network that is of use.
    """
    model = cost.model(graph)
    limit = in_units(budget, float(model(dense_widths(graph.free))), cost.unit)
    return Price(budget, graph, model, cost.unit, limit)


def build_cost(config: RunConfig) -> Cost:
    """What the budget is of.

    Raises:
        UnknownName: no such cost, or no such runtime.
    """
    name, options = config.parsed_budget.cost, {}
    if name == "latency":
        format_of(config.runtime)
        options = {**vars(place_of(config)), "store": config.store}
    built: Cost = plugins.build(COSTS, name, options)
    return built


def is_timed(config: RunConfig) -> bool:
    """Whether the budget is in milliseconds on a device that files can be timed on; of others there are tables."""
    return config.parsed_budget.cost == "latency" and place_of(config).measurable


def timing_device(config: RunConfig) -> Device:
    """Where a run's files are timed: on its device, or on this machine where that is the name of a table alone."""
    return device_at(config.device if is_address(config.device) else THIS_MACHINE)


def another_device(config: RunConfig) -> Device | None:
    """Where a run's files are timed, if that is not this machine, on which they are verified anyway."""
    device = timing_device(config)
    return None if device == device_at(THIS_MACHINE) else device


def place_of(config: RunConfig) -> Place:
    """What a budget in milliseconds is of."""
    return Place(config.runtime, config.device, next(iter(config.threads), 1))
