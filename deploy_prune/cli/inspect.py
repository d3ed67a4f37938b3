"""`deploy-prune inspect`: what could be cut in a network, and what is locked and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy_prune.cli.options import (
    Classes,
    InputShape,
    Json,
    Model,
    ModelOptions,
    parse_image_shape,
    parse_model_options,
)
from deploy_prune.cli.output import show_json, show_table

if TYPE_CHECKING:
    from deploy_prune.pipeline.inspection import Inspection, Reach


def inspect(
    model: Model,
    classes: Classes = None,
    input_shape: InputShape = None,
    option: ModelOptions = None,
    as_json: Json = False,
) -> None:
    """Show what could be cut in a network.

    Traces it and shows its size, how far each cost can fall, its groups of channels, and why any are locked.
    """
    shape, options = parse_image_shape(input_shape), parse_model_options(option)
    from deploy_prune.pipeline.inspection import inspect as look
    from deploy_prune.sources.open import open_network

    inspection = look(open_network(model, classes=classes, input_shape=shape, options=options))
    if as_json:
        show_json(inspection=inspection)
    else:
        show_inspection(inspection)


def show_inspection(inspection: Inspection) -> None:
    """Three tables: the network, what is within reach, its groups."""
    count = inspection.count
    facts = [
        ("MACs (a multiply-add is 1)", ", ".join(filter(None, (f"{inspection.macs:,}", inspection.difference)))),
        ("fvcore total with norms", f"{count.fvcore_total:,}"),
        ("parameters", f"{count.params:,}"),
        ("operators that fvcore did not count", ", ".join(count.not_counted) or "none"),
        ("channels that cannot be removed", f"{inspection.locked_share:.1%}"),
        *(("rescaled by a number that follows the widths", line) for line in inspection.rescalings),
    ]
    show_table(inspection.address, ("", "is"), facts)
    columns = ("cost", "unit", "dense", "least", "least / dense")
    show_table("Within reach, every group at its floor", columns, [_make_row(row) for row in inspection.reach])
    groups = [
        (row.name, str(row.width * row.channels_per_unit), str(row.width), row.locked or "-")
        for row in inspection.groups
    ]
    show_table("Groups of channels", ("group", "channels", "units", "locked because"), groups)


def _make_row(row: Reach) -> tuple[str, ...]:
    ratio = f"{row.least / row.dense:.3f}x" if row.dense else "-"
    return row.cost, row.unit, f"{row.dense:,.0f}", f"{row.least:,.0f}", ratio
