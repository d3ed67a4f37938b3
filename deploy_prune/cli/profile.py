"""`deploy-prune profile`: measure a network's milliseconds at many widths, once per target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy_prune.cli.options import (
    Classes,
    DeviceAddress,
    InputShape,
    Json,
    Model,
    ModelOptions,
    Runtime,
    StoreFile,
    parse_image_shape,
    parse_integers,
    parse_model_options,
)
from deploy_prune.cli.output import show_json, show_progress, show_table
from deploy_prune.errors import ConfigError
from deploy_prune.timing.devices import THIS_MACHINE, device_at

if TYPE_CHECKING:
    from deploy_prune.budget.latency.model import LatencyModel

Threads = Annotated[str, typer.Option("--threads", metavar="N", help="Threads that the runtime uses.")]
Samples = Annotated[
    int | None, typer.Option("--samples", min=32, help="Plans to time at the most.", show_default=False)
]


def profile(
    model: Model,
    runtime: Runtime = "litert",
    device: DeviceAddress = THIS_MACHINE,
    threads: Threads = "1",
    classes: Classes = None,
    input_shape: InputShape = None,
    option: ModelOptions = None,
    samples: Samples = None,
    store: StoreFile = None,
    as_json: Json = False,
) -> None:
    """Measure a network's milliseconds at many widths.

    Converts it once, times it at widths of all kinds, and keeps every sample in the store: `plan` and budgets in
    milliseconds are worked out from them. Killed, the same command goes on where it was.
    """
    shape, options = parse_image_shape(input_shape), parse_model_options(option)
    counts = parse_integers("--threads", threads)
    assert counts
    from deploy_prune.budget.latency.place import Place
    from deploy_prune.budget.latency.profiling import choose_effort, profile_network
    from deploy_prune.budget.latency.store import open_store, usual_path
    from deploy_prune.graph.soundness import settle
    from deploy_prune.sources.open import open_network

    effort = choose_effort(device_at(device), samples)
    network = open_network(model, classes=classes, input_shape=shape, options=options)
    count, where = take_one_count(counts), store or usual_path()
    place = Place(runtime, device, count)
    with show_progress(as_json=as_json) as told, open_store(where) as table:
        latency_model = profile_network(network, settle(network), place, table, effort=effort, progress=told)
    if as_json:
        show_json(store=str(where), **summarise_model(latency_model))
    else:
        show_model(latency_model, where)


def take_one_count(counts: tuple[int, ...]) -> int:
    """The one thread count that a latency table is of.

    Raises:
        ConfigError: there are several.
    """
    if len(counts) != 1:
        message = f"a latency table is of one thread count, and --threads names {', '.join(map(str, counts))}"
        raise ConfigError(message, hint=f"give one: --threads {counts[0]}")
    return counts[0]


def summarise_model(model: LatencyModel) -> dict[str, object]:
    """What scripts read of a latency model."""
    profile = model.profile
    return {
        "network": profile.address,
        "target": profile.target,
        "reference_ms": profile.reference,
        "unit": profile.unit,
        "samples": len(profile.samples),
        "error": model.error,
    }


def show_model(model: LatencyModel, where: Path) -> None:
    """What was measured, and how far predictions may be off."""
    from deploy_prune.stats import write_amount

    profile, error = model.profile, model.error
    target = profile.target
    rows = [
        ("device", target.device),
        ("runtime", f"{target.runtime} {target.runtime_version}, {target.threads} threads, {target.precision}"),
        ("dense network", f"{write_amount(profile.reference)} {profile.unit}"),
        ("plans timed", str(error.samples)),
        ("mean error of plans left out", f"{error.mean:.1%}"),
        ("95 % of them within", f"{error.p95:.1%}"),
        ("rank correlation", f"{error.spearman:.3f}"),
        ("store", str(where)),
    ]
    show_table(f"Cost of {profile.address}", ("", "is"), rows)
