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
from deploy_prune.pipeline.parts import gather_parts
from deploy_prune.pipeline.priced import Price
from deploy_prune.results import Closing, PlanResult
from deploy_prune.sources import checkpoint
from deploy_prune.sources.unit_numbers import in_dense_numbers
from deploy_prune.sources.weights import replace_weights
from deploy_prune.values import ChannelGraph, GroupCurve, GroupRow, Keep, Plan, prefix_tasks

SCORED = "scored"
"""Checkpoint of the dense architecture with the weights of a method that trained while it decided."""


def decide_plan(context: RunContext) -> PlanResult:
    """Score, allocate, select, and prove on meta tensors that the cut is sound before anything is trained."""
    began = time.monotonic()
    closing: Closing | None = None
    curves: tuple[GroupCurve, ...] = ()
    network, graph = context.network("dense"), context.graph
    if context.plan_file is not None:
        keep = read_plan(context, network)
        if broken := find(network, graph, keep):
            name, reason = next(iter(broken.items()))
            raise PlanError(f"the plan breaks group '{name}': {reason}", hint="leave that group whole")
        made, method = _priced_by_hand(context.plan_file, graph, keep), "hand"
    else:
        decision = decide(gather_parts(context, network, prefix_tasks("planning", context.progress)))
        graph, keep, closing, curves = decision.graph, decision.keep, decision.closing, decision.curves
        method = decision.method
        if decision.weights:
            decided = replace_weights(network, decision.weights)
            masks = {**network.masks, **decision.masks}
            checkpoint.save(dataclasses.replace(decided, masks=masks), context.folder.path / SCORED)
        made = _priced(decision.price, keep)
    made = dataclasses.replace(made, network=network.address, keep=in_dense_numbers(network, keep))
    return PlanResult(made, method, _rows(graph, keep), time.monotonic() - began, closing, curves)


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
