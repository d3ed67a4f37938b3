"""DCP's and DKP's orderings on ResNet-20, CIFAR-10: E5 signal, E6 trained, E7 epsilon, E8 kernels, E10 lambda.

    python -m benchmarks.dcp [--quick | --seeds SEED ... | --table]

Half the channels of every inner group (half the kernels for DKP), 1,024 images, an eighth of a group per step (a
sixteenth with epsilon), heads trained on a frozen trunk. Accuracy on test right after the cut, and with norms measured
anew. Gates, for every seed: E5: DCP is 15 points above L_M alone and above channels by lot with DCP's training, right
after the cut; with norms anew DCP >= L_M alone >= lot + 8. E7: as epsilon shrinks, more channels stay and accuracy
rises. E8: half the kernels are no worse than half the channels, and save no multiply-adds but where they were promoted.
E10: lambda 1 is 2 points above 0.1, and that 15 above 0. E6, 10k x 3 at learning rates 0.01 and 0.05, mean of the
seeds: DCP is no worse than the lot, and 5 points below a dense network that was trained alike at the most.
Every cell is a file under `results/dcp/`. Half an hour on two idle cores.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.recording import write
from benchmarks.selections import by_lot, halves, small
from benchmarks.subjects import cell, stored
from benchmarks.trained import DATA, SEEDS, Pruned, asked, images, judged, paired, recipe, seconds_told
from deploy_prune.graph.recount import recount
from deploy_prune.pipeline.stages import masked_macs
from deploy_prune.scoring.methods.dcp import Dcp
from deploy_prune.scoring.methods.dkp import Dkp
from deploy_prune.scoring.study import Study
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.loop import fit
from deploy_prune.train.recalibration import recalibrate_norms
from deploy_prune.values import Data, Selection

TABLE, NETWORK = "dcp", "resnet20"
DCP, LOT, LITTLE, RECONSTRUCTION, KERNELS, DENSE = (
    "DCP", "by lot, trained as DCP", "DCP, lambda 0.1", "L_M alone", "DKP (reconstructed)", "dense",
)  # fmt: skip
EPSILONS = (0.1, 0.03, 0.01)
Select = Callable[[Study, dict[str, int]], Selection]
ARMS: dict[str, Select] = {
    DCP: Dcp().select,
    LOT: lambda study, widths: by_lot(study, widths, Dcp()),
    LITTLE: Dcp(balance=0.1).select,
    RECONSTRUCTION: Dcp(balance=0.0).select,
    KERNELS: lambda study, _: Dkp(rate=0.5).select(study, {}),
    **{f"epsilon {epsilon}": lambda study, _, e=epsilon: Dcp(epsilon=e, steps=16).select(study, {})  # type: ignore[misc]
       for epsilon in EPSILONS},
}  # fmt: skip
TRAINED = (DCP, LOT, KERNELS, DENSE)
RATES = (0.01, 0.05)


def main() -> int:
    """Fill in the missing cells, then write the table; exits 1 where a gate fails."""
    todo = asked(__doc__)
    if not todo.table_only:
        data = images()
        for seed in todo.seeds:
            subject = Pruned.of(NETWORK, data, scope="inner")
            for arm in (*ARMS, DENSE):
                key = _key(arm, seed)
                seconds_told(key, cell(TABLE, key, lambda a=arm, s=seed, of=subject: _cell(of, a, s)))  # type: ignore[misc]
    return _written()


def _key(arm: str, seed: int) -> str:
    return f"{arm.replace(' ', '_').replace(',', '')}-{seed}"


def _cell(subject: Pruned, arm: str, seed: int) -> dict[str, Any]:
    began = time.monotonic()
    selection = (
        Selection({}) if arm == DENSE else ARMS[arm](subject.study(subject.cost(), 0.0, seed=seed), halves(subject))
    )
    seconds = time.monotonic() - began
    left, data = small(subject, selection), subject.data
    whole = recount(subject.network).macs
    inner = halves(subject)
    again = recalibrate_norms(left, data, seed=seed)
    return {
        "seconds": seconds,
        "channels_kept": sum(len(selection.keep.get(name, range(2 * half))) for name, half in inner.items())
        / (2 * sum(inner.values())),
        "macs_kept": recount(left).macs / whole,
        "theoretical_macs_kept": (recount(left).macs - masked_macs(left)) / whole,
        "cut": evaluate(left, data.test, data).value,
        "recalibrated": evaluate(again, data.test, data).value,
        "trained": _trained(again, data, seed) if arm in TRAINED else {},
    }


def _trained(network: Any, data: Data, seed: int) -> dict[str, Any]:
    return {str(rate): judged(fit(network, data, recipe(seed, lr=rate)), data, {}) for rate in RATES}


def _written() -> int:
    cells = {arm: {seed: row for seed in SEEDS if (row := stored(TABLE, _key(arm, seed)))}
             for arm in (*ARMS, DENSE)}  # fmt: skip
    seeds = [seed for seed in SEEDS if all(seed in by_seed for by_seed in cells.values())]
    gates = {str(seed): _gates({arm: by_seed[seed] for arm, by_seed in cells.items()}) for seed in seeds}
    rows = {arm: _row([by_seed[seed] for seed in seeds]) for arm, by_seed in cells.items()}
    final = _final(cells, seeds) if seeds else {}
    result = {"data": DATA, "seeds": seeds, "rows": rows, "gates": gates, "final": final}
    print(write(TABLE, "python -m benchmarks.dcp", result, ("torch",)))
    kept = [passed for of_seed in gates.values() for passed in of_seed.values()]
    return int(not (seeds and all(kept) and all(final["gates"].values())))


def _row(cells: list[dict[str, Any]]) -> dict[str, Any]:
    names = ("channels_kept", "macs_kept", "theoretical_macs_kept", "cut", "recalibrated", "seconds")
    return {name: [each[name] for each in cells] for name in names}


def _gates(of: dict[str, dict[str, Any]]) -> dict[str, bool]:
    cut = {arm: row["cut"] for arm, row in of.items()}
    anew = {arm: row["recalibrated"] for arm, row in of.items()}
    epsilons = [of[f"epsilon {epsilon}"] for epsilon in EPSILONS]
    promoted = of[KERNELS]["channels_kept"] < 1
    return {
        "E5: DCP 15 above L_M alone": cut[DCP] >= cut[RECONSTRUCTION] + 0.15,
        "E5: DCP 15 above the lot": cut[DCP] >= cut[LOT] + 0.15,
        "E5: norms anew, DCP >= L_M alone": anew[DCP] >= anew[RECONSTRUCTION],
        "E5: norms anew, L_M alone 8 above the lot": anew[RECONSTRUCTION] >= anew[LOT] + 0.08,
        "E7: more channels": all(one["channels_kept"] < other["channels_kept"] for one, other in pairwise(epsilons)),
        "E7: more accuracy": all(one["cut"] < other["cut"] for one, other in pairwise(epsilons)),
        "E8: kernels no worse than channels": cut[KERNELS] >= cut[DCP],
        "E8: no saving but by promotion": promoted or of[KERNELS]["macs_kept"] == 1,
        "E10: lambda 1 is 2 above 0.1": cut[DCP] >= cut[LITTLE] + 0.02,
        "E10: lambda 0.1 is 15 above 0": cut[LITTLE] >= cut[RECONSTRUCTION] + 0.15,
    }


def _final(cells: dict[str, dict[int, dict[str, Any]]], seeds: list[int]) -> dict[str, Any]:
    """E6."""
    tests = {arm: {str(rate): [cells[arm][seed]["trained"][str(rate)]["test"] for seed in seeds] for rate in RATES}
             for arm in TRAINED}  # fmt: skip
    against = {
        arm: {str(rate): [paired(cells[LOT][seed]["trained"][str(rate)], cells[arm][seed]["trained"][str(rate)])
                          for seed in seeds] for rate in RATES}
        for arm in TRAINED if arm != LOT
    }  # fmt: skip
    means = {
        arm: {rate: float(np.mean(accuracies)) for rate, accuracies in by_rate.items()}
        for arm, by_rate in tests.items()
    }
    bounds = (("no worse than the lot", LOT, 0.0), ("within 5 of the dense", DENSE, 0.05))
    gates = {
        f"E6: {said} at {rate}": means[DCP][str(rate)] >= means[arm][str(rate)] - less
        for rate in RATES for said, arm, less in bounds
    }  # fmt: skip
    return {"test": tests, "means": means, "against_lot": against, "gates": gates}


if __name__ == "__main__":
    sys.exit(main())
