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
from benchmarks.trained import DATA, RECIPE, SEEDS, Pruned, dense, images, judged, paired, recipe
from deploy_prune import plugins
from deploy_prune.graph.surgery import cut
from deploy_prune.records import write_atomic
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.loop import fit
from deploy_prune.train.recalibration import recalibrate_norms
from deploy_prune.values import Data, Network

NETWORKS = ("resnet56", "mobilenet_v2")
ARMS = ("control", "uniform", "magnitude", "random")
BUDGET = 0.5
TOLERANCE = 0.001  # of the dense accuracies that come with the checkpoints


def main() -> int:
    """Fill in the missing cells, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--table", action="store_true", help="train nothing, write the table of the cells there are")
    asked = parser.parse_args()
    if asked.table:
        return _written({name: _stored(f"{name}-dense") for name in NETWORKS})
    data = images()
    cells = {name: _cell(f"{name}-dense", lambda n=name: judged(dense(n), data, {})) for name in NETWORKS}  # type: ignore[misc]
    for seed in SEEDS[:1] if asked.quick else SEEDS:
        for name in NETWORKS:
            for arm in ARMS:
                key = f"{name}-{arm}-{seed}"
                cell = _cell(key, lambda n=name, a=arm, s=seed: _arm(n, data, a, s))  # type: ignore[misc]
                print(f"{key}: test {cell['test']:.4f} ({cell['seconds']:.0f} s)", flush=True)
    return _written(cells)


def _written(cells: dict[str, dict[str, Any]]) -> int:
    result = _table(cells)
    print(write("cifar", "python -m benchmarks.cifar", result, ("torch", "torchvision")))
    return 0 if all(row["reproduced"] for row in result["networks"].values()) else 1


def _cell(key: str, compute: Any) -> dict[str, Any]:
    path = RESULTS / "cifar" / f"{key}.json"
    if not path.exists():
        began = time.monotonic()
        cell = {**compute(), "seconds": time.monotonic() - began}
        write_atomic(path, lambda temporary: temporary.write_text(json.dumps(cell) + "\n"))
    return _stored(key)


def _stored(key: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / "cifar" / f"{key}.json").read_text())
    return content


def _arm(name: str, data: Data, arm: str, seed: int) -> dict[str, Any]:
    network, notes = (dense(name), {}) if arm == "control" else _pruned(name, data, arm, seed)
    return judged(fit(network, data, recipe(seed)), data, notes)


def _pruned(name: str, data: Data, arm: str, seed: int) -> tuple[Network, dict[str, Any]]:
    subject = Pruned.of(name, data)
    cost = subject.cost()
    limit = BUDGET * subject.whole(cost)
    scores = plugins.build("methods", arm).score(subject.study(cost, limit, seed=seed))
    small = cut(subject.network, subject.graph, subject.keep(scores, cost, limit))
    again = recalibrate_norms(small, data, images=2048, seed=seed)
    return again, {
        "val_after_cut": evaluate(small, data.val, data).value,
        "val_recalibrated": evaluate(again, data.val, data).value,
    }


def _table(bases: dict[str, dict[str, Any]]) -> dict[str, Any]:
    published = json.loads((SHARED / "accuracy.json").read_text())
    rows = {}
    for name, base in bases.items():
        cells = {arm: _seeds(name, arm) for arm in ARMS}
        rows[name] = {
            "dense": base["test"],
            "published": published[name],
            "reproduced": abs(base["test"] - published[name]) <= TOLERANCE,
            "macs": base["macs"],
            "arms": {arm: _summary(by_seed, cells["control"], base) for arm, by_seed in cells.items() if by_seed},
        }
    return {"data": DATA, "recipe": dataclasses.asdict(RECIPE), "networks": rows}


def _seeds(name: str, arm: str) -> dict[int, dict[str, Any]]:
    """The cells of the seeds for which this network has every arm: arms are compared over the same seeds."""
    folder = RESULTS / "cifar"
    whole = [seed for seed in SEEDS if all((folder / f"{name}-{each}-{seed}.json").exists() for each in ARMS)]
    return {seed: _stored(f"{name}-{arm}-{seed}") for seed in whole}


def _summary(cells: dict[int, dict[str, Any]], control: dict[int, Any], base: dict[str, Any]) -> dict[str, Any]:
    def mean(key: str) -> float | None:
        return float(np.mean([cell[key] for cell in cells.values()])) if all(key in c for c in cells.values()) else None

    return {
        "seeds": sorted(cells),
        "macs_kept": float(np.mean([cell["macs"] / base["macs"] for cell in cells.values()])),
        "params_kept": float(np.mean([cell["params"] / base["params"] for cell in cells.values()])),
        "val_after_cut": mean("val_after_cut"),
        "val_recalibrated": mean("val_recalibrated"),
        "test": [cell["test"] for cell in cells.values()],
        "test_mean": mean("test"),
        "against_control": [paired(control[seed], cell) for seed, cell in cells.items()],
    }


if __name__ == "__main__":
    sys.exit(main())
