"""A tiny network of every kind of layer, and latency tables that are made up: no converter, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from building import conv, head, net

from deploy_prune.budget.latency.sampling import plans
from deploy_prune.budget.latency.table import (
    GroupWidth,
    NetworkFile,
    Profile,
    Sample,
    fingerprint_network,
    read_features,
)
from deploy_prune.formats.templates import Operator
from deploy_prune.values import Bracket, ChannelGraph, Comparison, Network, Target

PHONE = Target("phone", "litert", "2.3.0", 1, "fp32")
REFERENCE_MS = 8.0
COSTS: Mapping[str, float] = {"pointwise MMACs in 1s": 1.0, "pointwise MMACs in 8s": 2.0}
"""Column -> coefficient, before the dense network is scaled to 1: stairs of 8 on a slope."""
CONSTANT = 0.1
"""What no width changes, as a share of the dense network's time."""


def _mixed(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.a(x).relu()
    y = y + m.c(m.b(y).relu())
    y = torch.cat([y, m.d(y).clamp(0, 6)], 1)
    return m.head(y * m.up(m.down(y.mean((2, 3), keepdim=True)).relu()).sigmoid())


def mixed() -> Network:
    """A residual add, a depthwise convolution, a concat, a squeeze-and-excite gate, a linear layer."""
    return net(
        _mixed, a=conv(3, 21), b=conv(21, 38, 1), c=conv(38, 21), d=conv(21, 21, groups=21), down=conv(42, 11, 1),
        up=conv(11, 42, 1), head=head(42),
    )  # fmt: skip


def sketch(graph: ChannelGraph, *, format_name: str = "tflite") -> NetworkFile:
    """A drawing without a file: one pointwise operator per layer, in a row, whose sizes follow the graph's groups."""
    lines: list[tuple[int, ...]] = []
    operators: list[Operator] = []

    def place(*line: int) -> int:
        lines.append(line)
        return len(lines) - 1

    constant = (0,) * len(graph.free)
    for layer in graph.layers:
        axes = tuple(place(*_line(graph, layer.weight, axis)) for axis in range(len(graph.shapes[layer.weight])))
        positions = place(layer.positions, *constant)
        out, into = axes[layer.output_axis], axes[1 - layer.output_axis]
        operators.append(
            Operator("LAYER", "pointwise", ((positions, into),), ((positions, out),), axes, into, out, label=layer.name)
        )
    groups = tuple(GroupWidth(each.name, each.width, each.channels_per_unit) for each in graph.free)
    return NetworkFile(format_name, groups, tuple(lines), tuple(operators))


def _line(graph: ChannelGraph, parameter: str, axis: int) -> tuple[int, ...]:
    """The size of an axis: what stays, and what each unit of each free group adds."""
    slopes = [
        sum(each.indices.shape[1] for each in group.members if (each.parameter, each.axis) == (parameter, axis))
        for group in graph.free
    ]
    cut = sum(slope * group.width for slope, group in zip(slopes, graph.free, strict=True))
    return (graph.shapes[parameter][axis] - cut, *slopes)


def _dense(drawing: NetworkFile) -> tuple[int, ...]:
    return tuple(group.width for group in drawing.groups)


def ratios(drawing: NetworkFile, widths: np.ndarray) -> np.ndarray:
    """The made-up truth: time / time of the dense network."""
    columns = read_features(drawing)
    weights = np.array([COSTS.get(name, 0.0) for name in columns.names])
    dense = columns(np.array([_dense(drawing)])) @ weights
    result: np.ndarray = CONSTANT + (1 - CONSTANT) * (columns(widths) @ weights) / dense
    return result


def sample(widths: Any, ratio: float, **more: Any) -> Sample:
    return Sample(tuple(map(int, widths)), float(ratio), (0.99 * float(ratio), 1.01 * float(ratio)), **more)


def made_up(graph: ChannelGraph, target: Target = PHONE, *, samples: int = 64, noise: float = 0.005) -> Profile:
    """A whole profile of a network whose truth is `ratios`."""
    drawing = sketch(graph)
    widths = plans(drawing.groups, samples, seed=0)
    if len(widths) < samples:  # of a tiny network all there are
        widths = 1 + np.stack(np.unravel_index(np.arange(np.prod(dense := _dense(drawing))), dense), axis=1)
    noisy = ratios(drawing, widths) * (1 + noise * np.random.default_rng(1).standard_normal(len(widths)))
    taken = tuple(sample(*each) for each in zip(widths, noisy, strict=True))
    return Profile(
        fingerprint_network(graph), "tests:made_up", target, REFERENCE_MS, "ms", drawing, taken, complete=True
    )


def comparison(ratio: float, *, reference_ms: float = REFERENCE_MS) -> Comparison:
    """A comparison of one bracket in which nothing moved."""
    bracket = Bracket((reference_ms,), (ratio * reference_ms,), (reference_ms,), "ms")
    return Comparison(ratio, (0.99 * ratio, 1.01 * ratio), reference_ms, "ms", (bracket,), 0)


def renamed(profile: Profile, **changes: Any) -> Profile:
    """The same of another target."""
    return replace(profile, target=replace(profile.target, **changes))


@dataclass(frozen=True)
class Phone:
    """What a colleague with a phone sent."""

    model: str
    file: Path
    table: Profile
    store: Path

    @property
    def place(self) -> list[str]:
        """Flags."""
        return ["--input-shape", "3,8,8", "--device", "phone", "--store", str(self.store)]
