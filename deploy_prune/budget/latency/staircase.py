"""How long one operator takes at every width: measured as a file of its own, beside what the latency model says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deploy_prune import plugins
from deploy_prune.budget.latency.model import LatencyModel, fit_model
from deploy_prune.budget.latency.place import Place
from deploy_prune.budget.latency.profiling import find_profile
from deploy_prune.budget.latency.resizable import ResizableNetwork, learn_sizes
from deploy_prune.budget.latency.store import Store
from deploy_prune.budget.latency.table import NetworkFile, Profile, Sample
from deploy_prune.budget.latency.timer import QUICK, timer
from deploy_prune.budget.widths import dense_widths
from deploy_prune.errors import UnknownName
from deploy_prune.formats.templates import TEMPLATES, WEIGHTED
from deploy_prune.graph.soundness import settle
from deploy_prune.scratch import make_scratch
from deploy_prune.timing.devices import Device, device_at
from deploy_prune.values import Network, Progress, quiet

MOST_WIDTHS = 64
"""Widths that are measured of one layer; all of them where it has no more."""


@dataclass(frozen=True)
class Step:
    """One width of a layer."""

    channels: int
    measured_ms: float | None
    """Alone, all other groups dense; None: not measured."""
    predicted_ms: float
    """Within the network, by the latency model."""


@dataclass(frozen=True)
class Staircase:
    """A layer's time over the width of the group that makes its output."""

    layer: str
    kind: str
    operator: int
    group: str
    steps: tuple[Step, ...]
    unit: str = "ms"
    """What the steps are counted in."""


@dataclass(frozen=True)
class StairLayer:
    """An operator whose channels can be cut."""

    name: str
    kind: str
    channels: int


def list_layers(network: Network, place: Place, store: Store) -> tuple[StairLayer, ...]:
    """What can be drawn of a network that was profiled.

    Raises:
        NotProfiled: it was not.
    """
    drawing = find_profile(settle(network), place.target, store).drawing
    return tuple(
        StairLayer(name, drawing.operators[number].kind, group.width * group.channels_per_unit)
        for name, number in layers(drawing).items()
        for group in [drawing.groups[_column(drawing, number)]]
    )


def measure_staircase(
    network: Network, layer: str, place: Place, store: Store, *, progress: Progress = quiet
) -> Staircase:
    """A layer's staircase; where files can be timed it is measured, as far as that was not done before.

    Raises:
        NotProfiled: the network was not profiled for that target.
        UnknownName: it has no such layer.
    """
    graph = settle(network)
    profile = find_profile(graph, place.target, store)
    operator = operator_of(profile.drawing, layer)
    if place.measurable and not all_probed(profile, operator):
        with make_scratch() as folder:
            blueprint = learn_sizes(network, graph, folder, profile.drawing.format, progress=progress)
        profile = probed(profile, blueprint, operator, store, device=device_at(place.device), progress=progress)
    return staircase(fit_model(profile), layer)


def layers(drawing: NetworkFile) -> dict[str, int]:
    """Name -> operator, of those whose channels a free group decides. They are named by that group, in order."""
    operator_of_layer: dict[str, int] = {}
    for number, operator in enumerate(drawing.operators):
        if operator.kind in WEIGHTED and (name := _made_by(drawing, number)):
            same = sum(known.partition("#")[0] == name for known in operator_of_layer)
            operator_of_layer[f"{name}#{same + 1}" if same else name] = number
    return operator_of_layer


def _made_by(drawing: NetworkFile, operator: int) -> str:
    line = drawing.lines[drawing.operators[operator].channels_out]
    own = [group.name for group, each in zip(drawing.groups, line[1:], strict=True) if each]
    return own[0] if len(own) == 1 else ""


def operator_of(drawing: NetworkFile, layer: str) -> int:
    """Raises UnknownName where there is no such layer."""
    known = layers(drawing)
    if layer not in known:
        raise UnknownName("layer", layer, known)
    return known[layer]


def widths_to_probe(dense: int, most: int = MOST_WIDTHS) -> tuple[int, ...]:
    """All widths, or the upper half's edges: a step is seen where widths next to each other are measured."""
    if dense <= most:
        return tuple(range(1, dense + 1))
    return tuple(range(dense // 2 - most // 2, dense // 2 + most - most // 2))


def all_probed(profile: Profile, operator: int) -> bool:
    """Whether every width that is measured of an operator is known."""
    column = _column(profile.drawing, operator)
    known = {sample.widths[column] for sample in profile.samples if sample.operator == operator}
    return known >= set(widths_to_probe(profile.drawing.groups[column].width))


def probed(
    profile: Profile,
    blueprint: ResizableNetwork,
    operator: int,
    store: Store,
    *,
    device: Device,
    progress: Progress = quiet,
) -> Profile:
    """The profile with an operator's own time at its widths, timed on a device; what is stored is not timed again."""
    column = _column(profile.drawing, operator)
    dense = [group.width for group in profile.drawing.groups]
    known = {sample.widths for sample in profile.samples if sample.operator == operator}
    suffix = plugins.load(TEMPLATES, blueprint.format).suffix
    taken: list[Sample] = []
    whole = blueprint.layer(operator, np.array(dense))
    with timer(whole, suffix, profile.target, device=device, pace=QUICK, openings=1) as timed:
        asked = widths_to_probe(dense[column])
        for number, width in enumerate(asked, start=1):
            widths = tuple(width if place == column else own for place, own in enumerate(dense))
            if widths not in known:
                comparison = timed(blueprint.layer(operator, np.array(widths)))
                taken.append(Sample(widths, comparison.ratio, comparison.interval, operator, comparison=comparison))
                store.add(profile, taken[-1])
            progress("probes", number, len(asked))
    return replace(profile, samples=(*profile.samples, *taken))


def staircase(model: LatencyModel, layer: str) -> Staircase:
    """What is known of a layer, by its width.

    Measured milliseconds are scaled to the model's at the widest that was measured: alone, an operator finds its data
    in the caches.
    """
    profile, drawing = model.profile, model.profile.drawing
    operator = operator_of(drawing, layer)
    column = _column(drawing, operator)
    group = drawing.groups[column]
    measured = {each.widths[column]: each.ratio for each in profile.samples if each.operator == operator}
    options = sorted(measured) or widths_to_probe(group.width)
    predicted = _predicted(model, operator, column, options)
    scale = predicted[-1] / measured[options[-1]] if measured else 0.0
    steps = [
        Step(width * group.channels_per_unit, measured[width] * scale if measured else None, float(predicted_ms))
        for width, predicted_ms in zip(options, predicted, strict=True)
    ]
    return Staircase(layer, drawing.operators[operator].kind, operator, group.name, tuple(steps), profile.unit)


def _predicted(model: LatencyModel, operator: int, column: int, options: Sequence[int]) -> np.ndarray:
    dense = dense_widths(model.profile.drawing.groups)
    plans = np.repeat(dense[None], len(options), axis=0)
    plans[:, column] = options
    ratios: np.ndarray = model.by_operator(plans)[:, operator]
    return ratios


def _column(drawing: NetworkFile, operator: int) -> int:
    line = drawing.lines[drawing.operators[operator].channels_out]
    return next(place for place, each in enumerate(line[1:]) if each)
