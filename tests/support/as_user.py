"""Runs Python as a user does: a process of its own, in a folder of the user's, with this checkout's package."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_as_user(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, in that folder; its exit code is the caller's to judge."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def interpreter(folder: Path, code: str) -> str:
    """A program that runs this code whatever it is called with: as `sys.executable` it is every worker's."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(code)}\n")
    path.chmod(0o755)
    return str(path)
