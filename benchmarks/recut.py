"""One search in x86 milliseconds, re-cut for a simulated Cortex-A72, against a search that was made for it.

    python -m benchmarks.recut [--networks NAME ...] [--table]

CIFAR-10, 32 x 32, half of the dense network's simulated cycles on LiteRT, one thread; every plan's file is counted,
within 4 %. LeGR with maps as its judge, 60 candidates, one seed: under half of the x86 milliseconds (whose table wants
an idle machine, once), and under half of the cycles. Beside them OBS, whose curves know no device. Then refitted, and
trained 10k x 3. Half an hour a network on one core; needs what `deploy-prune doctor --device sim://cortex-a72 --setup`
brings.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from typing import Any

import numpy as np

from benchmarks.aimed import PLACE, Aim, aim
from benchmarks.recording import write
from benchmarks.subjects import cell, stored
from benchmarks.trained import DATA, SEEDS, Pruned, asked, images, judged, paired, recipe, seconds_told
from deploy_prune import plugins
from deploy_prune.budget.latency.place import Place
from deploy_prune.graph.surgery import cut, kept_indices
from deploy_prune.pipeline.refit_stage import RefitPlan, refit_best
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.loop import fit
from deploy_prune.train.refit.walk import CutNetwork
from deploy_prune.values import Data, Scores

TABLE, SEED, SHARE = "recut", SEEDS[0], 0.5
NETWORKS = ("mobilenet_v2_72", "resnet20")
THERE = Place("litert", "sim://cortex-a72")
PLACES = {"x86 ms": PLACE, "A72 cycles": THERE}
LEGR = {"candidates": 60, "population": 20, "importance": "norm", "judge": "maps", "finalists": 0}
SEARCHES = {f"LeGR, searched in {name}": place for name, place in PLACES.items()}
OBS = "OBS"
ARMS = (*SEARCHES, OBS)


def main() -> int:
    """Fill in the missing cells, then write the table."""
    more = argparse.ArgumentParser(add_help=False)
    more.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS, metavar="NAME")
    todo = asked(__doc__, more)
    for name in () if todo.table_only else todo.rest.networks:
        _fill(name, images())
    return _write()


def _fill(name: str, data: Data) -> None:
    for arm in ARMS:
        cell(TABLE, _key(name, arm, "scores"), partial(_score, name, arm, data))
    if any(stored(TABLE, _key(name, arm, "plan")) is None for arm in ARMS):
        with aim(name, data, THERE) as at:
            for arm in ARMS:
                cell(TABLE, _key(name, arm, "plan"), partial(_plan, at, arm))
    pruned = Pruned.of(name, data)
    seconds_told(name, cell(TABLE, f"{name}-dense", lambda: judged(pruned.network, data, {})))
    for arm in ARMS:
        key = _key(name, arm, "trained")
        seconds_told(key, cell(TABLE, key, partial(_finish, pruned, arm, name)))


def _key(name: str, arm: str, what: str) -> str:
    return f"{name}-{arm}-{what}".replace(",", "").replace(" ", "_")


def _score(name: str, arm: str, data: Data) -> dict[str, Any]:
    """What a method says of every unit."""
    began = time.perf_counter()
    with aim(name, data, SEARCHES.get(arm, THERE)) as at:
        cost, whole = at.cost()
        study = at.pruned.study(cost, SHARE * whole, seed=SEED, workers=plugins.build("workers", "local"))
        method = plugins.build("methods", "obs" if arm == OBS else "legr", {} if arm == OBS else LEGR)
        scores: Scores = method.score(study)
    by_group = {group: np.asarray(each, float).tolist() for group, each in scores.by_group.items()}
    return {"seconds": time.perf_counter() - began, "additive": scores.additive, "by_group": by_group}


def _plan(at: Aim, arm: str) -> dict[str, Any]:
    """The plan whose file takes the share of the cycles."""
    told = stored(TABLE, _key(at.name, arm, "scores"))
    assert told
    scores = Scores({group: np.array(each) for group, each in told["by_group"].items()}, additive=told["additive"])
    keep, widths, ratio = at.hit(SHARE, *at.by_scores(scores))
    units = {name: list(map(int, each)) for name, each in keep.items()}
    return {"ratio": ratio, "widths": widths.tolist(), "keep": units}


def _finish(pruned: Pruned, arm: str, name: str) -> dict[str, Any]:
    """Cut, refitted, judged, trained, judged."""
    plan = stored(TABLE, _key(name, arm, "plan"))
    assert plan
    keep = {group: tuple(units) for group, units in plan["keep"].items()}
    small, data = cut(pruned.network, pruned.graph, keep), pruned.data
    against = CutNetwork(small, pruned.network, pruned.graph, kept_indices(pruned.graph, keep))
    refitted, _ = refit_best(against, data, RefitPlan(SEED))
    notes = {"ratio": plan["ratio"], "refitted": evaluate(refitted, data.test, data).value}
    return judged(fit(refitted, data, recipe(SEED, precision="auto")), data, notes)


def _write() -> int:
    tables: dict[str, Any] = {}
    for name in NETWORKS:
        dense = stored(TABLE, f"{name}-dense")
        cells = {arm: row for arm in ARMS if (row := stored(TABLE, _key(name, arm, "trained")))}
        made_for_it = cells.get(list(SEARCHES)[-1])
        if dense and made_for_it:
            rows = [
                {"by": arm, "ratio": row["ratio"], "refitted": row["refitted"], "test": row["test"],
                 "to_search_for_it": paired(made_for_it, row), "to_dense": paired(dense, row)}
                for arm, row in cells.items()
            ]  # fmt: skip
            tables[name] = {"dense": dense["test"], "rows": rows}
    result = {"data": DATA, "share": SHARE, "legr": LEGR, "tables": tables}
    print(write(TABLE, f"python -m benchmarks.{TABLE}", result, ("torch", "ai-edge-litert")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
