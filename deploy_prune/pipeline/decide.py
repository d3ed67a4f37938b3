"""What a run's network keeps: scored once, allocated under the budget, proven sound; in milliseconds, timed as well.

How many units stay is decided first, on the real file where the budget is in milliseconds, as times depend on widths
alone. A method that selects which ones does so once, at those widths.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from deploy_prune.budget.allocate import allocate
from deploy_prune.budget.latency.model import LatencyCost
from deploy_prune.budget.latency.store import opened
from deploy_prune.errors import PlanError
from deploy_prune.graph.soundness import find, lock
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.pipeline.context import RunContext
from deploy_prune.pipeline.deciders import build_deciders, build_workers, find_widths_file
from deploy_prune.pipeline.priced import is_timed, price
from deploy_prune.pipeline.real_file import Chosen, left_over, plan_on_real_file
from deploy_prune.results import Closing, WidthsResult
from deploy_prune.scoring.methods import Scorer, Selector
from deploy_prune.scoring.scores_file import SCORES, read_scores, save_scores
from deploy_prune.scoring.study import Study
from deploy_prune.scoring.top_units import best_units
from deploy_prune.values import ChannelGraph, Keep, Network, Progress, Scores

logger = logging.getLogger(__name__)

UNSCORED = "the method gives it no score"
WIDTHS = "widths"
"""Record of the widths that a method selects at."""


@dataclass(frozen=True, eq=False)
class Decision:
    """What is kept, and how a budget in milliseconds was met."""

    graph: ChannelGraph
    """The graph, with every group locked that the cut would break or the method does not score."""
    keep: Keep
    closing: Closing | None = None
    weights: Mapping[str, Tensor] | None = None
    """The weights of a method that trains while it decides; the kept units are taken of these."""
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    """Weight -> kernels that stay, in the dense network's shapes."""
    method: str = ""
    """What results call it."""


@dataclass(frozen=True, eq=False)
class _Scored:
    """A method's answer for a network, which holds for any budget."""

    context: RunContext
    study: Study
    scores: Scores


def decide(context: RunContext, network: Network, graph: ChannelGraph, progress: Progress) -> Decision:
    """Score, allocate, select, and prove on meta tensors that the cut is sound before anything is trained.

    Raises:
        BudgetError: no plan can meet the budget.
        PlanError: the units that a method selects make a cut that is not sound.
    """
    scorer, selector = build_deciders(context.config)
    if selector is None:
        decision, scores = _best_scored(context, scorer, network, graph, progress)
        return dataclasses.replace(decision, weights=scores.weights, method=_scored_by(context.config))

    def widths() -> WidthsResult:
        return _widths(graph, _best_scored(context, scorer, network, graph, progress)[0])

    decided = context.folder.stage(WIDTHS, WidthsResult, widths)  # kept: timed again, they might differ
    return _selected(context, selector, _study(context, network, lock(graph, decided.locked), progress), decided)


def _scored_by(config: RunConfig) -> str:
    if config.scores is not None and "method" not in config.model_fields_set:
        return f"scores of {config.scores}"
    return config.method


def _widths(graph: ChannelGraph, decision: Decision) -> WidthsResult:
    free = {group.name for group in graph.free}
    locked = {group.name: group.locked for group in decision.graph.groups if group.locked and group.name in free}
    widths = {group.name: len(decision.keep.get(group.name, range(group.width))) for group in decision.graph.free}
    return WidthsResult(widths, locked, decision.closing)


def _selected(context: RunContext, selector: Selector, study: Study, decided: WidthsResult) -> Decision:
    config = context.config
    found = selector.select(study, decided.widths)
    if broken := find(study.network, study.graph, found.keep):
        name, reason = next(iter(broken.items()))
        message = f"the units that '{config.method}' selects break group '{name}': {reason}"
        raise PlanError(message, hint="choose another method, or leave that group whole by a plan of your own")
    decider = config.scores or find_widths_file(config) or f"'{config.widths}'"
    return Decision(
        study.graph, found.keep, decided.closing, found.weights, found.masks,
        method=f"{found.method or config.method} at widths of {decider}",
    )  # fmt: skip


def _best_scored(
    context: RunContext, scorer: Scorer | Path, network: Network, graph: ChannelGraph, progress: Progress
) -> tuple[Decision, Scores]:
    """The units with the highest scores under the budget."""
    scored = _scored(context, scorer, network, graph, progress)
    _, limit = price(context.config, scored.study.graph)
    if is_timed(context.config):
        return _closed(scored, limit, progress), scored.scores
    return Decision(*_sound(scored, limit)), scored.scores


def scores_of(context: RunContext, network: Network, graph: ChannelGraph, progress: Progress) -> Scores:
    """By what decides widths, or as another run left them; written to the run folder: they are found only once.

    Raises:
        RecordError: the other run's scores are of another network.
    """
    return _scored(context, build_deciders(context.config)[0], network, graph, progress).scores


def _scored(
    context: RunContext, scorer: Scorer | Path, network: Network, graph: ChannelGraph, progress: Progress
) -> _Scored:
    study = _study(context, network, graph, progress)
    own = context.folder.path / SCORES
    if own.exists():
        scores = read_scores(own, graph)
    elif isinstance(scorer, Path):
        scores = read_scores(scorer, graph)
    else:
        scores = scorer.score(study)
    if not own.exists():
        save_scores(scores, own)
    unscored = {group.name: UNSCORED for group in graph.free if group.name not in scores.by_group}
    return _Scored(context, dataclasses.replace(study, graph=lock(graph, unscored)), scores)


def _study(context: RunContext, network: Network, graph: ChannelGraph, progress: Progress) -> Study:
    cost, limit = price(context.config, graph)

    def plan(scores: Scores) -> Keep:
        return best_units(scores, allocate(graph, scores, cost, limit, context.limits))

    return Study(
        network,
        graph,
        context.data,
        context.config.seed,
        plan=plan,
        scope=context.config.scope,
        workers=build_workers(context.config, context.accelerator),
        folder=context.folder.path,
        progress=progress,
        loss=context.hooks.loss,
        step=context.hooks.step,
    )


def _closed(scored: _Scored, limit_ms: float, progress: Progress) -> Decision:
    def choose(aim_ms: float) -> Chosen:
        sound, keep = _sound(scored, aim_ms)
        cost, _ = price(scored.context.config, sound)
        assert isinstance(cost, LatencyCost)
        return Chosen(sound, keep, cost)

    with opened(scored.context.config.store) as store:
        chosen, closing = plan_on_real_file(scored.study.network, limit_ms, choose, store, progress=progress)
    if left := left_over(chosen, closing, scored.context.limits):
        logger.warning(left)
    return Decision(chosen.graph, chosen.keep, closing)


def _sound(scored: _Scored, limit: float) -> tuple[ChannelGraph, Keep]:
    """What is kept under a limit, groups that this would break locked."""
    graph = scored.study.graph
    keep = _chosen(scored, graph, limit)
    while broken := find(scored.study.network, graph, keep):
        graph = lock(graph, broken)
        keep = _chosen(scored, graph, limit)
    return graph, keep


def _chosen(scored: _Scored, graph: ChannelGraph, limit: float) -> Keep:
    cost, _ = price(scored.context.config, graph)
    return best_units(scored.scores, allocate(graph, scored.scores, cost, limit, scored.context.limits))
