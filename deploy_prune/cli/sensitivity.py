"""`deploy-prune sensitivity`: how accuracy falls as one group alone is cut."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy_prune.cli.options import (
    Accelerator,
    Classes,
    InputShape,
    Json,
    Model,
    ModelOptions,
    Weights,
    Workers,
    parse_image_shape,
    parse_model_options,
    parse_numbers,
)
from deploy_prune.cli.output import show_json, show_progress, show_table
from deploy_prune.processes.workers import USUAL
from deploy_prune.stats import write_percent

if TYPE_CHECKING:
    from deploy_prune.scoring.sensitivity import Sensitivity

DataAddress = Annotated[
    str, typer.Option("--data", metavar="NAME[:PATH]", help="digits, imagefolder:DIR, images:DIR, ...")
]
Shares = Annotated[
    str, typer.Option("--shares", metavar="SHARE,...", help="Widths to try, as shares of the dense one.")
]
Images = Annotated[int, typer.Option("--images", min=1, help="Validation images to judge on.")]
Drawing = Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw it as .png or .html.")]


def sensitivity(
    model: Model,
    data: DataAddress = "digits",
    weights: Weights = None,
    classes: Classes = None,
    input_shape: InputShape = None,
    option: ModelOptions = None,
    shares: Shares = "0.75,0.5,0.25,0.125",
    images: Images = 1000,
    workers: Workers = None,
    accelerator: Accelerator = None,
    plot: Drawing = None,
    as_json: Json = False,
) -> None:
    """Draw accuracy against the width of every group, each cut alone and not trained afterwards."""
    shape, options = parse_image_shape(input_shape), parse_model_options(option)
    asked = parse_numbers("--shares", shares) or ()
    from deploy_prune.analysis.plots import check_suffix
    from deploy_prune.pipeline.config import RunConfig
    from deploy_prune.pipeline.deciders import build_workers
    from deploy_prune.scoring.sensitivity import sensitivity as measure
    from deploy_prune.sources.data import check_fit, read_data
    from deploy_prune.sources.open import open_network
    from deploy_prune.train.accelerator import AUTO, choose_accelerator, move_network
    from deploy_prune.train.fitness import Exam

    where = choose_accelerator(accelerator or AUTO)
    if plot is not None:
        check_suffix(plot)
    known = read_data(data, size=shape[1:] if shape else None)
    network = open_network(model, classes=classes, input_shape=shape, options=options, weights=weights, data=known)
    check_fit(network, known)
    who, exam = build_workers(RunConfig(model=model, workers=workers or USUAL), where), Exam(images=images)
    with show_progress(as_json=as_json) as told:
        result = measure(move_network(network, where), known, who, shares=asked, exam=exam, progress=told)
    if plot is not None:
        draw_sensitivity(result, plot)
    if as_json:
        show_json(sensitivity=result)
    else:
        show_sensitivity(result)


def draw_sensitivity(result: Sensitivity, file: Path) -> None:
    """Draw a line per group: quality in percent against the share of its units that is kept."""
    from deploy_prune.analysis.plots import Line, Plot, save

    lines = tuple(
        Line(curve.name, *_make_line(curve.width, result.value, [(each.kept, each.value) for each in curve.points]))
        for curve in result.curves
    )
    title = f"{result.address}: one group cut, not trained afterwards"
    y_label = f"{result.quality} on {result.images} images, %"
    save(Plot(title, "share of the group's units kept", y_label, lines), file)


def _make_line(
    width: int, dense: float, points: list[tuple[int, float]]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    whole = [(width, dense), *points]
    return tuple(kept / width for kept, _ in whole), tuple(100 * value for _, value in whole)


def show_sensitivity(result: Sensitivity) -> None:
    """A row per group, the most sensitive first."""
    most = max((len(curve.points) for curve in result.curves), default=0)
    rows = [
        (curve.name, str(curve.width), *(f"{write_percent(each.value, 1)} at {each.kept}" for each in curve.points),
         *[""] * (most - len(curve.points)))
        for curve in sorted(result.curves, key=lambda curve: min((each.value for each in curve.points), default=1.0))
    ]  # fmt: skip
    whole = f"{result.quality} {write_percent(result.value, 1)} on {result.images} images whole"
    title = f"{result.address}: {whole}, and with one group cut"
    show_table(title, ("group", "width", *[""] * most), rows)
