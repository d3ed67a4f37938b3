"""LeGR's orderings (E3) and its front (E4) on CIFAR-10: the search must beat random draws, and uniform widths.

    python -m benchmarks.legr [--quick | --seeds SEED ... | --table]

E3: 150 candidates (population 32, tournament 8, lag 8), fitness on 1,000 validation images after norms were measured on
500 training images, half the MACs, inner mode, no candidate trained. Best loss < best random loss < identity's;
accuracy on test with norms measured anew >= identity + 10 points and >= uniform widths (l2) + 3 points; 3 of 3 seeds;
the budget is met within one channel. E4, ResNet-20: the same ranking at 70, 60, 50 and 40 % of the MACs, 10k x 3:
accuracy falls with the budget to within 0.5 point, and at 50 % it is at least uniform widths' + 0.3 in the mean of the
seeds.
Every cell is a file under `results/legr/`. Half an hour on two idle cores.
"""

from __future__ import annotations

import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.recording import write
from benchmarks.subjects import cell, stored
from benchmarks.trained import BY_STEPS, DATA, SEEDS, Pruned, asked, images, judged, paired, recipe, seconds_told
from deploy_prune import plugins
from deploy_prune.graph.surgery import cut
from deploy_prune.records import read_record
from deploy_prune.scoring.evolution.ageing import Origin
from deploy_prune.scoring.scores_file import read_scores, save_scores
from deploy_prune.search_results import SEARCH, SearchRecord
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.loop import fit
from deploy_prune.train.recalibration import recalibrate_norms
from deploy_prune.values import Data, Scores

TABLE = "legr"
NETWORKS = ("resnet20", "resnet56")
FRONT_OF = "resnet20"
BUDGET, FRONT = 0.5, (0.7, 0.6, 0.5, 0.4)
SETTINGS = {
    "candidates": 150, "population": 32, "tournament": 8, "images": 1000, "norm_images": 500, "finalists": 0,
    **BY_STEPS, "steps": 0,
}  # fmt: skip
SCORES = Path("build") / "benchmarks" / "legr"
"""Rankings of the searches, which E4 goes on with."""


def main() -> int:
    """Fill in the missing cells, then write the table; exits 1 where a gate fails."""
    todo = asked(__doc__)
    if not todo.table_only:
        data = images()
        for seed in todo.seeds:
            for name in NETWORKS:
                _fill(name, data, seed)
    return _written()


def _fill(name: str, data: Data, seed: int) -> None:
    subject = Pruned.of(name, data, scope="inner")
    key = f"{name}-search-{seed}"
    seconds_told(key, cell(TABLE, key, lambda: _search(subject, name, seed)))
    if name != FRONT_OF:
        return
    for share in FRONT:
        for arm in ("legr", "uniform") if share == BUDGET else ("legr",):
            key = f"{name}-{arm}-{share}-{seed}"
            seconds_told(key, cell(TABLE, key, lambda a=arm, x=share: _tuned(subject, a, x, seed)))  # type: ignore[misc]


def _search(subject: Pruned, name: str, seed: int) -> dict[str, Any]:
    cost = subject.cost()
    whole = subject.whole(cost)
    with tempfile.TemporaryDirectory() as folder:
        study = subject.study(cost, BUDGET * whole, seed=seed, workers=plugins.build("workers", "local"),
                              folder=Path(folder))  # fmt: skip
        scores = plugins.build("methods", "legr", SETTINGS).score(study)
        search = read_record(Path(folder) / SEARCH, SearchRecord)
    save_scores(scores, _ranking(name, seed))
    origins = {kind: [each.loss for each in search.tried if each.origin == kind and each.loss is not None]
               for kind in get_args(Origin)}  # fmt: skip
    assert search.best is not None
    widths = np.array([search.tried[search.best].widths])
    dearest = float((cost(widths + np.eye(widths.shape[1], dtype=int)) - cost(widths)).max())
    return {
        "best_loss": search.tried[search.best].loss,
        "best_random_loss": min(origins["random"]),
        "identity_loss": origins["identity"][0],
        "uniform_loss": origins["uniform"][0],
        "plans": len({each.plan for each in search.tried}),
        "macs": float(cost(widths)[0]) / whole,
        "left_of_budget_in_channels": (BUDGET * whole - float(cost(widths)[0])) / dearest,
        "legr": _recalibrated(subject, scores, seed),
        "identity": _recalibrated(subject, _identity(subject), seed),
        "uniform": _recalibrated(subject, _uniform(subject), seed),
    }


