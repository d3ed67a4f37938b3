"""Where benchmark results are kept, and what machine made them."""

from __future__ import annotations

import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from deploy_prune.records import write_atomic

RESULTS = Path(__file__).parent / "results"
SHARED = Path(__file__).parents[2] / "shared" / "data"
"""Real data and checkpoints beside the repository, for the benchmarks that need them."""


def machine(*packages: str) -> dict[str, Any]:
    """What a reader needs to judge a figure."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages},
    }


def write(name: str, command: str, result: dict[str, Any], packages: tuple[str, ...] = ("torch",)) -> Path:
    """One result file, with the command that makes it anew."""
    path = RESULTS / f"{name}.json"
    document = {"schema": 1, "command": command, "machine": machine(*packages), **result}
    text = json.dumps(document, indent=1) + "\n"
    write_atomic(path, lambda temporary: temporary.write_text(text))
    return path


def read(name: str) -> dict[str, Any]:
    """A result file."""
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return content


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
