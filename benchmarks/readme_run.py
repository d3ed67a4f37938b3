"""Runs what the README shows, as it stands there, and draws its picture; both are written down for the pages.

    python -m benchmarks.readme_run

The two files of the README's example are put into an empty folder and its commands run there. The picture is that of
`deploy-prune latency show` for one layer, measured anew.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.pages import README, ROOT, block
from benchmarks.recording import write

FILES = ("my_net.py", "run.toml")
NETWORK, LAYER = "resnet20", "layer3.0.conv1"
PICTURE = ROOT / "docs" / "images" / "stairs.png"


def main() -> int:
    """Run, draw, record; exits with the code of the example's command."""
    with tempfile.TemporaryDirectory() as folder:
        example, code = run_example(Path(folder), README.read_text())
        stairs = draw_stairs(Path(folder))
    result = {**example, "picture": {"network": NETWORK, "layer": LAYER, **stairs}}
    print(write("readme_run", "python -m benchmarks.readme_run", result, ("torch", "ai-edge-litert", "onnxruntime")))
    return code


def run_example(folder: Path, readme: str) -> tuple[dict[str, Any], int]:
    """Run the README's commands in a folder: what they printed, line by line, and the last one's exit code."""
    for name in FILES:
        (folder / name).write_text(block(f"example: {name}", readme))
    began, printed, code = time.monotonic(), list[str](), 0
    for line in block("example: commands", readme).splitlines():
        done = _deploy_prune(folder, *shlex.split(line)[1:])
        code = done.returncode
        printed += done.stdout.splitlines()
    return {"printed": printed, "exit_code": code, "seconds": time.monotonic() - began}, code


def draw_stairs(folder: Path) -> dict[str, Any]:
    """Profile the network, measure the layer at every width and draw it into the documents; what was drawn."""
    store = ("--store", "stairs.sqlite")
    _deploy_prune(folder, "profile", NETWORK, *store, check=True)
    arguments = ("latency", "show", NETWORK, LAYER, *store, "--png", str(PICTURE), "--json")
    shown: dict[str, Any] = json.loads(_deploy_prune(folder, *arguments, check=True).stdout)
    return shown


def _deploy_prune(folder: Path, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "deploy_prune", *arguments]
    return subprocess.run(argv, cwd=folder, stdout=subprocess.PIPE, text=True, check=check)


if __name__ == "__main__":
    sys.exit(main())
