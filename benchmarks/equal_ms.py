"""Accuracy at equal *measured* LiteRT ms: LeGR in ms and in MACs, uniform, magnitude, slimming, Torch-Pruning.

    python -m benchmarks.equal_ms [--quick | --seeds SEED ... | --table] [--networks NAME ...] [--shares SHARE ...]
                                  [--until STAGE]

ResNet-20 and MobileNetV2 (32 x 32) on CIFAR-10, at 0.5x and 0.35x of the dense network's time on LiteRT, one thread.
Every plan is aimed until the file of its widths, timed bracketed, takes the budget within 4 %; then it is cut, its
norms are measured anew, and it is trained 10k x 3. All arms of a seed see the same images; differences are paired on
the same 5,000 test images. LeGR is searched per network, cost, budget and seed, as a user with one budget does, over 60
candidates, for time (the default is 150). Slimming trains 10 sparse epochs on the same 10,000 images first.
Torch-Pruning 1.6.1 is run in eight configurations (group norm and BN scale, global and local, free and rounded to 16);
the one that is best on *validation* with the first seed is its arm (extra `benchmarks`). Stages: `scores` (searches,
sparse trainings), `plans` (times files: wants a quiet machine), then the trainings. Every plan and every training is a
file under `results/equal_ms/`. Two hours on two idle cores.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.aimed import WITHIN, Aim, aim
from benchmarks.recording import write
from benchmarks.rivals import CONFIGURATIONS, cut_by, widths_of
from benchmarks.subjects import cell, stored
from benchmarks.trained import (
    BY_STEPS,
    DATA,
    RECIPE,
    SEEDS,
    Asked,
    Pruned,
    asked,
    images,
    judged,
    paired,
    recipe,
    seconds_told,
)
from deploy_prune import plugins
from deploy_prune.budget.widths import Limits
from deploy_prune.errors import BudgetError, DeployPruneError
from deploy_prune.graph.surgery import cut
from deploy_prune.scoring.methods.slimming import Slimming
from deploy_prune.scoring.scores_file import read_scores, save_scores
from deploy_prune.sources.weights import replace_weights
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.loop import fit
from deploy_prune.train.recalibration import recalibrate_norms
from deploy_prune.train.recipe import Recipe
from deploy_prune.values import Data, Network, Scores

TABLE = "equal_ms"
NETWORKS = ("resnet20", "mobilenet_v2")
SHARES = (0.5, 0.35)
IN_MS = "legr in ms"
DRAWN = (IN_MS, "legr in MACs", "slimming")
"""What a seed decides over; the plans of the others are one for all seeds."""
OURS = (*DRAWN[:2], "uniform", "magnitude", "slimming")
LEGR = {"candidates": 60, "population": 20, **BY_STEPS}
SPARSE: dict[str, Any] = {"epochs": 10, "images": RECIPE.images, "precision": "bf16"}
SCORES = Path("build") / "benchmarks" / "equal_ms"
LEAST_KEPT = 0.1
"""Share of channels that Torch-Pruning is asked to keep, at the least."""
STAGES = ("scores", "plans", "trainings")


def main() -> int:
    """Fill in the missing cells, then write the table."""
    todo = asked(__doc__, parser())
    if not todo.table_only:
        data = images()
        for name in todo.rest.networks:
            _fill(name, data, todo)
    return _written()


def parser() -> argparse.ArgumentParser:
    """What tables at equal milliseconds ask for beyond seeds."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS, metavar="NAME")
    parent.add_argument("--shares", nargs="*", type=float, default=list(SHARES), choices=SHARES, metavar="SHARE")
    parent.add_argument("--until", choices=STAGES, default=STAGES[-1], metavar="STAGE", help=", ".join(STAGES))
    return parent


def _fill(name: str, data: Data, todo: Asked) -> None:
    stages, cells = STAGES[: STAGES.index(todo.rest.until) + 1], list(itertools.product(todo.rest.shares, todo.seeds))
    with aim(name, data) as at:
        for (share, seed), arm in itertools.product(cells, OURS):
            scores(at, arm, share, seed)
        for (share, seed), arm in itertools.product(cells if "plans" in stages else (), OURS):
            told = plan(at, arm, share, seed)
            print(name, share, arm, seed, told.get("ratio") or told["reason"], flush=True)
        for share, arm in itertools.product(todo.rest.shares if "plans" in stages else (), CONFIGURATIONS):
            plan_of_theirs(at, arm, share)
        for share, seed in cells if "trainings" in stages else ():
            _train(at, share, seed)


