"""Networks at equal *measured* LiteRT ms (or MACs) without training or labels: what the tables of them share.

Every plan is aimed until the file of its widths, timed bracketed, takes its share of the dense network's time within
4 %. Then it is cut, and judged with its norms measured anew and as a run refits it. Torch-Pruning 1.6.1 cuts by its
group norm, locally, in steps of 16 (extra `benchmarks`); what it leaves has norms anew alone: it does not say which
units these are. Every cell is a file of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import numpy as np

from benchmarks.aimed import Aim, MacsAim, aim
from benchmarks.recording import write
from benchmarks.rivals import cut_by, widths_of
from benchmarks.subjects import cell, stored
from benchmarks.trained import SEEDS, Asked, Pruned, asked, packed, paired, seconds_told
from deploy_prune import plugins
from deploy_prune.errors import DeployPruneError
from deploy_prune.graph.surgery import cut, kept_indices
from deploy_prune.pipeline.refit_stage import RefitPlan, refit_best
from deploy_prune.scoring.study import Study
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.recalibration import measure_norms
from deploy_prune.train.recipe import Hooks
from deploy_prune.train.refit.settings import RefitSettings
from deploy_prune.train.refit.walk import CutNetwork, draw_refit_images
from deploy_prune.values import Data, Network, Scores

METHODS, THEIRS = ("obs", "magnitude", "uniform"), "torch-pruning group norm local of 16"
WAYS = ("norms anew", "refit")


@dataclasses.dataclass(frozen=True)
class Table:
    """What is cut to which shares, and judged on what."""

    name: str
    networks: tuple[str, ...]
    shares: tuple[float, ...]
    read: Callable[[], Data]
    """Opens the images."""
    said: str
    """What they are."""
    unlabelled: Callable[[Data], Data] | None = None
    """The same images without labels: agreement with the dense network is told as well."""
    methods: tuple[str, ...] = METHODS
    aim: Callable[[str, Data], AbstractContextManager[Aim | MacsAim]] = aim
    """Opens what plans are aimed at."""


def run(table: Table, description: str | None) -> int:
    """Work out the cells that are missing, and write the table."""
    more = argparse.ArgumentParser(add_help=False)
    more.add_argument("--networks", nargs="*", default=list(table.networks), choices=table.networks, metavar="NAME")
    more.add_argument("--shares", nargs="*", type=float, default=list(table.shares), choices=table.shares,
                      metavar="SHARE")  # fmt: skip
    wanted = asked(description, more)
    if not wanted.table_only:
        data = table.read()
        for name in wanted.rest.networks:
            with table.aim(name, data) as at:
                _fill(table, at, wanted)
    begun = [name for name in table.networks if stored(table.name, f"{name}-dense")]
    rows = [row for name in begun for row in _list_rows(table, name)]
    result = {"data": table.said, "shares": table.shares, "rows": rows}
    print(write(table.name, f"python -m benchmarks.{table.name}", result, ("torch", "ai-edge-litert")))
    return 0


def _fill(table: Table, at: Aim | MacsAim, wanted: Asked) -> None:
    judge = partial(_judge, table, at)
    _tell(table, f"{at.name}-dense", partial(judge, at.pruned.network, {}))
    for seed, share in itertools.product(wanted.seeds, wanted.rest.shares):
        for method in table.methods:
            _work_out(table, at, method, share, seed)
    for share in wanted.rest.shares:
        _tell(table, _key(at.name, THEIRS, share, SEEDS[0], WAYS[0]), partial(_of_theirs, table, at, share))


def _tell(table: Table, key: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A cell, which the log tells of."""
    made = cell(table.name, key, compute)
    seconds_told(key, made)
    return made


