"""Accuracy at equal *measured* LiteRT ms without training or labels: obs against uniform, magnitude and Torch-Pruning.

    python -m benchmarks.refit_ms [--quick | --seeds SEED ... | --table] [--networks NAME ...] [--shares SHARE ...]

CIFAR-10 networks at 0.5x and 0.35x of the dense network's time on LiteRT, one thread, full scope. Every plan is aimed
until the file of its widths, timed bracketed, takes the budget within 4 %. Then it is cut, and judged on all test
images with its norms measured anew and as a run refits it. The seed draws the 512 images of obs and of the refit.
Torch-Pruning 1.6.1 cuts by its group norm, locally, in steps of 16 (extra `benchmarks`); what it leaves has norms anew
alone: it does not say which units these are. Every cell is a file under `results/refit_ms/`. An hour and a half on two
idle cores, which timing needs.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
import time
from functools import partial
from typing import Any

import numpy as np

from benchmarks.aimed import Aim, aim
from benchmarks.recording import write
from benchmarks.rivals import cut_by, widths_of
from benchmarks.subjects import cell, stored
from benchmarks.trained import DATA, SEEDS, Asked, Pruned, asked, images, packed, paired, seconds_told
from deploy_prune import plugins
from deploy_prune.errors import DeployPruneError
from deploy_prune.graph.surgery import cut, kept_indices
from deploy_prune.pipeline.refit_stage import RefitPlan, refit_best
from deploy_prune.scoring.study import Study
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.recalibration import measure_norms
from deploy_prune.train.refit.settings import RefitSettings
from deploy_prune.train.refit.walk import CutNetwork, draw_refit_images
from deploy_prune.values import Data, Network, Scores

TABLE = "refit_ms"
NETWORKS = ("mobilenet_v2_72", "mobilenet_v1_72", "resnet20")
SHARES = (0.5, 0.35)
METHODS, THEIRS = ("obs", "magnitude", "uniform"), "torch-pruning group norm local of 16"
WAYS = ("norms anew", "refit")


def main() -> int:
    """Work out the cells that are missing, and write the table."""
    more = argparse.ArgumentParser(add_help=False)
    more.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS, metavar="NAME")
    more.add_argument("--shares", nargs="*", type=float, default=list(SHARES), choices=SHARES, metavar="SHARE")
    wanted = asked(__doc__, more)
    if not wanted.table_only:
        data = images()
        for name in wanted.rest.networks:
            with aim(name, data) as at:
                _fill(at, wanted)
    rows = [row for name in NETWORKS if stored(TABLE, f"{name}-dense") for row in _list_rows(name)]
    table = {"data": DATA, "shares": SHARES, "rows": rows}
    print(write(TABLE, f"python -m benchmarks.{TABLE}", table, ("torch", "ai-edge-litert")))
    return 0


def _fill(at: Aim, wanted: Asked) -> None:
    network, data = at.pruned.network, at.pruned.data
    seconds_told(f"{at.name}-dense", cell(TABLE, f"{at.name}-dense", partial(_judge, network, data, {})))
    for seed, share in itertools.product(wanted.seeds, wanted.rest.shares):
        for method in METHODS:
            _work_out(at, method, share, seed)
    for share in wanted.rest.shares:
        key = _key(at.name, THEIRS, share, SEEDS[0], WAYS[0])
        seconds_told(key, cell(TABLE, key, partial(_of_theirs, at, share)))


def _work_out(at: Aim, method: str, share: float, seed: int) -> None:
    """Both ways of one plan; a plan that no seed decides over is aimed once."""
    keys = {way: _key(at.name, method, share, seed, way) for way in WAYS}
    if all(stored(TABLE, key) for key in keys.values()):
        return
    drawn = seed if method == "obs" else SEEDS[0]
    plan = cell(TABLE, f"plan-{_key(at.name, method, share, drawn, '')}", partial(_plan, at, method, share, drawn))
    if "reason" in plan:
        print(at.name, method, share, plan["reason"], flush=True)
        return
    pruned = at.pruned
    keep = {name: tuple(units) for name, units in plan["keep"].items()}
    small = cut(pruned.network, pruned.graph, keep)
    calibration = draw_refit_images(pruned.data, RefitSettings(seed=seed))
    anew = dataclasses.replace(small, module=measure_norms(small.module, calibration.split(64)))
    seconds_told(keys[WAYS[0]], cell(TABLE, keys[WAYS[0]], partial(_judge, anew, pruned.data, {})))
    began = time.perf_counter()
    scene = CutNetwork(small, pruned.network, pruned.graph, kept_indices(pruned.graph, keep))
    refitted, told = refit_best(scene, pruned.data, RefitPlan(seed))
    notes = {"refit_s": time.perf_counter() - began, "chosen": told.chosen, "errors": dict(told.errors)}
    seconds_told(keys[WAYS[1]], cell(TABLE, keys[WAYS[1]], partial(_judge, refitted, pruned.data, notes)))


def _plan(at: Aim, method: str, share: float, seed: int) -> dict[str, Any]:
    began = time.perf_counter()
    scores = _score(at.pruned, method, seed)
    scored_s = time.perf_counter() - began
    try:
        keep, widths, ratio = at.hit(share, *at.by_scores(scores, in_ms=True))
    except DeployPruneError as error:
        return {"reason": error.message}
    units = {name: list(map(int, each)) for name, each in keep.items()}
    return {"ratio": ratio, "widths": widths.tolist(), "scored_s": scored_s, "keep": units}


def _score(pruned: Pruned, method: str, seed: int) -> Scores:
    study = Study(pruned.network, pruned.graph, pruned.data, seed)
    scores: Scores = plugins.build("methods", method).score(study)
    return scores


def _of_theirs(at: Aim, share: float) -> dict[str, Any]:
    """Torch-Pruning's cut at the same milliseconds, with its norms measured anew."""
    network, data = at.pruned.network, at.pruned.data

    def proposal(kept: float) -> tuple[float, np.ndarray]:
        return kept, widths_of(cut_by(network, THEIRS, 1 - kept), at.pruned.graph)

    kept, _, ratio = at.hit(share, proposal, 1.0)
    calibration = draw_refit_images(data, RefitSettings(seed=SEEDS[0]))
    module = measure_norms(cut_by(network, THEIRS, 1 - kept), calibration.split(64))
    return _judge(dataclasses.replace(network, module=module), data, {"ratio": ratio})


