"""The gate on a simulated core: never red for nothing, and red for one percent.

    python -m benchmarks.gates_simulated

A MobileNetV2 for 32 x 32 pixels, at three quarters of its widths, on sim://cortex-a76: 60 times against itself, each
time counted anew, and against the same network with one group wider, for every group that makes it take between 1 and
5 % more cycles. The limit is 1.005. Needs what `deploy-prune doctor --device sim://cortex-a76 --setup` brings. Half an
hour.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.recording import write
from benchmarks.subjects import CIFAR, Subject, Traced, cell
from deploy_prune.analysis.artifacts import describe_artifact
from deploy_prune.analysis.gating.gate import run_gate
from deploy_prune.analysis.gating.limits import Limits
from deploy_prune.budget.latency.resizable import ResizableNetwork, learn_sizes
from deploy_prune.timing.bench import Setting
from deploy_prune.timing.devices import device_at

TABLE, DEVICE = "gates_simulated", "sim://cortex-a76"
SUBJECT = Subject("mobilenet_v2", {**CIFAR, "options": {"setting": "small"}})
NARROWED, MULTIPLE, WIDER = 0.75, 8, 8
LIMITS = Limits(max_ratio=1.005, min_delta=0.0)
LEAST, MOST = 1.01, 1.05
AGAIN = 60


def main() -> int:
    """Hold what is missing, and write the table."""
    with tempfile.TemporaryDirectory() as folder:
        baseline, candidates = _make_files(Path(folder))
        same = [_show(f"itself-{number}", baseline, baseline) for number in range(AGAIN)]
        wider = [_show(candidate.stem, baseline, candidate) for candidate in candidates]
    slower = [row for row in wider if LEAST <= row["ratio"] <= MOST]
    result = {
        "limit": LIMITS.max_ratio, "same": len(same), "false": sum(row["verdict"] != "passed" for row in same),
        "slower": len(slower), "found": sum(row["verdict"] == "failed" for row in slower),
        "least": min(row["ratio"] for row in slower), "seconds": sorted(row["seconds"] for row in (*same, *wider)),
    }  # fmt: skip
    print(write(TABLE, f"python -m benchmarks.{TABLE}", result, ("ai-edge-litert",)))
    return int(bool(result["false"]) or result["found"] < result["slower"])


def _show(key: str, baseline: Path, candidate: Path) -> dict[str, Any]:
    row: dict[str, Any] = cell(TABLE, key, partial(_hold, baseline, candidate))
    print(key, row, flush=True)
    return row


def _hold(baseline: Path, candidate: Path) -> dict[str, Any]:
    began = time.monotonic()
    pair = describe_artifact(baseline), describe_artifact(candidate)
    result = run_gate(pair, Setting(device_at(DEVICE), 1, 0), LIMITS)
    (check,) = result.checks
    return {"verdict": result.verdict, "ratio": check.value, "seconds": time.monotonic() - began}


def _make_files(folder: Path) -> tuple[Path, list[Path]]:
    """The baseline, and a file per group that is wider."""
    traced = Traced.of(SUBJECT)
    blueprint = learn_sizes(traced.network, traced.graph, folder, "tflite")
    narrow = np.maximum(MULTIPLE, (NARROWED * traced.dense / MULTIPLE).round() * MULTIPLE).astype(int)
    narrow = np.minimum(narrow, traced.dense)
    return _save(folder / "baseline.tflite", blueprint, narrow), list(_widen(folder, blueprint, narrow, traced.dense))


def _widen(folder: Path, blueprint: ResizableNetwork, narrow: np.ndarray, dense: np.ndarray) -> Iterator[Path]:
    for group in range(narrow.size):
        widths = narrow.copy()
        widths[group] = min(widths[group] + WIDER, dense[group])
        if widths[group] > narrow[group]:
            yield _save(folder / f"wider-{group}.tflite", blueprint, widths)


def _save(path: Path, blueprint: ResizableNetwork, widths: np.ndarray) -> Path:
    path.write_bytes(blueprint.network(widths))
    return path


if __name__ == "__main__":
    sys.exit(main())
