"""The process that runs exported files, one at a time: JSON lines in, JSON lines out, no torch.

    python -m deploy_prune.timing.worker PATH RUNTIME THREADS CORES SEED PARENT

It answers {"event": "ready", ...} once the file is loaded, then on stdin every {"inferences": N, "path": PATH} with
the N times, every {"profile": N, "path": PATH} with what each node takes, by the runtime's own profiler, and every
{"open": PATH}, another file in place of the last, as at the start. What goes wrong with a file
is answered as {"event": "error", ...}. It ends when stdin closes or PARENT is gone, whatever it runs just then.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any, TypeVar

from deploy_prune import plugins
from deploy_prune.causes import is_out_of_memory
from deploy_prune.errors import DeployPruneError, InputError
from deploy_prune.processes.lifeline import follow
from deploy_prune.timing.runtimes import RUNTIMES, Session
from deploy_prune.values import NodeTime, TensorSpec

Result = TypeVar("Result")

LEAD_IN = 2
"""Untimed inferences at the start of a block: the neighbour that ran before has emptied the caches."""


def main(arguments: list[str]) -> int:
    """Serve for as long as stdin is open."""
    answers = _take_stdout()
    path, runtime, threads, cores, seed, parent = arguments
    _pin({int(core) for core in cores.split(",")})
    follow(int(parent))
    requests = chain([{"open": path}], _listen_to_stdin())
    _serve(requests, answers, lambda wanted: _load(wanted, runtime, int(threads), int(seed)))
    return 0


def _take_stdout() -> IO[str]:
    """The answers' own stream: whatever a vendor prints to stdout goes to stderr instead of between them."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _pin(cores: set[int]) -> None:
    """Before any thread is made, as threads inherit it; macOS and Windows have no such call."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, cores)


def _listen_to_stdin() -> Iterator[dict[str, Any]]:
    """Requests as they come; in a thread, so that a closed stdin ends this process also in the middle of a block."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        """Read without `sys.stdin`, whose lock no thread may hold when the process ends."""
        kept = b""
        while chunk := os.read(0, 1 << 10):
            *whole, kept = (kept + chunk).split(b"\n")
            for line in whole:
                lines.put(line.decode())
        os._exit(0)  # whoever would read an answer is gone

    threading.Thread(target=listen, daemon=True).start()
    while True:
        yield json.loads(lines.get())


@dataclass(frozen=True, eq=False)
class Loaded:
    """An open file."""

    path: Path
    """The file that is open."""
    ready: Mapping[str, object]
    """What there is to say about it: `load_ms`, the runtime's `version`, and `runtime_memory_bytes`."""
    run: Callable[[], object]
    """One inference on fixed random inputs."""
    profile: Callable[[int], Iterable[NodeTime]]
    """What each node takes in one inference, in ms: the median over that many inferences."""


def _load(path: Path, name: str, threads: int, seed: int) -> Loaded:
    runtime = plugins.build(RUNTIMES, name)
    runtime.prepare(path)
    baseline_bytes = read_peak_memory_bytes()
    started = time.perf_counter()
    session: Session = runtime.open(path, threads=threads)
    load_ms = (time.perf_counter() - started) * 1e3
    try:
        arrays = _draw_inputs(session.inputs, seed)
    except TypeError as error:  # numpy has no such type
        raise InputError(f"{path} takes inputs that cannot be drawn: {error}", hint="leave it out") from error
    ready = {"load_ms": load_ms, "version": runtime.version(), "runtime_memory_bytes": baseline_bytes}
    return Loaded(
        path,
        ready,
        run=lambda: _run(path, lambda: session.run(*arrays)),
        profile=lambda runs: _run(path, lambda: session.profile(*arrays, runs=runs)),
    )


def _run(path: Path, run: Callable[[], Result]) -> Result:
    """Its result; a file that opens may still not run, and vendors' exceptions have no common base."""
    try:
        return run()
    except DeployPruneError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} opens but does not run: {reason}", hint="export it again") from error


def _draw_inputs(specs: Iterable[TensorSpec], seed: int) -> tuple[Any, ...]:
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


def _serve(requests: Iterable[dict[str, Any]], answers: IO[str], load: Callable[[Path], Loaded]) -> None:
    loaded: Loaded | None = None
    for request in requests:
        with _answer_errors(answers):
            if "open" in request:
                loaded = None  # first, so that never two files are in memory
                loaded = load(Path(request["open"]))
                _answer(answers, event="ready", **loaded.ready)
            elif "profile" in request:
                nodes = _check_open(loaded, request["path"]).profile(request["profile"])
                _answer(answers, event="profile", nodes=[asdict(node) for node in nodes])
            else:
                _answer(answers, event="block", **_take_block(loaded, **request))


@contextmanager
def _answer_errors(answers: IO[str]) -> Iterator[None]:
    """An error that the user can meet is said, and ends nothing."""
    try:
        yield
    except DeployPruneError as error:
        if is_out_of_memory(error):
            raise  # this process ends with it: it says nothing about the file
        _answer(answers, event="error", kind=type(error).__name__, message=error.message, hint=error.hint)


def _check_open(loaded: Loaded | None, path: str) -> Loaded:
    if loaded is None or loaded.path != Path(path):
        raise InputError(f"{path} is no longer open", hint="open it again")
    return loaded


def _take_block(current: Loaded | None, inferences: int, path: str) -> dict[str, object]:
    loaded = _check_open(current, path)
    for _ in range(LEAD_IN):
        loaded.run()
    samples = [_time_ms(loaded.run) for _ in range(inferences)]
    return {"samples": samples, "unit": "ms", "peak_memory_bytes": read_peak_memory_bytes()}


def _time_ms(run: Callable[[], object]) -> float:
    started = time.perf_counter_ns()
    run()
    return (time.perf_counter_ns() - started) / 1e6


def read_peak_memory_bytes() -> int:
    """The largest resident set of this process so far, in bytes.

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
