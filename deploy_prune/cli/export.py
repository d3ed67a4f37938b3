"""`deploy-prune export`: write a network in mobile formats and run every file against the network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy_prune.cli.options import (
    Classes,
    DataAddress,
    DeviceAddress,
    InputShape,
    Json,
    Model,
    ModelOptions,
    Targets,
    Weights,
    parse_image_shape,
    parse_model_options,
    parse_names,
    parse_numbers,
)
from deploy_prune.cli.output import show_json, show_progress, show_table
from deploy_prune.errors import ConfigError, ExportFailed
from deploy_prune.timing.devices import THIS_MACHINE, device_at
from deploy_prune.values import PRECISIONS, AppForm, InputKind, Normalisation

if TYPE_CHECKING:
    from deploy_prune.pipeline.ship import Order
    from deploy_prune.timing.devices import Device
    from deploy_prune.values import Shipment

Folder = Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder that the files are written to.")]
Name = Annotated[str, typer.Option("--name", metavar="NAME", help="What the files are called, without the suffix.")]
Verify = Annotated[
    bool,
    typer.Option(
        "--verify", help="Fail unless every file could be run against the network, on the device if one is named."
    ),
]
Taken = Annotated[str, typer.Option("--input", metavar="float|uint8", help="Numbers, or bytes as a camera gives them.")]
Bake = Annotated[
    bool, typer.Option("--bake-preprocessing", help="Files take pixels from 0 to 255: mean, std and layout are inside.")
]
Softmax = Annotated[bool, typer.Option("--softmax", help="Files give probabilities instead of scores.")]
Mean = Annotated[str | None, typer.Option("--mean", metavar="N,...", help="A number per channel; pixels are 0 to 1.")]
Std = Annotated[str | None, typer.Option("--std", metavar="N,...", help="A number per channel; pixels are 0 to 1.")]
Labels = Annotated[Path | None, typer.Option("--labels", metavar="FILE", help="Class names, one per line.")]
InputNames = Annotated[str | None, typer.Option("--input-name", metavar="NAMES", help="Names of the files' inputs.")]
OutputNames = Annotated[str | None, typer.Option("--output-name", metavar="NAMES", help="Names of the files' outputs.")]
DynamicBatch = Annotated[bool, typer.Option("--dynamic-batch", help="Take any batch size (onnx).")]
Opset = Annotated[int | None, typer.Option("--opset", metavar="N", help="The opset of the ONNX file, 13 or newer.")]
Precision = Annotated[
    str | None,
    typer.Option("--precision", metavar="|".join(PRECISIONS), help="fp16 where the format has it (coreml, coreai)."),
]
Sparse = Annotated[
    bool,
    typer.Option("--sparse", help="Leave out masked weights, which XNNPACK then skips (tflite alone, all or nothing)."),
]


def export(
    model: Model,
    target: Targets = "tflite,onnx,coreml,executorch",
    out: Folder = Path("exported"),
    name: Name = "model",
    data: DataAddress = None,
    weights: Weights = None,
    classes: Classes = None,
    input_shape: InputShape = None,
    option: ModelOptions = None,
    taken: Taken = "float",
    bake: Bake = False,
    softmax: Softmax = False,
    mean: Mean = None,
    std: Std = None,
    labels: Labels = None,
    input_name: InputNames = None,
    output_name: OutputNames = None,
    dynamic_batch: DynamicBatch = False,
    opset: Opset = None,
    precision: Precision = None,
    sparse: Sparse = False,
    verify: Verify = False,
    device: DeviceAddress = THIS_MACHINE,
    as_json: Json = False,
) -> int:
    """Write a network in mobile formats.

    Every file is run against the network where its runtime is installed, and on another device, if one is named, on a
    few of the inputs. A format that fails does not stop the others; the exit code says so.
    """
    place = None if device == THIS_MACHINE else device_at(device)
    wished = {"dynamic_batch": dynamic_batch or None, "opset": opset, "precision": precision, "sparse": sparse or None}
    form = AppForm(
        name=name, input=_parse_kind(taken), bake=bake, softmax=softmax, normalisation=_parse_normalisation(mean, std)
    )
    from deploy_prune.pipeline.ship import Order

    order = Order(
        model, _parse_targets(target, sparse=sparse), weights=weights, data=data, classes=classes,
        input_shape=parse_image_shape(input_shape), options=parse_model_options(option),
        form=_add_names(form, labels, input_name, output_name),
        exporters={key: value for key, value in wished.items() if value is not None},
    )  # fmt: skip
    return ship_and_show(order, out, device=place, verify=verify, as_json=as_json)


def _parse_targets(text: str | None, *, sparse: bool) -> tuple[str, ...]:
    """The formats to write. Where sparse files are asked for, those that have none are refused, not written dense."""
    targets = parse_names(text) or ()
    if sparse and (others := [name for name in targets if name != "tflite"]):
        message = f"--sparse cannot be had in {', '.join(others)}"
        raise ConfigError(message, hint="write sparse files alone: --target tflite")
    return targets


def _add_names(form: AppForm, labels: Path | None, input_names: str | None, output_names: str | None) -> AppForm:
    """The form with the names of classes, inputs and outputs that were given."""
    from deploy_prune.pipeline.ship import read_labels

    return replace(
        form,
        labels=() if labels is None else read_labels(labels),
        input_names=parse_names(input_names) or (),
        output_names=parse_names(output_names) or (),
    )


def ship_and_show(order: Order, out: Path, *, device: Device | None, verify: bool, as_json: bool) -> int:
    """Write and verify the files, show a row per format, and give the exit code."""
    from deploy_prune.pipeline.ship import ship

    with show_progress(as_json=as_json) as told:
        shipments = ship(order, out, device=device, progress=told)
    if as_json:
        show_json(shipments=shipments)
    else:
        show_shipments(shipments)
    if device is not None and verify:
        return 0 if all(shipment.there and shipment.there.passed for shipment in shipments) else ExportFailed.exit_code
    good = {"verified"} if verify else {"verified", "exported"}
    return 0 if all(shipment.status in good for shipment in shipments) else ExportFailed.exit_code


def _parse_kind(text: str) -> InputKind:
    kinds: dict[str, InputKind] = {"float": "float", "uint8": "uint8"}
    if text not in kinds:
        raise ConfigError(
            f"--input '{text}' is neither float nor uint8", hint="an image's shape is --input-shape C,H,W"
        )
    return kinds[text]


def _parse_normalisation(mean: str | None, std: str | None) -> Normalisation | None:
    means, stds = parse_numbers("--mean", mean), parse_numbers("--std", std)
    if (means is None) != (stds is None):
        raise ConfigError("--mean and --std belong together", hint="give both, or neither")
    return None if means is None or stds is None else Normalisation(means, stds)


def show_shipments(shipments: tuple[Shipment, ...]) -> None:
    """One row per format."""
    errors = ("max error", "on device") if any(shipment.there for shipment in shipments) else ("max error",)
    columns = ("format", "status", "precision", "size MB", "seconds", *errors, "agreement", "file or reason")
    show_table("Exported", columns, [_make_row(shipment, there=len(errors) > 1) for shipment in shipments])


def _make_row(shipment: Shipment, *, there: bool) -> tuple[str, ...]:
    artifact, parity = shipment.artifact, shipment.parity
    parities = (parity, shipment.there) if there else (parity,)
    return (
        shipment.format,
        shipment.status,
        "-" if artifact is None else artifact.precision,
        "-" if artifact is None else f"{artifact.size_bytes / 1e6:.2f}",
        "-" if artifact is None else f"{artifact.seconds:.1f}",
        *("-" if each is None else f"{each.max_error:.1e}" for each in parities),
        (parity and parity.answers) or "-",
        shipment.reason or ("-" if artifact is None else artifact.path),
    )
