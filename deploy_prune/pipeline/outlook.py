"""Before anything is trained: which milliseconds a network can reach on a target, and what each budget would keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from deploy_prune import plugins
from deploy_prune.budget.allocate import allocate
from deploy_prune.budget.costs import COSTS, CostModel
from deploy_prune.budget.latency.fitting import FitError
from deploy_prune.budget.latency.model import LatencyCost, LatencyModel
from deploy_prune.budget.latency.place import Place
from deploy_prune.budget.latency.profiling import find_model, profile_network
from deploy_prune.budget.latency.store import Store
from deploy_prune.budget.parse import in_units
from deploy_prune.budget.widths import Limits, dense_widths, ladder
from deploy_prune.errors import BudgetError
from deploy_prune.graph.soundness import settle
from deploy_prune.pipeline.deciders import build_scorer
from deploy_prune.pipeline.real_file import RealFiles
from deploy_prune.pipeline.smaller_images import SmallerInput, measure_smaller
from deploy_prune.scoring.study import Study
from deploy_prune.stats import write_briefly
from deploy_prune.timing.devices import MILLISECONDS, device_at
from deploy_prune.values import Budget, ChannelGraph, Interval, Network, Progress, Scores, Target, told_in_lines

LEVELS = 8
"""Budgets between the dense network and the smallest, where none are asked for."""


@dataclass(frozen=True)
class Option:
    """One budget and what it would keep."""

    budget: str
    predicted_ms: float
    interval_ms: Interval
    """What 95 % of the model's predictions stay within."""
    ratio: float
    """Predicted time / time of the dense network."""
    macs_ratio: float
    params_ratio: float
    widths: Mapping[str, int]
    """Channels of each group."""


@dataclass(frozen=True)
class Outlook:
    """What a network can reach on a target."""

    address: str
    target: Target
    dense_ms: float
    least_ms: float
    """Predicted, with every group at its floor."""
    error: FitError
    options: tuple[Option, ...]
    inputs: tuple[SmallerInput, ...] = ()
    """The dense network on smaller images, where files can be timed."""
    unit: str = MILLISECONDS
    """What all of these are counted in, such as "ms"."""


@dataclass(frozen=True)
class Wish:
    """What to plan.

    Raises:
        BudgetError: a budget is of another cost than milliseconds.
    """

    budgets: tuple[Budget, ...] = ()
    """In milliseconds, or fractions of the dense network's; none: eight between dense and smallest."""
    method: str = "uniform"
    """The method whose scores decide the widths."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for budget in self.budgets:
            if budget.cost != "latency" and not _is_share(budget):
                message = f"'{budget.text}' is no budget in milliseconds"
                raise BudgetError(message, hint="write 5ms, 60Mcycles, or 0.5x of the dense network's")


def outlook(
    network: Network, place: Place, store: Store, wish: Wish = Wish(), *, progress: Progress = told_in_lines
) -> Outlook:
    """Plan a network for a target; where files can be timed it is profiled first, if it was not.

    Args:
        network: as it is, trained or not; it is not changed.
        place: the target.
        store: of latency tables.
        wish: budgets, method, limits.
        progress: told while the network is profiled.

    Raises:
        NotProfiled: another device, of which no table was imported.
        BudgetError: a budget is out of reach; says what is within reach.
        Inconclusive: the machine is too noisy.
    """
    graph = settle(network)
    if not place.measurable:
        return plan_budgets(network, graph, find_model(graph, place.target, store), wish)
    model = profile_network(network, graph, place, store, progress=progress)
    planned = plan_budgets(network, graph, model, wish)
    files = RealFiles(device_at(place.device), store)
    return replace(planned, inputs=measure_smaller(network, model, files, progress=progress))


def plan_budgets(network: Network, graph: ChannelGraph, model: LatencyModel, wish: Wish) -> Outlook:
    """Say what a latency model knows of each budget that is wished; nothing is measured.

    Raises:
        BudgetError: a budget is out of reach; says what is within reach.
    """
    limits, cost, scores = wish.limits, LatencyCost.of(model, graph), _scores(network, graph, wish.method)
    dense_ms = float(cost(dense_widths(graph.free)))
    least_ms = float(cost(np.array([ladder(group, limits).steps[0] for group in graph.free])))
    asked = {each.text: _limit(each, dense_ms, model.profile.unit) for each in wish.budgets}
    asked = asked or _levels(dense_ms, least_ms, model.profile.unit)
    try:
        options = tuple(_option(text, limit, (graph, scores, cost), limits, dense_ms) for text, limit in asked.items())
    except BudgetError as error:
        least, dense = write_briefly(least_ms, 3), write_briefly(dense_ms, 3)
        reach = f"from {least} to {dense} {model.profile.unit} are within reach"
        hint = f"{reach}; {error.hint}".removesuffix("; ")
        raise BudgetError(f"a budget of {', '.join(asked)}: {error.message}", hint=hint) from error
    return Outlook(network.address, model.target, dense_ms, least_ms, model.error, options, unit=model.profile.unit)


def _scores(network: Network, graph: ChannelGraph, method: str) -> Scores:
    return build_scorer(method).score(Study(network, graph, None, 0))


def _is_share(budget: Budget) -> bool:
    """Whether a budget is `0.5x` of what this verb is about."""
    return budget.cost == "macs" and budget.relative


def _limit(budget: Budget, dense: float, unit: str) -> float:
    return budget.limit * dense if _is_share(budget) else in_units(budget, dense, unit)


def _levels(dense_ms: float, least_ms: float, unit: str) -> dict[str, float]:
    """Budgets as they are typed, each with its limit; none where nothing can be won."""
    limits = [float(f"{limit:.3g}") for limit in np.geomspace(dense_ms, least_ms, LEVELS + 2)[1:-1]]
    within = [limit for limit in limits if least_ms <= limit < dense_ms]
    return {f"{limit:.3g}ms" if unit == MILLISECONDS else f"latency={limit / 1e6:.3g}M": limit for limit in within}


def _option(
    text: str, limit_ms: float, what: tuple[ChannelGraph, Scores, LatencyCost], limits: Limits, dense_ms: float
) -> Option:
    graph, scores, cost = what
    widths = allocate(graph, scores, cost, limit_ms, limits)
    line = np.array([widths[group.name] for group in graph.free])
    predicted_ms, error = float(cost(line)), cost.model.error.p95
    return Option(
        budget=text,
        predicted_ms=predicted_ms,
        interval_ms=(predicted_ms * (1 - error), predicted_ms * (1 + error)),
        ratio=predicted_ms / dense_ms,
        macs_ratio=_share("macs", graph, line),
        params_ratio=_share("params", graph, line),
        widths={group.name: widths[group.name] * group.channels_per_unit for group in graph.free},
    )


def _share(name: str, graph: ChannelGraph, widths: np.ndarray) -> float:
    cost: CostModel = plugins.build(COSTS, name).model(graph)
    return float(cost(widths)) / float(cost(dense_widths(graph.free)))
