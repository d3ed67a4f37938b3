"""The planning stage of a run: what is kept, by a method or by hand, and what the plan costs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from deploy_prune import plugins
from deploy_prune.budget.costs import COSTS
from deploy_prune.budget.widths import kept_widths
from deploy_prune.errors import PlanError
from deploy_prune.graph.soundness import find
from deploy_prune.pipeline.context import RunContext, read_plan
from deploy_prune.pipeline.decide import decide
from deploy_prune.pipeline.deciders import build_deciders
from deploy_prune.pipeline.parts import build_study, gather_parts
from deploy_prune.pipeline.priced import Price
from deploy_prune.results import PlanResult
from deploy_prune.sources import checkpoint
from deploy_prune.sources.unit_numbers import in_dense_numbers
from deploy_prune.sources.weights import replace_weights
from deploy_prune.values import (
    ChannelGraph,
    GroupCurve,
    GroupRow,
    Keep,
    Network,
    Plan,
    Progress,
    Selection,
    prefix_tasks,
)

SCORED = "scored"
"""Checkpoint of the dense architecture with the weights of a method that trained while it decided."""


def decide_plan(context: RunContext) -> PlanResult:
    """Score, allocate, select, and prove on meta tensors that the cut is sound before anything is trained."""
    began, progress = time.monotonic(), prefix_tasks("planning", context.progress)
    network, graph = context.network("dense"), context.graph
    if context.plan_file is not None:
        selection = _follow_plan(context, network, progress)
        made = _priced_by_hand(context.plan_file, graph, selection.keep)
        closing, curves = None, tuple[GroupCurve, ...]()
    else:
        decision = decide(gather_parts(context, network, progress))
        selection = Selection(decision.keep, decision.masks, decision.weights, decision.method)
        made, graph = _priced(decision.price, decision.keep), decision.graph
        closing, curves = decision.closing, decision.curves
    if selection.weights:
        decided = replace_weights(network, selection.weights)
        masks = {**network.masks, **selection.masks}
        checkpoint.save(dataclasses.replace(decided, masks=masks), context.folder.path / SCORED)
    made = dataclasses.replace(made, network=network.address, keep=in_dense_numbers(network, selection.keep))
    rows, seconds = _rows(graph, selection.keep), time.monotonic() - began
    return PlanResult(made, selection.method, rows, seconds, closing, curves)


def _follow_plan(context: RunContext, network: Network, progress: Progress) -> Selection:
    """What a plan by hand keeps, or as many units of each group as it keeps, selected by the method that is asked for.

    Raises:
        PlanError: the cut would not be sound.
    """
    assert context.plan_file
    graph, keep = context.graph, read_plan(context, network)
    selection = Selection(keep, method="hand")
    _, selector = build_deciders(context.config)
    if context.config.select is not None and selector is not None:
        widths = {group.name: len(keep[group.name]) for group in graph.free if group.name in keep}
        selected = selector.select(build_study(context, network, progress), widths)
        method = f"{context.config.select} at widths of {context.plan_file}"
        selection = dataclasses.replace(selected, keep={**keep, **selected.keep}, method=method)
    if broken := find(network, graph, selection.keep):
        name, reason = next(iter(broken.items()))
        raise PlanError(f"the plan breaks group '{name}': {reason}", hint="leave that group whole")
    return selection


def _priced(price: Price, keep: Keep) -> Plan:
    budget = price.budget
    return Plan("", keep, budget.text, asked=price.limit, reached=price.of(keep), dense=price.dense, cost=budget.cost)


def _priced_by_hand(file: Path, graph: ChannelGraph, keep: Keep) -> Plan:
    macs = count_macs(graph)
    return Plan("", keep, f"plan {file.name}", reached=macs(keep), dense=macs({}), cost="macs")


def count_macs(graph: ChannelGraph) -> Callable[[Keep], int]:
    """A plan -> the multiply-adds of one image by our own cost model."""
    cost = plugins.build(COSTS, "macs").model(graph)
    return lambda keep: int(cost(kept_widths(graph.free, keep)))


def _rows(graph: ChannelGraph, keep: Keep) -> tuple[GroupRow, ...]:
    return tuple(
        GroupRow(group.name, group.width, int(width), group.channels_per_unit, group.locked)
        for group, width in zip(graph.groups, kept_widths(graph.groups, keep), strict=True)
    )
