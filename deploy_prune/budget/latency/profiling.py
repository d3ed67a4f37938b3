"""Leads from a network to its latency model: converted once, timed at many widths, fitted and kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deploy_prune import plugins
from deploy_prune.budget.latency.model import USUAL_BOUND, LatencyModel, fit_model
from deploy_prune.budget.latency.place import Place, format_of
from deploy_prune.budget.latency.resizable import ResizableNetwork, learn_sizes
from deploy_prune.budget.latency.sampling import plans, unsure
from deploy_prune.budget.latency.store import Store, open_store
from deploy_prune.budget.latency.table import (
    GroupWidth,
    NetworkFile,
    Profile,
    Sample,
    fingerprint_network,
    list_network_samples,
)
from deploy_prune.budget.latency.timer import Timer, timer
from deploy_prune.errors import Inconclusive, NotProfiled
from deploy_prune.formats.templates import TEMPLATES
from deploy_prune.graph.soundness import settle
from deploy_prune.scratch import make_scratch
from deploy_prune.second_try import try_twice
from deploy_prune.timing.devices import Device, device_at
from deploy_prune.values import ChannelGraph, Comparison, Network, Progress, Target, quiet, same_unit, told_in_lines


@dataclass(frozen=True)
class Effort:
    """How much is timed."""

    goal: float = 0.02
    """Mean error, cross-validated, at which no more is timed."""
    first: int = 80
    """Plans before the model is asked for the first time."""
    batch: int = 16
    """Plans, half of them the model's own choice, between two looks at its error."""
    most: int = 160
    seconds: float = 100.0
    """How long files are timed until a model that is good enough is left as it is, in seconds."""


EFFORT = Effort()
"""Times scatter: it takes so many plans to see through their noise."""
EXACT_EFFORT = Effort(goal=0.02, first=40, batch=12, most=88, seconds=math.inf)
"""Counts are exact: it takes no more plans than the model has to learn from, and no clock decides how many, so that a
busy machine makes the same table."""


def choose_effort(device: Device, samples: int | None = None) -> Effort:
    """How much is timed on a device; `samples`: how many plans at the most, where somebody says so."""
    usual = EXACT_EFFORT if device.exact else EFFORT
    return usual if samples is None else replace(usual, first=min(usual.first, samples), most=samples)


@dataclass(frozen=True, eq=False)
class Subject:
    """A network that can be timed at many widths."""

    address: str
    """The network's address, as users name it."""
    graph: ChannelGraph
    convert: Callable[[], ResizableNetwork]
    """Has the network converted, which takes seconds to minutes: it is not called where the store knows enough."""


def find_model(graph: ChannelGraph, target: Target, store: Store, *, bound: float = USUAL_BOUND) -> LatencyModel:
    """The latency model of a network from the store.

    Raises:
        NotProfiled: there is none, or it is of another version of the runtime.
        Inconclusive: it errs too much.
    """
    return fit_model(find_profile(graph, target, store), bound=bound)


def find_profile(graph: ChannelGraph, target: Target, store: Store) -> Profile:
    """A network's samples from the store; a target without a version takes those of any.

    Raises:
        NotProfiled: there are none, or they are of another version of the runtime.
    """
    profile = store.find(fingerprint_network(graph), target)
    hint = f"measure it: deploy-prune profile MODEL --runtime {target.runtime} --threads {target.threads}"
    if profile is None:
        raise NotProfiled(f"{store.path} has no milliseconds of this network on {_told(target)}", hint=hint)
    if target.runtime_version not in {"", profile.target.runtime_version}:
        was = profile.target.runtime_version
        message = f"the milliseconds of this network are stale: taken with {target.runtime} {was}"
        raise NotProfiled(f"{message}, here is {target.runtime_version}", hint=hint)
    return profile


def _told(target: Target) -> str:
    return f"{target.device} with {target.runtime}, {target.threads} threads, {target.precision}"


def profile(
    network: Network,
    place: Place,
    *,
    store: Path | None = None,
    effort: Effort | None = None,
    progress: Progress = told_in_lines,
) -> LatencyModel:
    """The latency model of a network at a place whose device files can be timed on, such as `Place("litert", "local")`.

    `profile_network` says what the arguments are; `store` None: the user's own.
    """
    with open_store(store) as table:
        return profile_network(network, settle(network), place, table, effort=effort, progress=progress)


