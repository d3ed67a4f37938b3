"""Network Slimming's travel rule (E2): more travel, more sparsity, and better networks right after the cut.

    python -m benchmarks.slimming [--quick | --seeds SEED ... | --table]

ResNet-20 on CIFAR-10, inner mode, 10 sparse epochs on all 45,000 images, D of 0, 1 and 2 medians of |gamma|, then cut
to 50 and 30 % of the MACs, norms measured anew, 10k x 3. Gates, 3 of 3 seeds: q10 / q50 of |gamma| falls with D and
ends clearly (by a fifth) below that of D = 0; accuracy with norms measured anew is at least that of D = 0 at equal
MACs. Accuracy after training is reported, not gated. Every cell is a file under `results/slimming/`. An hour and a half
on two idle cores: a sparse training that was killed goes on with its next epoch.
"""

from __future__ import annotations

import dataclasses
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.recording import write
from benchmarks.subjects import cell, stored
from benchmarks.trained import DATA, SEEDS, Pruned, asked, images, judged, recipe, seconds_told
from deploy_prune.graph.surgery import cut
from deploy_prune.records import read_record
from deploy_prune.scoring.methods.slimming import LOG, Slimming, Sparsity
from deploy_prune.sources.weights import replace_weights
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.loop import fit
from deploy_prune.train.recalibration import recalibrate_norms
from deploy_prune.values import Data

TABLE = "slimming"
NETWORK = "resnet20"
TRAVELS = (0.0, 1.0, 2.0)
SHARES = (0.5, 0.3)
EPOCHS = 10
CLEARLY = 0.8
FOLDER = Path("build") / "benchmarks" / "slimming"


def main() -> int:
    """Fill in the missing cells, then write the table; exits 1 where a gate fails."""
    todo = asked(__doc__)
    if not todo.table_only:
        data = images()
        for seed in todo.seeds:
            for travel in TRAVELS:
                key = _key(travel, seed)
                seconds_told(key, cell(TABLE, key, lambda t=travel, s=seed: _cell(data, t, s)))  # type: ignore[misc]
    return _written()


def _key(travel: float, seed: int) -> str:
    return f"{NETWORK}-{travel:g}-{seed}"


def _cell(data: Data, travel: float, seed: int) -> dict[str, Any]:
    subject = Pruned.of(NETWORK, data, scope="inner")
    cost = subject.cost()
    folder = FOLDER / _key(travel, seed)
    study = dataclasses.replace(subject.study(cost, 0.0, seed=seed), folder=folder)
    scores = Slimming(travel=travel, epochs=EPOCHS, precision="bf16").score(study)
    sparsity = read_record(folder / LOG, Sparsity)
    trained = replace_weights(subject.network, scores.weights or {})
    row: dict[str, Any] = {
        "travel": travel,
        "seed": seed,
        "penalty": sparsity.penalty,
        "quantiles": [vars(each) for each in sparsity.quantiles],
        "q10_of_q50": sparsity.quantiles[-1].spread,
        "dense_val": evaluate(trained, data.val, data).value,
        "recalibrated": [],
        "test": [],
    }
    part = subject.of_scored(scores)
    cost = part.cost()
    for share in SHARES:
        small = cut(trained, subject.graph, part.keep(scores, cost, share * part.whole(cost)))
        again = recalibrate_norms(small, data, seed=seed)
        row["recalibrated"].append(evaluate(again, data.val, data).value)
        row["test"].append(judged(fit(again, data, recipe(seed)), data, {})["test"])
    return row


def _written() -> int:
    rows = [row for seed in SEEDS for travel in TRAVELS if (row := stored(TABLE, _key(travel, seed)))]
    by_seed = {seed: [row for row in rows if row["seed"] == seed] for seed in SEEDS}
    whole = [cells for cells in by_seed.values() if len(cells) == len(TRAVELS)]
    gates = {
        "sparsity rises with D": all(one["q10_of_q50"] > other["q10_of_q50"] for cells in whole
                                     for one, other in pairwise(cells)),
        "clearly below D = 0": all(cells[-1]["q10_of_q50"] < CLEARLY * cells[0]["q10_of_q50"] for cells in whole),
        "after the cut at least as good as D = 0": all(
            best >= base for cells in whole
            for best, base in zip(cells[1]["recalibrated"], cells[0]["recalibrated"], strict=True)
        ),
    }  # fmt: skip
    result = {"data": DATA, "shares": SHARES, "epochs": EPOCHS, "rows": rows, "gates": gates if whole else {}}
    print(write(TABLE, "python -m benchmarks.slimming", result, ("torch",)))
    return int(not all(gates.values()))


if __name__ == "__main__":
    sys.exit(main())
