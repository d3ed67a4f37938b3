"""Accuracy at half the MACs on CIFAR-10: magnitude, uniform and random against a dense control, paired by image.

    python -m benchmarks.cifar [--quick | --table]

Every cell (network, arm, seed) is a file under `results/cifar/`: a killed table goes on where it was, and `--table`
writes what there is: the seeds of which a network has every arm. Needs the CIFAR-10 images and checkpoints beside
the repository. About an hour on two idle cores; `--quick` is one seed.
Fine-tuning is the same for every arm: a stratified 10,000 training images x 3 epochs, batch 128, Nesterov 0.9,
weight decay 1e-4, cosine from 0.05, crop and flip. The control is the dense network with the same extra epochs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from typing import Any

import numpy as np

from benchmarks.recording import RESULTS, SHARED, write
from deploy_prune import plugins
from deploy_prune.allocate import Limits, allocate, best_units
from deploy_prune.counting import recount
from deploy_prune.data import read_data
from deploy_prune.methods import Study
from deploy_prune.networks import build_network
from deploy_prune.records import write_atomic
from deploy_prune.soundness import settle
from deploy_prune.surgery import cut
from deploy_prune.train import Recipe, evaluate, fit, paired_difference, recalibrate_norms
from deploy_prune.values import Accuracy, Data, Network
from deploy_prune.weights import load_weights

NETWORKS: dict[str, tuple[str, dict[str, Any], str]] = {
    "resnet56": ("resnet56", {}, "resnet56-cifar10.safetensors"),
    "mobilenet_v2": ("torchvision:mobilenet_v2", {"stem_stride": 1}, "mobilenet_v2-cifar10.safetensors"),
}
ARMS = ("control", "uniform", "magnitude", "random")
SEEDS = (0, 1, 2)
BUDGET = 0.5
RECIPE = Recipe(epochs=3, batch_size=128, lr=0.05, weight_decay=1e-4, images=10_000, precision="bf16")
TOLERANCE = 0.001  # of the dense accuracies that come with the checkpoints


def main() -> int:
    """Fill in the missing cells, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--table", action="store_true", help="train nothing, write the table of the cells there are")
    asked = parser.parse_args()
    if asked.table:
        return _written({name: _stored(f"{name}-dense") for name in NETWORKS})
    if not SHARED.is_dir():
        print("the CIFAR-10 images and checkpoints are not here", file=sys.stderr)
        return 2
    data = read_data(f"cifar10:{SHARED}")
    networks = {name: _dense(*row) for name, row in NETWORKS.items()}
    dense = {name: _cell(f"{name}-dense", lambda n=network: _judged(n, data, {})) for name, network in networks.items()}  # type: ignore[misc]
    for seed in SEEDS[:1] if asked.quick else SEEDS:
        for name, network in networks.items():
            for arm in ARMS:
                key = f"{name}-{arm}-{seed}"
                cell = _cell(key, lambda n=network, a=arm, s=seed: _arm(n, data, a, s))  # type: ignore[misc]
                print(f"{key}: test {cell['test']:.4f} ({cell['seconds']:.0f} s)", flush=True)
    return _written(dense)


def _written(dense: dict[str, dict[str, Any]]) -> int:
    result = _table(dense)
    print(write("cifar", "python -m benchmarks.cifar", result, ("torch", "torchvision")))
    return 0 if all(row["reproduced"] for row in result["networks"].values()) else 1


def _dense(address: str, options: dict[str, Any], weights: str) -> Network:
    network = build_network(address, classes=10, input_shape=(3, 32, 32), options=options)
    return load_weights(network, SHARED / weights)


def _cell(key: str, compute: Any) -> dict[str, Any]:
    path = RESULTS / "cifar" / f"{key}.json"
    if not path.exists():
        began = time.monotonic()
        cell = {**compute(), "seconds": time.monotonic() - began}
        write_atomic(path, lambda temporary: temporary.write_text(json.dumps(cell) + "\n"))
    return _stored(key)


def _stored(key: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / "cifar" / f"{key}.json").read_text())
    return found


