"""Closes the loop on the real file: a plan for a budget in milliseconds is exported and timed before it is trained.

A plan whose file misses the budget teaches the latency model, and the next plan aims that much higher or lower.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy_prune import plugins
from deploy_prune.budget.latency.model import LatencyCost
from deploy_prune.budget.latency.place import format_of
from deploy_prune.budget.latency.store import Store
from deploy_prune.budget.latency.table import Sample
from deploy_prune.budget.latency.timer import timer
from deploy_prune.budget.widths import Limits, ladder
from deploy_prune.errors import BudgetError, ExportFailed, Inconclusive
from deploy_prune.exporting.export import export
from deploy_prune.formats.templates import TEMPLATES
from deploy_prune.graph.surgery import cut
from deploy_prune.results import Attempt, Closing
from deploy_prune.timing.bracketing import Pace
from deploy_prune.values import ChannelGraph, Comparison, Interval, Keep, Network, Progress, quiet, same_unit

ATTEMPTS = 4
AIM = 0.98
"""The share of the budget that is aimed at: the middle of what is accepted."""
ACCEPTED = (0.94, 1.01)
"""The shares of the budget that the real file may take, narrower than promised: it is timed again."""
LEFT = 0.1
"""Share of a budget that a plan may leave without a word: stairs may be so high that nothing fits between."""
PACE = Pace(blocks=4, block_ms=40.0, repeats=40)
OPENINGS = 8
"""More, shorter sittings than a sample has: one opening of a file is up to some percent off for as long as it lasts."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """A plan, and what the latency model said of it."""

    graph: ChannelGraph
    keep: Keep
    cost: LatencyCost

    @property
    def widths(self) -> np.ndarray:
        """Of the graph's free groups."""
        return np.array([len(self.keep.get(group.name, range(group.width))) for group in self.graph.free])


def plan_on_real_file(
    network: Network,
    limit_ms: float,
    choose: Callable[[float], Chosen],
    store: Store,
    *,
    progress: Progress = quiet,
) -> tuple[Chosen, Closing]:
    """The plan whose real file meets the budget, or comes closest; and how it was found.

    Args:
        network: the dense one.
        limit_ms: the budget.
        choose: the plan for a limit in milliseconds, by the latency model that the store holds then.
        store: is taught what the real files take.
        progress: told after each attempt.

    Raises:
        ExportFailed: a network cannot be exported.
        Inconclusive: the machine is too noisy.
    """
    chosen = choose(AIM * limit_ms)
    target, runtime = chosen.cost.model.target, chosen.cost.model.target.runtime
    format_ = plugins.load(TEMPLATES, format_of(runtime))
    attempts: list[tuple[Chosen, Attempt]] = []
    with timer(_file(network, format_.exporter), format_.suffix, target, pace=PACE, openings=OPENINGS) as timed:
        aim_ms = AIM * limit_ms
        while True:
            found = timed(_file(cut(network, chosen.graph, chosen.keep), format_.exporter))
            attempts.append((chosen, _attempt(chosen, aim_ms, found)))
            _teach(store, chosen, found)
            progress("plan on the real file", len(attempts), ATTEMPTS, f"{attempts[-1][1].measured:.2f} ms")
            if _met(attempts[-1][1], limit_ms) or len(attempts) == ATTEMPTS:
                break
            aim_ms = min(aim_ms * AIM * limit_ms / attempts[-1][1].measured, 2 * limit_ms)
            try:
                chosen = choose(aim_ms)
            except (BudgetError, Inconclusive):
                break  # the model knows no plan there, or nothing any more
            if any(np.array_equal(chosen.widths, before.widths) for before, _ in attempts):
                break  # the next stair lies beyond the budget
    best, _ = min(attempts, key=lambda each: _miss(each[1], limit_ms))
    tried = tuple(attempt for _, attempt in attempts)
    profile = best.cost.model.profile
    shipped = next(place for place, (each, _) in enumerate(attempts) if each is best)
    return best, Closing(target, limit_ms, profile.reference, profile.unit, tried, shipped)


def left_over(chosen: Chosen, closing: Closing, limits: Limits) -> str:
    """What a plan that leaves much of the budget would take at the next stair; empty where it leaves little.

    The next stair is what costs least, by the model, of all that a single group can grow to.
    """
    taken_ms, groups = closing.attempts[closing.chosen].measured, chosen.graph.free
    if taken_ms > (1 - LEFT) * closing.limit:
        return ""
    grown = [(place, int(step)) for place, group in enumerate(groups)
             for step in ladder(group, limits).steps if step > chosen.widths[place]]  # fmt: skip
    plans = np.repeat(chosen.widths[None], len(grown), axis=0)
    plans[np.arange(len(grown)), [place for place, _ in grown]] = [step for _, step in grown]
    costs = chosen.cost(plans)
    least = int(np.argmin(costs))
    place, step = grown[least]
    return (
        f"the plan takes {taken_ms:.3g} of {closing.limit:.3g} ms: its next stair, {step} of {groups[place].width} "
        f"units in group '{groups[place].name}', would take {float(costs[least]):.3g} ms by the model"
    )


def _attempt(chosen: Chosen, aim_ms: float, found: Comparison) -> Attempt:
    profile = chosen.cost.model.profile
    reference, unit = profile.reference, same_unit(found.unit, profile.unit)
    interval: Interval = (found.interval[0] * reference, found.interval[1] * reference)
    return Attempt(aim_ms, float(chosen.cost(chosen.widths)), found.ratio * reference, interval, unit)


def _met(attempt: Attempt, limit_ms: float) -> bool:
    return ACCEPTED[0] * limit_ms <= attempt.measured <= ACCEPTED[1] * limit_ms


def _miss(attempt: Attempt, limit_ms: float) -> tuple[bool, float]:
    """Above the budget is worse than any distance below it."""
    over = attempt.measured > ACCEPTED[1] * limit_ms
    return over, abs(attempt.measured - AIM * limit_ms)


def _teach(store: Store, chosen: Chosen, found: Comparison) -> None:
    widths = tuple(map(int, chosen.cost.whole(chosen.widths)))
    store.add(chosen.cost.model.profile, Sample(widths, found.ratio, found.interval, comparison=found))


def _file(network: Network, exporter: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="deploy-prune-") as folder:
        (row,) = export(network, (exporter,), Path(folder))
        if row.status == "failed" or row.artifact is None:
            raise ExportFailed(f"the plan's network cannot be shipped as {exporter}: {row.reason}")
        return Path(row.artifact.path).read_bytes()
