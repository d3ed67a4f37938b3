"""Turns what met into what may be cut: ties are solved into units, units of one kind form a group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn

from deploy_prune.graph.recording import Lock, Recording, Slots
from deploy_prune.values import ChannelGraph, Gather, Group, Member, Step


def build(recording: Recording) -> ChannelGraph:
    """Solve a recording: what was tied becomes units, units with the same places become groups."""
    solved = _solve(recording)
    groups, unit_of = _groups(recording, solved)
    numbers = _number_labels(solved, unit_of)
    parameters = frozenset(name for name, tensor in recording.tensors.items() if isinstance(tensor, nn.Parameter))
    return ChannelGraph(
        groups=groups,
        layers=tuple(recording.layers),
        gathers=tuple(Gather(call.buffer, numbers[call.labels.numpy()]) for call in recording.gathers),
        shapes={name: tuple(tensor.shape) for name, tensor in recording.tensors.items()},
        parameters=parameters,
        fixed_macs=recording.fixed_macs,
        training_layers=tuple(recording.training_layers),
        steps=_in_units(recording.steps, numbers),
        training_steps=_in_units(recording.training_steps, numbers),
    )


@dataclass(frozen=True, eq=False)
class _Solved:
    component: np.ndarray
    """Label -> component, numbered by first occurrence: int, shape (labels,)."""
    reasons: dict[int, str]
    """Locked component -> the first reason that was given."""
    pins: dict[int, str]
    """Components to lock unless they are the only one of their kind (a one-channel gate)."""
    treatment: np.ndarray
    """A component's steps as one number: components that differ in it are not treated alike, as by an activation of
    some of the channels. int64, shape (components,)."""
    residual: np.ndarray
    """Whether a component meets another in a residual add: bool, shape (components,)."""


def _solve(recording: Recording) -> _Solved:
    count = recording.labels_used
    left = _join([tie.left for tie in recording.ties])
    right = _join([tie.right for tie in recording.ties])
    edges = coo_matrix((np.ones(left.size, dtype=np.int8), (left, right)), shape=(count, count))
    components, component = connected_components(edges, directed=False)
    reasons, pins = (_first_reasons(component, locks) for locks in (recording.locks, recording.pins))
    residual = np.zeros(components, dtype=bool)
    streams = _join(recording.residuals)
    residual[component[streams[streams >= 0]]] = True
    treatment = _sum_up_treatments([*recording.steps, *recording.training_steps], component, components)
    return _Solved(component, reasons, pins, treatment, residual)


def _sum_up_treatments(steps: Sequence[Step], component: np.ndarray, components: int) -> np.ndarray:
    """Give components the same number if, and (but for chance) only if, the same steps read them."""
    draw = np.random.default_rng(0)
    treatment = np.zeros(components, dtype=np.int64)
    for step in steps:
        if step.reads:
            treatment[np.unique(component[np.concatenate(step.reads)])] ^= draw.integers(1, 2**63 - 1)
    return treatment


def _first_reasons(component: np.ndarray, locks: list[Lock]) -> dict[int, str]:
    """Component -> the first reason given."""
    reasons: dict[int, str] = {}
    for lock in locks:
        for number in np.unique(component[lock.labels.numpy()]):
            reasons.setdefault(int(number), lock.reason)
    return reasons


def _join(parts: list[Tensor]) -> np.ndarray:
    return torch.cat(parts).numpy() if parts else np.empty(0, dtype=np.int64)


def _groups(recording: Recording, solved: _Solved) -> tuple[tuple[Group, ...], dict[int, int]]:
    """Form a group of components with the same places; also component -> global unit number."""
    axes = list(recording.slots.values())
    alike: dict[tuple[bytes, str | None, int], list[tuple[int, np.ndarray]]] = {}
    placed = [(number, places.tobytes(), indices) for number, places, indices in _places(axes, solved.component)]
    kinds = Counter(places for _, places, _ in placed)
    for number, places, indices in placed:
        pinned = solved.pins.get(number) if kinds[places] > 1 else None
        key = places, solved.reasons.get(number, pinned), int(solved.treatment[number])
        alike.setdefault(key, []).append((number, indices))
    layers = (*recording.layers, *recording.training_layers)
    producers = {(layer.weight, layer.output_axis): order for order, layer in enumerate(layers)}
    drafts = [_make_draft(axes, key, units, producers) for key, units in alike.items()]
    drafts.sort(key=lambda draft: draft.order)
    return _make_groups(drafts, solved)


def _places(axes: list[Slots], component: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Give each component's number, the axes it has an index in (repeated per index), and those indices.

    Where a convolution `b` reads a convolution `a`, both without biases, the axes are (a.weight, 1), (a.weight, 0),
    (b.weight, 1) and (b.weight, 0). The second filter of `a` is (its number, [1, 2], [1, 1]): index 1 of axes 1 and 2.
    """
    axis = np.repeat(np.arange(len(axes)), [slots.size for slots in axes])
    index = np.concatenate([np.arange(slots.size) for slots in axes]) if axes else np.empty(0, dtype=np.int64)
    order = np.lexsort((index, axis, component))
    bounds = np.flatnonzero(np.diff(component[order])) + 1
    starts = [0, *bounds.tolist()] if order.size else []
    for start, stop in zip(starts, [*starts[1:], order.size], strict=True):
        chosen = order[start:stop]
        yield int(component[chosen[0]]), axis[chosen], index[chosen]


