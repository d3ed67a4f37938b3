"""CIFAR-10 networks with their checkpoints, and what all tables of accuracy share: recipe, paired differences."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import Any

import numpy as np

from benchmarks.recording import SHARED
from deploy_prune import plugins
from deploy_prune.budget.allocate import allocate
from deploy_prune.budget.costs import CostModel
from deploy_prune.budget.widths import Limits, dense_widths
from deploy_prune.graph.recount import recount
from deploy_prune.graph.soundness import lock, settle
from deploy_prune.processes.workers import Workers
from deploy_prune.scoring.study import Study
from deploy_prune.scoring.top_units import best_units
from deploy_prune.sources.data import read_data
from deploy_prune.sources.networks import build_network
from deploy_prune.sources.weights import load_weights
from deploy_prune.train.evaluation import compare_in_pairs, evaluate
from deploy_prune.train.recipe import Recipe
from deploy_prune.values import TOP_1, ChannelGraph, Data, Network, Quality, Scores

NETWORKS: dict[str, tuple[str, dict[str, Any], str]] = {
    "resnet20": ("resnet20", {}, "resnet20-cifar10.safetensors"),
    "resnet56": ("resnet56", {}, "resnet56-cifar10.safetensors"),
    "mobilenet_v2": ("torchvision:mobilenet_v2", {"stem_stride": 1}, "mobilenet_v2-cifar10.safetensors"),
    "mobilenet_v2_72": ("torchvision:mobilenet_v2", {"stem_stride": 1}, "mobilenet_v2-72epochs-cifar10.safetensors"),
    "mobilenet_v1_72": ("mobilenet_v1", {"stem": "cifar"}, "mobilenet_v1-cifar10.safetensors"),
}
IMAGENET: dict[str, tuple[str, dict[str, Any], str]] = {
    f"{name}_imagenet": (f"timm:{factory}", {"pad_type": "same", "bn_eps": 1e-3}, f"{name}-imagenet.safetensors")
    for name, factory in (("mobilenet_v1", "mobilenetv1_100"), ("mobilenet_v2", "mobilenetv2_100"))
}
"""TensorFlow's networks, which pad as TensorFlow does."""
SEEDS = (0, 1, 2)
BY_STEPS = {"importance": "norm", "judge": "steps"}
"""How LeGR searches as the paper has it: by norms, candidates trained for some steps."""
RECIPE = Recipe(epochs=3, batch_size=128, lr=0.05, weight_decay=1e-4, images=10_000, precision="bf16")
"""`10k x 3`: a fixed, stratified 10,000 training images, three epochs."""
DATA = "CIFAR-10 (JPEG), 5,000 test images, each judged once per cell"


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a script of a table is to do."""

    seeds: tuple[int, ...]
    table_only: bool
    rest: argparse.Namespace
    """What a script asks for beyond that."""


def asked(description: str | None, *more: argparse.ArgumentParser) -> Asked:
    """What the command line asks for; two scripts with other seeds may run at once, a core each."""
    parser = argparse.ArgumentParser(description=description, parents=more)
    parser.add_argument("--quick", action="store_true", help="the first seed alone")
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS), choices=SEEDS, metavar="SEED")
    parser.add_argument("--table", action="store_true", help="work nothing out, write the table of the cells there are")
    given = parser.parse_args()
    return Asked(SEEDS[:1] if given.quick else tuple(given.seeds), given.table, given)


def images() -> Data:
    """CIFAR-10; ends the script where it is not beside the repository."""
    if not SHARED.is_dir():
        print("the CIFAR-10 images and checkpoints are not here", file=sys.stderr)
        sys.exit(2)
    return read_data(f"cifar10:{SHARED}")


def dense(name: str) -> Network:
    """The dense network with its checkpoint's weights."""
    address, options, weights = (NETWORKS | IMAGENET)[name]
    shape: dict[str, Any] = {"classes": 10, "input_shape": (3, 32, 32)} if name in NETWORKS else {}
    network = build_network(address, options=options, **shape)
    return load_weights(network, SHARED / weights)


def recipe(seed: int, **changes: Any) -> Recipe:
    """The recipe of one seed."""
    return dataclasses.replace(RECIPE, seed=seed, **changes)


@dataclasses.dataclass(frozen=True, eq=False)
class Pruned:
    """A network with its graph, that methods score and a cost limits."""

    network: Network
    graph: ChannelGraph
    data: Data
    limits: Limits

    @staticmethod
    def of(name: str, data: Data, *, scope: str = "full") -> Pruned:
        """Traced."""
        network = dense(name)
        return Pruned(network, settle(network), data, Limits(scope=scope))

    def cost(self, name: str = "macs") -> CostModel:
        """The cost of its widths."""
        model: CostModel = plugins.build("costs", name).model(self.graph)
        return model

    def whole(self, cost: CostModel) -> float:
        """The cost of the dense network."""
        return float(cost(dense_widths(self.graph.free)))

    def of_scored(self, scores: Scores) -> Pruned:
        """The same, groups without a score locked, as a run does it."""
        unscored = {group.name: "not scored" for group in self.graph.free if group.name not in scores.by_group}
        return dataclasses.replace(self, graph=lock(self.graph, unscored)) if unscored else self

    def keep(self, scores: Scores, cost: CostModel, limit: float) -> dict[str, tuple[int, ...]]:
        """The best-scored units under a limit."""
        return dict(best_units(scores, allocate(self.graph, scores, cost, limit, self.limits)))

    def study(self, cost: CostModel, limit: float, *, seed: int, workers: Workers | None = None, **rest: Any) -> Study:
        """Under this limit."""
        return Study(
            self.network, self.graph, self.data, seed, plan=lambda scores: self.keep(scores, cost, limit),
            scope=self.limits.scope, workers=workers, **rest,
        )  # fmt: skip


def judged(network: Network, data: Data, notes: dict[str, Any]) -> dict[str, Any]:
    """A cell: accuracy on validation and test, image by image."""
    test = evaluate(network, data.test, data)
    count = recount(network)
    return {
        **notes,
        "macs": count.macs,
        "params": count.params,
        "val": evaluate(network, data.val, data).value,
        "test": test.value,
        "test_interval": test.interval,
        "hits": packed(test),
        "images": test.items,
    }


def packed(quality: Quality) -> str:
    """Pack the hits and misses, image by image, into hex."""
    return np.packbits(np.array(quality.per_item, dtype=bool)).tobytes().hex()


def quality(cell: dict[str, Any]) -> Quality:
    """Read a cell's top-1 on the test images, with its hits and misses."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(cell["hits"]), dtype=np.uint8), count=cell["images"])
    return Quality(TOP_1, cell["test"], tuple(cell["test_interval"]), cell["images"], 0.0, tuple(map(float, bits)))


def paired(base: dict[str, Any], cell: dict[str, Any]) -> dict[str, Any]:
    """In points, on the same images."""
    difference, (low, high) = compare_in_pairs(quality(base), quality(cell))
    return {"points": 100 * difference, "interval": [100 * low, 100 * high]}


def seconds_told(key: str, cell: dict[str, Any]) -> None:
    """A line of the log."""
    print(f"{key}: {json.dumps({k: v for k, v in cell.items() if k != 'hits'}, default=str)[:240]}", flush=True)
