"""How long the latency model of MobileNetV2 on LiteRT takes: from the store, per plan, per allocation, per skeleton.

    python -m benchmarks.latency_speed

After `python -m benchmarks.prediction`, whose store it reads. "From the store" is tracing the network, reading its
samples and fitting; the imports before that are torch's.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.prediction import TABLE, draw_plans, key
from benchmarks.recording import write
from benchmarks.subjects import STORE, SUBJECTS, Traced, stored
from deploy_prune import plugins
from deploy_prune.budget.allocate import allocate
from deploy_prune.budget.latency import profiling
from deploy_prune.budget.latency.model import LatencyCost
from deploy_prune.budget.latency.place import Place
from deploy_prune.budget.latency.resizable import learn_sizes
from deploy_prune.budget.latency.store import open_store
from deploy_prune.budget.widths import Limits
from deploy_prune.scoring.study import Study
from deploy_prune.stats import median
from deploy_prune.timing.devices import THIS_MACHINE

NAME, PLACE = "MobileNetV2", Place("litert", THIS_MACHINE)
LIMITS_MS = {"from the store": 1000.0, "one plan of 1,000": 0.2, "one allocation": 50.0}


def main() -> int:
    """Take the figures and write them; exits 1 where one is over its limit."""
    traced = Traced.of(SUBJECTS[NAME])
    with open_store(STORE, make=False) as store:
        from_store_ms = _median_ms(lambda: profiling.find_model(traced.graph, PLACE.target, store), 5)
        model = profiling.find_model(traced.graph, PLACE.target, store)
    cost = LatencyCost.of(model, traced.graph)
    many = np.tile(draw_plans(traced), (25, 1))
    scores = plugins.build("methods", "magnitude").score(Study(traced.network, traced.graph, None, 0))
    limits = iter(np.linspace(0.4, 0.9, 21) * model.profile.reference)
    allocate(traced.graph, scores, cost, next(limits), Limits())  # parts of the cost are prepared once
    with tempfile.TemporaryDirectory() as folder:
        blueprint = learn_sizes(traced.network, traced.graph, Path(folder), model.profile.drawing.format)
    plans = iter(draw_plans(traced))
    found_ms = {
        "from the store": from_store_ms,
        "one plan of 1,000": _median_ms(lambda: cost(many), 9) / len(many),
        "one plan alone": _median_ms(lambda: cost(many[0]), 99),
        "one allocation": _median_ms(lambda: allocate(traced.graph, scores, cost, next(limits), Limits()), 20),
        "writing one skeleton": _median_ms(lambda: blueprint.network(next(plans)), 20),
    }
    figures = {name: f"{value:,.3g} ms" for name, value in found_ms.items()}
    if (nothing := stored(TABLE, key(NAME, PLACE))) and "error" in nothing:
        figures = {"from nothing": f"{nothing['profile_s']:.0f} s ({nothing['samples']} plans timed)", **figures}
    result = {"limits_ms": LIMITS_MS, "found_ms": found_ms, "figures": figures}
    print(write("latency_speed", "python -m benchmarks.latency_speed", result, ("torch", "scipy", "ai-edge-litert")))
    return int(any(found_ms[name] > limit for name, limit in LIMITS_MS.items()))


def _median_ms(work: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1e3)
    return median(taken)


if __name__ == "__main__":
    sys.exit(main())
