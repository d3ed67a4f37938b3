"""Puts together what a run's decision is made of: the study, the methods, the price, and where files are timed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from deploy_prune.budget.allocate import allocate
from deploy_prune.budget.latency.store import open_store
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.pipeline.context import RunContext
from deploy_prune.pipeline.decide import Parts
from deploy_prune.pipeline.deciders import build_deciders, build_workers, find_widths_file
from deploy_prune.pipeline.priced import is_timed
from deploy_prune.pipeline.real_file import RealFiles
from deploy_prune.scoring.study import Study
from deploy_prune.scoring.top_units import best_units
from deploy_prune.timing.devices import device_at
from deploy_prune.values import Keep, Network, Progress, Scores


@contextmanager
def gather_parts(context: RunContext, network: Network, progress: Progress) -> Iterator[Parts]:
    """The parts of a run's decision; the store of latency tables is open until the block ends, where one is needed."""
    config = context.config
    scorer, selector = build_deciders(config)
    decider = config.scores or find_widths_file(config) or f"'{config.widths}'"
    study = build_study(context, network, progress)
    parts = Parts(
        study, scorer, selector, context.price, context.limits, None, context.folder,
        method=_name_of_method(config), decider=str(decider),
    )  # fmt: skip
    if not is_timed(config):
        yield parts
        return
    with open_store(config.store) as store:
        yield replace(parts, files=RealFiles(device_at(config.device), store))


def build_study(context: RunContext, network: Network, progress: Progress) -> Study:
    """What the methods of a run work with."""
    graph, price = context.graph, context.price

    def plan(scores: Scores) -> Keep:
        return best_units(scores, allocate(graph, scores, price.cost, price.limit, context.limits))

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
        hooks=context.tasked,
    )


def _name_of_method(config: RunConfig) -> str:
    if config.scores is not None and "method" not in config.model_fields_set:
        return f"scores of {config.scores}"
    return config.method
