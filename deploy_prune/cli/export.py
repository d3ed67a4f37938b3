"""`deploy-prune export`: write a network in mobile formats and run every file against the network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy_prune.cli.options import (
    Classes,
    DataAddress,
    InputShape,
    Json,
    Model,
    Targets,
    Weights,
    image_shape,
    name_list,
)
from deploy_prune.cli.output import progress, show_json, show_table
from deploy_prune.errors import ExportFailed

if TYPE_CHECKING:
    from deploy_prune.values import Shipment

Folder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the files go.")]
Verify = Annotated[bool, typer.Option("--verify", help="Fail unless every file could be run against the network.")]


def export(
    model: Model,
    target: Targets = "tflite,onnx",
    out: Folder = Path("exported"),
    data: DataAddress = None,
    weights: Weights = None,
    classes: Classes = None,
    input_shape: InputShape = None,
    verify: Verify = False,
    as_json: Json = False,
) -> int:
    """Write a network in mobile formats.

    Every file is run against the network where its runtime is installed. A format that fails does not stop the
    others; the exit code says so.
    """
    shape, targets = image_shape(input_shape), name_list(target) or ()
    from deploy_prune.shipping import Order, ship

    order = Order(model, targets, weights=weights, data=data, classes=classes, input_shape=shape)
    with progress(as_json=as_json) as told:
        shipments = ship(order, out, progress=told)
    if as_json:
        show_json(shipments=shipments)
    else:
        show_shipments(shipments)
    good = {"verified"} if verify else {"verified", "exported"}
    return 0 if all(shipment.status in good for shipment in shipments) else ExportFailed.exit_code


def show_shipments(shipments: tuple[Shipment, ...]) -> None:
    """One row per format."""
    columns = ("format", "status", "size MB", "max error", "agreement", "file or reason")
    show_table("Exported", columns, [_row(shipment) for shipment in shipments])


def _row(shipment: Shipment) -> tuple[str, ...]:
    artifact, parity = shipment.artifact, shipment.parity
    ties = f" ({parity.ties} ties)" if parity and parity.ties else ""
    return (
        shipment.format,
        shipment.status,
        "-" if artifact is None else f"{artifact.size_bytes / 1e6:.2f}",
        "-" if parity is None else f"{parity.max_error:.1e}",
        "-" if parity is None else f"{parity.agreement:.1%} of {parity.images}{ties}",
        shipment.reason or ("-" if artifact is None else artifact.path),
    )
