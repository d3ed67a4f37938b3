"""Our end of a workshop: starts it, hands work over, collects what comes of it, and ends it whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from deploy_prune.processes.workshop.parcels import load, send

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Shared, Item], Result]

CLOSING_S = 1.0
LOG = "log"
LOG_TAIL = 300
KILLED = "SIGKILL"
SETTINGS = {
    "OMP_NUM_THREADS": "1",  # the cores are shared by processes
    # keep freed memory (glibc): a tenth of the time goes into getting the same pages again
    "MALLOC_MMAP_THRESHOLD_": str(1 << 32),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
    "MALLOC_TOP_PAD_": str(1 << 26),
}


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What became of one item."""

    result: Result | None
    """None: its process died first."""
    died: str = ""
    """How its process ended before its time; empty: it came to its end."""


@dataclass(frozen=True, eq=False)
class Workshop:
    """A process that starts others; see `open_workshop`."""

    process: subprocess.Popen[str]
    folder: Path


@contextmanager
def open_workshop(modules: Sequence[str] = ()) -> Iterator[Workshop]:
    """A workshop that has begun to import these modules; all it started ends with the block."""
    with tempfile.TemporaryDirectory(prefix="deploy-prune-") as folder:
        command = [sys.executable, "-m", "deploy_prune.processes.workshop", folder, *modules]
        # it imports what we would, from where we would, and nothing from where the user happens to stand
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        environment = {**SETTINGS, **os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
        with (Path(folder) / LOG).open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
            )
        try:
            yield Workshop(process, Path(folder))
        finally:
            _close(process)


def _close(process: subprocess.Popen[str]) -> None:
    """It ends what it has started, then itself, when its stdin closes; while it imports it has started nothing."""
    assert process.stdin
    assert process.stdout
    with suppress(OSError):
        process.stdin.close()
    try:
        process.wait(timeout=CLOSING_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def run_each(
    shop: Workshop,
    work: Work[Shared, Item, Result],
    shared: Shared,
    items: Sequence[Item],
    *,
    at_once: int,
    told: Callable[[list[int], int], None],
) -> list[Outcome[Result]]:
    """Run `work(shared, item)` for every item, each in a new process; an outcome per item, in their order.

    Args:
        shop: where; for one list of items at a time.
        work: a function of a module.
        shared: the same for all items; handed over once.
        items: one per process; those that take longest first.
        at_once: processes that run at the same time.
        told: the numbers of those that run, and how many have ended, at every change.

    Raises:
        Exception: what the work raised itself, once all processes have ended.
        Unsendable: something cannot be pickled.
    """
    folder = Path(tempfile.mkdtemp(dir=shop.folder))
    send(folder, (work, shared), items)
    outcomes: dict[int, Outcome[Result]] = {}
    waiting, running = deque(range(len(items))), set[int]()
    while waiting or running:
        while waiting and len(running) < at_once:
            running.add(waiting[0])
            _begin(shop, folder, waiting.popleft())
            told(sorted(running), len(outcomes))
        for number, code in _await_end(shop, running):
            running.discard(number)
            outcomes[number] = _read_outcome(folder, number, code)
        told(sorted(running), len(outcomes))
    for number in range(len(items)):
        if (folder / f"{number}.raised").exists():
            raise load(folder / f"{number}.raised")
    return [outcomes[number] for number in range(len(items))]


def _begin(shop: Workshop, folder: Path, number: int) -> None:
    assert shop.process.stdin
    with suppress(OSError, ValueError):  # it died or is being closed: waiting for the answer finds out
        shop.process.stdin.write(f"{folder.name} {number}\n")
        shop.process.stdin.flush()


def _await_end(shop: Workshop, running: Iterable[int]) -> list[tuple[int, int]]:
    """The next item that ends and its exit code; all that run, where the workshop itself has died."""
    assert shop.process.stdout
    line = shop.process.stdout.readline()
    if not line:
        return [(number, shop.process.wait()) for number in running]
    number, code = line.split()
    return [(int(number), int(code))]


def _read_outcome(folder: Path, number: int, code: int) -> Outcome[Any]:
    path = folder / f"{number}.result"
    result = load(path) if path.exists() else None
    own, whole = folder / f"{number}.log", folder.parent / LOG  # a workshop that died has not begun all items
    return Outcome(result, died="" if code == 0 else _tell_end(code, (own if own.exists() else whole).read_bytes()))


def _tell_end(code: int, log: bytes) -> str:
    """The exit code or signal, and the last line that was printed."""
    if code >= 0:
        how = f"exit {code}"
    else:
        how = signal.Signals(-code).name
        how += ", as when memory is short" if how == KILLED else ""
    said = log[-LOG_TAIL:].decode(errors="replace").strip().splitlines()
    return f"{how}: {said[-1]}" if said else how
