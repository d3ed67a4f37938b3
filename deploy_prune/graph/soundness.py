"""Cuts on meta tensors, traces again and compares: finds the sizes that a forward pass has baked in.

`x.view(n, 64, -1)`, a slice, a pad's amounts survive surgery and would break the next forward, or silently shift its
channels. What a plan promises is therefore checked before anything is trained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deploy_prune.graph import trace
from deploy_prune.graph.recorder import BrokenForward, on_meta, record, record_training
from deploy_prune.graph.recording import Recording
from deploy_prune.graph.steps import find_difference, find_origin, find_rescalings
from deploy_prune.graph.surgery import cut, kept_indices, kept_units, unit_offsets
from deploy_prune.values import ChannelGraph, Group, Keep, Network


def settle(network: Network) -> ChannelGraph:
    """The channel graph with every group locked that a probing cut shows to be baked in.

    Raises:
        TraceError: the dense network cannot be traced.
    """
    graph, ghost = trace(network), _make_ghost(network)
    for probe in (_keep_halves, _keep_unevenly, _keep_few):
        while violations := _find_violations(ghost, graph, probe(graph.free)):
            graph = lock(graph, violations)
    return dataclasses.replace(graph, rescalings=list_rescalings(network, graph, _keep_few(graph.free)))


def find(network: Network, graph: ChannelGraph, keep: Keep) -> dict[str, str]:
    """Free groups that this cut breaks -> the operator and line that shows it. Empty: the cut is sound.

    Groups cut to a single unit are judged strictly: a channel axis of size 1 cannot be told from a broadcast one.
    """
    return _find_violations(_make_ghost(network), graph, keep)


def list_rescalings(network: Network, graph: ChannelGraph, keep: Keep) -> tuple[str, ...]:
    """The operators and lines that multiply or divide by another number once a sound cut is made.

    The author may mean it, as in `y * channels ** -0.5`; but nothing else of a cut network is scaled.
    """
    small = cut(_make_ghost(network), graph, keep)
    return find_rescalings(graph.steps, _record(small, training=False).steps)


def _make_ghost(network: Network) -> Network:
    """Copy the network without its data: cutting the copy costs next to nothing."""
    return dataclasses.replace(network, module=on_meta(network.module, integers=False)[0])


def _find_violations(ghost: Network, graph: ChannelGraph, keep: Keep) -> dict[str, str]:
    changed = {
        group.name: keep[group.name]
        for group in graph.free
        if len(keep.get(group.name, range(group.width))) < group.width
    }
    return _find_guilty(ghost, graph, changed) if changed else {}


def _find_guilty(ghost: Network, graph: ChannelGraph, changed: Keep) -> dict[str, str]:
    """The groups whose cut changes what the network does -> why; where a failure names none, halve them and try."""
    outcome = _compare(ghost, graph, changed)
    if not (outcome.groups or outcome.reason):
        return {}
    if outcome.groups or len(changed) == 1:
        reasons = outcome.groups or dict.fromkeys(changed, outcome.reason)
        origin = _find_origin(ghost, graph, changed, outcome.recording)
        return {name: _add_origin(reason, origin) for name, reason in reasons.items()}
    names, guilty = list(changed), dict[str, str]()
    for half in (names[: len(names) // 2], names[len(names) // 2 :]):
        guilty |= _find_guilty(ghost, graph, {name: changed[name] for name in half})
    return guilty or dict.fromkeys(changed, f"cut together with others: {outcome.reason}")


def _find_origin(ghost: Network, graph: ChannelGraph, keep: Keep, small: Recording) -> str:
    """Where a shift begins, which is not where it shows."""
    dense = _record(ghost, training=False)
    units = _dense_units(dense, graph, {}), _dense_units(small, graph, keep)
    return find_origin(dense, small, units, kept_units(graph, keep))


def _add_origin(reason: str, origin: str) -> str:
    return f"{reason}, which begins at {origin}" if origin and origin not in reason else reason


def lock(graph: ChannelGraph, reasons: Mapping[str, str]) -> ChannelGraph:
    """Lock these groups (name -> reason) in a copy of the graph."""
    groups = tuple(
        dataclasses.replace(group, locked=reasons[group.name]) if group.name in reasons else group
        for group in graph.groups
    )
    return dataclasses.replace(graph, groups=groups)


def _keep_halves(groups: Sequence[Group]) -> dict[str, tuple[int, ...]]:
    """Keep about half of the units, and not simply the first ones: 1, 3, 5 of 6 and 0, 2, 4 of 5."""
    return {group.name: tuple(range(1 - group.width % 2, group.width, 2)) for group in groups}


def _keep_unevenly(groups: Sequence[Group]) -> dict[str, tuple[int, ...]]:
    """Keep the last units, a different number of every group: shows sizes that fit only while groups shrink alike."""
    kept = {}
    for number, group in enumerate(groups):
        # One unit is left only of two: an axis of size 1 broadcasts, and shows less.
        count = 2 + (5 * number + group.width // 2) % (group.width - 2) if group.width > 2 else 1
        kept[group.name] = tuple(range(group.width - count, group.width))
    return kept


def _keep_few(groups: Sequence[Group]) -> dict[str, tuple[int, ...]]:
    """Keep two units of every group: whatever grows with the widths is here at its other end."""
    return {group.name: tuple(range(min(2, max(1, group.width - 1)))) for group in groups}


@dataclass(frozen=True, eq=False)
class _Outcome:
    recording: Recording
    """What the cut network did."""
    groups: dict[str, str]
    """Broken group -> reason."""
    reason: str = ""
    """What is not as it was, with the operator and the line, where no groups are named."""


def _compare(ghost: Network, graph: ChannelGraph, keep: Keep) -> _Outcome:
    """Run the cut network on meta, and hold what meets in it against what met in the dense one."""
    small = cut(ghost, graph, keep)
    try:
        recording = _record(small, training=bool(graph.training_steps))
    except BrokenForward as error:
        units = _dense_units(error.recording, graph, keep)
        labels = error.labels.numpy()
        here = _free_groups(graph, units[labels[labels >= 0]], f"baked into {error.where}")
        # What stops it may be the late consequence of a shift further up.
        broken = _find_shifts(error.recording, graph, units) or here
        return _Outcome(error.recording, broken, f"its size is fixed: {error.where}")
    units = _dense_units(recording, graph, keep)
    if broken := _find_shifts(recording, graph, units):
        return _Outcome(recording, broken)
    stays = kept_units(graph, keep)
    reason = find_difference(graph.steps, recording.steps, units, stays)
    return _Outcome(
        recording, {}, reason or find_difference(graph.training_steps, recording.training_steps, units, stays)
    )


def _record(small: Network, *, training: bool) -> Recording:
    recording = record(small.module, small.input_shapes, whole_groups=small.whole_groups)
    if not training:
        return recording
    return record_training(small.module, small.input_shapes, recording, whole_groups=small.whole_groups)


def _dense_units(recording: Recording, graph: ChannelGraph, keep: Keep) -> np.ndarray:
    """Label of the cut network -> global unit number in the dense one, -1 for none: int, shape (labels,)."""
    starts = unit_offsets(graph)
    unit_at: dict[tuple[str, int], np.ndarray] = {}
    for group in graph.groups:
        numbers = starts[group.name] + np.arange(group.width)
        for member in group.members:
            key = (member.parameter, member.axis)
            table = unit_at.setdefault(key, np.full(graph.shapes[member.parameter][member.axis], -1))
            table[member.indices] = numbers[:, None]
    kept = kept_indices(graph, keep)
    units = np.full(recording.labels_used, -1)
    for (parameter, axis), slots in recording.slots.items():
        dense = unit_at.get((parameter, axis), np.full(slots.size, -1))
        stays = kept.get(parameter, {}).get(axis)
        units[slots.first : slots.first + slots.size] = dense if stays is None else dense[stays]
    return units


def _find_shifts(recording: Recording, graph: ChannelGraph, units: np.ndarray) -> dict[str, str]:
    """Find ties between units that the dense network keeps apart, and locks that it does not have."""
    broken: dict[str, str] = {}
    for tie in recording.ties:
        left, right = units[tie.left.numpy()], units[tie.right.numpy()]
        apart = left != right
        if apart.any():
            touched = np.concatenate([left[apart], right[apart]])
            broken = _free_groups(graph, touched, f"a cut shifts channels at {tie.where}") | broken
    for held in recording.locks:
        broken = _free_groups(graph, units[held.labels.numpy()], held.reason) | broken
    several = {group.name for group in graph.free if group.width > 1}
    for pin in recording.pins:  # the dense network picked a unit that is locked by now
        picked = _free_groups(graph, units[pin.labels.numpy()], pin.reason)
        broken = {name: reason for name, reason in picked.items() if name in several} | broken
    return broken


def _free_groups(graph: ChannelGraph, units: np.ndarray, reason: str) -> dict[str, str]:
    """The free groups that these global units belong to, each with the reason."""
    bounds = np.cumsum([group.width for group in graph.groups])
    numbers: Iterable[int] = np.unique(np.searchsorted(bounds, units[units >= 0], side="right"))
    names = (graph.groups[number] for number in numbers)
    return {group.name: reason for group in names if group.locked is None}
