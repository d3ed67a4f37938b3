"""What a run's network keeps: scored once, allocated under the budget, proven sound; in milliseconds, timed as well."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from deploy_prune import plugins
from deploy_prune.allocate import allocate, best_units
from deploy_prune.budgets import parse
from deploy_prune.closing import Chosen, closed
from deploy_prune.errors import ConfigError
from deploy_prune.latency.model import LatencyCost
from deploy_prune.latency.profiling import LOCAL
from deploy_prune.latency.store import opened
from deploy_prune.methods import Scorer, Selector, Study
from deploy_prune.ranking import SCORES, read_scores, save_scores
from deploy_prune.results import Closing
from deploy_prune.soundness import find, lock
from deploy_prune.values import ChannelGraph, Network, Progress, Scores
from deploy_prune.work import Keep, Work, priced, workers_of

UNSCORED = "the method gives it no score"


@dataclass(frozen=True, eq=False)
class Decision:
    """What is kept, and how a budget in milliseconds was met."""

    graph: ChannelGraph
    """With every group locked that a cut like this would break, or that the method does not score."""
    keep: Keep
    closing: Closing | None = None
    weights: Mapping[str, Tensor] | None = None
    """Of a method that trains while it scores: of these the kept units are taken."""


@dataclass(frozen=True, eq=False)
class _Scored:
    """A method's answer for a network, which holds for any budget."""

    work: Work
    study: Study
    method: Scorer
    scores: Scores


def decide(work: Work, network: Network, graph: ChannelGraph, progress: Progress) -> Decision:
    """Score, allocate, select, and prove on meta tensors that the cut is sound before anything is trained.

    Raises:
        ConfigError: the method does not decide widths.
        BudgetError: no plan can meet the budget.
    """
    scored = _scored(work, network, graph, progress)
    _, limit = priced(work, scored.study.graph)
    if parse(work.config.budget).cost == "latency" and work.config.device == LOCAL:
        decision = _closed(scored, limit, progress)
    else:
        decision = Decision(*_sound(scored, limit))
    return dataclasses.replace(decision, weights=scored.scores.weights)


def scores_of(work: Work, network: Network, graph: ChannelGraph, progress: Progress) -> Scores:
    """By the method, or as another run left them; written to the run folder, so that they are found only once.

    Raises:
        ConfigError: the method does not decide widths.
        RecordError: the other run's scores are of another network.
    """
    return _scored(work, network, graph, progress).scores


def _scored(work: Work, network: Network, graph: ChannelGraph, progress: Progress) -> _Scored:
    method = plugins.build("methods", work.config.method, work.config.method_options)
    if not isinstance(method, Scorer):
        raise ConfigError(f"method '{work.config.method}' does not decide widths")
    study = _study(work, network, graph, progress)
    own = work.folder.path / SCORES
    if own.exists() or work.config.scores is None:
        scores = read_scores(own, graph) if own.exists() else method.score(study)
    else:
        scores = read_scores(work.config.scores, graph)
    if not own.exists():
        save_scores(scores, own)
    unscored = {group.name: UNSCORED for group in graph.free if group.name not in scores.by_group}
    return _Scored(work, dataclasses.replace(study, graph=lock(graph, unscored)), method, scores)


def _study(work: Work, network: Network, graph: ChannelGraph, progress: Progress) -> Study:
    cost, limit = priced(work, graph)

    def plan(scores: Scores) -> Keep:
        return best_units(scores, allocate(graph, scores, cost, limit, work.limits))

    return Study(
        network,
        graph,
        work.data,
        work.config.seed,
        plan=plan,
        scope=work.config.scope,
        workers=workers_of(work.config),
        folder=work.folder.path,
        progress=progress,
    )


def _closed(scored: _Scored, limit_ms: float, progress: Progress) -> Decision:
    def choose(aim_ms: float) -> Chosen:
        sound, keep = _sound(scored, aim_ms)
        cost, _ = priced(scored.work, sound)
        assert isinstance(cost, LatencyCost)
        return Chosen(sound, keep, cost)

    with opened(scored.work.config.store) as store:
        chosen, closing = closed(scored.study.network, limit_ms, choose, store, progress=progress)
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
    cost, _ = priced(scored.work, graph)
    widths = allocate(graph, scored.scores, cost, limit, scored.work.limits)
    if isinstance(scored.method, Selector):
        return scored.method.select(scored.study, widths).keep
    return best_units(scored.scores, widths)
