"""Closes the loop on the real file: a plan for a budget in milliseconds is timed as a file before it is trained.

The dense network is exported; a plan's file is that one at other widths, which decide over its time, and is exported
itself where the converter draws networks in another way. A plan whose file misses the budget teaches the latency model,
and the next plan aims that much higher or lower.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from deploy_prune import plugins
from deploy_prune.budget.latency.model import LatencyCost, LatencyModel, teach
from deploy_prune.budget.latency.place import format_of
from deploy_prune.budget.latency.redrawn import open_redrawing
from deploy_prune.budget.latency.store import Store
from deploy_prune.budget.latency.table import Sample
from deploy_prune.budget.latency.timer import timer
from deploy_prune.budget.widths import Limits, kept_widths, ladder
from deploy_prune.errors import BudgetError, Inconclusive
from deploy_prune.exporting.file_bytes import export_bytes
from deploy_prune.formats.templates import TEMPLATES
from deploy_prune.graph.surgery import cut
from deploy_prune.results import Attempt, Closing
from deploy_prune.stats import write_briefly
from deploy_prune.timing.bracketing import Pace
from deploy_prune.timing.devices import Device
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
        """The widths of the graph's free groups, in units: (free groups,)."""
        return kept_widths(self.graph.free, self.keep)


@dataclass(frozen=True, eq=False)
class RealPlan:
    """The plan that goes on, how it was found, and what was learnt on the way."""

    chosen: Chosen
    closing: Closing
    model: LatencyModel
    """The latency model that has learnt what every attempt took."""


@dataclass(frozen=True, eq=False)
class RealFiles:
    """How plans become files, where these are timed, and the store that keeps what they took for the next run."""

    device: Device
    store: Store
    write: Callable[[Network, str], bytes] = field(default=export_bytes)
    """(network, exporter) -> the content of its file."""
    write_dense: Callable[[Network, str], bytes] | None = None
    """The same of the dense network, whose file a run or its front ships as well; None: as any other."""


def plan_on_real_file(
    network: Network,
    limit_ms: float,
    choose: Callable[[float, LatencyModel], Chosen],
    model: LatencyModel,
    files: RealFiles,
    *,
    progress: Progress = quiet,
) -> RealPlan:
    """Find the plan whose real file meets the budget, or comes closest.

    Args:
        network: the dense one.
        limit_ms: the budget.
        choose: the plan for a limit in milliseconds, by a latency model.
        model: what is known before the first file is timed; each attempt teaches it.
        files: writes and times the files, and keeps what they take.
        progress: told after each attempt.

    Raises:
        ExportFailed: a network cannot be exported.
        Inconclusive: the machine is too noisy.
    """
    chosen, aim_ms = choose(AIM * limit_ms, model), AIM * limit_ms
    format_ = plugins.load(TEMPLATES, format_of(model.target.runtime))
    attempts: list[tuple[Chosen, Attempt]] = []
    dense = (files.write_dense or files.write)(network, format_.exporter)
    write = _open_writer(network, dense, model, files)
    with timer(dense, format_.suffix, model.target, pace=PACE, openings=OPENINGS, device=files.device) as timed:
        while True:
            comparison = timed(write(chosen))
            attempts.append((chosen, _attempt(chosen, aim_ms, comparison)))
            sample = _sample(chosen, comparison)
            files.store.add(model.profile, sample)
            progress(
                "plan on the real file",
                len(attempts),
                ATTEMPTS,
                f"{write_briefly(attempts[-1][1].measured)} {model.profile.unit}",
            )
            try:
                model = teach(model, sample)
                if _met(attempts[-1][1], limit_ms) or len(attempts) == ATTEMPTS:
                    break
                aim_ms = min(aim_ms * AIM * limit_ms / attempts[-1][1].measured, 2 * limit_ms)
                chosen = choose(aim_ms, model)
            except (BudgetError, Inconclusive):
                break  # the model knows no plan there, or nothing any more
            if any(np.array_equal(chosen.widths, before.widths) for before, _ in attempts):
                break  # the next stair lies beyond the budget
    shipped = min(range(len(attempts)), key=lambda place: _miss(attempts[place][1], limit_ms))
    tried, profile = tuple(attempt for _, attempt in attempts), model.profile
    closing = Closing(model.target, limit_ms, profile.reference, profile.unit, tried, shipped)
    return RealPlan(attempts[shipped][0], closing, model)


def _open_writer(network: Network, dense: bytes, model: LatencyModel, files: RealFiles) -> Callable[[Chosen], bytes]:
    """What writes the file of a plan: the dense one at other widths, or that of the network that is really cut."""
    drawing = model.profile.drawing
    if redraw := open_redrawing(dense, drawing):
        return lambda plan: redraw(plan.cost.whole(plan.widths))
    exporter = plugins.load(TEMPLATES, drawing.format).exporter
    return lambda plan: files.write(cut(network, plan.graph, plan.keep), exporter)


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
    taken, limit, more = (write_briefly(each, 3) for each in (taken_ms, closing.limit, float(costs[least])))
    return (
        f"the plan takes {taken} of {limit} {closing.unit}: its next stair, {step} of {groups[place].width} "
        f"units in group '{groups[place].name}', would take {more} {closing.unit} by the model"
    )


def _attempt(chosen: Chosen, aim_ms: float, comparison: Comparison) -> Attempt:
    profile = chosen.cost.model.profile
    reference, unit = profile.reference, same_unit(comparison.unit, profile.unit)
    interval: Interval = (comparison.interval[0] * reference, comparison.interval[1] * reference)
    return Attempt(aim_ms, float(chosen.cost(chosen.widths)), comparison.ratio * reference, interval, unit)


def _met(attempt: Attempt, limit_ms: float) -> bool:
    return ACCEPTED[0] * limit_ms <= attempt.measured <= ACCEPTED[1] * limit_ms


def _miss(attempt: Attempt, limit_ms: float) -> tuple[bool, float]:
    """Above the budget is worse than any distance below it."""
    over = attempt.measured > ACCEPTED[1] * limit_ms
    return over, abs(attempt.measured - AIM * limit_ms)


def _sample(chosen: Chosen, comparison: Comparison) -> Sample:
    widths = tuple(map(int, chosen.cost.whole(chosen.widths)))
    return Sample(widths, comparison.ratio, comparison.interval, comparison=comparison)
