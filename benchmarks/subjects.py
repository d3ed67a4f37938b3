"""The networks and targets of the benchmarks of milliseconds, and what those share: plans, files, cells, timing."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.recording import RESULTS
from deploy_prune import plugins
from deploy_prune.budget.costs import CostModel
from deploy_prune.budget.latency.place import Place, format_of
from deploy_prune.budget.latency.resizable import convert_all, randomise_weights
from deploy_prune.budget.widths import dense_widths
from deploy_prune.graph.soundness import settle
from deploy_prune.graph.surgery import cut
from deploy_prune.records import write_atomic
from deploy_prune.sources.networks import build_network
from deploy_prune.values import ChannelGraph, Network

STORE = Path("build") / "benchmarks" / "latency.sqlite"
"""A store of the benchmarks alone: a model "from nothing" begins with no store."""


@dataclass(frozen=True)
class Subject:
    """A network of the tables."""

    address: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def network(self) -> Network:
        """The network with random weights, which times do not depend on."""
        return randomise_weights(build_network(self.address, **self.options))


CIFAR = {"classes": 10, "input_shape": (3, 32, 32)}
SUBJECTS = {
    "MobileNetV1": Subject("timm:mobilenetv1_100"),
    "MobileNetV2": Subject("torchvision:mobilenet_v2"),
    "EfficientNet-Lite0": Subject("timm:efficientnet_lite0"),
    "ResNet-18": Subject("torchvision:resnet18"),
    "ResNet-56": Subject("resnet56", CIFAR),
}
RUNTIMES = ("litert", "onnxruntime")


@dataclass(frozen=True, eq=False)
class Traced:
    """A network with its graph and its MACs."""

    network: Network
    graph: ChannelGraph
    macs: CostModel

    @staticmethod
    def of(subject: Subject) -> Traced:
        """Trace it."""
        network = subject.network()
        graph = settle(network)
        return Traced(network, graph, plugins.build("costs", "macs").model(graph))

    @property
    def dense(self) -> np.ndarray:
        """Widths of the free groups."""
        return dense_widths(self.graph.free)

    def share(self, widths: np.ndarray) -> float:
        """The share of the dense network's MACs."""
        return float(self.macs(widths)) / float(self.macs(self.dense))

    def cut(self, widths: np.ndarray) -> Network:
        """The really smaller network."""
        keep = {group.name: tuple(range(width)) for group, width in zip(self.graph.free, map(int, widths), strict=True)}
        return cut(self.network, self.graph, keep)


def files(networks: Sequence[Network], place: Place) -> list[bytes]:
    """Really exported, two at a time."""
    format_ = plugins.build("templates", format_of(place.runtime))
    with tempfile.TemporaryDirectory() as folder:
        return convert_all(networks, Path(folder), format_)


def cell(table: str, key: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A cell of a table from its file, worked out first where there is none: a killed table goes on with the next."""
    path = RESULTS / table / f"{key}.json"
    if not path.exists():
        text = json.dumps(compute(), indent=1) + "\n"
        write_atomic(path, lambda temporary: temporary.write_text(text))
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def stored(table: str, key: str) -> dict[str, Any] | None:
    """A cell that is there."""
    path = RESULTS / table / f"{key}.json"
    return json.loads(path.read_text()) if path.exists() else None
