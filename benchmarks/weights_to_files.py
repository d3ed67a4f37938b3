"""Seconds from trained weights to verified, timed files without training, and to a front of five budgets, as a user.

    python -m benchmarks.weights_to_files [--networks NAME ...]

After the latency table is there (`deploy-prune profile`, not counted): `prune --method obs` at half of the measured
LiteRT milliseconds, refitted, `.tflite` and `.onnx` verified and timed, three times; then a front of five budgets from
the scores of the first run. Each is a process of its own; images are judged as in any run. ImageNet's MobileNetV2 at
224 x 224 has 500 photographs without labels and milder budgets, and one run. Twenty minutes a network on two idle
cores, which timing needs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.recording import SHARED, write
from benchmarks.subjects import STORE, cell, stored
from benchmarks.trained import IMAGENET, NETWORKS
from deploy_prune.analysis.report import SUMMARY
from deploy_prune.records import read_record
from deploy_prune.results import RunSummary

TABLE = "weights_to_files"
BUDGET, FRONT = "latency=0.5x", ",".join(f"latency={share}x" for share in (0.7, 0.6, 0.5, 0.4, 0.35))
MILD_BUDGET, MILD_FRONT = "latency=0.8x", ",".join(f"latency={share}x" for share in (0.95, 0.9, 0.85, 0.8, 0.7))
PHOTOGRAPHS = "imagenet-sample-500.tar"


@dataclass(frozen=True)
class Case:
    """A network of the table, and our own limits in seconds: for one budget the median of the repeats."""

    budget: str = BUDGET
    front: str = FRONT
    repeats: int = 3
    one_s: float = 180.0
    front_s: float = 120.0


CASES = {
    "mobilenet_v2_72": Case(),
    "mobilenet_v1_72": Case(),
    "mobilenet_v2_imagenet": Case(MILD_BUDGET, MILD_FRONT, repeats=1, one_s=600.0, front_s=600.0),
}


def main() -> int:
    """Work out the networks that are missing, and write the record; exits 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="*", default=list(CASES), choices=CASES, metavar="NAME")
    for name in parser.parse_args().networks:
        print(name, cell(TABLE, name, partial(_time_network, name)), flush=True)
    rows = {
        name: {**row, "budget": case.budget, "limits": {"one_s": case.one_s, "front_s": case.front_s},
               "gates": _judge(case, row)}
        for name, case in CASES.items() if (row := stored(TABLE, name))
    }  # fmt: skip
    print(write(TABLE, f"python -m benchmarks.{TABLE}", {"networks": rows}))
    return int(not all(kept for row in rows.values() for kept in row["gates"].values()))


def _judge(case: Case, row: dict[str, Any]) -> dict[str, bool]:
    return {"one_s": float(np.median(row["one_s"])) <= case.one_s, "front_s": row["front_s"] <= case.front_s}


def _time_network(name: str) -> dict[str, Any]:
    case, (address, options, weights) = CASES[name], (NETWORKS | IMAGENET)[name]
    flags = [text for key, value in options.items() for text in ("--option", f"{key}={value}")]
    network = [address, *flags]
    images = f'data = "images:{SHARED / PHOTOGRAPHS}"\n[data_options]\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n'
    if name in NETWORKS:
        network += ["--classes", "10", "--input-shape", "3,32,32"]
        images = f'data = "cifar10:{SHARED}"\n'
    _run("profile", *network, "--store", str(STORE))
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "run.toml"
        settings.write_text(images)
        subject = [*network, "--config", str(settings), "--weights", str(SHARED / weights), "--method", "obs",
                   "--no-finetune", "--target", "tflite,onnx", "--store", str(STORE)]  # fmt: skip
        runs = [Path(folder) / str(number) for number in range(case.repeats)]
        one_s = [_run("prune", *subject, "--budget", case.budget, "--out", str(run)) for run in runs]
        front = Path(folder) / "front"
        front_s = _run("prune", *subject, "--scores", str(runs[0]), "--budget", case.front, "--no-controls",
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
