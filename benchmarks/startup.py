"""How long `deploy-prune --help` takes as a whole process, and what importing the package drags in.

python -m benchmarks.startup
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time

from benchmarks.recording import write

RUNS = 11
LIMIT_S = 0.3
HEAVY = ("torch", "numpy", "pydantic")


def main() -> int:
    """Time the command; exits 1 above the limit."""
    command = shutil.which("deploy-prune")
    if command is None:
        print("deploy-prune is not installed", file=sys.stderr)
        return 2
    samples = [_seconds([command, "--help"]) for _ in range(RUNS)]
    listing = f"import sys, deploy_prune; print([name for name in {HEAVY} if name in sys.modules])"
    dragged = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True).stdout.strip()
    median = statistics.median(samples)
    result = {"help_s": median, "samples_s": samples, "limit_s": LIMIT_S, "imported_with_the_package": dragged}
    print(f"--help: median {median:.3f} s of {RUNS}; importing deploy_prune brings {dragged}")
    print(write("startup", "python -m benchmarks.startup", result, ("typer", "rich")))
    return int(median > LIMIT_S or dragged != "[]")


def _seconds(argv: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(argv, capture_output=True, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
