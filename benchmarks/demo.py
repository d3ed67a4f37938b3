"""Runs the demo as a user would and records what it took and what came out.

python -m benchmarks.demo
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.recording import write
from deploy_prune.analysis.report import SUMMARY
from deploy_prune.records import read_record, to_json
from deploy_prune.results import RunSummary

LIMIT_S, WORST_POINTS, LEAST_SPEEDUP = 360, -1.0, 1.5


def main() -> int:
    """Run it; exits 1 where a limit is missed."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "demo-run"
        began = time.monotonic()
        argv = [sys.executable, "-m", "deploy_prune", "demo", "--out", str(run)]
        done = subprocess.run(argv, check=False, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - began
        summary = read_record(run / SUMMARY, RunSummary)
    result = _figures(summary) | {"seconds": seconds, "exit_code": done.returncode}
    print(json.dumps(result, indent=1))
    packages = ("torch", "litert-torch", "ai-edge-litert", "onnx", "onnxruntime")
    print(write("demo", "python -m benchmarks.demo", result, packages))
    return int(not _passed(result))


def _figures(summary: RunSummary) -> dict[str, Any]:
    plan, test = summary.plan.plan, summary.test
    return {
        "macs_kept": summary.cut.count.macs / summary.dense.count.macs,
        "budget": plan.budget,
        "dense_test": test.dense.value,
        "pruned_test": test.pruned.value,
        "points": 100 * test.difference,
        "points_interval": [100 * bound for bound in test.interval],
        "test_images": test.dense.items,
        "files": [
            {"format": row.format, "status": row.status, "size_bytes": row.artifact and row.artifact.size_bytes,
             "parity": row.parity and to_json(row.parity)}
            for row in summary.ship.pruned
        ],
        "times": [
            {"runtime": item.target.runtime, "threads": item.target.threads, "ratio": item.ratio,
             "ratio_interval": item.ratio_interval, "median_ms": item.median}
            for item in summary.speedups
        ],
    }  # fmt: skip


def _passed(result: dict[str, Any]) -> bool:
    litert = [1 / row["ratio"] for row in result["times"] if row["runtime"] == "litert"]
    return (
        result["seconds"] <= LIMIT_S
        and result["points"] >= WORST_POINTS
        and bool(litert)
        and min(litert) >= LEAST_SPEEDUP
        and all(row["status"] == "verified" for row in result["files"])
    )


if __name__ == "__main__":
    sys.exit(main())