def profile_network(
    network: Network,
    graph: ChannelGraph,
    place: Place,
    store: Store,
    *,
    effort: Effort | None = None,
    progress: Progress = quiet,
) -> LatencyModel:
    """The latency model of a network at a place: from the store, or measured, which a second call goes on with.

    Args:
        network: it is not changed.
        graph: its channel graph.
        place: a device that files can be timed on, with a runtime.
        store: keeps every sample as it is taken.
        effort: how much is timed; None: what `choose_effort` says of the device.
        progress: told after every sample.

    Raises:
        ConfigError: no address of a device, or a runtime whose files cannot be redrawn.
        ExportFailed: the network cannot be converted or redrawn.
        Inconclusive: the machine is too noisy.
        WorkerDied: a converter or worker was killed, twice; the samples that were taken are kept.
    """
    device, target, name = device_at(place.device), place.target, format_of(place.runtime)

    def convert() -> ResizableNetwork:
        with make_scratch() as folder:
            return learn_sizes(network, graph, folder, name, precision=target.precision, progress=progress)

    subject, effort = Subject(network.address, graph, convert), effort or choose_effort(device)
    return try_twice(lambda: profile_on(device, subject, target, store, effort=effort, progress=progress))


def profile_on(
    device: Device, subject: Subject, target: Target, store: Store, *, effort: Effort, progress: Progress = quiet
) -> LatencyModel:
    """`profile_network` on any device; `target` is what figures from there are of, as `target_on` says it.

    Raises:
        ExportFailed: the network cannot be redrawn.
        Inconclusive: the device is too noisy.
    """
    profile = store.find(fingerprint_network(subject.graph), target)
    if profile is not None and profile.complete and profile.target == target and not _worth_more(profile, effort):
        return fit_model(profile)
    blueprint = subject.convert()
    suffix = plugins.load(TEMPLATES, blueprint.format).suffix
    with timer(blueprint.dense, suffix, target, device=device) as timed:
        if profile is None or profile.target != target:
            profile = _begin(subject, target, blueprint, timed(blueprint.dense))
            store.begin(profile)
        profile = _take_samples(profile, blueprint, timed, store, effort=effort, progress=progress)
    store.complete(profile)
    return fit_model(profile)


def _begin(subject: Subject, target: Target, blueprint: ResizableNetwork, itself: Comparison) -> Profile:
    graph = subject.graph
    groups = tuple(GroupWidth(group.name, group.width, group.channels_per_unit) for group in graph.free)
    lines = tuple(map(tuple, blueprint.lines.rows.tolist()))
    drawing = NetworkFile(blueprint.format, groups, lines, blueprint.operators)
    return Profile(fingerprint_network(graph), subject.address, target, itself.reference, itself.unit, drawing)


def _take_samples(
    profile: Profile, blueprint: ResizableNetwork, timed: Timer, store: Store, *, effort: Effort, progress: Progress
) -> Profile:
    """The profile with as many samples as the effort allows or its goal takes."""
    began, spent = time.monotonic(), 0.0
    while len(list_network_samples(profile)) < effort.most:
        error = _error(profile) if len(list_network_samples(profile)) >= effort.first else None
        if error is not None and (error <= effort.goal or (spent > effort.seconds and error <= USUAL_BOUND)):
            break
        batch = _next(profile, effort)
        if not len(batch):  # a tiny network has no other widths
            break
        for widths in batch:
            sample = sampled(blueprint, widths, timed)
            assert sample.comparison
            same_unit(sample.comparison.unit, profile.unit)
            store.add(profile, sample)
            profile = replace(profile, samples=(*profile.samples, sample))
            note = "" if error is None else f"mean error {error:.1%}"
            progress("samples", len(list_network_samples(profile)), effort.most, note)
        spent = time.monotonic() - began
    progress("samples", effort.most, effort.most, f"{len(list_network_samples(profile))} taken")
    return profile


def sampled(blueprint: ResizableNetwork, widths: np.ndarray, timed: Timer) -> Sample:
    """Time a skeleton."""
    comparison = timed(blueprint.network(widths))
    return Sample(tuple(map(int, widths)), comparison.ratio, comparison.interval, comparison=comparison)


def _worth_more(profile: Profile, effort: Effort) -> bool:
    """Whether a profile that came to its end is of no use, and more may be timed than was."""
    error = _error(profile)
    return len(list_network_samples(profile)) < effort.most and (error is None or error > USUAL_BOUND)


def _error(profile: Profile) -> float | None:
    try:
        return fit_model(profile, bound=float("inf")).error.mean
    except Inconclusive:
        return None


def _next(profile: Profile, effort: Effort) -> np.ndarray:
    """Widths of the next batch: the first ones at random, later ones half by the model's own choice."""
    samples, groups = list_network_samples(profile), profile.drawing.groups
    taken = len(samples)
    if taken < effort.first:
        return plans(groups, effort.first, seed=0)[taken:]
    count = min(effort.batch, effort.most - taken)
    known = np.array([sample.widths for sample in samples])
    fresh = plans(groups, count - count // 2, seed=taken, known=known.tolist())
    model = fit_model(profile, bound=float("inf"))
    used = model.features.only((model.fit.coefficients[:-1] != 0).tolist())
    return np.concatenate([fresh, unsure(groups, used, np.concatenate([known, fresh]), count // 2, seed=taken)])