def _judge(network: Network, data: Data, notes: dict[str, Any]) -> dict[str, Any]:
    quality = evaluate(network, data.test, data)
    return {
        **notes, "test": quality.value, "test_interval": quality.interval, "hits": packed(quality),
        "images": quality.items,
    }  # fmt: skip


def _key(name: str, method: str, share: float, seed: int, way: str) -> str:
    return f"{name}-{method}-{share}-{seed}-{way}".replace(" ", "_")


def _list_rows(name: str) -> list[dict[str, Any]]:
    """A row per share, method and way: each seed's accuracy, and its paired difference to the dense network."""
    dense = stored(TABLE, f"{name}-dense")
    assert dense
    rows: list[dict[str, Any]] = [{"network": name, "method": "dense", "test": [dense["test"]]}]
    for share, method, way in itertools.product(SHARES, (*METHODS, THEIRS), WAYS):
        keys = [_key(name, method, share, seed, way) for seed in SEEDS]
        cells = [each for key in keys if (each := stored(TABLE, key))]
        if cells:
            rows.append({
                "network": name, "method": method, "share": share, "way": way,
                "test": [each["test"] for each in cells], "to_dense": [paired(dense, each) for each in cells],
            })  # fmt: skip
    return rows


if __name__ == "__main__":
    sys.exit(main())
