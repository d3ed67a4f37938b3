"""The stage that exports and verifies the networks: the dense one once for all, the pruned one of every round."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

from deploy_prune.exporting.export import export_asked
from deploy_prune.exporting.parity.reference import make_questions_by_data
from deploy_prune.pipeline.context import RunContext
from deploy_prune.pipeline.dense_files import copy_dense_files, share_dense_files
from deploy_prune.pipeline.priced import another_device
from deploy_prune.results import ShipResult
from deploy_prune.sources.data import describe_form, read_spread
from deploy_prune.values import Shipment, prefix_tasks


def ship(context: RunContext, number: int) -> ShipResult:
    """Export and verify the pruned network; the dense one's files are copied from where they were written once."""
    folder = context.folder.path / f"export-{number}"
    dense = copy_dense_files(ship_dense(context), folder)
    return ShipResult(dense, _export(context, folder, (f"round-{number}", "pruned", f"shipped-{number}")))


def ship_dense(context: RunContext) -> tuple[Shipment, ...]:
    """Export and verify the dense network, once for all rounds of a run and for all runs of a front."""
    asked = "dense", "dense", "dense-shipped"
    return share_dense_files(context.base or context.folder, lambda folder: _export(context, folder, asked))


def _export(context: RunContext, folder: Path, asked: tuple[str, str, str]) -> tuple[Shipment, ...]:
    """Export a network, given by its checkpoint, the name of its files, and the stage that is told of."""
    checkpoint_name, stem, stage = asked
    images, form = read_spread(context.data.val), dataclasses.replace(describe_form(context.data), name=stem)
    progress = prefix_tasks(f"{stage}: {stem}", context.progress)
    ask = partial(make_questions_by_data, context.network(checkpoint_name), images, form, context.task)
    device = another_device(context.config) if context.config.threads else None
    shop = context.open_shop
    return export_asked(ask, context.config.targets, folder, device=device, open_shop=shop, progress=progress)
