"""Asks LiteRT, in a process of its own, which operators of a .tflite file it hands to XNNPACK.

    python -m deploy_prune.analysis.xnnpack_delegation PATH PARENT

It answers with one line of JSON, and ends with PARENT, the number of the process that asks. A damaged file may end it;
the one that asks lives on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy_prune.errors import Unavailable
from deploy_prune.processes.lifeline import follow
from deploy_prune.timing.client import make_environment
from deploy_prune.timing.delegation import Node, count_delegated, find_delegated
from deploy_prune.values import Delegation

TIMEOUT_S = 120.0
SAID = 300
"""Characters of the vendor's words that fit into a message."""


def ask_delegated(path: Path, operators: int) -> frozenset[int]:
    """The places in the main graph (which has `operators` of them) that XNNPACK runs.

    Raises:
        Unavailable: LiteRT is not there, refuses the file or died on it; the reason is in the message.
    """
    nodes = _ask_litert(path)
    return find_delegated(nodes[:operators], nodes[operators:])


def ask_delegation(path: Path, operators: int) -> Delegation:
    """Count what XNNPACK runs of the main graph, which has `operators` of them.

    Raises:
        Unavailable: LiteRT is not there, refuses the file or died on it; the reason is in the message.
    """
    return count_delegated(_ask_litert(path), operators)


def _ask_litert(path: Path) -> tuple[Node, ...]:
    command = [sys.executable, "-m", "deploy_prune.analysis.xnnpack_delegation", str(path), str(os.getpid())]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
            env=make_environment(),
        )
    except subprocess.TimeoutExpired as error:
        hint = "is the machine overloaded? Try again"
        raise Unavailable(f"LiteRT did not open {path} within {TIMEOUT_S:.0f} s", hint=hint) from error
    if done.returncode:
        said = done.stderr.strip()[-SAID:] or "it said nothing"
        hint = "is memory short? If not, the file may be damaged: export it again"
        raise Unavailable(f"LiteRT died when it opened {path} (exit {done.returncode}): {said}", hint=hint)
    answer: Mapping[str, Any] = json.loads(done.stdout)
    if "refused" in answer:
        raise Unavailable(answer["refused"])
    return tuple(Node(tuple(inputs), tuple(outputs)) for inputs, outputs in answer["nodes"])


def main(arguments: Sequence[str]) -> int:
    """Open the file as an app does, with the default delegate, and say what became of its graph."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever the vendor prints is not the answer
    path, parent = arguments
    follow(int(parent))
    try:
        answer: dict[str, object] = {"nodes": _read_nodes(path)}
    except (ImportError, ValueError, RuntimeError, MemoryError) as error:
        answer = {"refused": f"LiteRT refuses it: {str(error).strip().splitlines()[0]}"}
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
    return 0


def _read_nodes(path: str) -> list[tuple[list[int], list[int]]]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    details = interpreter._get_ops_details()  # the only way that the package offers
    return [(list(map(int, each["inputs"])), list(map(int, each["outputs"]))) for each in details]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
