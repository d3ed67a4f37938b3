"""`deploy-prune latency`: what the store of latency tables holds, a layer's staircase, and tables as files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy_prune.cli import options as flags
from deploy_prune.cli.output import say, show_json, show_progress, show_table
from deploy_prune.cli.profile import Threads, take_one_count
from deploy_prune.errors import ConfigError
from deploy_prune.timing.devices import THIS_MACHINE

if TYPE_CHECKING:
    from deploy_prune.analysis.plots import Plot
    from deploy_prune.budget.latency.staircase import Staircase
    from deploy_prune.budget.latency.table import Profile
    from deploy_prune.values import Network

Layer = Annotated[str | None, typer.Argument(metavar="LAYER", help="None: list them.", show_default=False)]
Png = Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Draw it as a PNG file.")]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Draw it as an HTML page.")]
Table = Annotated[Path, typer.Argument(metavar="FILE", help="A latency table as JSON.")]
Called = Annotated[str | None, typer.Option("--device", help="What to call the device; else as the file does.")]


def list_tables(store: flags.StoreFile = None, as_json: flags.Json = False) -> None:
    """List the networks and targets that were measured."""
    tables = _list_profiles(store)
    if as_json:
        show_json(tables=[_make_record(profile, samples) for profile, samples in tables])
        return
    columns = ("network", "device", "runtime", "threads", "dense", "unit", "samples", "whole")
    show_table("Latency tables", columns, [tuple(map(str, _make_record(*each).values())) for each in tables])


def _list_profiles(path: Path | None) -> list[tuple[Profile, int]]:
    """The profiles of a store and how many samples they have; none where there is no store, which is not made."""
    from deploy_prune.budget.latency.store import open_store, usual_path

    if not (path or usual_path()).exists():
        return []
    with open_store(path, make=False) as table:
        return [(profile, len(table.whole(profile).samples)) for profile in table.profiles()]


def _make_record(profile: Profile, samples: int) -> dict[str, object]:
    target = profile.target
    return {
        "network": f"{profile.address} ({profile.network[:8]})",
        "device": target.device,
        "runtime": f"{target.runtime} {target.runtime_version}",
        "threads": target.threads,
        "dense_ms": f"{profile.reference:.3f}",
        "unit": profile.unit,
        "samples": samples,
        "complete": "yes" if profile.complete else "no",
    }


def show(
    model: flags.Model,
    layer: Layer = None,
    runtime: flags.Runtime = "litert",
    device: flags.Device = THIS_MACHINE,
    threads: Threads = "1",
    classes: flags.Classes = None,
    input_shape: flags.InputShape = None,
    option: flags.ModelOptions = None,
    png: Png = None,
    html: Html = None,
    store: flags.StoreFile = None,
    as_json: flags.Json = False,
) -> None:
    """Draw how long a layer takes at every width.

    On a device that has an address (local is this machine) the layer is measured as a file of its own, and kept; of
    others it shows what their table says.
    """
    shape = flags.parse_image_shape(input_shape)
    options, counts = flags.parse_model_options(option), flags.parse_integers("--threads", threads)
    assert counts
    pictures = _list_pictures(png, html)
    from deploy_prune.analysis.plots import draw_in_terminal, save
    from deploy_prune.budget.latency.place import Place, check_device
    from deploy_prune.budget.latency.staircase import measure_staircase
    from deploy_prune.budget.latency.store import open_store
    from deploy_prune.sources.open import open_network

    check_device(device, store)
    network = open_network(model, classes=classes, input_shape=shape, options=options)
    place = Place(runtime, device, take_one_count(counts))
    with show_progress(as_json=as_json) as told, open_store(store, make=False) as table:
        if layer is None:
            _show_layers(network, place, table, as_json=as_json)
            return
        staircase = measure_staircase(network, layer, place, table, progress=told)
    plot = _make_plot(staircase)
    for path in pictures:
        save(plot, path)
    if as_json:
        show_json(staircase=staircase)
    else:
        say(draw_in_terminal(plot))


def _list_pictures(png: Path | None, html: Path | None) -> list[Path]:
    """The files to draw; a wrong ending is refused before minutes are spent on measuring."""
    asked = [(path, suffix) for path, suffix in ((png, ".png"), (html, ".html")) if path is not None]
    for path, suffix in asked:
        if path.suffix != suffix:
            raise ConfigError(f"{path} does not end in {suffix}", hint=f"write --{suffix[1:]} FILE{suffix}")
    return [path for path, _ in asked]


def _show_layers(network: Network, place: object, table: object, *, as_json: bool) -> None:
    from deploy_prune.budget.latency.staircase import list_layers

    layers = list_layers(network, place, table)  # type: ignore[arg-type]
    if as_json:
        show_json(layers=layers)
    else:
        rows = [(each.name, each.kind, str(each.channels)) for each in layers]
        show_table("Layers whose channels can be cut", ("layer", "kind", "channels"), rows)


def _make_plot(staircase: Staircase) -> Plot:
    from deploy_prune.analysis.plots import Plot, make_line

    measured = make_line("measured alone, scaled", [(step.channels, step.measured_ms) for step in staircase.steps])
    predicted = make_line("latency model", [(step.channels, step.predicted_ms) for step in staircase.steps], steps=True)
    lines = (measured, predicted) if measured.x else (predicted,)
    return Plot(f"{staircase.layer} ({staircase.kind})", f"channels of {staircase.group}", staircase.unit, lines)


def export_table(
    model: flags.Model,
    file: Table,
    runtime: flags.Runtime = "litert",
    device: flags.Device = THIS_MACHINE,
    threads: Threads = "1",
    classes: flags.Classes = None,
    input_shape: flags.InputShape = None,
    option: flags.ModelOptions = None,
    store: flags.StoreFile = None,
    as_json: flags.Json = False,
) -> None:
    """Write a network's latency table as one JSON file, to plan with elsewhere."""
    shape, options, counts = (
        flags.parse_image_shape(input_shape),
        flags.parse_model_options(option),
        flags.parse_integers("--threads", threads),
    )
    assert counts
    from deploy_prune.budget.latency.place import Place, check_device
    from deploy_prune.budget.latency.profiling import find_profile
    from deploy_prune.budget.latency.store import open_store
    from deploy_prune.budget.latency.table_file import write_table
    from deploy_prune.graph.soundness import settle
    from deploy_prune.sources.open import open_network

    check_device(device, store)
    network = open_network(model, classes=classes, input_shape=shape, options=options)
    with open_store(store, make=False) as table:
        profile = find_profile(settle(network), Place(runtime, device, take_one_count(counts)).target, table)
        write_table(profile, file)
    if as_json:
        show_json(file=str(file), samples=len(profile.samples))
    else:
        say(f"{len(profile.samples)} samples of {profile.address} in {file}")


def import_table(
    file: Table, device: Called = None, store: flags.StoreFile = None, as_json: flags.Json = False
) -> None:
    """Take a latency table from a file, such as one that was measured on a phone.

    It takes the place of the table of the same network on the same target.
    """
    from deploy_prune.budget.latency.store import open_store
    from deploy_prune.budget.latency.table_file import read_table

    with open_store(store) as table:
        profile = read_table(file, table, device=device)
    if as_json:
        show_json(network=profile.address, target=profile.target, samples=len(profile.samples))
    else:
        target = profile.target
        say(f"{profile.address} on {target.device}, {target.runtime} {target.runtime_version}: "
                   f"{len(profile.samples)} samples; plan with --device '{target.device}'")  # fmt: skip


VERBS: dict[str, Callable[..., int | None]] = {
    "list": list_tables,
    "show": show,
    "export": export_table,
    "import": import_table,
}
