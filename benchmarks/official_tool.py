"""Our raw median beside that of LiteRT's own tool: the same file, core, threads and number of inferences, in turns.

    python -m benchmarks.official_tool [--table]

`litert-benchmark` of the wheel and a worker of ours run the file one after the other, each in a process of its own, and
change places every round. Networks of 224 x 224 with random weights. Five minutes on an idle machine.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.recording import write
from benchmarks.subjects import Subject, cell, files, stored
from benchmarks.trained import asked, seconds_told
from deploy_prune import stats
from deploy_prune.budget.latency.place import Place
from deploy_prune.timing.adb.benchmark_tool import read_tool
from deploy_prune.timing.devices import THIS_MACHINE, Job, device_at

TABLE, RUNTIME, TOOL = "official_tool", "litert", "litert-benchmark"
NETWORKS = {
    "MobileNetV1": Subject("timm:mobilenetv1_100"),
    "MobileNetV2": Subject("torchvision:mobilenet_v2"),
    "MobileNetV3-large": Subject("torchvision:mobilenet_v3_large"),
    "EfficientNet-Lite0": Subject("timm:efficientnet_lite0"),
    "ResNet-18": Subject("torchvision:resnet18"),
}
ROUNDS, WARM_UP, INFERENCES = 8, 20, 100
WITHIN = 0.03
"""How far the ratio of the medians may be from 1."""


def main() -> int:
    """Fill in the missing cells, then write the table; exits 1 where a ratio is further from 1."""
    todo = asked(__doc__)
    for name in () if todo.table_only else NETWORKS:
        seconds_told(name, cell(TABLE, name, lambda name=name: _time(name)))  # type: ignore[misc]
    rows = {name: row for name in NETWORKS if (row := stored(TABLE, name))}
    print(write(TABLE, f"python -m benchmarks.{TABLE}", {"within": WITHIN, "networks": rows}, ("ai-edge-litert",)))
    return int(any(abs(row["ratio"] - 1) > WITHIN for row in rows.values()))


def _time(name: str) -> dict[str, Any]:
    """Rounds of one network: ours first, then theirs first."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.tflite"
        (content,) = files([NETWORKS[name].network()], Place(RUNTIME, THIS_MACHINE))
        path.write_bytes(content)
        pairs = []
        for number in range(ROUNDS):
            order = (_take_ours, _take_theirs) if number % 2 else (_take_theirs, _take_ours)
            taken = {take: take(path) for take in order}
            pairs.append((taken[_take_ours], taken[_take_theirs]))
    ratios = [ours / theirs for ours, theirs in pairs]
    return {
        "ours_ms": [ours for ours, _ in pairs],
        "theirs_ms": [theirs for _, theirs in pairs],
        "ratio": stats.median(ratios),
        "interval": stats.bootstrap(ratios, stats.median, seed=0),
        "seconds": time.monotonic() - began,
    }


def _take_ours(path: Path) -> float:
    device = device_at(THIS_MACHINE)
    with device.start(Job(path, RUNTIME, 1, device.cores(1), seed=0)) as worker:
        worker.block(WARM_UP, timeout_s=120)
        return stats.median(worker.block(INFERENCES, timeout_s=120).samples)


def _take_theirs(path: Path) -> float:
    tool = shutil.which(TOOL, path=sysconfig.get_path("scripts"))
    assert tool, f"{TOOL} comes with ai-edge-litert"
    core = str(device_at(THIS_MACHINE).cores(1)[0])
    flags = [f"--model={path}", f"--num_runs={INFERENCES}", f"--warmup_runs={WARM_UP}", "--num_threads=1"]
    done = subprocess.run(["taskset", "-c", core, tool, *flags], capture_output=True, text=True, check=True)
    median_ms = read_tool(done.stdout + done.stderr, TOOL).median_ms
    assert median_ms is not None
    return median_ms


if __name__ == "__main__":
    sys.exit(main())