def found_by(subject: Pruned, seed: int) -> Scores:
    """What the search of this seed found, which is made again where its ranking was not kept."""
    if not _ranking(FRONT_OF, seed).exists():
        _search(subject, FRONT_OF, seed)
    return read_scores(_ranking(FRONT_OF, seed), subject.graph)


def _ranking(name: str, seed: int) -> Path:
    return SCORES / f"{name}-{seed}.safetensors"


def _identity(subject: Pruned) -> Scores:
    from deploy_prune.graph.filter_norms import squared_norms

    norms = squared_norms(subject.network.module, subject.graph)
    return Scores({group: np.mean(list(sizes.values()), axis=0) for group, sizes in norms.items()})


def _uniform(subject: Pruned) -> Scores:
    cost = subject.cost()
    scores: Scores = plugins.build("methods", "uniform").score(subject.study(cost, 0.0, seed=0))
    return scores


def _recalibrated(subject: Pruned, scores: Scores, seed: int) -> float:
    cost = subject.cost()
    small = cut(subject.network, subject.graph, subject.keep(scores, cost, BUDGET * subject.whole(cost)))
    return evaluate(recalibrate_norms(small, subject.data, seed=seed), subject.data.test, subject.data).value


def _tuned(subject: Pruned, arm: str, share: float, seed: int) -> dict[str, Any]:
    scores = found_by(subject, seed) if arm == "legr" else _uniform(subject)
    cost = subject.cost()
    small = cut(subject.network, subject.graph, subject.keep(scores, cost, share * subject.whole(cost)))
    again = recalibrate_norms(small, subject.data, seed=seed)
    return judged(fit(again, subject.data, recipe(seed)), subject.data, {})


def _written() -> int:
    searches = {name: {seed: search for seed in SEEDS if (search := stored(TABLE, f"{name}-search-{seed}"))}
                for name in NETWORKS}  # fmt: skip
    orderings = {name: {str(seed): {**search, "gates": _gates(search)} for seed, search in cells.items()}
                 for name, cells in searches.items()}  # fmt: skip
    fronts = {seed: _front(seed) for seed in SEEDS}
    whole = {seed: front for seed, front in fronts.items() if front}
    result = {"data": DATA, "settings": SETTINGS, "budget": BUDGET, "orderings": orderings, "front": _summary(whole)}
    print(write(TABLE, "python -m benchmarks.legr", result, ("torch",)))
    gates = [gate for cells in orderings.values() for search in cells.values() for gate in search["gates"].values()]
    return int(not all([*gates, *result["front"].get("gates", {}).values()]))  # type: ignore[union-attr]


def _gates(search: dict[str, Any]) -> dict[str, bool]:
    return {
        "best < random < identity": search["best_loss"] < search["best_random_loss"] < search["identity_loss"],
        "identity + 10": search["legr"] >= search["identity"] + 0.10,
        "uniform + 3": search["legr"] >= search["uniform"] + 0.03,
        "budget within one channel": 0 <= search["left_of_budget_in_channels"] <= 1,
    }


def _front(seed: int) -> dict[str, dict[str, Any]] | None:
    keys = [f"{FRONT_OF}-legr-{share}-{seed}" for share in FRONT] + [f"{FRONT_OF}-uniform-{BUDGET}-{seed}"]
    points = {key.removeprefix(f"{FRONT_OF}-").removesuffix(f"-{seed}"): stored(TABLE, key) for key in keys}
    return points if all(points.values()) else None  # type: ignore[return-value]


def _summary(fronts: dict[int, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    if not fronts:
        return {}
    means = {
        key: float(np.mean([points[key]["test"] for points in fronts.values()])) for key in next(iter(fronts.values()))
    }
    legr = [means[f"legr-{share}"] for share in FRONT]
    return {
        "seeds": sorted(fronts),
        "test": {key: [points[key]["test"] for points in fronts.values()] for key in means},
        "means": means,
        "against_uniform": [
            paired(points[f"uniform-{BUDGET}"], points[f"legr-{BUDGET}"]) for points in fronts.values()
        ],
        "gates": {
            "monotone within 0.5": all(one >= other - 0.005 for one, other in pairwise(legr)),
            "uniform + 0.3": means[f"legr-{BUDGET}"] >= means[f"uniform-{BUDGET}"] + 0.003,
        },
    }


if __name__ == "__main__":
    sys.exit(main())
