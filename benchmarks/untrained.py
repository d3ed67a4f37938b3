"""Networks at equal *measured* LiteRT ms (or MACs) without training or labels: what the tables of them share.

Every plan is aimed until the file of its widths, timed bracketed, takes its share of the dense network's time within
4 %. Then it is cut, and judged with its norms measured anew and as a run refits it; some tables train both, too, 10,000
images x 3. An arm may take the widths of one plan and the units of another method. Torch-Pruning 1.6.1 cuts by its
group norm, locally, in steps of 16 (extra `benchmarks`); its own cut has norms anew alone, as it does not say which
units these are. Every cell is a file of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache, partial
from typing import Any

import numpy as np

from benchmarks.aimed import Aim, MacsAim, aim
from benchmarks.recording import write
from benchmarks.rivals import cut_by, widths_of
from benchmarks.subjects import cell, stored
from benchmarks.trained import SEEDS, Asked, Pruned, asked, packed, paired, recipe, seconds_told
from deploy_prune import plugins
from deploy_prune.errors import DeployPruneError
from deploy_prune.graph.surgery import cut, kept_indices
from deploy_prune.pipeline.refit_stage import RefitPlan, refit_best
from deploy_prune.scoring.study import Study
from deploy_prune.scoring.top_units import best_units
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.loop import fit
from deploy_prune.train.recalibration import measure_norms
from deploy_prune.train.recipe import Hooks, Recipe
from deploy_prune.train.refit.settings import RefitSettings
from deploy_prune.train.refit.walk import CutNetwork, draw_refit_images
from deploy_prune.values import Data, Network, Scores

METHODS, THEIRS = ("obs", "magnitude", "uniform"), "torch-pruning group norm local of 16"
BY_UNITS = ", units by "
"""Stands between the plan whose widths an arm takes and the method that says which units these are."""
DRAWN = ("obs", "legr")
"""What a seed decides over."""
WAYS, TRAINED = ("norms anew", "refit"), ", 10k x 3"
LEGR = {"candidates": 60, "population": 20}


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
    arms: tuple[str, ...] = (*METHODS, THEIRS)
    """Methods, or the widths of one with units by another."""
    aim: Callable[[str, Data], AbstractContextManager[Aim | MacsAim]] = aim
    """Opens what plans are aimed at."""
    trains: bool = False
    """It can go on to the accuracy after a short training."""


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """A network of a table and what plans are aimed at."""

    table: Table
    at: Aim | MacsAim

    @property
    def pruned(self) -> Pruned:
        """The network."""
        return self.at.pruned


def run(table: Table, description: str | None) -> int:
    """Work out the cells that are missing, and write the table."""
    wanted = asked(description, _parser(table))
    if not wanted.table_only:
        data = table.read()
        for name in wanted.rest.networks:
            with table.aim(name, data) as at:
                _fill(Scene(table, at), wanted)
    begun = [name for name in table.networks if stored(table.name, f"{name}-dense")]
    rows = [row for name in begun for row in _list_rows(table, name)]
    result = {"data": table.said, "shares": table.shares, "rows": rows}
    print(write(table.name, f"python -m benchmarks.{table.name}", result, ("torch", "ai-edge-litert")))
    return 0


def _parser(table: Table) -> argparse.ArgumentParser:
    more = argparse.ArgumentParser(add_help=False)
    more.add_argument("--networks", nargs="*", default=list(table.networks), choices=table.networks, metavar="NAME")
    more.add_argument("--shares", nargs="*", type=float, default=list(table.shares), choices=table.shares,
                      metavar="SHARE")  # fmt: skip
    more.add_argument("--arms", nargs="*", default=list(table.arms), choices=table.arms, metavar="ARM")
    if table.trains:
        more.add_argument("--train", action="store_true", help="train what was cut as well, which times nothing")
    return more


def _fill(scene: Scene, wanted: Asked) -> None:
    _tell(scene.table, f"{scene.at.name}-dense", partial(_judge, scene, scene.pruned.network, {}))
    ways = tuple(way + after for after in ("", TRAINED)[: 1 + (scene.table.trains and wanted.rest.train)]
                 for way in WAYS)  # fmt: skip
    for seed, share, arm in itertools.product(wanted.seeds, wanted.rest.shares, wanted.rest.arms):
        _work_out(scene, Cell(scene.at.name, arm, share, seed), ways)


@dataclasses.dataclass(frozen=True)
class Cell:
    """A place of a table, but for what is done after the cut."""

    name: str
    arm: str
    share: float
    seed: int

    def key(self, way: str) -> str:
        """The name of the file of one way."""
        return f"{self.name}-{self.arm}-{self.share}-{self.seed}-{way}".replace(",", "").replace(" ", "_")

    def plan_of(self) -> Cell:
        """The place of the plan: one that no seed decides over, and that others take the widths of, is aimed once."""
        method, _, _ = self.arm.partition(BY_UNITS)
        return dataclasses.replace(self, arm=method, seed=self.seed if method in DRAWN else SEEDS[0])


def _tell(table: Table, key: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A cell, which the log tells of."""
    made = cell(table.name, key, compute)
    seconds_told(key, made)
    return made