@dataclass(frozen=True, eq=False)
class _Draft:
    order: tuple[int, int]
    """The place of the layer that makes the units, and the first index that it makes: groups are sorted by it."""
    name: str
    members: tuple[Member, ...]
    channels_per_unit: int
    components: tuple[int, ...]
    locked: str | None


def _make_draft(
    axes: list[Slots],
    key: tuple[bytes, str | None, int],
    units: list[tuple[int, np.ndarray]],
    producers: dict[tuple[str, int], int],
) -> _Draft:
    places = np.frombuffer(key[0], dtype=np.int64)
    table = np.stack([indices for _, indices in units])
    columns = [np.flatnonzero(places == place) for place in dict.fromkeys(places.tolist())]
    members = [Member(axes[places[at[0]]].parameter, axes[places[at[0]]].axis, table[:, at]) for at in columns]
    # Made by a layer, else a vector of its own (a scale), else columns that read what no layer makes.
    last = len(producers)
    rank = [
        (producers.get((member.parameter, member.axis), last + member.axis), at) for at, member in enumerate(members)
    ]
    order, at = min(rank)
    first = members[at]
    rows = np.argsort(first.indices[:, 0], kind="stable")
    members = [Member(member.parameter, member.axis, member.indices[rows]) for member in members]
    return _Draft(
        order=(order, int(first.indices.min())),
        name=_group_name(first, made=order < last),
        members=tuple(members),
        channels_per_unit=first.indices.shape[1],
        components=tuple(units[row][0] for row in rows),
        locked=key[1],
    )


def _group_name(member: Member, *, made: bool) -> str:
    """Name the layer that makes the units; columns that read what no layer makes (an image) are its input."""
    layer = member.parameter.rpartition(".")[0] or member.parameter
    return layer if made or member.axis == 0 else f"{layer}.input"


def _make_groups(drafts: list[_Draft], solved: _Solved) -> tuple[tuple[Group, ...], dict[int, int]]:
    seen: dict[str, int] = {}
    groups: list[Group] = []
    unit_of: dict[int, int] = {}
    for draft in drafts:
        seen[draft.name] = seen.get(draft.name, 0) + 1
        suffix = f"#{seen[draft.name]}" if seen[draft.name] > 1 else ""
        for component in draft.components:
            unit_of[component] = len(unit_of)
        groups.append(
            Group(
                name=draft.name + suffix,
                width=len(draft.components),
                channels_per_unit=draft.channels_per_unit,
                members=draft.members,
                residual=bool(solved.residual[list(draft.components)].any()),
                locked=draft.locked,
            )
        )
    return tuple(groups), unit_of


def _number_labels(solved: _Solved, unit_of: dict[int, int]) -> np.ndarray:
    """Label -> global unit number; -1 for what is in no unit, and for the labels below zero: int, (labels + 2,)."""
    of_component = np.full(solved.component.max(initial=-1) + 1, -1)
    for component, unit in unit_of.items():
        of_component[component] = unit
    return np.concatenate([of_component[solved.component], [-1, -1]])  # labels -2 and -1 count from the end


def _in_units(steps: Iterable[Step], numbers: np.ndarray) -> tuple[Step, ...]:
    """The steps of a recording, with the units that they read in place of the labels."""
    return tuple(replace(step, reads=tuple(numbers[labels] for labels in step.reads)) for step in steps)
