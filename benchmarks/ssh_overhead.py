"""What a file costs on its way over ssh: seconds until it is open there, less those until it is open here.

    python -m benchmarks.ssh_overhead ssh://board

The files are MobileNetV2 at as many widths, as `profile` times them; the network is converted first. What the runtime
itself takes to open them (`load_ms`) counts on neither side. The machine and the board must be idle.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.prediction import draw_plans
from benchmarks.recording import write
from benchmarks.subjects import SUBJECTS, Traced
from deploy_prune.budget.latency.resizable import learn_sizes
from deploy_prune.stats import median
from deploy_prune.timing.devices import THIS_MACHINE, Device, Job, Worker, device_at

NAME, FORMAT, RUNTIME = "MobileNetV2", "tflite", "litert"
SITTINGS, FILES = 3, 40
LIMIT_S = 0.1
"""The seconds that a file may cost on its way."""


def main() -> int:
    """Take the figure and write it; exits 1 where it is over its limit."""
    there = device_at(sys.argv[1])
    found_s = [_measure_s(there) for _ in range(SITTINGS)]
    over_s = median(found_s)
    result = {
        "limit_s": LIMIT_S,
        "files": FILES,
        "device": there.fingerprint,
        "found_s": found_s,
        "figures": {"a file over ssh": f"{over_s * 1e3:,.0f} ms", "700 files": f"{700 * over_s:,.0f} s"},
    }
    print(write("ssh_overhead", "python -m benchmarks.ssh_overhead ssh://board", result, ("torch", "ai-edge-litert")))
    return int(over_s > LIMIT_S)


def _measure_s(there: Device) -> float:
    """The median over files of how much longer one takes until it is open there than here."""
    here = device_at(THIS_MACHINE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"candidate.{FORMAT}"
        files = _write_files(path)
        next(files)
        jobs = [Job(path, RUNTIME, 1, device.cores(1), seed=0) for device in (here, there)]
        with here.start(jobs[0]) as near, there.start(jobs[1]) as far:
            return median([_open_s(far, path) - _open_s(near, path) for _ in files])


def _write_files(path: Path) -> Iterator[Path]:
    """The network at one width after another, each in place of the last."""
    traced = Traced.of(SUBJECTS[NAME])
    with tempfile.TemporaryDirectory() as folder:
        blueprint = learn_sizes(traced.network, traced.graph, Path(folder), FORMAT)
    for plan in draw_plans(traced)[:FILES]:
        path.write_bytes(blueprint.network(plan))
        yield path


def _open_s(worker: Worker, path: Path) -> float:
    """The seconds that a file takes until it is open, but for the runtime's own."""
    began = time.perf_counter()
    opened = worker.open(path)
    return time.perf_counter() - began - opened.load_ms / 1e3


if __name__ == "__main__":
    sys.exit(main())
