"""Seconds from trained weights to verified, timed files without training, and to a front of five budgets, as a user.

    python -m benchmarks.weights_to_files [--networks NAME ...]

After the latency table is there (`deploy-prune profile`, not counted): `prune --method obs` at half of the measured
LiteRT milliseconds, refitted, `.tflite` and `.onnx` verified and timed, three times; then a front of five budgets from
the scores of the first run. Each is a process of its own; images are judged as in any run. Twenty minutes a network on
two idle cores, which timing needs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.recording import SHARED, write
from benchmarks.subjects import STORE, cell, stored
from benchmarks.trained import NETWORKS as KNOWN
from deploy_prune.analysis.report import SUMMARY
from deploy_prune.records import read_record
from deploy_prune.results import RunSummary

TABLE = "weights_to_files"
NETWORKS = ("mobilenet_v2_72", "mobilenet_v1_72")
BUDGET, FRONT = "latency=0.5x", ",".join(f"latency={share}x" for share in (0.7, 0.6, 0.5, 0.4, 0.35))
REPEATS = 3
LIMITS = {"one_s": 180.0, "front_s": 120.0}
"""Our own limits, in seconds: for one budget the median of the repeats."""


def main() -> int:
    """Work out the networks that are missing, and write the record; exits 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS, metavar="NAME")
    for name in parser.parse_args().networks:
        print(name, cell(TABLE, name, partial(_time_network, name)), flush=True)
    rows = {name: {**row, "gates": _judge(row)} for name in NETWORKS if (row := stored(TABLE, name))}
    print(write(TABLE, f"python -m benchmarks.{TABLE}", {"limits": LIMITS, "networks": rows}))
    return int(not all(kept for row in rows.values() for kept in row["gates"].values()))


def _judge(row: dict[str, Any]) -> dict[str, bool]:
    return {"one_s": float(np.median(row["one_s"])) <= LIMITS["one_s"], "front_s": row["front_s"] <= LIMITS["front_s"]}


def _time_network(name: str) -> dict[str, Any]:
    address, options, weights = KNOWN[name]
    flags = [text for key, value in options.items() for text in ("--option", f"{key}={value}")]
    network = [address, *flags, "--classes", "10", "--input-shape", "3,32,32"]
    subject = [*network, "--weights", str(SHARED / weights), "--data", f"cifar10:{SHARED}", "--method", "obs",
               "--no-finetune", "--target", "tflite,onnx", "--store", str(STORE)]  # fmt: skip
    _run("profile", *network, "--store", str(STORE))
    with tempfile.TemporaryDirectory() as folder:
        runs = [Path(folder) / str(number) for number in range(REPEATS)]
        one_s = [_run("prune", *subject, "--budget", BUDGET, "--out", str(run)) for run in runs]
        front = Path(folder) / "front"
        front_s = _run("prune", *subject, "--scores", str(runs[0]), "--budget", FRONT, "--no-controls",
                       "--out", str(front))  # fmt: skip
        return {"one_s": one_s, "front_s": front_s, "runs": [_describe(run) for run in runs]}


def _describe(run: Path) -> dict[str, Any]:
    """What one run ended with."""
    summary = read_record(run / SUMMARY, RunSummary)
    return {
        "outcome": summary.outcome, "dense": summary.test.dense.value, "pruned": summary.test.pruned.value,
        "points": 100 * summary.test.difference, "points_interval": [100 * bound for bound in summary.test.interval],
        "files": [{"format": row.format, "status": row.status} for row in summary.ship.pruned],
        "ratios": {f"{each.target.runtime}, {each.target.threads}": each.ratio for each in summary.speedups},
    }  # fmt: skip


def _run(*arguments: str, done: Sequence[int] = (0,)) -> float:
    """Run a command to its end, and give its seconds."""
    began = time.perf_counter()
    argv = [sys.executable, "-m", "deploy_prune", *arguments]
    code = subprocess.run(argv, check=False, stdout=subprocess.DEVNULL).returncode
    if code not in done:
        raise SystemExit(f"exit {code}: deploy-prune {' '.join(arguments)}")
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
