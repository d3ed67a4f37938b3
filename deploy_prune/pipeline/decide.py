"""What a run's network keeps: scored once, allocated under the budget, proven sound; in milliseconds, timed as well.

How many units stay is decided first, on the real file where the budget is in milliseconds, as times depend on widths
alone. A method that selects which ones does so once, at those widths.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from deploy_prune.budget.allocate import allocate
from deploy_prune.budget.latency.model import LatencyCost, LatencyModel, fit_model
from deploy_prune.budget.latency.table import Profile
from deploy_prune.budget.latency.table_file import write_table
from deploy_prune.budget.parse import in_units
from deploy_prune.budget.widths import Limits, dense_widths, kept_widths
from deploy_prune.errors import PlanError
from deploy_prune.graph.soundness import find, lock
from deploy_prune.pipeline.curves import trace_curves
from deploy_prune.pipeline.priced import Price
from deploy_prune.pipeline.real_file import Chosen, RealFiles, left_over, plan_on_real_file
from deploy_prune.records import read_record
from deploy_prune.results import Closing, WidthsResult
from deploy_prune.run_folder import RunFolder
from deploy_prune.scoring.methods import Scorer, Selector
from deploy_prune.scoring.scores_file import SCORES, read_scores, recall_scores
from deploy_prune.scoring.study import Study
from deploy_prune.scoring.top_units import best_units
from deploy_prune.second_try import try_twice
from deploy_prune.values import Budget, ChannelGraph, GroupCurve, Keep, Scores

logger = logging.getLogger(__name__)

UNSCORED = "the method gives it no score"
WIDTHS = "widths"
"""Record of the widths that a method selects at."""
TABLE = "widths-latency.json"
"""The latency table that these widths were decided by, with what real files took; only where the budget is in ms."""


@dataclass(frozen=True, eq=False)
class Parts:
    """All that a decision is made of."""

    study: Study
    """The network and its graph, and what the run offers to methods."""
    scorer: Scorer | Path
    """What decides how many units every group keeps: a method, or the scores of another run."""
    selector: Selector | None
    """What selects which units stay. None: the best-scored ones do."""
    budget: Budget
    find_price: Callable[[], Price]
    """Gives what plans cost; asked only while widths are not decided, as it may read the store of latency tables."""
    limits: Limits
    open_files: Callable[[], AbstractContextManager[RealFiles]] | None
    """Where plans are timed as real files; None where the budget is not in milliseconds of a device at hand."""
    folder: RunFolder
    """Keeps the scores and the widths, each of which is worked out only once."""
    method: str
    """What results call the method."""
    decider: str
    """What results call whatever decides the widths of a selector."""


@dataclass(frozen=True, eq=False)
class Decision:
    """What is kept, and how a budget in milliseconds was met."""

    graph: ChannelGraph
    """The graph, with every group locked that the cut would break or the method does not score."""
    keep: Keep
    price: Price
    """What plans cost; in milliseconds, by a latency model that knows what the real files took."""
    method: str
    """What results call the method that decided."""
    closing: Closing | None = None
    weights: Mapping[str, Tensor] | None = None
    """The weights of a method that trains while it decides; the kept units are taken of these."""
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    """Weight -> kernels that stay, in the dense network's shapes."""
    curves: tuple[GroupCurve, ...] = ()
    """What each group loses at its widths; empty where scores do not add up."""


def decide(parts: Parts) -> Decision:
    """Score, allocate, select, and prove on meta tensors that the cut is sound before anything is trained.

    Raises:
        BudgetError: no plan can meet the budget.
        PlanError: the units that a method selects make a cut that is not sound.
    """
    if parts.selector is None:
        scores = score_once(parts.study, parts.scorer, parts.folder)
        return dataclasses.replace(keep_best(parts, scores), weights=scores.weights)
    # Kept: timed again, widths might differ.
    decided = parts.folder.stage(WIDTHS, WidthsResult, lambda: _decide_widths(parts))
    return select_units(parts, parts.selector, decided, _price_again(parts, decided))


def score_once(study: Study, scorer: Scorer | Path, folder: RunFolder) -> Scores:
    """How much every unit matters by a method, or as another run left it; the run folder keeps it.

    Raises:
        WorkerDied: a worker was killed, twice; nothing is kept but what the method itself keeps on the way.
        RecordError: the other run's scores are of another network.
    """
    own, graph = folder.path / SCORES, study.graph
    if isinstance(scorer, Path):
        return recall_scores(own, graph, lambda: read_scores(scorer, graph))
    return recall_scores(own, graph, lambda: try_twice(lambda: scorer.score(study)))


