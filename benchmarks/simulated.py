"""Simulated Cortex-A72 cycles: the same in two runs, against published phones, and whether the outputs are x86's.

    python -m benchmarks.simulated [--table]

Networks of 224 x 224 and 1000 classes with random weights, in LiteRT. A run is a process of its own: the emulator
starts, imports, opens the file, and counts its second inference. Phones: XNNPACK's README (2020), one thread, the mean
of Pixel, Pixel 2 and Pixel 3a. A quarter of an hour on a core.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.recording import write
from benchmarks.subjects import Subject, cell, files, stored
from benchmarks.trained import asked, seconds_told
from deploy_prune.budget.latency.place import Place
from deploy_prune.formats.templates import TEMPLATES
from deploy_prune.graph.recount import recount
from deploy_prune.plugins import load
from deploy_prune.timing.devices import THIS_MACHINE, Job, device_at
from deploy_prune.timing.devices.sim import Sim

TABLE, CORE = "simulated", "cortex-a72"
NETWORKS = {
    "MobileNetV1": Subject("timm:mobilenetv1_100"),
    "MobileNetV2": Subject("torchvision:mobilenet_v2"),
    "MobileNetV3-large": Subject("torchvision:mobilenet_v3_large"),
    "ResNet-18": Subject("torchvision:resnet18"),
}
COUNTED = ("MobileNetV2", "MobileNetV1", "MobileNetV3-large")
COMPARED = ("MobileNetV1", "MobileNetV2", "ResNet-18")
RUNTIMES = {"litert": "tflite", "onnxruntime": "onnx"}
BASE = "MobileNetV2"
PUBLISHED = {"MobileNetV1": 1.63, "MobileNetV3-large": 0.80}
"""Time / MobileNetV2's on phones."""
WITHIN = {"MobileNetV1": 0.05, "MobileNetV3-large": 0.08}
"""How far the ratio of cycles may be from them."""
RELATIVE, AGAIN = 1e-5, 1e-6
"""The limits of the largest difference to x86's outputs over the largest output, and of that between two runs' cycles:
where memory lies decides over a few instructions of some networks."""
CPU_SECONDS = 20.0
"""Seconds of a core in which a network is emulated twice, counted and priced, the emulator's start included."""
TIMEOUT_S = 600.0


def main() -> int:
    """Fill in the missing cells, then write the table."""
    todo = asked(__doc__)
    if not todo.table_only:
        for name in COUNTED:
            seconds_told(name, cell(TABLE, f"cost-{name}", lambda name=name: _count_twice(name)))  # type: ignore[misc]
        for name in COMPARED:
            for runtime in RUNTIMES:
                key = f"outputs-{name}-{runtime}"
                seconds_told(key, cell(TABLE, key, lambda name=name, runtime=runtime: _compare(name, runtime)))  # type: ignore[misc]
    return _write()


def _count_twice(name: str) -> dict[str, Any]:
    network = NETWORKS[name].network()
    device, runs = Sim(CORE), []
    with tempfile.TemporaryDirectory() as folder:
        path = _export(network, "litert", Path(folder))
        for _ in range(2):
            began, spent = time.monotonic(), read_cpu_seconds()
            with device.start(Job(path, "litert", 1, device.cores(1), seed=0)) as worker:
                worker.block(1, timeout_s=TIMEOUT_S)
                known = worker.meter.known[worker.digest]
            runs.append((known, time.monotonic() - began, read_cpu_seconds() - spent))
    macs = recount(network).macs
    return {
        "cycles": [known.cost for known, _, _ in runs],
        "instructions": [known.instructions for known, _, _ in runs],
        "vector_multiply_adds": runs[0][0].done.vector,
        "macs": macs,
        "seconds_each": [seconds for _, seconds, _ in runs],
        "cpu_seconds_each": [spent for _, _, spent in runs],
        "seconds": sum(seconds for _, seconds, _ in runs),
    }


def read_cpu_seconds() -> float:
    """What this process and those that it has waited for have spent, in seconds of a core."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _compare(name: str, runtime: str) -> dict[str, Any]:
    began = time.monotonic()
    network, outputs = NETWORKS[name].network(), []
    with tempfile.TemporaryDirectory() as folder:
        path = _export(network, runtime, Path(folder))
        for address in (THIS_MACHINE, f"sim://{CORE}"):
            device = device_at(address)
            with device.start(Job(path, runtime, 1, device.cores(1), seed=0)) as worker:
                shape = worker.inputs[0].shape
                image = np.random.default_rng(0).standard_normal([max(size, 1) for size in shape]).astype(np.float32)
                outputs.append(worker.run(image, timeout_s=TIMEOUT_S)[0])
    ours, theirs = outputs
    difference = float(np.abs(ours - theirs).max() / np.abs(ours).max())
    return {"relative_difference": difference, "seconds": time.monotonic() - began}


def _export(network: Any, runtime: str, folder: Path) -> Path:
    (content,) = files([network], Place(runtime, THIS_MACHINE))
    path = folder / f"network{load(TEMPLATES, RUNTIMES[runtime]).suffix}"
    path.write_bytes(content)
    return path


def _write() -> int:
    costs = {name: row for name in COUNTED if (row := stored(TABLE, f"cost-{name}"))}
    keys = [(name, runtime) for name in COMPARED for runtime in RUNTIMES]
    outputs = {
        f"{name}, {runtime}": row for name, runtime in keys if (row := stored(TABLE, f"outputs-{name}-{runtime}"))
    }
    ratios = {name: costs[name]["cycles"][0] / costs[BASE]["cycles"][0] for name in costs if BASE in costs}
    result = {
        "core": Sim(CORE).fingerprint,
        "costs": costs,
        "ratios": ratios,
        "published": PUBLISHED,
        "within": WITHIN,
        "outputs": outputs,
        "cpu_seconds": {name: min(row["cpu_seconds_each"]) for name, row in costs.items() if "cpu_seconds_each" in row},
        "limits": {"relative_difference": RELATIVE, "again": AGAIN, "cpu_seconds": CPU_SECONDS},
    }
    print(write(TABLE, "python -m benchmarks.simulated", result, ("ai-edge-litert", "onnxruntime", "torch")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
