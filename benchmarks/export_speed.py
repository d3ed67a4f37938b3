"""How long MobileNetV2 at 224 x 224 takes in all four formats, exported and verified: the whole command.

    python -m benchmarks.export_speed

Three times `deploy-prune export torchvision:mobilenet_v2 --classes 10 --data digits`: 208 inputs per format, 200 of
them images. Nothing else may run on the machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.recording import write

LIMIT_S = 30.0
RUNS = 3
COMMAND = ("export", "torchvision:mobilenet_v2", "--classes", "10", "--data", "digits", "--verify", "--json",
           "--target", "tflite,executorch,coreml,onnx")  # fmt: skip


def main() -> int:
    """Exits 1 where the median is above the limit or a file is not verified."""
    runs = [_run() for _ in range(RUNS)]
    median_s = sorted(run["seconds"] for run in runs)[RUNS // 2]
    passed = median_s <= LIMIT_S and all(status == "verified" for run in runs for status in run["formats"].values())
    packages = ("torch", "litert-torch", "onnx", "coremltools", "executorch")
    result = {"limit_s": LIMIT_S, "median_s": median_s, "runs": runs, "passed": passed}
    print(write("export_speed", "python -m benchmarks.export_speed", result, packages))
    print(result)
    return int(not passed)


def _run() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "deploy_prune", *COMMAND, "--out", folder],
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - began
    rows = json.loads(done.stdout)["shipments"]
    return {
        "seconds": seconds,
        "formats": {row["format"]: row["status"] for row in rows},
        "converting_s": {row["format"]: row["artifact"]["seconds"] for row in rows if row["artifact"]},
    }


if __name__ == "__main__":
    sys.exit(main())