def _work_out(scene: Scene, place: Cell, ways: tuple[str, ...]) -> None:
    """Every way of one arm that is missing."""
    table, pruned = scene.table, scene.pruned
    if place.arm == THEIRS:
        if place.seed != SEEDS[0]:
            return
        ways = tuple(way for way in ways if way.startswith(WAYS[0]))  # it does not say which units these are
    if all(stored(table.name, place.key(way)) for way in ways):
        return
    planned = place.plan_of()
    plan = cell(table.name, f"plan-{planned.key('')}", partial(_plan, scene, planned))
    if "reason" in plan:
        print(place, plan["reason"], flush=True)
        return
    notes = {"ratio": plan["ratio"]}
    if place.arm == THEIRS:
        module = cut_by(pruned.network, THEIRS, 1 - plan["channels_kept"])
        makes = {WAYS[0]: partial(_measure_anew, dataclasses.replace(pruned.network, module=module), scene, place.seed)}
    else:
        cut_network = _cut(scene, place, plan)
        makes = {
            WAYS[0]: partial(_measure_anew, cut_network.small, scene, place.seed),
            WAYS[1]: partial(_refit, cut_network, scene, place.seed),
        }
    for way in ways:
        make = makes[way.removesuffix(TRAINED)]
        _tell(table, place.key(way), partial(_finish, scene, make, recipe(place.seed, precision="auto"),
                                             trained=way.endswith(TRAINED), notes=notes))  # fmt: skip


Made = tuple[Network, dict[str, Any]]


def _finish(
    scene: Scene, make: Callable[[], Made], by: Recipe, *, trained: bool, notes: dict[str, Any]
) -> dict[str, Any]:
    network, told = make()
    if trained:
        network = fit(network, scene.pruned.data, by)
    return _judge(scene, network, notes | told)


def _measure_anew(network: Network, scene: Scene, seed: int) -> Made:
    """The network with its norms measured on the images that a refit sees."""
    images = draw_refit_images(scene.pruned.data, RefitSettings(seed=seed))
    return dataclasses.replace(network, module=measure_norms(network.module, images.split(64))), {}


def _refit(cut_network: CutNetwork, scene: Scene, seed: int) -> Made:
    """The network as a run refits it."""
    began = time.perf_counter()
    again, told = refit_best(cut_network, scene.pruned.data, RefitPlan(seed))
    return again, {"refit_s": time.perf_counter() - began, "chosen": told.chosen, "errors": dict(told.errors)}


