"""How often the gate is red for nothing, and how often it finds a file that is really slower.

    python -m benchmarks.gates [--kinds KIND ...] [--only idle | busy]

MobileNetV2, 224 x 224, at three quarters of its widths, on LiteRT with one thread, by the gate's defaults: 60 times
against itself, and 20 times each against a file that takes 3 %, 5 % or 10 % longer: the same network, wider,
as far as widths allow (its ratio was measured apart, over many sittings). Half of the
comparisons run beside a process that keeps a core busy. Every comparison is a file under `results/gates/`, which a
second call goes on after. Two hours and more; the machine must have nothing else to do.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.recording import write
from benchmarks.subjects import SUBJECTS, Traced, cell, stored
from deploy_prune import stats
from deploy_prune.analysis.artifacts import describe_artifact
from deploy_prune.analysis.gating.gate import run_gate
from deploy_prune.analysis.gating.limits import Limits, Sitting, find_interval
from deploy_prune.analysis.gating.session import take_session
from deploy_prune.budget.latency.resizable import ResizableNetwork, learn_sizes
from deploy_prune.timing.bench import Setting
from deploy_prune.timing.devices import THIS_MACHINE, device_at
from deploy_prune.values import Interval

TABLE = "gates"
SAME = "itself"
SLOWER = {"3 %": 1.03, "5 %": 1.05, "10 %": 1.10}
COUNTS = {SAME: 60, **dict.fromkeys(SLOWER, 20)}
AROUND = ("idle", "busy")
SETTING = Setting(device_at(THIS_MACHINE), 1, 0)
NARROWED, MULTIPLE = 0.75, 8
WIDENED = tuple(0.02 * step for step in range(1, 17))
"""The slower files are chosen among those that go these shares of the way back to the dense widths."""
SITTINGS = 12
"""How often the files take turns that a slower one is chosen among."""
BUSY = "while True: sum(range(10**6))"
LIMITS = {"false failures": 0.02, "found of 10 %": 0.95, "inconclusive, idle": 0.1, "inconclusive, busy": 0.4,
          "seconds, idle": 120.0}  # fmt: skip
"""Our own limits; all but the second are upper ones."""


def main() -> int:
    """Hold the comparisons that are missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="*", default=list(COUNTS), choices=list(COUNTS), metavar="KIND")
    parser.add_argument("--only", nargs="*", default=list(AROUND), choices=AROUND)
    parser.add_argument("--table", action="store_true", help="hold none, write the table of those there are")
    asked = parser.parse_args()
    if not asked.table:
        with tempfile.TemporaryDirectory() as folder:
            files = _make_files(Path(folder))
            for number in range(max(COUNTS.values())):
                for kind in asked.kinds:
                    around = AROUND[number % 2]
                    if number < COUNTS[kind] and around in asked.only:
                        print(kind, number, cell(TABLE, _key(kind, number), partial(_hold, files, kind, around)),
                              flush=True)  # fmt: skip
    result = {"limits": LIMITS, "files": stored(TABLE, "files"), "rows": _list_rows()}
    print(write(TABLE, f"python -m benchmarks.{TABLE}", result, ("ai-edge-litert",)))
    return 0


def _key(kind: str, number: int) -> str:
    return f"{kind.replace(' %', '')}-{number}"


def _hold(files: dict[str, Path], kind: str, around: str) -> dict[str, Any]:
    pair = describe_artifact(files[SAME]), describe_artifact(files[kind])
    with _keep_busy(around == "busy"):
        result = run_gate(pair, SETTING, Limits())
    return {"around": around, "verdict": result.verdict, "why": result.why,
            "seconds": sum(session.seconds for session in result.sessions)}  # fmt: skip


@contextmanager
def _keep_busy(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", BUSY]) as running:
        try:
            yield
        finally:
            running.kill()


# --- files -------------------------------------------------------------------------------------------------------


def _make_files(folder: Path) -> dict[str, Path]:
    """The baseline and the slower files, at widths that are chosen once."""
    traced = Traced.of(SUBJECTS["MobileNetV2"])
    blueprint = learn_sizes(traced.network, traced.graph, folder, "tflite")
    chosen = cell(TABLE, "files", partial(_choose, traced, blueprint))
    files = {}
    for kind, each in chosen.items():
        files[kind] = folder / f"{kind.replace(' %', '')}.tflite"
        files[kind].write_bytes(blueprint.network(np.array(each["widths"])))
    return files


def _choose(traced: Traced, blueprint: ResizableNetwork) -> dict[str, Any]:
    """Kind -> widths, and their measured ratio to the baseline's time."""
    narrow = np.maximum(MULTIPLE, (NARROWED * traced.dense / MULTIPLE).round() * MULTIPLE).astype(int)
    narrow = np.minimum(narrow, traced.dense)
    steps = (narrow + share * (traced.dense - narrow) for share in WIDENED)
    widened = [(np.maximum(MULTIPLE, (step / MULTIPLE).round() * MULTIPLE)).astype(int) for step in steps]
    widened = [np.minimum(widths, traced.dense) for widths in widened]
    found = [(_compare(blueprint.network(narrow), blueprint.network(widths)), widths) for widths in widened]
    chosen: dict[str, Any] = {SAME: {"widths": narrow.tolist(), "ratio": 1.0}}
    for kind, aim in SLOWER.items():
        (ratio, interval), widths = min(found, key=lambda each: abs(each[0][0] - aim))
        chosen[kind] = {"widths": widths.tolist(), "ratio": ratio, "interval": interval}
    return chosen


def _compare(baseline: bytes, candidate: bytes) -> tuple[float, Interval]:
    """The ratio of both times over many sittings, and its interval."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("baseline.tflite", "candidate.tflite")]
        for path, content in zip(paths, (baseline, candidate), strict=True):
            path.write_bytes(content)
        pair = describe_artifact(paths[0]), describe_artifact(paths[1])
        session = take_session(pair, SETTING, _have_enough, time_limit_s=60)
    ratios = [each.ratio for each in session.sittings]
    return stats.geometric_mean(ratios), find_interval(ratios)


def _have_enough(sittings: Sequence[Sitting], _unit: str) -> bool:
    return len(sittings) >= SITTINGS


# --- the table ---------------------------------------------------------------------------------------------------


def _list_rows() -> list[dict[str, Any]]:
    """A row per kind and load: how many comparisons ended how, and their median seconds."""
    rows = []
    for kind, count in COUNTS.items():
        cells = [each for number in range(count) if (each := stored(TABLE, _key(kind, number)))]
        for around in AROUND:
            held = [each for each in cells if each["around"] == around]
            if held:
                verdicts = [each["verdict"] for each in held]
                rows.append({"kind": kind, "around": around, "held": len(held),
                             **{verdict: verdicts.count(verdict) for verdict in ("passed", "failed", "inconclusive")},
                             "median_s": median(each["seconds"] for each in held)})  # fmt: skip
    return rows


if __name__ == "__main__":
    sys.exit(main())