def _work_out(table: Table, at: Aim | MacsAim, method: str, share: float, seed: int) -> None:
    """Both ways of one plan; a plan that no seed decides over is aimed once."""
    keys = [_key(at.name, method, share, seed, way) for way in WAYS]
    if all(stored(table.name, key) for key in keys):
        return
    drawn = seed if method == "obs" else SEEDS[0]
    plan = cell(table.name, f"plan-{_key(at.name, method, share, drawn, '')}", partial(_plan, at, method, share, drawn))
    if "reason" in plan:
        print(at.name, method, share, plan["reason"], flush=True)
        return
    pruned = at.pruned
    keep = {name: tuple(units) for name, units in plan["keep"].items()}
    small = cut(pruned.network, pruned.graph, keep)
    _tell(table, keys[0], partial(_judge, table, at, _measure_anew(small, pruned.data, seed), {}))
    began = time.perf_counter()
    scene = CutNetwork(small, pruned.network, pruned.graph, kept_indices(pruned.graph, keep))
    refitted, told = refit_best(scene, pruned.data, RefitPlan(seed))
    notes = {"refit_s": time.perf_counter() - began, "chosen": told.chosen, "errors": dict(told.errors)}
    _tell(table, keys[1], partial(_judge, table, at, refitted, notes))


def _measure_anew(network: Network, data: Data, seed: int) -> Network:
    """The network with its norms measured on the images that a refit sees."""
    images = draw_refit_images(data, RefitSettings(seed=seed))
    return dataclasses.replace(network, module=measure_norms(network.module, images.split(64)))


def _plan(at: Aim | MacsAim, method: str, share: float, seed: int) -> dict[str, Any]:
    began = time.perf_counter()
    scores = _score(at.pruned, method, seed)
    scored_s = time.perf_counter() - began
    try:
        keep, widths, ratio = at.hit(share, *at.by_scores(scores))
    except DeployPruneError as error:
        return {"reason": error.message}
    units = {name: list(map(int, each)) for name, each in keep.items()}
    return {"ratio": ratio, "widths": widths.tolist(), "scored_s": scored_s, "keep": units}


def _score(pruned: Pruned, method: str, seed: int) -> Scores:
    study = Study(pruned.network, pruned.graph, pruned.data, seed)
    scores: Scores = plugins.build("methods", method).score(study)
    return scores


def _of_theirs(table: Table, at: Aim | MacsAim, share: float) -> dict[str, Any]:
    """Torch-Pruning's cut at the same milliseconds, with its norms measured anew."""
    network = at.pruned.network

    def proposal(kept: float) -> tuple[float, np.ndarray]:
        return kept, widths_of(cut_by(network, THEIRS, 1 - kept), at.pruned.graph)

    kept, _, ratio = at.hit(share, proposal, 1.0)
    small = dataclasses.replace(network, module=cut_by(network, THEIRS, 1 - kept))
    return _judge(table, at, _measure_anew(small, at.pruned.data, SEEDS[0]), {"ratio": ratio})


def _judge(table: Table, at: Aim | MacsAim, network: Network, notes: dict[str, Any]) -> dict[str, Any]:
    data = at.pruned.data
    quality = evaluate(network, data.test, data)
    told = {**notes, "test": quality.value, "test_interval": quality.interval, "hits": packed(quality),
            "images": quality.items}  # fmt: skip
    if table.unlabelled:
        blind = table.unlabelled(data)
        told["agreement"] = evaluate(network, blind.test, blind, hooks=Hooks(teacher=at.pruned.network)).value
    return told


def _key(name: str, method: str, share: float, seed: int, way: str) -> str:
    return f"{name}-{method}-{share}-{seed}-{way}".replace(" ", "_")


def _list_rows(table: Table, name: str) -> list[dict[str, Any]]:
    """A row per share, method and way: each seed's accuracy, and its paired difference to the dense network."""
    dense = stored(table.name, f"{name}-dense")
    assert dense
    rows: list[dict[str, Any]] = [{"network": name, "method": "dense", "test": [dense["test"]]}]
    for share, method, way in itertools.product(table.shares, (*table.methods, THEIRS), WAYS):
        keys = [_key(name, method, share, seed, way) for seed in SEEDS]
        cells = [each for key in keys if (each := stored(table.name, key))]
        if cells:
            agreement = [each["agreement"] for each in cells] if table.unlabelled else []
            rows.append({
                "network": name, "method": method, "share": share, "way": way,
                "test": [each["test"] for each in cells], "to_dense": [paired(dense, each) for each in cells],
                "relative": [each["test"] / dense["test"] for each in cells], "agreement": agreement,
            })  # fmt: skip
    return rows