def _arm(network: Network, data: Data, arm: str, seed: int) -> dict[str, Any]:
    notes: dict[str, Any] = {}
    if arm != "control":
        network, notes = _pruned(network, data, arm, seed)
    trained = fit(network, data, dataclasses.replace(RECIPE, seed=seed))
    return _judged(trained, data, notes)


def _pruned(network: Network, data: Data, arm: str, seed: int) -> tuple[Network, dict[str, Any]]:
    graph = settle(network)
    scores = plugins.build("methods", arm).score(Study(network, graph, data, seed))
    cost = plugins.build("costs", "macs").model(graph)
    whole = float(cost(np.array([group.width for group in graph.free])))
    widths = allocate(graph, scores, cost, BUDGET * whole, Limits())
    small = cut(network, graph, best_units(scores, widths))
    again = recalibrate_norms(small, data, images=2048, seed=seed)
    return again, {
        "val_after_cut": evaluate(small, data.val, data).top1,
        "val_recalibrated": evaluate(again, data.val, data).top1,
    }


def _judged(network: Network, data: Data, notes: dict[str, Any]) -> dict[str, Any]:
    test = evaluate(network, data.test, data)
    count = recount(network)
    return {
        **notes,
        "macs": count.macs,
        "params": count.params,
        "val": evaluate(network, data.val, data).top1,
        "test": test.top1,
        "test_interval": test.interval,
        "hits": np.packbits(np.array(test.hits)).tobytes().hex(),
        "images": test.images,
    }


def _accuracy(cell: dict[str, Any]) -> Accuracy:
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(cell["hits"]), dtype=np.uint8), count=cell["images"])
    return Accuracy(cell["test"], tuple(cell["test_interval"]), cell["images"], 0.0, tuple(bool(bit) for bit in bits))


def _table(dense: dict[str, dict[str, Any]]) -> dict[str, Any]:
    published = json.loads((SHARED / "accuracy.json").read_text())
    rows = {}
    for name, base in dense.items():
        cells = {arm: _seeds(name, arm) for arm in ARMS}
        rows[name] = {
            "dense": base["test"],
            "published": published[name],
            "reproduced": abs(base["test"] - published[name]) <= TOLERANCE,
            "macs": base["macs"],
            "arms": {arm: _summary(found, cells["control"], base) for arm, found in cells.items() if found},
        }
    data = "CIFAR-10 (JPEG), 5,000 test images, each judged once per cell"
    return {"data": data, "recipe": dataclasses.asdict(RECIPE), "networks": rows}


def _seeds(name: str, arm: str) -> dict[int, dict[str, Any]]:
    """The cells of the seeds for which this network has every arm: arms are compared over the same seeds."""
    folder = RESULTS / "cifar"
    whole = [seed for seed in SEEDS if all((folder / f"{name}-{each}-{seed}.json").exists() for each in ARMS)]
    return {seed: _stored(f"{name}-{arm}-{seed}") for seed in whole}


def _summary(cells: dict[int, dict[str, Any]], control: dict[int, Any], base: dict[str, Any]) -> dict[str, Any]:
    def mean(key: str) -> float | None:
        return float(np.mean([cell[key] for cell in cells.values()])) if all(key in c for c in cells.values()) else None

    pairs = [paired_difference(_accuracy(control[seed]), _accuracy(cell)) for seed, cell in cells.items()]
    return {
        "seeds": sorted(cells),
        "macs_kept": float(np.mean([cell["macs"] / base["macs"] for cell in cells.values()])),
        "params_kept": float(np.mean([cell["params"] / base["params"] for cell in cells.values()])),
        "val_after_cut": mean("val_after_cut"),
        "val_recalibrated": mean("val_recalibrated"),
        "test": [cell["test"] for cell in cells.values()],
        "test_mean": mean("test"),
        "against_control": [{"points": 100 * d, "interval": [100 * low, 100 * high]} for d, (low, high) in pairs],
    }


if __name__ == "__main__":
    sys.exit(main())
