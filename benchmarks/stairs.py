"""What stairs are worth: networks of equal MACs, once with free widths, in multiples of 8 and 16, and stair-aware.

    python -m benchmarks.stairs [--only NETWORK ...] [--table]

Same scores (`magnitude` on random weights), same allocator otherwise, MACs within 1 % of the target; every plan is
really exported and timed bracketed against the dense network, twice. "saved" is the time of a plan / time of the
stair-aware plan. Then the other way round: at the measured milliseconds of each plan, what the stair-aware plan keeps
(MACs, and the sum of its units' rank percentiles), as a skeleton timed in the same session. The latency models are
those of `benchmarks.prediction`. A minute a cell on two idle cores; every cell is a file under `results/stairs/`.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
from scipy.stats import rankdata

from benchmarks.equal_macs import at_equal
from benchmarks.recording import write
from benchmarks.subjects import RUNTIMES, STORE, SUBJECTS, Traced, cell, files, stored
from deploy_prune import plugins
from deploy_prune.budget.allocate import allocate
from deploy_prune.budget.latency.model import LatencyCost, LatencyModel
from deploy_prune.budget.latency.place import Place
from deploy_prune.budget.latency.profiling import profile_network
from deploy_prune.budget.latency.store import open_store
from deploy_prune.budget.latency.timer import timer
from deploy_prune.budget.widths import Limits
from deploy_prune.errors import BudgetError
from deploy_prune.scoring.study import Study
from deploy_prune.timing.devices import THIS_MACHINE, device_at
from deploy_prune.values import ChannelGraph, Scores

TABLE = "stairs"
SHARES = (0.7, 0.5, 0.35)
WITHIN = 0.01
ARMS = {"free": 1, "multiples of 8": 8, "multiples of 16": 16}
STAIRS = "stair-aware"


def main() -> int:
    """Fill in the missing cells, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(SUBJECTS), choices=list(SUBJECTS), metavar="NETWORK")
    parser.add_argument("--table", action="store_true", help="time nothing, write the table of the cells there are")
    asked = parser.parse_args()
    for runtime in () if asked.table else RUNTIMES:
        for name in asked.only:
            traced = Traced.of(SUBJECTS[name])
            scores = plugins.build("methods", "magnitude").score(Study(traced.network, traced.graph, None, 0))
            with open_store(STORE) as store:
                model = profile_network(traced.network, traced.graph, Place(runtime, THIS_MACHINE), store)
            for share in SHARES:
                what = (traced, scores, model)
                result = cell(TABLE, _key(name, runtime, share), lambda w=what, x=share: _cell(w, x))  # type: ignore[misc]
                print(name, runtime, share, {arm: row.get("saved") for arm, row in result["arms"].items()}, flush=True)
    return _written()


def _key(name: str, runtime: str, share: float) -> str:
    return f"{name}-{runtime}-{share}"


def _cell(what: tuple[Traced, Scores, LatencyModel], share: float) -> dict[str, Any]:
    traced, scores, model = what
    plans, missing = plan_arms(traced, scores, model, share)
    return {"arms": {**_timed(plans, what), **missing}}


def plan_arms(
    traced: Traced, scores: Scores, model: LatencyModel, share: float
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, str]]]:
    """The plan of every way at one share of the multiply-adds; of those that cannot have it, the reason."""
    cost, target = LatencyCost.of(model, traced.graph), share * float(traced.macs(traced.dense))
    plans: dict[str, np.ndarray] = {}
    missing: dict[str, dict[str, str]] = {}
    for arm in (*ARMS, STAIRS):
        try:
            widths = widths_of(traced, scores, cost, arm, target)
        except BudgetError as error:
            missing[arm] = {"reason": error.message}
            continue
        plans[arm] = np.array([widths[group.name] for group in traced.graph.free])
        if abs(traced.share(plans[arm]) / share - 1) > WITHIN:
            closest = traced.share(plans.pop(arm))
            missing[arm] = {"reason": f"unreachable within 1 %: the closest has {closest:.3f}x"}
    return plans, missing