def _cut(scene: Scene, place: Cell, plan: dict[str, Any]) -> CutNetwork:
    pruned = scene.pruned
    _, _, units_by = place.arm.partition(BY_UNITS)
    if units_by:
        widths = {group.name: width for group, width in zip(pruned.graph.free, plan["widths"], strict=True)}
        keep = dict(best_units(_score(scene.at, units_by, place.share, place.seed), widths))
    else:
        keep = {name: tuple(units) for name, units in plan["keep"].items()}
    small = cut(pruned.network, pruned.graph, keep)
    return CutNetwork(small, pruned.network, pruned.graph, kept_indices(pruned.graph, keep))


# --- plans -------------------------------------------------------------------------------------------------------


def _plan(scene: Scene, place: Cell) -> dict[str, Any]:
    """The plan whose file takes the share: `keep` or `channels_kept`, `widths`, `ratio`; or the `reason` for none."""
    try:
        return _plan_of_theirs(scene, place.share) if place.arm == THEIRS else _plan_of_ours(scene.at, place)
    except DeployPruneError as error:
        return {"reason": error.message}


def _plan_of_ours(at: Aim | MacsAim, place: Cell) -> dict[str, Any]:
    began = time.perf_counter()
    scores = _score(at, place.arm, place.share, place.seed)
    scored_s = time.perf_counter() - began
    keep, widths, ratio = at.hit(place.share, *at.by_scores(scores))
    units = {name: list(map(int, each)) for name, each in keep.items()}
    return {"ratio": ratio, "widths": widths.tolist(), "scored_s": scored_s, "keep": units}


def _plan_of_theirs(scene: Scene, share: float) -> dict[str, Any]:
    network, graph = scene.pruned.network, scene.pruned.graph

    def proposal(kept: float) -> tuple[float, np.ndarray]:
        return kept, widths_of(cut_by(network, THEIRS, 1 - kept), graph)

    kept, widths, ratio = scene.at.hit(share, proposal, 1.0)
    return {"ratio": ratio, "widths": widths.tolist(), "channels_kept": kept}


@cache
def _score(at: Aim | MacsAim, method: str, share: float, seed: int) -> Scores:
    """What a method says of every unit; a search is one for each budget."""
    if method == "legr":
        cost, whole = at.cost()
        study = at.pruned.study(cost, share * whole, seed=seed, workers=plugins.build("workers", "local"))
    else:
        study = Study(at.pruned.network, at.pruned.graph, at.pruned.data, seed)
    scores: Scores = plugins.build("methods", method, LEGR if method == "legr" else {}).score(study)
    return scores


# --- the table ---------------------------------------------------------------------------------------------------


def _judge(scene: Scene, network: Network, notes: dict[str, Any]) -> dict[str, Any]:
    table, data = scene.table, scene.pruned.data
    quality = evaluate(network, data.test, data)
    told = {**notes, "test": quality.value, "test_interval": quality.interval, "hits": packed(quality),
            "images": quality.items}  # fmt: skip
    if table.unlabelled:
        blind = table.unlabelled(data)
        told["agreement"] = evaluate(network, blind.test, blind, hooks=Hooks(teacher=scene.pruned.network)).value
    return told


def _list_rows(table: Table, name: str) -> list[dict[str, Any]]:
    """A row per share, method and way: each seed's accuracy, and its paired difference to the dense network."""
    dense = stored(table.name, f"{name}-dense")
    assert dense
    rows: list[dict[str, Any]] = [{"network": name, "method": "dense", "test": [dense["test"]]}]
    ways = [way + after for after in ("", TRAINED) for way in WAYS]
    for share, arm, way in itertools.product(table.shares, table.arms, ways):
        places = [Cell(name, arm, share, seed) for seed in SEEDS]
        cells = [each for place in places if (each := stored(table.name, place.key(way)))]
        if cells:
            agreement = [each["agreement"] for each in cells] if table.unlabelled else []
            rows.append({
                "network": name, "method": arm, "share": share, "way": way,
                "test": [each["test"] for each in cells], "to_dense": [paired(dense, each) for each in cells],
                "relative": [each["test"] / dense["test"] for each in cells], "agreement": agreement,
            })  # fmt: skip
    return rows
