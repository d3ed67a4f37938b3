"""Puts together what a run's decision is made of: the study, the methods, the price, and where files are timed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from deploy_prune.budget.allocate import allocate
from deploy_prune.budget.latency.store import open_store
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.pipeline.context import RunContext
from deploy_prune.pipeline.decide import Parts
from deploy_prune.pipeline.deciders import build_deciders, build_workers, find_widths_file
from deploy_prune.pipeline.dense_files import read_dense_file
from deploy_prune.pipeline.priced import is_timed, timing_device
from deploy_prune.pipeline.real_file import RealFiles
from deploy_prune.pipeline.ship_stage import ship_dense
from deploy_prune.scoring.study import Study
from deploy_prune.scoring.top_units import best_units
from deploy_prune.values import Keep, Network, Progress, Scores


def gather_parts(context: RunContext, network: Network, progress: Progress) -> Parts:
    """The parts of a run's decision; the store of latency tables is read only where they turn out to need it."""
    config = context.config
    scorer, selector = build_deciders(config)
    deciding = config.widths if config.select is None else config.method
    decider = config.scores or find_widths_file(config) or f"'{deciding}'"
    return Parts(
        study=build_study(context, network, progress),
        scorer=scorer,
        selector=selector,
        budget=config.parsed_budget,
        find_price=lambda: context.price,
        limits=context.limits,
        open_files=partial(_open_real_files, context) if is_timed(config) else None,
        folder=context.folder,
        method=_name_of_method(config),
        decider=str(decider),
    )


@contextmanager
def _open_real_files(context: RunContext) -> Iterator[RealFiles]:
    """Where a run's plans are timed, and the store, which is open until the block ends."""

    def write_dense(network: Network, exporter: str) -> bytes:
        return read_dense_file(ship_dense(context), network, exporter)

    with open_store(context.config.store) as store:
        yield RealFiles(timing_device(context.config), store, write_dense=write_dense)


def build_study(context: RunContext, network: Network, progress: Progress) -> Study:
    """What the methods of a run work with."""
    graph = context.graph

    def plan(scores: Scores) -> Keep:
        price = context.price
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
    if config.select is not None:
        return config.select
    if config.scores is not None and "method" not in config.model_fields_set:
        return f"scores of {config.scores}"
    return config.method
