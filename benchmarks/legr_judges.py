"""LeGR's searches by their judges: minutes, candidates a minute, and what the plans of a front become.

    python -m benchmarks.legr_judges [--quick | --seeds SEED ... | --table] [--networks NAME ...] [--arms ARM ...]
                                     [--search] [--alone] [--train]

CIFAR-10 networks, 80 candidates under half the MACs, and the plans of one search at three budgets: candidates
trained for 20 steps and eight finalists for 400, as it was; mapped from what the dense network's layers read and
finalists refitted; the same from OBS's curves. Every plan is cut, refitted and judged; `--train` trains those under the
tightest budget, 10,000 images x 3. Searches take both cores where they are timed, and one with `--alone`: two scripts
with other seeds may run at once then, and are not timed. Half an hour a seed on idle cores, trainings five minutes
a plan.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import sys
import time
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.recording import write
from benchmarks.subjects import cell, stored
from benchmarks.trained import BY_STEPS, DATA, SEEDS, Asked, Pruned, asked, images, judged, paired, recipe, seconds_told
from deploy_prune import plugins
from deploy_prune.graph.surgery import cut, kept_indices
from deploy_prune.pipeline.refit_stage import RefitPlan, refit_best
from deploy_prune.train.loop import fit
from deploy_prune.train.refit.walk import CutNetwork
from deploy_prune.values import Data, Network, Scores

TABLE, NETWORKS = "legr_judges", ("mobilenet_v2_72", "resnet20")
CANDIDATES, BUDGETS = 80, (0.8, 0.65, 0.5)
BEFORE = "20 steps, finalists trained"
JUDGES: dict[str, dict[str, Any]] = {
    BEFORE: {**BY_STEPS, "steps": 20},
    "maps, finalists refitted": {"judge": "maps", "importance": "norm"},
    "maps, finalists refitted, from OBS": {"judge": "maps", "importance": "obs"},
}
OBS = "obs, no search"
ARMS = (*JUDGES, OBS)
CORES = 2


def main() -> int:
    """Fill in the missing cells, then write the table."""
    more = argparse.ArgumentParser(add_help=False)
    more.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS, metavar="NAME")
    more.add_argument("--arms", nargs="*", default=list(ARMS), choices=ARMS, metavar="ARM")
    more.add_argument("--search", action="store_true", help="search, and go no further")
    more.add_argument("--alone", action="store_true", help="search on one core, and time nothing")
    more.add_argument("--train", action="store_true", help="train what was cut to the tightest budget as well")
    todo = asked(__doc__, more)
    for name in () if todo.table_only else todo.rest.networks:
        _work_out(name, images(), todo)
    return _write()


def _work_out(name: str, data: Data, todo: Asked) -> None:
    pruned = Pruned.of(name, data)
    seconds_told(name, cell(TABLE, f"{name}-dense", lambda: judged(pruned.network, data, {})))
    for seed, arm in itertools.product(todo.seeds, todo.rest.arms):
        processes = 1 if todo.rest.alone else CORES
        cell(TABLE, _key(name, arm, seed, "search"), partial(_search, pruned, arm, seed, processes))
    for seed, budget, arm in itertools.product(todo.seeds, () if todo.rest.search else BUDGETS, todo.rest.arms):
        _fill(pruned, name, arm, (seed, budget), train=todo.rest.train and budget == min(BUDGETS))


def _key(name: str, arm: str, seed: int, what: str) -> str:
    return f"{name}-{arm}-{seed}-{what}".replace(",", "").replace(" ", "_")


def _search(pruned: Pruned, arm: str, seed: int, processes: int) -> dict[str, Any]:
    """What a method says of every unit, and how long that takes; alone it is not told."""
    cost = pruned.cost()
    workers = plugins.build("workers", "local", {"processes": processes})
    study = pruned.study(cost, min(BUDGETS) * pruned.whole(cost), seed=seed, workers=workers)
    options = {"candidates": CANDIDATES, **JUDGES[arm]} if arm in JUDGES else {}
    method = plugins.build("methods", "legr" if arm in JUDGES else "obs", options)
    began = time.perf_counter()
    scores: Scores = method.score(study)
    seconds = time.perf_counter() - began if processes == CORES else None
    by_group = {group: base64.b64encode(np.asarray(each, "<f8").tobytes()).decode()
                for group, each in scores.by_group.items()}  # fmt: skip
    return {"seconds": seconds, "additive": scores.additive, "by_group": by_group}


def _fill(pruned: Pruned, name: str, arm: str, place: tuple[int, float], *, train: bool) -> None:
    """What becomes of a plan."""
    seed, budget = place
    told = stored(TABLE, _key(name, arm, seed, "search"))
    assert told
    by_group = {group: np.frombuffer(base64.b64decode(each), "<f8") for group, each in told["by_group"].items()}
    scores = Scores(by_group, additive=told["additive"])
    cost = pruned.cost()
    keep = pruned.keep(scores, cost, budget * pruned.whole(cost))
    key = _key(name, arm, seed, f"{budget}-refitted")
    seconds_told(key, cell(TABLE, key, lambda: judged(_refit(pruned, keep, seed), pruned.data, {})))
    if train:
        key = _key(name, arm, seed, f"{budget}-trained")
        seconds_told(key, cell(TABLE, key, lambda: judged(_train(pruned, keep, seed), pruned.data, {})))


def _refit(pruned: Pruned, keep: dict[str, tuple[int, ...]], seed: int) -> Network:
    small = cut(pruned.network, pruned.graph, keep)
    against = CutNetwork(small, pruned.network, pruned.graph, kept_indices(pruned.graph, keep))
    return refit_best(against, pruned.data, RefitPlan(seed))[0]


def _train(pruned: Pruned, keep: dict[str, tuple[int, ...]], seed: int) -> Network:
    return fit(_refit(pruned, keep, seed), pruned.data, recipe(seed, precision="auto"))


def _write() -> int:
    tables = {name: {"dense": dense["test"], "rows": [_row(name, arm) for arm in ARMS]}
              for name in NETWORKS if (dense := stored(TABLE, f"{name}-dense"))}  # fmt: skip
    result = {"data": DATA, "budgets": BUDGETS, "candidates": CANDIDATES, "tables": tables}
    print(write(TABLE, f"python -m benchmarks.{TABLE}", result, ("torch",)))
    return 0


def _row(name: str, arm: str) -> dict[str, Any]:
    searches = [each for seed in SEEDS if (each := stored(TABLE, _key(name, arm, seed, "search")))]
    timed = [each["seconds"] for each in searches if each["seconds"] is not None]
    row: dict[str, Any] = {"judge": arm, "seconds": timed}
    if timed and arm in JUDGES:
        row["candidates_per_minute"] = 60 * CANDIDATES / fmean(timed)
    for budget, what in (*((each, "refitted") for each in BUDGETS), (min(BUDGETS), "trained")):
        told = (_compare(name, arm, seed, f"{budget}-{what}") for seed in SEEDS)
        row[f"{budget} {what}"] = [each for each in told if each]
    return row


def _compare(name: str, arm: str, seed: int, what: str) -> dict[str, Any] | None:
    """Accuracy, and the difference to the search that was there before, on the same images; None: not worked out."""
    mine, before = stored(TABLE, _key(name, arm, seed, what)), stored(TABLE, _key(name, BEFORE, seed, what))
    if mine is None:
        return None
    return {"test": mine["test"], "to_before": paired(before, mine) if before and arm != BEFORE else None}


if __name__ == "__main__":
    sys.exit(main())
