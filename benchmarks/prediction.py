"""How well the latency model predicts plans that it never saw, against what timing them twice gives.

    python -m benchmarks.prediction [--only NETWORK ...] [--table]

Per network and target: 40 plans between 0.3x and 1.0x of the MACs, drawn by a stored seed and written down before
anything is fitted; the latency model from nothing (`deploy-prune profile`); then each plan timed twice, bracketed, in
sessions of their own, 12 of them as really exported files and the rest as skeletons. "MACs" predicts the dense time
times the share of MACs. Five minutes a cell on two idle cores; every cell is a file under `results/prediction/`
(also where the machine was too noisy, with the reason: delete it to try again).
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np

from benchmarks.recording import write
from benchmarks.subjects import RUNTIMES, STORE, SUBJECTS, Traced, cell, files, stored
from deploy_prune import plugins
from deploy_prune.budget.latency.fitting import FitError, error_of
from deploy_prune.budget.latency.model import LatencyModel
from deploy_prune.budget.latency.place import Place
from deploy_prune.budget.latency.profiling import profile_network
from deploy_prune.budget.latency.store import open_store
from deploy_prune.budget.latency.timer import timer
from deploy_prune.errors import Inconclusive
from deploy_prune.timing.devices import THIS_MACHINE, device_at

TABLE = "prediction"
PLANS, EXPORTED, SEED = 40, 12, 20261125
RANGE = (0.3, 1.0)
MULTIPLES = (1, 8, 16, 1)
LIMITS = {"mean": 0.04, "p95": 0.09, "spearman": 0.98}
TARGETS = [(name, Place(runtime, THIS_MACHINE)) for runtime in RUNTIMES for name in SUBJECTS]
TARGETS += [("MobileNetV2", Place(runtime, THIS_MACHINE, threads=2)) for runtime in RUNTIMES]


def main() -> int:
    """Fill in the missing cells, then write the table; exits 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(SUBJECTS), choices=list(SUBJECTS), metavar="NETWORK")
    parser.add_argument("--table", action="store_true", help="time nothing, write the table of the cells there are")
    asked = parser.parse_args()
    for name, place in TARGETS:
        if name in asked.only and not asked.table:
            row = cell(TABLE, key(name, place), lambda n=name, p=place: _cell(n, p))  # type: ignore[misc]
            print(key(name, place), row.get("error") or row["reason"], flush=True)
    return _written()


def key(name: str, place: Place) -> str:
    """The key of a cell."""
    return f"{name}-{place.runtime}-{place.threads}"


def draw_plans(traced: Traced, *, seed: int = SEED) -> np.ndarray:
    """Plans whose MACs are spread evenly over the range; groups vary by a factor of e^0.25 (one sigma) about them."""
    draw = np.random.default_rng(seed)
    shares = np.linspace(*RANGE, PLANS)
    return np.stack([_plan(traced, share, MULTIPLES[number % 4], draw) for number, share in enumerate(shares)])


def _plan(traced: Traced, share: float, multiple: int, draw: np.random.Generator) -> np.ndarray:
    shape = traced.dense * np.exp(draw.normal(0, 0.25, len(traced.dense)))
    per_unit = np.array([group.channels_per_unit for group in traced.graph.free])
    step = np.maximum(multiple // per_unit, 1)

    def at(level: float) -> np.ndarray:
        widths = np.maximum(np.round(level * shape / step), 1) * step
        return np.clip(widths, np.minimum(2, traced.dense), traced.dense).astype(int)

    low, high = 0.0, 4.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if traced.share(at(middle)) < share else (low, middle)
    return at(high)


def _cell(name: str, place: Place) -> dict[str, Any]:
    """The figures, or the reason why there are none: a machine too noisy for this target."""
    try:
        return _figures(name, place)
    except Inconclusive as error:
        return {"reason": error.message}


def _figures(name: str, place: Place) -> dict[str, Any]:
    traced = Traced.of(SUBJECTS[name])
    plans = draw_plans(traced)
    began = time.monotonic()
    with open_store(STORE) as store:
        model = profile_network(traced.network, traced.graph, place, store, progress=_told)
    profile_s = time.monotonic() - began
    first, second = (np.array(each) for each in _measured(traced, plans, place, model))
    both = np.sqrt(first * second)
    predicted = model.ratio(plans)
    shares = np.array([traced.share(plan) for plan in plans])
    return {
        "seed": SEED,
        "profile_s": profile_s,
        "samples": model.error.samples,
        "stated": vars(model.error),
        "reference_ms": model.profile.reference,
        "error": vars(error_of(predicted, both)),
        "exported_error": vars(error_of(predicted[_exported()], both[_exported()])),
        "repeats": vars(error_of(first, second)),
        "macs_error": vars(error_of(shares, both)),
        "plans": [
            {"widths": plan.tolist(), "macs": share, "predicted": ratio, "measured": [one, two], "exported": bool(real)}
            for plan, share, ratio, one, two, real in zip(
                plans, shares, predicted.tolist(), first.tolist(), second.tolist(), _exported(), strict=True
            )
        ],
    }


def _exported() -> np.ndarray:
    """Which of the plans are really exported: spread evenly."""
    chosen = np.zeros(PLANS, dtype=bool)
    chosen[np.linspace(0, PLANS - 1, EXPORTED).round().astype(int)] = True
    return chosen


def _measured(traced: Traced, plans: np.ndarray, place: Place, model: LatencyModel) -> tuple[list[float], list[float]]:
    """Each plan twice, in two sessions."""
    format_ = plugins.load("templates", model.profile.drawing.format)
    real = files([traced.network, *(traced.cut(plan) for plan in plans[_exported()])], place)
    blueprint = plugins.build("templates", model.profile.drawing.format).read(real[0])
    lines = np.array(model.profile.drawing.lines)
    written = iter(real[1:])
    contents = [
        next(written) if exported else blueprint.resized(lines[:, 0] + lines[:, 1:] @ plan)
        for plan, exported in zip(plans, _exported(), strict=True)
    ]
    sessions = []
    for _ in range(2):
        with timer(real[0], format_.suffix, model.target, device=device_at(THIS_MACHINE)) as timed:
            sessions.append([timed(content).ratio for content in contents])
    return sessions[0], sessions[1]


def _told(task: str, done: int, total: int, note: str = "") -> None:
    if done % 16 == 0 or done == total:
        print(f"  {task}: {done}/{total} {note}", flush=True)


def _written() -> int:
    rows = {key(name, place): stored(TABLE, key(name, place)) for name, place in TARGETS}
    cells = {
        name: {field: value for field, value in row.items() if field != "plans"} for name, row in rows.items() if row
    }
    packages = ("ai-edge-litert", "onnxruntime", "litert-torch", "torch")
    print(write(TABLE, "python -m benchmarks.prediction", {"limits": LIMITS, "cells": cells}, packages))
    return int(not all("error" in row and _good(FitError(**row["error"])) for row in cells.values()))


def _good(error: FitError) -> bool:
    return error.mean <= LIMITS["mean"] and error.p95 <= LIMITS["p95"] and error.spearman >= LIMITS["spearman"]


if __name__ == "__main__":
    sys.exit(main())
