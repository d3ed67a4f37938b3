"""LeGR decides how many channels each group keeps under the milliseconds, DCP which: is that more than either alone?

    python -m benchmarks.composition [--quick | --seeds SEED ... | --table] [--networks NAME ...] [--until STAGE]

ResNet-20 and MobileNetV2 (32 x 32) on CIFAR-10 at 0.5x of the dense network's measured LiteRT ms, one thread. Widths
are those of `benchmarks.equal_ms`: LeGR's, searched in milliseconds, or uniform ones, both aimed until their files
take the budget within 4 %. At LeGR's widths: LeGR's own choice, magnitude's (l2), and DCP's, with the weights it
trained and with the dense ones; at uniform widths: DCP's. Accuracy on test right after the cut, with norms measured
anew, and after 10k x 3 at learning rates 0.01 and 0.05; paired differences to LeGR alone. Every cell is a file under
`results/composition/`. Three quarters of an hour on two idle cores, once the plans are there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks import equal_ms
from benchmarks.aimed import Aim, aim
from benchmarks.equal_ms import IN_MS, plan
from benchmarks.recording import write
from benchmarks.selections import small
from benchmarks.subjects import cell, stored
from benchmarks.trained import DATA, SEEDS, asked, images, judged, paired, recipe, seconds_told
from deploy_prune.graph.filter_norms import filter_norms
from deploy_prune.scoring.methods.dcp import Dcp
from deploy_prune.scoring.study import Study
from deploy_prune.scoring.top_units import best_units
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.loop import fit
from deploy_prune.train.recalibration import recalibrate_norms
from deploy_prune.values import Scores, Selection

TABLE, SHARE = "composition", 0.5
RATES = (0.01, 0.05)
Choose = Callable[[Study, dict[str, int], dict[str, Any]], Selection]


def _as_planned(study: Study, widths: dict[str, int], planned: dict[str, Any]) -> Selection:
    del study, widths
    return Selection({name: tuple(units) for name, units in planned["keep"].items()})


def _largest(study: Study, widths: dict[str, int], planned: dict[str, Any]) -> Selection:
    del planned
    norms = filter_norms(study.network.module, study.graph, power=2)
    return Selection(best_units(Scores(norms), widths))


def _by_dcp(study: Study, widths: dict[str, int], planned: dict[str, Any]) -> Selection:
    del planned
    return Dcp().select(study, widths)


def _chosen_alone(study: Study, widths: dict[str, int], planned: dict[str, Any]) -> Selection:
    """Tells DCP's choice from its training."""
    return Selection(_by_dcp(study, widths, planned).keep)


ALONE = "LeGR alone"
ARMS: dict[str, tuple[str, Choose]] = {
    ALONE: (IN_MS, _as_planned),
    "LeGR's widths, DCP's choice": (IN_MS, _by_dcp),
    "LeGR's widths, DCP's choice, the dense weights": (IN_MS, _chosen_alone),
    "LeGR's widths, magnitude's choice": (IN_MS, _largest),
    "uniform widths, DCP's choice": ("uniform", _by_dcp),
}


def main() -> int:
    """Fill in the missing cells, then write the table."""
    todo = asked(__doc__, equal_ms.parser())
    if not todo.table_only:
        data = images()
        for name in todo.rest.networks:
            with aim(name, data) as at:
                for seed in todo.seeds:
                    _fill(at, seed, plans_alone=todo.rest.until != equal_ms.STAGES[-1])
    return _written()


def _fill(at: Aim, seed: int, *, plans_alone: bool) -> None:
    for arm, (widths_by, _) in ARMS.items():
        planned = plan(at, widths_by, SHARE, seed)
        if not plans_alone and "reason" not in planned:
            key = _key(at.name, arm, seed)
            seconds_told(key, cell(TABLE, key, lambda a=arm, p=planned: _cell(at, a, p, seed)))  # type: ignore[misc]


def _key(name: str, arm: str, seed: int) -> str:
    return f"{name}-{arm.replace(' ', '_').replace(',', '')}-{seed}".replace("'", "")


def _cell(at: Aim, arm: str, planned: dict[str, Any], seed: int) -> dict[str, Any]:
    pruned, data = at.pruned, at.pruned.data
    widths = dict(zip((group.name for group in pruned.graph.free), planned["widths"], strict=True))
    began = time.monotonic()
    selection = ARMS[arm][1](pruned.study(pruned.cost(), 0.0, seed=seed), widths, planned)
    seconds = time.monotonic() - began
    left = small(pruned, selection)
    again = recalibrate_norms(left, data, seed=seed)
    return {
        "ratio": planned["ratio"],
        "seconds": seconds,
        "cut": evaluate(left, data.test, data).value,
        "recalibrated": evaluate(again, data.test, data).value,
        "trained": {str(rate): judged(fit(again, data, recipe(seed, lr=rate)), data, {}) for rate in RATES},
    }


def _written() -> int:
    tables = {name: rows for name in equal_ms.NETWORKS if (rows := _table(name))}
    result = {"data": DATA, "share": SHARE, "tables": tables}
    print(write(TABLE, "python -m benchmarks.composition", result, ("torch", "ai-edge-litert")))
    return 0


def _table(name: str) -> dict[str, Any]:
    cells = {arm: {seed: cell for seed in SEEDS if (cell := stored(TABLE, _key(name, arm, seed)))} for arm in ARMS}
    return {arm: _row(by_seed, {} if arm == ALONE else cells[ALONE]) for arm, by_seed in cells.items() if by_seed}


def _row(by_seed: dict[int, dict[str, Any]], base: dict[int, dict[str, Any]]) -> dict[str, Any]:
    return {
        "seeds": list(by_seed),
        **{of: [each[of] for each in by_seed.values()] for of in ("ratio", "cut", "recalibrated", "seconds")},
        "trained": {
            str(rate): {
                "test": [each["trained"][str(rate)]["test"] for each in by_seed.values()],
                "against_alone": [paired(base[seed]["trained"][str(rate)], each["trained"][str(rate)])
                                  for seed, each in by_seed.items() if seed in base],
            }
            for rate in RATES
        },
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
