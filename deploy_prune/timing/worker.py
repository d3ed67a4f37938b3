"""The process that runs exported files, one at a time: JSON lines in, JSON lines out, no torch.

    python -m deploy_prune.timing.worker RUNTIME THREADS CORES SEED PARENT

Every {"open": NAME} on stdin is answered by {"event": "ready", ...} once that file is loaded in place of the last. NAME
is its path; where the file itself is `attached` (see `wire`), or is the one that was attached last (`again`), what the
user calls it. Then {"inferences": N, "path": NAME} gives N times, {"profile": N, ...} what each node takes, by the
runtime's own profiler, {"run": true, "arrays": [...]} the outputs of given inputs, {"layers": true, ...} what every
operator gives, {"delegation": true, ...} what a delegate took, and {"count": true, ...} marks an inference for the
emulator that this process runs in. What goes wrong with a file is answered as {"event": "error", ...}. The process ends
when stdin closes, or PARENT (0: nobody here) is gone, whatever it runs just then.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from deploy_prune import plugins
from deploy_prune.causes import is_out_of_memory
from deploy_prune.errors import DeployPruneError, InputError, StorageError, Unavailable
from deploy_prune.processes.lifeline import follow
from deploy_prune.timing.inbox import Inbox
from deploy_prune.timing.runtimes import RUNTIMES, Session
from deploy_prune.timing.wire import pack_array, unpack_array
from deploy_prune.values import NodeTime, TensorSpec

if TYPE_CHECKING:
    import numpy as np

Result = TypeVar("Result")

LEAD_IN = 2
"""Untimed inferences at the start of a block: the neighbour that ran before has emptied the caches."""

MARK, BEGIN, END = 0x5150, 1, 2
"""A system call that no kernel has, and what it marks: `simulator/counter.c` knows the same."""


def main(arguments: list[str]) -> int:
    """Serve for as long as stdin is open."""
    answers = _take_stdout()
    runtime, threads, cores, seed, parent = arguments
    _pin({int(core) for core in cores.split(",")})
    if int(parent):
        follow(int(parent))
    inbox = Inbox()
    try:
        _serve(inbox.listen(), answers, lambda request: _load(request, runtime, int(threads), int(seed)))
    finally:
        inbox.clear()
    return 0


def _take_stdout() -> IO[str]:
    """The answers' own stream: whatever a vendor prints to stdout goes to stderr instead of between them."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _pin(cores: set[int]) -> None:
    """Keep to these cores, before any thread is made, as threads inherit it; macOS and Windows have no such call.

    Raises:
        Unavailable: the system keeps this process elsewhere, as vendors' schedulers and containers may.
    """
    if sys.platform == "linux":
        os.sched_setaffinity(0, cores)
        if (kept := os.sched_getaffinity(0)) != cores:
            raise Unavailable(f"asked to run on the cores {sorted(cores)}, the system allows {sorted(kept)} alone")


@dataclass(eq=False)
class Loaded:
    """An open file. Not a value: its session is prepared for one batch size at a time."""

    name: str
    """What whoever asked for it calls the file."""
    path: Path
    """Where it is."""
    ready: Mapping[str, object]
    """What there is to say about it: `load_ms`, the runtime's `version`, `runtime_memory_bytes` and its `inputs`."""
    session: Session
    """What runs it."""
    arrays: tuple[np.ndarray, ...]
    """The fixed random inputs of what is timed, at batch 1."""
    batch: int | None = None
    """The batch size that the session was prepared for; None: the file's own."""

    def run(self) -> object:
        """One inference on the fixed inputs."""
        return _run(self.path, lambda: self.session.run(*self.arrays))

    def profile(self, runs: int) -> Iterable[NodeTime]:
        """What each node takes in one inference, in ms: the median over that many inferences."""
        return _run(self.path, lambda: self.session.profile(*self.arrays, runs=runs))

    def resize(self, arrays: Sequence[np.ndarray]) -> None:
        """Prepare for the batch of these inputs."""
        if arrays and arrays[0].ndim and self.batch != len(arrays[0]):
            self.batch = len(arrays[0])
            self.session.resize(self.batch)


