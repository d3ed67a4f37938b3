"""What was measured of one network on one target, and what is needed to predict from it: the nouns of this package."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

import numpy as np

from deploy_prune import plugins
from deploy_prune.budget.latency.features import Features, describe_features
from deploy_prune.budget.latency.size_lines import SizeLines
from deploy_prune.errors import RecordError
from deploy_prune.formats.templates import TEMPLATES, Operator
from deploy_prune.values import ChannelGraph, Comparison, Interval, Target

WHOLE_NETWORK = -1
"""Stands for an operator's number where a sample is of the whole network."""


@dataclass(frozen=True)
class GroupWidth:
    """A free group of the network."""

    name: str
    width: int
    """Units in the dense network."""
    channels_per_unit: int


@dataclass(frozen=True)
class NetworkFile:
    """A network's file without its bytes: its operators, and the lines that its sizes follow."""

    format: str
    groups: tuple[GroupWidth, ...]
    lines: tuple[tuple[int, ...], ...]
    """A row for every number of the file: a constant, then what each unit of each group adds."""
    operators: tuple[Operator, ...]


@dataclass(frozen=True)
class Sample:
    """One file, timed against the dense network's (a whole network) or a fixed layer (one operator)."""

    widths: tuple[int, ...]
    """Units of each group."""
    ratio: float
    interval: Interval
    operator: int = WHOLE_NETWORK
    input_shape: tuple[int, ...] = ()
    """The network's input shape where it is not the profile's own; empty where it is."""
    comparison: Comparison | None = field(default=None, repr=False)
    """Raw times; None: of a real file in a run, which keeps its own."""


@dataclass(frozen=True)
class Profile:
    """Everything that is known of one network on one target."""

    network: str
    """Its fingerprint."""
    address: str
    target: Target
    reference: float
    """What the dense network took when it was first profiled: what a ratio of 1 stands for."""
    unit: str
    """What the reference is counted in, such as "ms"."""
    drawing: NetworkFile
    samples: tuple[Sample, ...] = ()
    complete: bool = False
    """Whether sampling came to its end; what was killed goes on where it stopped."""


def list_network_samples(profile: Profile) -> tuple[Sample, ...]:
    """The samples that the latency model is fitted to."""
    return tuple(each for each in profile.samples if each.operator == WHOLE_NETWORK and not each.input_shape)


def fingerprint_network(graph: ChannelGraph) -> str:
    """The same for networks that cost the same at the same widths: what is locked, and weights, do not count."""
    groups = [(group.name, group.width, group.channels_per_unit) for group in graph.groups]
    layers = [(layer.weight, layer.operator, layer.positions, graph.shapes[layer.weight]) for layer in graph.layers]
    return hashlib.sha256(json.dumps([groups, layers]).encode()).hexdigest()[:24]


def read_features(drawing: NetworkFile) -> Features:
    """The columns of a network's operators.

    Raises:
        UnknownName: no such format.
        RecordError: places or lines that lead nowhere.
    """
    format_ = plugins.load(TEMPLATES, drawing.format)
    try:
        lines = SizeLines(np.array(drawing.lines, dtype=np.int64))
        if lines.rows.ndim != 2 or lines.rows.shape[1] != 1 + len(drawing.groups):
            raise ValueError("its sizes do not belong to its groups")
        return describe_features(lines, drawing.operators, format_.tiles)
    except (IndexError, KeyError, OverflowError, ValueError) as error:
        raise RecordError(f"a latency table that contradicts itself: {error}", hint="measure it again") from error
