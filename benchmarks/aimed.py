"""Plans that are aimed at a share of the dense network's *measured* LiteRT ms: by the model, then by the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.subjects import STORE, files
from benchmarks.trained import Pruned
from deploy_prune import plugins
from deploy_prune.budget.costs import CostModel
from deploy_prune.budget.latency.model import LatencyCost
from deploy_prune.budget.latency.place import Place
from deploy_prune.budget.latency.profiling import profile_network
from deploy_prune.budget.latency.redrawn import open_redrawing
from deploy_prune.budget.latency.store import open_store
from deploy_prune.budget.latency.timer import timer
from deploy_prune.budget.widths import dense_widths
from deploy_prune.errors import BudgetError, DeployPruneError
from deploy_prune.timing.devices import THIS_MACHINE, device_at
from deploy_prune.values import Data, Scores

PLACE = Place("litert", THIS_MACHINE)
WITHIN, ATTEMPTS = 0.04, 6
OPENINGS = 6
Keep = Mapping[str, tuple[int, ...]]
Proposal = Callable[[float], tuple[Any, np.ndarray]]
"""A limit -> what to cut by, and the widths of the free groups."""


@dataclass(frozen=True, eq=False)
class Aim:
    """A network with its latency model, and what times files of its widths."""

    name: str
    pruned: Pruned
    latency: LatencyCost
    timed: Callable[[np.ndarray], float]
    """Widths of the free groups -> measured time / time of the dense network."""

    @property
    def dense_ms(self) -> float:
        """What a ratio of 1 stands for."""
        return float(self.latency.model.profile.reference)

    @property
    def dense(self) -> np.ndarray:
        """Widths of the free groups."""
        return dense_widths(self.pruned.graph.free)

    def cost(self) -> tuple[CostModel, float]:
        """What plans are allotted by, and the dense network's: predicted milliseconds."""
        return self.latency, self.dense_ms

    def limit_for(self, ratio: float, at: Proposal, whole: float) -> float:
        """The limit at which the model predicts this ratio."""
        low, high = 0.0, whole * (1 - 1e-9)
        for _ in range(14):
            middle = (low + high) / 2
            try:
                _, widths = at(middle)
            except DeployPruneError:
                low = middle
                continue
            predicted = float(self.latency(widths)) / self.dense_ms
            low, high = (middle, high) if predicted < ratio else (low, middle)
        return high

    def hit(self, share: float, at: Proposal, whole: float) -> tuple[Any, np.ndarray, float]:
        """What to cut by, widths and measured ratio of the plan whose file takes the share of the time.

        Raises:
            BudgetError: no plan comes within 4 %: stairs may be that high.
        """
        tried: list[tuple[Any, np.ndarray, float]] = []
        aim = share
        while len(tried) < ATTEMPTS and not any(_off(each, share) <= WITHIN / 3 for each in tried):
            chosen, widths = at(self.limit_for(aim, at, whole))
            tried.append((chosen, widths, self.timed(widths)))
            aim *= share / tried[-1][2]
        best = min(tried, key=lambda each: _off(each, share))
        if _off(best, share) > WITHIN:
            raise BudgetError(f"no plan takes {share}x: the closest takes {best[2]:.3f}x")
        return best

    def by_scores(self, scores: Scores, *, in_ms: bool = True) -> tuple[Proposal, float]:
        """Plans of these scores by their milliseconds or MACs; groups without a score stay whole."""
        part = self.pruned.of_scored(scores)
        cost: CostModel = LatencyCost.of(self.latency.model, part.graph) if in_ms else part.cost()

        def at(limit: float) -> tuple[Keep, np.ndarray]:
            keep = part.keep(scores, cost, limit)
            return keep, _list_widths(self.pruned, keep)

        return at, part.whole(cost)


@dataclass(frozen=True, eq=False)
class MacsAim:
    """The same for plans that are aimed at a share of the dense network's MACs, which need no clock."""

    name: str
    pruned: Pruned

    def cost(self) -> tuple[CostModel, float]:
        """What plans are allotted by, and the dense network's: MACs."""
        macs = self.pruned.cost()
        return macs, self.pruned.whole(macs)

    def by_scores(self, scores: Scores) -> tuple[Proposal, float]:
        """Plans of these scores by their MACs; groups without a score stay whole."""
        part = self.pruned.of_scored(scores)
        cost = part.cost()

        def at(limit: float) -> tuple[Keep, np.ndarray]:
            keep = part.keep(scores, cost, limit)
            return keep, _list_widths(self.pruned, keep)

        return at, part.whole(cost)

    def hit(self, share: float, at: Proposal, whole: float) -> tuple[Any, np.ndarray, float]:
        """What to cut by, widths and ratio of the largest plan that has this share of the MACs at most."""
        cost = self.pruned.cost()
        low, high = 0.0, whole
        for _ in range(14):
            middle = (low + high) / 2
            try:
                over = float(cost(at(middle)[1])) > share * self.pruned.whole(cost)
            except DeployPruneError:
                over = False
            low, high = (low, middle) if over else (middle, high)
        chosen, widths = at(low)
        return chosen, widths, float(cost(widths)) / self.pruned.whole(cost)


def _list_widths(pruned: Pruned, keep: Keep) -> np.ndarray:
    return np.array([len(keep.get(group.name, range(group.width))) for group in pruned.graph.free])


def _off(tried: tuple[Any, np.ndarray, float], share: float) -> float:
    return abs(tried[2] / share - 1)


@contextmanager
def aim(name: str, data: Data, place: Place = PLACE) -> Iterator[Aim]:
    """Take a network of the tables as the aim; its profile is made where the benchmarks' store has none."""
    pruned = Pruned.of(name, data)
    with open_store(STORE) as store:
        model = profile_network(pruned.network, pruned.graph, place, store)
    latency, drawing = LatencyCost.of(model, pruned.graph), model.profile.drawing
    format_ = plugins.build("templates", drawing.format)
    (dense_file,) = files([pruned.network], place)
    with timer(dense_file, format_.suffix, model.target, openings=OPENINGS, device=device_at(place.device)) as timed:
        redraw = open_redrawing(dense_file, drawing)
        assert redraw
        yield Aim(name, pruned, latency, lambda widths: timed(redraw(latency.whole(widths))).ratio)


@contextmanager
def aim_at_macs(name: str, data: Data) -> Iterator[MacsAim]:
    """Take a network of the tables as the aim of plans in MACs."""
    yield MacsAim(name, Pruned.of(name, data))