def _load(request: dict[str, Any], name: str, threads: int, seed: int) -> Loaded:
    if "lost" in request:
        raise StorageError(f"{request['open']} could not be kept there: {request['lost']}", hint="make room there")
    path = Path(request.get("file", request["open"]))
    runtime = plugins.build(RUNTIMES, name)
    runtime.prepare(path)
    baseline_bytes = read_peak_memory_bytes()
    started = time.perf_counter()
    session = runtime.open(path, threads=threads)
    load_ms = (time.perf_counter() - started) * 1e3
    try:
        arrays = _draw_inputs(session.inputs, seed)
    except TypeError as error:  # numpy has no such type
        raise InputError(f"{path} takes inputs that cannot be drawn: {error}", hint="leave it out") from error
    ready = {"load_ms": load_ms, "version": runtime.version(), "runtime_memory_bytes": baseline_bytes,
             "inputs": [asdict(spec) for spec in session.inputs]}  # fmt: skip
    return Loaded(request["open"], path, ready, session, arrays)


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


def _serve(requests: Iterable[dict[str, Any]], answers: IO[str], load: Callable[[dict[str, Any]], Loaded]) -> None:
    loaded: Loaded | None = None
    for request in requests:
        path = request.get("file") or (loaded and str(loaded.path)) or ""
        with _answer_errors(answers, path, request.get("open") or request.get("path", "")):
            if "open" in request:
                loaded = None  # first, so that never two files are in memory
                loaded = load(request)
                _answer(answers, event="ready", **loaded.ready)
            else:
                _answer(answers, **_do(_check_open(loaded, request["path"]), request))


@contextmanager
def _answer_errors(answers: IO[str], path: str, name: str) -> Iterator[None]:
    """An error that the user can meet is said, by the name that the user gave the file, and ends nothing."""
    try:
        yield
    except DeployPruneError as error:
        if is_out_of_memory(error):
            raise  # this process ends with it: it says nothing about the file
        message = error.message.replace(path, name) if path else error.message
        _answer(answers, event="error", kind=type(error).__name__, message=message, hint=error.hint)


def _check_open(loaded: Loaded | None, name: str) -> Loaded:
    if loaded is None or loaded.name != name:
        raise InputError(f"{name} is no longer open", hint="open it again")
    return loaded


def _do(loaded: Loaded, request: dict[str, Any]) -> dict[str, object]:
    """The answer to a request that is about the open file."""
    if "profile" in request:
        loaded.resize(loaded.arrays)
        return {"event": "profile", "nodes": [asdict(node) for node in loaded.profile(request["profile"])]}
    if "inferences" in request:
        return {"event": "block", **_take_block(loaded, request["inferences"])}
    if "delegation" in request:
        counted = _run(loaded.path, loaded.session.delegation)
        return {"event": "delegation", "counted": None if counted is None else asdict(counted)}
    if "count" in request:
        loaded.resize(loaded.arrays)
        return {"event": "counted", **_mark_inference(loaded)}
    arrays = [unpack_array(packed) for packed in request["arrays"]]
    loaded.resize(arrays)
    if "layers" in request:
        shown = _run(loaded.path, lambda: loaded.session.layers(*arrays))
        return {"event": "layers", "names": list(shown), "arrays": [pack_array(each) for each in shown.values()]}
    outputs = _run(loaded.path, lambda: loaded.session.run(*arrays))
    return {"event": "outputs", "arrays": [pack_array(output) for output in outputs]}


def _take_block(loaded: Loaded, inferences: int) -> dict[str, object]:
    loaded.resize(loaded.arrays)
    for _ in range(LEAD_IN):
        loaded.run()
    samples = [_time_ms(loaded.run) for _ in range(inferences)]
    return {"samples": samples, "unit": "ms", "peak_memory_bytes": read_peak_memory_bytes()}


def _mark_inference(loaded: Loaded) -> dict[str, object]:
    """Have the second inference counted by the emulator that this process runs in: the first one allocates."""
    mark = ctypes.CDLL(None).syscall
    loaded.run()
    gc.disable()  # its turns would be counted as well
    mark(MARK, BEGIN)
    loaded.run()
    mark(MARK, END)
    gc.enable()
    return {"peak_memory_bytes": read_peak_memory_bytes()}


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