def key_of(name: str, share: float, arm: str, seed: int) -> str:
    """The key of a cell."""
    return f"{name}-{share}-{arm.replace(' ', '_')}-{seed}"


def plan(at: Aim, arm: str, share: float, seed: int) -> dict[str, Any]:
    """The plan of one of our methods: `keep`, `widths`, measured `ratio`; or the `reason` why there is none."""
    seed = seed if arm in DRAWN else SEEDS[0]
    return cell(
        TABLE, f"plan-{key_of(at.name, share, arm, seed)}", lambda: _or_reason(lambda: _ours(at, arm, share, seed))
    )


def plan_of_theirs(at: Aim, arm: str, share: float) -> dict[str, Any]:
    """The plan of a configuration of Torch-Pruning: `channels_kept`, `widths`, measured `ratio`; or the `reason`."""
    key = f"plan-{key_of(at.name, share, arm, SEEDS[0])}"
    return cell(TABLE, key, lambda: _or_reason(lambda: _theirs(at, arm, share)))


def _or_reason(made: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return made()
    except DeployPruneError as error:
        return {"reason": error.message}


def _ours(at: Aim, arm: str, share: float, seed: int) -> dict[str, Any]:
    proposal, whole = at.by_scores(scores(at, arm, share, seed), in_ms=arm == IN_MS)
    keep, widths, ratio = at.hit(share, proposal, whole)
    return {**_row(at, widths, ratio), "keep": {name: list(units) for name, units in keep.items()}}


def _theirs(at: Aim, arm: str, share: float) -> dict[str, Any]:
    def proposal(kept: float) -> tuple[float, np.ndarray]:
        if kept < LEAST_KEPT:
            raise BudgetError("below that it leaves ever more layers as they are, and files become slower again")
        return kept, widths_of(cut_by(at.pruned.network, arm, 1 - kept), at.pruned.graph)

    kept, widths, ratio = at.hit(share, proposal, 1.0)
    return {**_row(at, widths, ratio), "channels_kept": kept}


def _row(at: Aim, widths: np.ndarray, ratio: float) -> dict[str, Any]:
    macs = at.pruned.cost()
    return {"ratio": ratio, "widths": widths.tolist(), "macs_kept": float(macs(widths)) / float(macs(at.dense))}


# --- scores ----------------------------------------------------------------------------------------------------


def scores(at: Aim, arm: str, share: float, seed: int) -> Scores:
    """Kept: a search serves one budget, a sparse training all of them."""
    key = key_of(at.name, share, arm, seed) if arm.startswith("legr") else f"{at.name}-{arm}-{seed}"
    path = SCORES / f"{key}.safetensors"
    if not path.exists():
        save_scores(_scored(at, arm, share, seed), path)
    return read_scores(path, at.pruned.graph)


def _scored(at: Aim, arm: str, share: float, seed: int) -> Scores:
    pruned, cost = at.pruned, at.pruned.cost()
    if arm.startswith("legr"):
        of, limit = (at.latency, share * at.dense_ms) if arm == IN_MS else (cost, _macs_at(at, share))
        study = pruned.study(of, limit, seed=seed, workers=plugins.build("workers", "local"))
        scores: Scores = plugins.build("methods", "legr", LEGR).score(study)
        return scores
    if arm == "slimming":
        # MobileNetV2's stream has no scale of its own: slimming has a say in its inner groups alone.
        scope = "inner" if at.name == "mobilenet_v2" else "full"
        part = Pruned(pruned.network, pruned.graph, pruned.data, Limits(scope=scope))
        return Slimming(**SPARSE).score(part.study(cost, 0.0, seed=seed))
    scored: Scores = plugins.build("methods", arm).score(pruned.study(cost, 0.0, seed=seed))
    return scored


def _macs_at(at: Aim, share: float) -> float:
    """MACs at which uniform widths take the budget, by the model: what a search in MACs aims at."""
    proposal, whole = at.by_scores(scores(at, "uniform", share, SEEDS[0]), in_ms=False)
    return at.limit_for(share, proposal, whole)


# --- trainings and the table -----------------------------------------------------------------------------------


def _train(at: Aim, share: float, seed: int) -> None:
    for arm in OURS:
        _cell(at, arm, share, seed, plan(at, arm, share, seed))
    theirs = CONFIGURATIONS if seed == SEEDS[0] else filter(None, [best_of_theirs(at.name, share)])
    for arm in theirs:
        _cell(at, arm, share, seed, plan_of_theirs(at, arm, share))


def _cell(at: Aim, arm: str, share: float, seed: int, planned: dict[str, Any]) -> None:
    if "reason" not in planned:
        key = key_of(at.name, share, arm, seed)
        seconds_told(key, cell(TABLE, key, lambda: trained(at, arm, planned, recipe(seed))))


def trained(at: Aim, arm: str, planned: dict[str, Any], by: Recipe) -> dict[str, Any]:
    """A plan's network, cut, norms measured anew, trained and judged."""
    network, data = at.pruned.network, at.pruned.data
    if arm in CONFIGURATIONS:
        module = cut_by(network, arm, 1 - planned["channels_kept"])
        small = Network(network.address, module, network.input_shapes, network.classes)
    else:
        keep = {name: tuple(units) for name, units in planned["keep"].items()}
        small = cut(replace_weights(network, _weights(at, arm, by.seed)), at.pruned.graph, keep)
    again = recalibrate_norms(small, data, seed=by.seed)
    notes = {"recalibrated_val": evaluate(again, data.val, data).value, "ratio": planned["ratio"]}
    return judged(fit(again, data, by), data, notes)


def _weights(at: Aim, arm: str, seed: int) -> Mapping[str, Any]:
    """Slimming's; the others leave them as they were."""
    return (scores(at, arm, SHARES[0], seed).weights or {}) if arm == "slimming" else {}


def best_of_theirs(name: str, share: float) -> str | None:
    """The best of Torch-Pruning's configurations, on validation, with the first seed."""
    rows = {arm: stored(TABLE, key_of(name, share, arm, SEEDS[0])) for arm in CONFIGURATIONS}
    known = {arm: row["val"] for arm, row in rows.items() if row}
    return max(known, key=lambda arm: known[arm]) if known else None


def _written() -> int:
    begun = [(name, share) for name, share in itertools.product(NETWORKS, SHARES)
             if any(stored(TABLE, key_of(name, share, IN_MS, seed)) for seed in SEEDS)]  # fmt: skip
    tables = {f"{name} at {share}x": _table(name, share) for name, share in begun}
    result = {"data": DATA, "within": WITHIN, "legr": LEGR, "sparse": SPARSE, "tables": tables}
    print(write(TABLE, "python -m benchmarks.equal_ms", result, ("torch", "ai-edge-litert")))
    return 0


def _table(name: str, share: float) -> dict[str, Any]:
    best = best_of_theirs(name, share)
    rows: dict[str, Any] = {}
    base = {seed: stored(TABLE, key_of(name, share, IN_MS, seed)) for seed in SEEDS}
    for arm in (*OURS, *([best] if best else [])):
        cells = {seed: result for seed in SEEDS if (result := stored(TABLE, key_of(name, share, arm, seed)))}
        reasons = {seed: _reason(name, share, arm, seed) for seed in SEEDS if seed not in cells}
        if not cells:
            rows[arm] = {"reason": reasons[SEEDS[0]]}
            continue
        rows[arm] = {
            "seeds": sorted(cells),
            "without": reasons,
            **{of: [result[of] for result in cells.values()] for of in ("ratio", "recalibrated_val", "val", "test")},
            "against_first": [
                paired(first, result) for seed, result in cells.items() if arm != IN_MS and (first := base[seed])
            ],
        }
    return rows


def _reason(name: str, share: float, arm: str, seed: int) -> str:
    planned = stored(TABLE, f"plan-{key_of(name, share, arm, seed if arm in DRAWN else SEEDS[0])}")
    return (planned or {}).get("reason", "not run")


if __name__ == "__main__":
    sys.exit(main())
