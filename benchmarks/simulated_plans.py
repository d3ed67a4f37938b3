"""Plans in simulated cycles: a table of MobileNetV2, plans that it never saw, stairs, and equal multiply-adds.

    python -m benchmarks.simulated_plans [--table]

LiteRT, 224 x 224, random weights, one thread. The table is made from nothing (`deploy-prune profile`), its 40 plans are
those of `benchmarks.prediction`, each counted as a skeleton. Stairs are those of single layers, alone in a file. At
equal multiply-adds (within 1 %) the plan by cycles is held against free widths and multiples of 8 and 16, as in
`benchmarks.stairs`, with the same scores (`magnitude` on random weights). Counts are exact: nothing is repeated. Half
an hour on a core; needs what `deploy-prune doctor --device sim://cortex-a72 --setup` brings.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.prediction import SEED, draw_plans
from benchmarks.recording import write
from benchmarks.simulated import read_cpu_seconds
from benchmarks.stairs import SHARES, plan_arms
from benchmarks.subjects import SUBJECTS, Traced, cell, stored
from benchmarks.trained import asked, seconds_told
from deploy_prune import plugins
from deploy_prune.analysis.plots import Line, Plot, save
from deploy_prune.budget.latency.fitting import FitError, error_of
from deploy_prune.budget.latency.model import LatencyModel
from deploy_prune.budget.latency.place import Place
from deploy_prune.budget.latency.profiling import profile_network
from deploy_prune.budget.latency.resizable import ResizableNetwork, learn_sizes
from deploy_prune.budget.latency.store import open_store
from deploy_prune.budget.latency.timer import timer
from deploy_prune.scoring.study import Study
from deploy_prune.timing.devices import Job, device_at, target_on
from deploy_prune.timing.devices.sim import Sim

TABLE, RUNTIME, CORE = "simulated_plans", "litert", "cortex-a72"
CORES = ("cortex-a72", "cortex-a76")
TABLED = "MobileNetV2"
PLANNED = ("MobileNetV2", "MobileNetV1")
STORE = Path("build") / "benchmarks"
LAYERS = ("pointwise", "depthwise")
"""Kinds of the layers whose stairs are drawn: the first of each kind with so many channels."""
WIDEST, WIDTHS = 96, 64
"""Channels of those layers, and how many widths of them are counted, from 1 on."""
PICTURE = Path("docs") / "images" / "stairs_simulated.png"
LIMITS = {"table_s": 300.0, "mean": 0.02, "behind": 0.01, "free": 1.1}
"""The table's seconds of a core; the mean error of plans that it never saw; how far the plan by cycles may be behind
any other at equal multiply-adds; how much more free widths must cost."""


def main() -> int:
    """Fill in the missing cells, then write the table."""
    todo = asked(__doc__)
    if not todo.table_only:
        for name in PLANNED:
            _fill(f"table-{name}", _make_table, name)
        _fill(f"unseen-{TABLED}", _predict, TABLED)
        for core in CORES:
            _fill(f"stairs-{core}", _climb, core)
        for name in PLANNED:
            for share in SHARES:
                _fill(f"equal-{name}-{share}", _hold_against, name, share)
    return _write()


def _fill(key: str, compute: Any, *arguments: Any) -> None:
    seconds_told(key, cell(TABLE, key, lambda: compute(*arguments)))


def _make_table(name: str) -> dict[str, Any]:
    """The latency model from nothing: converted, counted, fitted."""
    traced, path = Traced.of(SUBJECTS[name]), _store(name)
    path.unlink(missing_ok=True)
    began, spent = time.monotonic(), read_cpu_seconds()
    model = _model(name, traced)
    return {
        "seconds": time.monotonic() - began,
        "cpu_seconds": read_cpu_seconds() - spent,
        "samples": model.error.samples,
        "stated": vars(model.error),
        "dense": model.profile.reference,
        "unit": model.profile.unit,
    }


def _store(name: str) -> Path:
    return STORE / f"simulated-{name}.sqlite"


def _model(name: str, traced: Traced) -> LatencyModel:
    with open_store(_store(name)) as store:
        return profile_network(traced.network, traced.graph, Place(RUNTIME, f"sim://{CORE}"), store)


def _predict(name: str) -> dict[str, Any]:
    traced, began = Traced.of(SUBJECTS[name]), time.monotonic()
    model, plans = _model(name, traced), draw_plans(traced)
    counted, predicted = np.array(_count(traced, plans, model)), model.ratio(plans)
    shares = np.array([traced.share(plan) for plan in plans])
    return {
        "seed": SEED,
        "error": vars(error_of(predicted, counted)),
        "macs_error": vars(error_of(shares, counted)),
        "plans": [
            {"widths": plan.tolist(), "macs": share, "predicted": guess, "counted": ratio}
            for plan, share, guess, ratio in zip(
                plans, shares.tolist(), predicted.tolist(), counted.tolist(), strict=True
            )
        ],
        "seconds": time.monotonic() - began,
    }


def _count(traced: Traced, plans: Sequence[np.ndarray], model: LatencyModel) -> list[float]:
    """What each plan's skeleton costs, as a share of the dense network's."""
    network, suffix = _learn(traced), plugins.load("templates", model.profile.drawing.format).suffix
    with timer(network.dense, suffix, model.target, device=device_at(f"sim://{CORE}")) as timed:
        return [timed(network.network(plan)).ratio for plan in plans]


def _learn(traced: Traced) -> ResizableNetwork:
    with tempfile.TemporaryDirectory() as folder:
        return learn_sizes(traced.network, traced.graph, Path(folder), "tflite")


def _climb(core: str) -> dict[str, Any]:
    """Cycles of single layers at every width, with what else they read left dense."""
    traced, device, began = Traced.of(SUBJECTS[TABLED]), Sim(core), time.monotonic()
    network, stairs = _learn(traced), {}
    target = target_on(device, RUNTIME)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layer.tflite"
        path.write_bytes(network.dense)
        with device.start(Job(path, target.runtime, 1, device.cores(1), seed=0)) as worker:

            def count(content: bytes) -> float:
                path.write_bytes(content)
                return worker.open(path).block(1, timeout_s=600).samples[0]

            alone = [count(network.layer(place, traced.dense)) for place in range(len(network.operators))]
            for kind in LAYERS:
                operator, group = _find_layer(network, traced, kind)
                costs = []
                for width in range(1, WIDTHS + 1):
                    widths = traced.dense.copy()
                    widths[group] = width
                    costs.append(count(network.layer(operator, widths)))
                stairs[kind] = {"group": traced.graph.free[group].name, "operator": operator, "cycles": costs}
            whole = count(network.dense)
    return {"device": device.fingerprint, "unit": device.unit, "layers": stairs, "whole": whole, "alone": sum(alone),
            "seconds": time.monotonic() - began}  # fmt: skip


def _find_layer(network: ResizableNetwork, traced: Traced, kind: str) -> tuple[int, int]:
    """The first operator of a kind whose channels are those of one group of `WIDEST`, and that group."""
    for number, operator in enumerate(network.operators):
        if operator.kind == kind:
            groups = np.flatnonzero(network.lines.rows[operator.channels_out, 1:])
            if len(groups) == 1 and traced.dense[groups[0]] == WIDEST:
                return number, int(groups[0])
    raise ValueError(f"no {kind} layer of {WIDEST} channels")


def _hold_against(name: str, share: float) -> dict[str, Any]:
    """What plans of as many multiply-adds cost, by what they were made with."""
    traced, began = Traced.of(SUBJECTS[name]), time.monotonic()
    model = _model(name, traced)
    scores = plugins.build("methods", "magnitude").score(Study(traced.network, traced.graph, None, 0))
    plans, missing = plan_arms(traced, scores, model, share)
    counted = _count(traced, list(plans.values()), model)
    arms = {
        arm: {"macs": traced.share(plan), "predicted": float(model.ratio(plan)), "counted": ratio}
        for (arm, plan), ratio in zip(plans.items(), counted, strict=True)
    }
    return {"arms": {**arms, **missing}, "seconds": time.monotonic() - began}


def _write() -> int:
    equal = {f"{name} at {share}x": row for name in PLANNED for share in SHARES
             if (row := stored(TABLE, f"equal-{name}-{share}"))}  # fmt: skip
    stairs = {core: row for core in CORES if (row := stored(TABLE, f"stairs-{core}"))}
    unseen = stored(TABLE, f"unseen-{TABLED}")
    result = {
        "core": Sim(CORE).fingerprint,
        "limits": LIMITS,
        "tables": {name: row for name in PLANNED if (row := stored(TABLE, f"table-{name}"))},
        "unseen": None if unseen is None else {field: row for field, row in unseen.items() if field != "plans"},
        "stairs": stairs,
        "equal": equal,
    }
    if stairs:
        _draw(stairs)
    print(write(TABLE, "python -m benchmarks.simulated_plans", result, ("ai-edge-litert", "litert-torch", "torch")))
    error = FitError(**unseen["error"]) if unseen else None
    return int(error is not None and error.mean > LIMITS["mean"])


def _draw(stairs: dict[str, Any]) -> None:
    lines = tuple(
        Line(f"{kind}, {core}", tuple(map(float, range(1, WIDTHS + 1))),
             tuple(cycles / each["cycles"][-1] for cycles in each["cycles"]))
        for core, row in stairs.items()
        for kind, each in row["layers"].items()
    )  # fmt: skip
    title = f"Two layers of {TABLED}, simulated"
    save(Plot(title, "channels", f"cycles / cycles of {WIDTHS} channels", lines), PICTURE)


if __name__ == "__main__":
    sys.exit(main())
