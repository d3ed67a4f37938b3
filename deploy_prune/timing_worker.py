"""The process that runs one exported file: JSON lines in, JSON lines out, no torch.

    python -m deploy_prune.timing_worker PATH RUNTIME THREADS CORES SEED

It answers {"event": "ready", ...} once the file is loaded, then every {"inferences": N} on stdin with the N
times; it ends when stdin closes, so that it never outlives the process that started it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

from deploy_prune import plugins
from deploy_prune.errors import DeployPruneError, InputError
from deploy_prune.runtimes import Session, TensorSpec

LEAD_IN = 2
"""Untimed inferences at the start of a block: the neighbour that ran before has emptied the caches."""


def main(arguments: list[str]) -> int:
    """Serve until stdin closes. An error the user can meet is answered as {"event": "error", ...}."""
    answers = _private_stdout()
    path, runtime, threads, cores, seed = arguments
    try:
        _pin({int(core) for core in cores.split(",")})
        ready, run = _load(Path(path), plugins.build("runtimes", runtime), int(threads), int(seed))
        _answer(answers, event="ready", **ready)
        _serve(sys.stdin, answers, run)
    except DeployPruneError as error:
        _answer(answers, event="error", kind=type(error).__name__, message=error.message, hint=error.hint)
    return 0


def _private_stdout() -> IO[str]:
    """The answers' own stream: whatever a vendor prints to stdout goes to stderr instead of between them."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _pin(cores: set[int]) -> None:
    """Before any thread is made, as threads inherit it; macOS and Windows have no such call."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, cores)


def _load(path: Path, runtime: Any, threads: int, seed: int) -> tuple[dict[str, Any], Callable[[], object]]:
    """Open the file; what to say about it, and the call of one inference on fixed random inputs."""
    runtime.import_package()
    baseline_bytes = peak_memory_bytes()
    started = time.perf_counter()
    session: Session = runtime.open(path, threads=threads)
    load_ms = (time.perf_counter() - started) * 1e3
    try:
        arrays = _inputs(session.inputs, seed)
    except TypeError as error:  # numpy has no such type
        raise InputError(f"{path} takes inputs that cannot be drawn: {error}", hint="leave it out") from error
    ready = {"load_ms": load_ms, "version": runtime.version(), "runtime_memory_bytes": baseline_bytes}
    return ready, lambda: _run(path, session, arrays)


def _run(path: Path, session: Session, arrays: tuple[Any, ...]) -> object:
    """One inference; a file that opens may still not run, and vendors' exceptions have no common base."""
    try:
        return session.run(*arrays)
    except DeployPruneError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} opens but does not run: {reason}", hint="export it again") from error


def _inputs(specs: Iterable[TensorSpec], seed: int) -> tuple[Any, ...]:
    """Random arrays of the inputs' shapes, batch 1; whole numbers stay small, as they may be indices."""
    import numpy as np

    draw = np.random.default_rng(seed)
    shapes = [(spec, [max(size, 1) for size in spec.shape]) for spec in specs]
    return tuple(
        draw.standard_normal(shape).astype(spec.dtype)
        if spec.dtype.startswith("float")
        else draw.integers(0, 2, shape).astype(spec.dtype)
        for spec, shape in shapes
    )


def _serve(requests: Iterable[str], answers: IO[str], run: Callable[[], object]) -> None:
    for line in requests:
        request = json.loads(line)
        for _ in range(LEAD_IN):
            run()
        samples_ms = [_timed_ms(run) for _ in range(request["inferences"])]
        _answer(answers, event="block", samples_ms=samples_ms, peak_memory_bytes=peak_memory_bytes())


def _timed_ms(run: Callable[[], object]) -> float:
    started = time.perf_counter_ns()
    run()
    return (time.perf_counter_ns() - started) / 1e6


def peak_memory_bytes() -> int:
    """The largest resident set of this process so far.

    Linux hands ru_maxrss on from the process that started this one (a parent with torch in it), so that
    /proc is asked first.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _answer(answers: IO[str], **fields: object) -> None:
    answers.write(json.dumps(fields) + "\n")
    answers.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
