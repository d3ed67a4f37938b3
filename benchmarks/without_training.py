"""Accuracy right after the cut, without training or labels: norms anew against the refit, obs against other methods.

    python -m benchmarks.without_training [--quick | --seeds SEED ... | --table] [--networks NAME ...]

CIFAR-10 networks with their checkpoints at 0.5x and 0.35x of their MACs, full scope. Each plan is cut once; its norms
are measured anew on the images that the refit sees, or every layer is refitted on them as a run does. The seed draws
these 512 training images, and obs's. Accuracy on all test images; differences are paired, image by image. Every cell is
a file under `results/without_training/`, which a second call goes on after. About an hour on two idle cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from functools import partial
from typing import Any

from benchmarks.recording import write
from benchmarks.subjects import cell, stored
from benchmarks.trained import DATA, Pruned, asked, images, packed, paired, seconds_told
from deploy_prune import plugins
from deploy_prune.budget.widths import kept_widths
from deploy_prune.graph.surgery import cut, kept_indices
from deploy_prune.scoring.study import Study
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.recalibration import measure_norms
from deploy_prune.train.refit.settings import RefitSettings
from deploy_prune.train.refit.walk import CutNetwork, draw_refit_images, refitted
from deploy_prune.values import Data, Network, Quality

TABLE = "without_training"
NETWORKS = ("resnet20", "mobilenet_v2_72")
METHODS = ("uniform", "magnitude", "obs")
SHARES = (0.5, 0.35)
WAYS = ("norms anew", "refit")


def main() -> int:
    """Work out the cells that are missing, and write the table."""
    more = argparse.ArgumentParser(add_help=False)
    more.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS)
    wanted = asked(__doc__, more)
    if not wanted.table_only:
        data = images()
        for name in wanted.rest.networks:
            subject = Pruned.of(name, data)
            dense = cell(TABLE, f"{name}-dense", partial(_judge, subject.network, data, {}))
            seconds_told(f"{name}-dense", dense)
            for seed in wanted.seeds:
                for method in METHODS:
                    _work_out(subject, name, method, seed)
    rows = [row for name in NETWORKS if stored(TABLE, f"{name}-dense") for row in _list_rows(name)]
    print(write(TABLE, f"python -m benchmarks.{TABLE}", {"data": DATA, "shares": SHARES, "rows": rows}, ("torch",)))
    return 0


def _work_out(subject: Pruned, name: str, method: str, seed: int) -> None:
    """The cells of one method and seed; scores are worked out once, and only where a cell is missing."""
    missing = [share for share in SHARES if stored(TABLE, _key(name, method, share, seed, WAYS[-1])) is None]
    if not missing:
        return
    began = time.perf_counter()
    scores = plugins.build("methods", method).score(Study(subject.network, subject.graph, subject.data, seed))
    scored_s = time.perf_counter() - began
    scored = subject.of_scored(scores)
    calibration = draw_refit_images(subject.data, RefitSettings(seed=seed))
    for share in missing:
        cost = scored.cost()
        keep = scored.keep(scores, cost, share * scored.whole(cost))
        small = cut(subject.network, scored.graph, keep)
        anew = dataclasses.replace(small, module=measure_norms(small.module, calibration.split(64)))
        began = time.perf_counter()
        scene = CutNetwork(small, subject.network, scored.graph, kept_indices(scored.graph, keep))
        again, told = refitted(scene, calibration, settings=RefitSettings(seed=seed))
        notes = {
            "scored_s": scored_s, "refit_s": time.perf_counter() - began, "layers": len(told),
            "layers_kept": sum(each.kept for each in told),
            "macs_share": float(cost(kept_widths(scored.graph.free, keep))) / scored.whole(cost),
        }  # fmt: skip
        for way, network in zip(WAYS, (anew, again), strict=True):
            key = _key(name, method, share, seed, way)
            seconds_told(key, cell(TABLE, key, partial(_judge, network, subject.data, notes)))


def _judge(network: Network, data: Data, notes: dict[str, Any]) -> dict[str, Any]:
    quality: Quality = evaluate(network, data.test, data)
    return {
        **notes, "test": quality.value, "test_interval": quality.interval, "hits": packed(quality),
        "images": quality.items,
    }  # fmt: skip


def _key(name: str, method: str, share: float, seed: int, way: str) -> str:
    return f"{name}-{method}-{share}-{seed}-{way.replace(' ', '_')}"


def _list_rows(name: str) -> list[dict[str, Any]]:
    """A row per method, share and way: each seed's accuracy, and its paired difference to the dense network."""
    dense = stored(TABLE, f"{name}-dense")
    assert dense
    rows: list[dict[str, Any]] = [{"network": name, "method": "dense", "test": [dense["test"]]}]
    for share in SHARES:
        for method in METHODS:
            for way in WAYS:
                keys = [_key(name, method, share, seed, way) for seed in range(3)]
                cells = [each for key in keys if (each := stored(TABLE, key))]
                if cells:
                    rows.append({
                        "network": name, "method": method, "share": share, "way": way,
                        "to_dense": [paired(dense, each) for each in cells],
                        **{what: [each[what] for each in cells] for what in ("test", "refit_s", "scored_s")},
                    })  # fmt: skip
    return rows


if __name__ == "__main__":
    sys.exit(main())
