"""The stage that exports and verifies both networks; the runs of a front write the dense one's files once for all."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

from deploy_prune.exporting.export import export_in_turn
from deploy_prune.exporting.parity.reference import make_questions_by_data
from deploy_prune.pipeline.context import RunContext
from deploy_prune.pipeline.dense_files import copy_dense_files, share_dense_files
from deploy_prune.pipeline.priced import another_device
from deploy_prune.results import ShipResult
from deploy_prune.run_folder import RunFolder
from deploy_prune.sources.data import describe_form, read_spread
from deploy_prune.values import Shipment, prefix_tasks


def ship(context: RunContext, number: int) -> ShipResult:
    """Export and verify both networks; a run of a front takes the dense one's files from there."""
    folder = context.folder.path / f"export-{number}"
    pruned = (f"round-{number}", "pruned", f"shipped-{number}")
    if context.base is None:
        return ShipResult(*_export(context, folder, ("dense", "dense", f"shipped-{number}"), pruned))
    dense = copy_dense_files(ship_dense(context, context.base), folder)
    return ShipResult(dense, *_export(context, folder, pruned))


def ship_dense(context: RunContext, base: RunFolder) -> tuple[Shipment, ...]:
    """Export and verify the dense network for all runs of a front, where none of them has yet."""
    return share_dense_files(base, lambda folder: _export(context, folder, ("dense", "dense", "dense-shipped"))[0])


def _export(context: RunContext, folder: Path, *networks: tuple[str, str, str]) -> list[tuple[Shipment, ...]]:
    """Export networks, each given by its checkpoint, the name of its files, and the stage that is told of."""
    images, known = read_spread(context.data.val), describe_form(context.data)
    asked = []
    for checkpoint_name, stem, stage in networks:
        form = dataclasses.replace(known, name=stem)
        progress = prefix_tasks(f"{stage}: {stem}", context.progress)
        network = context.network(checkpoint_name)
        asked.append((partial(make_questions_by_data, network, images, form, context.task), progress))
    device = another_device(context.config) if context.config.threads else None
    return export_in_turn(asked, context.config.targets, folder, device=device, open_shop=context.open_shop)