def widths_of(traced: Traced, scores: Scores, cost: LatencyCost, arm: str, target: float) -> Any:
    """The widths of a network by one of the ways, at a target of multiply-adds."""
    if arm == STAIRS:
        return at_equal(traced.graph, scores, cost, (traced.macs, target), Limits(), tolerance=WITHIN)
    return allocate(traced.graph, scores, traced.macs, target, Limits(multiple=ARMS[arm]))


def _timed(plans: dict[str, np.ndarray], what: tuple[Traced, Scores, LatencyModel]) -> dict[str, Any]:
    """Every plan's file twice in one session, then the stair-aware plan at its milliseconds."""
    traced, scores, model = what
    cost = LatencyCost.of(model, traced.graph)
    place = Place(model.target.runtime, THIS_MACHINE, threads=model.target.threads)
    dense, *real = files([traced.network, *(traced.cut(plan) for plan in plans.values())], place)
    template = plugins.build("templates", model.profile.drawing.format).read(dense)
    lines = np.array(model.profile.drawing.lines)
    suffix = plugins.load("templates", model.profile.drawing.format).suffix
    rows: dict[str, Any] = {}
    with timer(dense, suffix, model.target, device=device_at(THIS_MACHINE)) as timed:
        twice = [[timed(content).ratio for content in real] for _ in range(2)]
        for arm, ratios in zip(plans, zip(*twice, strict=True), strict=True):
            ratio = float(np.sqrt(np.prod(ratios)))
            rows[arm] = {
                "macs": traced.share(plans[arm]),
                "rank": total_rank(traced.graph, scores, plans[arm]),
                "measured": list(ratios),
                "predicted": float(model.ratio(cost.whole(plans[arm]))),
            }
            if arm != STAIRS:
                rows[arm]["at equal ms"] = _at_equal_ms(
                    ratio, what, lambda w: timed(template.resized(lines[:, 0] + lines[:, 1:] @ cost.whole(w))).ratio
                )
    if STAIRS in rows:
        fastest = float(np.sqrt(np.prod(rows[STAIRS]["measured"])))
        for row in rows.values():
            row["saved"] = float(np.sqrt(np.prod(row["measured"]))) / fastest
    return rows


def total_rank(graph: ChannelGraph, scores: Scores, widths: np.ndarray) -> float:
    """Sum of the kept units' rank percentiles over the whole network, as a share of all."""
    percentiles = rankdata(np.concatenate([scores.by_group[group.name] for group in graph.free]))
    parts = np.split(percentiles, np.cumsum([group.width for group in graph.free])[:-1])
    kept = sum(np.sort(part)[::-1][:width].sum() for part, width in zip(parts, widths, strict=True))
    return float(kept / percentiles.sum())


def _at_equal_ms(ratio: float, what: tuple[Traced, Scores, LatencyModel], timed: Any) -> dict[str, Any]:
    traced, scores, model = what
    cost = LatencyCost.of(model, traced.graph)
    try:
        widths = allocate(traced.graph, scores, cost, ratio * model.profile.reference, Limits())
    except BudgetError as error:
        return {"reason": error.message}
    plan = np.array([widths[group.name] for group in traced.graph.free])
    return {
        "macs": traced.share(plan),
        "rank": total_rank(traced.graph, scores, plan),
        "predicted": float(model.ratio(cost.whole(plan))),
        "measured": timed(plan),
    }


def _written() -> int:
    keys = [(name, runtime, share) for runtime in RUNTIMES for name in SUBJECTS for share in SHARES]
    rows = [
        {"network": key[0], "runtime": key[1], "share": key[2], **row}
        for key in keys
        if (row := stored(TABLE, _key(*key)))
    ]
    packages = ("ai-edge-litert", "onnxruntime", "litert-torch", "torch")
    print(write(TABLE, "python -m benchmarks.stairs", {"within": WITHIN, "rows": rows}, packages))
    return 0


if __name__ == "__main__":
    sys.exit(main())