def keep_best(parts: Parts, scores: Scores) -> Decision:
    """Keep the units with the highest scores under the budget, in milliseconds that of the real file."""
    decision = _keep_best(parts, scores)
    if not scores.additive:
        return decision
    curves = trace_curves(decision.graph, scores, decision.keep, decision.price, parts.limits)
    return dataclasses.replace(decision, curves=curves)


def _keep_best(parts: Parts, scores: Scores) -> Decision:
    price = parts.find_price()
    if parts.open_files is None:
        return Decision(*_plan(parts, scores, price, price.limit), price, parts.method)
    assert isinstance(price.cost, LatencyCost)

    def choose(aim_ms: float, model: LatencyModel) -> Chosen:
        graph, keep = _plan(parts, scores, price.by(model), aim_ms)
        return Chosen(graph, keep, LatencyCost.of(model, graph))

    progress, model = parts.study.progress, price.cost.model
    with parts.open_files() as files:
        real = plan_on_real_file(parts.study.network, price.limit, choose, model, files, progress=progress)
    if left := left_over(real.chosen, real.closing, parts.limits):
        logger.warning(left)
    return Decision(real.chosen.graph, real.chosen.keep, price.by(real.model), parts.method, real.closing)


def _plan(parts: Parts, scores: Scores, price: Price, limit: float) -> tuple[ChannelGraph, Keep]:
    """What is kept under a limit; groups without scores, and groups that the cut would break, are locked."""
    unscored = (group.name for group in parts.study.graph.free if group.name not in scores.by_group)
    graph = lock(parts.study.graph, dict.fromkeys(unscored, UNSCORED))
    while True:
        keep = best_units(scores, allocate(graph, scores, price.on(graph), limit, parts.limits))
        broken = find(parts.study.network, graph, keep)
        if not broken:
            return graph, keep
        graph = lock(graph, broken)


def _decide_widths(parts: Parts) -> WidthsResult:
    """How many units of every group stay; the latency table that they were decided by is written beside the record."""
    best = keep_best(parts, score_once(parts.study, parts.scorer, parts.folder))
    if isinstance(best.price.cost, LatencyCost):
        write_table(best.price.cost.model.profile, parts.folder.path / TABLE)
    free = {group.name for group in parts.study.graph.free}
    locked = {group.name: group.locked for group in best.graph.groups if group.locked and group.name in free}
    widths = kept_widths(best.graph.free, best.keep).tolist()
    names = (group.name for group in best.graph.free)
    return WidthsResult(dict(zip(names, widths, strict=True)), locked, best.closing, best.curves)


def _price_again(parts: Parts, decided: WidthsResult) -> Price:
    """What plans cost by what the widths were decided by, whatever has become of the store since then."""
    table = parts.folder.path / TABLE
    if not table.exists():  # not in milliseconds, or of a run of before
        return parts.find_price()
    model, graph = fit_model(read_record(table, Profile), bound=math.inf), parts.study.graph  # it was good enough then
    cost = LatencyCost.of(model, graph)
    dense, unit = float(cost(dense_widths(graph.free))), model.profile.unit
    limit = in_units(parts.budget, dense, unit) if decided.closing is None else decided.closing.limit
    return Price(parts.budget, graph, cost, unit, limit)


def select_units(parts: Parts, selector: Selector, decided: WidthsResult, price: Price) -> Decision:
    """Ask a method which units stay at widths that are decided.

    Raises:
        PlanError: the units that it selects make a cut that is not sound.
    """
    study = dataclasses.replace(parts.study, graph=lock(parts.study.graph, decided.locked))
    selection = selector.select(study, decided.widths)
    if broken := find(study.network, study.graph, selection.keep):
        name, reason = next(iter(broken.items()))
        message = f"the units that '{parts.method}' selects break group '{name}': {reason}"
        raise PlanError(message, hint="choose another method, or leave that group whole by a plan of your own")
    method = f"{selection.method or parts.method} at widths of {parts.decider}"
    return Decision(
        study.graph,
        selection.keep,
        price,
        method,
        decided.closing,
        selection.weights,
        selection.masks,
        decided.curves,
    )
