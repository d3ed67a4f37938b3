"""`deploy-prune plan`: which milliseconds are within reach, and what each budget would keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deploy_prune.cli.options import (
    Classes,
    Device,
    InputShape,
    Json,
    Model,
    ModelOptions,
    Runtime,
    StoreFile,
    Weights,
    parse_image_shape,
    parse_integers,
    parse_model_options,
    parse_names,
)
from deploy_prune.cli.output import show_json, show_progress, show_table
from deploy_prune.cli.profile import Threads, take_one_count
from deploy_prune.errors import UnknownName
from deploy_prune.timing.devices import THIS_MACHINE

if TYPE_CHECKING:
    from deploy_prune.pipeline.outlook import Option, Outlook
    from deploy_prune.pipeline.smaller_images import SmallerInput

Budgets = Annotated[str | None, typer.Option("--budget", metavar="MS,...", help="Budgets, such as 8ms,6ms or 0.5x.")]
Method = Annotated[str, typer.Option("--method", help="Whose scores decide the widths: uniform, magnitude, random.")]
Multiple = Annotated[int, typer.Option("--multiple", min=1, help="Widths are multiples of this; 1: stairs decide.")]
Scope = Annotated[str, typer.Option("--scope", help="full, or inner: keep the residual stream whole.")]
SCOPES = ("full", "inner")
Widths = Annotated[bool, typer.Option("--widths", help="Show the channels of every group too.")]


def plan(
    model: Model,
    runtime: Runtime = "litert",
    device: Device = THIS_MACHINE,
    threads: Threads = "1",
    budget: Budgets = None,
    method: Method = "uniform",
    multiple: Multiple = 1,
    scope: Scope = "full",
    weights: Weights = None,
    classes: Classes = None,
    input_shape: InputShape = None,
    option: ModelOptions = None,
    widths: Widths = False,
    store: StoreFile = None,
    as_json: Json = False,
) -> None:
    """Show which milliseconds are within reach, before any training.

    The first time a network is planned for a target it is profiled, which takes minutes; after that, seconds.
    """
    shape, options = parse_image_shape(input_shape), parse_model_options(option)
    counts = parse_integers("--threads", threads)
    texts = parse_names(budget) or ()
    if scope not in SCOPES:
        raise UnknownName("scope", scope, SCOPES)
    assert counts
    from deploy_prune.budget.latency.place import Place, check_device
    from deploy_prune.budget.latency.store import open_store
    from deploy_prune.budget.parse import parse
    from deploy_prune.budget.widths import Limits
    from deploy_prune.pipeline.outlook import Wish, outlook
    from deploy_prune.sources.open import open_network

    wish = Wish(tuple(map(parse, texts)), method, Limits(multiple=multiple, scope=scope))
    place = Place(runtime, device, take_one_count(counts))
    check_device(device, store)
    network = open_network(model, weights=weights, classes=classes, input_shape=shape, options=options)
    with show_progress(as_json=as_json) as told, open_store(store) as table:
        result = outlook(network, place, table, wish, progress=told)
    if as_json:
        show_json(outlook=result)
    else:
        show_outlook(result, widths=widths)


def show_outlook(outlook: Outlook, *, widths: bool = False) -> None:
    """The reachable range, then a row per budget and per smaller input."""
    from deploy_prune.stats import write_amount

    target = outlook.target
    where = f"{target.runtime} {target.runtime_version}, {target.threads} threads, {target.device}"
    rows = [
        ("dense network", f"{write_amount(outlook.dense_ms)} {outlook.unit}"),
        (
            "smallest within reach",
            f"{write_amount(outlook.least_ms)} {outlook.unit} ({outlook.least_ms / outlook.dense_ms:.3f}x)",
        ),
        ("mean error of the model", f"{outlook.error.mean:.1%} ({outlook.error.samples} plans timed)"),
    ]
    show_table(f"{outlook.address} on {where}", ("", "is"), rows)
    columns = ("budget", f"predicted {outlook.unit} [95 %]", "time / dense", "MACs", "parameters")
    show_table("Budgets", columns, [_make_row(row) for row in outlook.options])
    if outlook.inputs:
        show_table(
            "Or smaller images: the dense network, measured", ("input", f"{outlook.unit} [95 %]", "time / dense"),
            [_make_input_row(row, outlook.dense_ms) for row in outlook.inputs],
        )  # fmt: skip
    if widths:
        groups = next((list(row.widths) for row in outlook.options), [])
        cells = [(name, *(str(row.widths[name]) for row in outlook.options)) for name in groups]
        show_table("Channels", ("group", *(row.budget for row in outlook.options)), cells)


def _make_row(row: Option) -> tuple[str, ...]:
    from deploy_prune.stats import write_with_interval

    predicted = write_with_interval(row.predicted_ms, row.interval_ms)
    return row.budget, predicted, f"{row.ratio:.3f}x", f"{row.macs_ratio:.3f}x", f"{row.params_ratio:.3f}x"


def _make_input_row(row: SmallerInput, dense_ms: float) -> tuple[str, str, str]:
    shape = "x".join(map(str, row.input_shape))
    if row.measured_ms is None or row.interval_ms is None:
        return shape, f"not measured: {row.reason}", "-"
    from deploy_prune.stats import write_with_interval

    return shape, write_with_interval(row.measured_ms, row.interval_ms), f"{row.measured_ms / dense_ms:.3f}x"
