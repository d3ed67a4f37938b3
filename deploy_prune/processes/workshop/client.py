"""Our end of a workshop: starts it, hands work over, collects what comes of it, and ends it whatever happens."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from deploy_prune.errors import WorkerDied
from deploy_prune.processes.workshop.parcels import GIVEN_UP, NO_MEMORY, load, send
from deploy_prune.scratch import make_scratch

logger = logging.getLogger(__name__)

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Shared, Item], Result]

CLOSING_S = 1.0
LOG = "log"
LOG_TAIL = 300
KILLED = "SIGKILL"
CRASHES = frozenset({"SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP", "SIGSYS"})
"""The signals that a process brings upon itself; all others come from outside and say nothing about its work."""
SHORT = "is memory short? Close other programs, then give the same command again"
OVERLOADED = "is the machine overloaded? Try again, or leave that format out; a converter may also never end"
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
    """None: its process crashed, twice."""
    died: str = ""
    """How its process crashed; empty: it came to its end."""


@dataclass(frozen=True)
class Patience:
    """How long a converter or runtime may take; the largest networks take some minutes."""

    quiet_s: float = 300.0
    """The seconds without an end after which a warning says when it will be given up."""
    limit_s: float = 1800.0
    """The seconds after which it is."""


@dataclass(frozen=True, eq=False)
class Workshop:
    """A process that starts others; see `open_workshop`."""

    process: subprocess.Popen[str]
    folder: Path
    patience: Patience


@contextmanager
def open_workshop(modules: Sequence[str] = (), patience: Patience = Patience()) -> Iterator[Workshop]:
    """A workshop that has begun to import these modules; all it started ends with the block."""
    with make_scratch() as folder:
        command = [sys.executable, "-m", "deploy_prune.processes.workshop", str(folder), str(os.getpid()), *modules]
        # it imports what we would, from where we would, and nothing from where the user happens to stand
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        environment = {**SETTINGS, **os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
        environment["TMPDIR"] = tempfile.mkdtemp(dir=folder)  # what vendors leave goes with the workshop
        with (folder / LOG).open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
            )
        try:
            yield Workshop(process, folder, patience)
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
        WorkerDied: the process of an item was killed twice, or the workshop itself was; or an item took too long.
    """
    folder = Path(tempfile.mkdtemp(dir=shop.folder))
    send(folder, (work, shared), items)
    codes = _run(shop, folder, range(len(items)), at_once=at_once, told=told)
    again = [
        number for number, code in codes.items() if code not in (0, GIVEN_UP) and not _raised(folder, number).exists()
    ]
    before = len(items) - len(again)
    codes |= _run(shop, folder, again, at_once=1, told=lambda running, ended: told(running, before + ended))
    for number in range(len(items)):
        if _raised(folder, number).exists():
            raise load(_raised(folder, number))
    return [_read_outcome(folder, number, codes[number]) for number in range(len(items))]


def _run(
    shop: Workshop, folder: Path, numbers: Iterable[int], *, at_once: int, told: Callable[[list[int], int], None]
) -> dict[int, int]:
    """Run some of the items; the exit code of each."""
    codes: dict[int, int] = {}
    waiting, running = deque(numbers), set[int]()
    while waiting or running:
        while waiting and len(running) < at_once:
            running.add(waiting[0])
            _begin(shop, folder, waiting.popleft())
            told(sorted(running), len(codes))
        number, codes[number] = _await_end(shop)
        running.discard(number)
        told(sorted(running), len(codes))
    return codes


def _begin(shop: Workshop, folder: Path, number: int) -> None:
    assert shop.process.stdin
    with suppress(OSError, ValueError):  # it died or is being closed: waiting for the answer finds out
        shop.process.stdin.write(f"{folder.name} {number} {shop.patience.limit_s}\n")
        shop.process.stdin.flush()


def _await_end(shop: Workshop) -> tuple[int, int]:
    """The next item that ends, and its exit code."""
    assert shop.process.stdout
    with _warn_when_quiet(shop.patience):
        line = shop.process.stdout.readline()
    if not line:
        how = _tell_end(shop.process.wait(), (shop.folder / LOG).read_bytes())
        raise WorkerDied(f"the process that starts converters and runtimes died ({how})", hint=SHORT)
    number, code = line.split()
    return int(number), int(code)


@contextmanager
def _warn_when_quiet(patience: Patience) -> Iterator[None]:
    message = "no converter or runtime has ended for %.0f s; one that takes %.0f s is given up"
    timer = threading.Timer(patience.quiet_s, logger.warning, (message, patience.quiet_s, patience.limit_s))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _raised(folder: Path, number: int) -> Path:
    """The file of what the work raised."""
    return folder / f"{number}.raised"


def _read_outcome(folder: Path, number: int, code: int) -> Outcome[Any]:
    if code == 0:
        return Outcome(load(folder / f"{number}.result"))
    if code == GIVEN_UP:
        raise WorkerDied("a converter or runtime did not end in time and was given up", hint=OVERLOADED, final=True)
    log = folder / f"{number}.log"  # it may have ended before it had one
    how = _tell_end(code, log.read_bytes() if log.exists() else b"")
    if code == NO_MEMORY or (code < 0 and signal.Signals(-code).name not in CRASHES):
        raise WorkerDied(f"a converter or runtime was ended twice ({how})", hint=SHORT, final=True)
    return Outcome(None, how)


def _tell_end(code: int, log: bytes) -> str:
    """The exit code or signal, and the last line that was printed."""
    if code >= 0:
        how = "memory ran out" if code == NO_MEMORY else f"exit {code}"
    else:
        how = signal.Signals(-code).name
        how += ", as when memory is short" if how == KILLED else ""
    said = log[-LOG_TAIL:].decode(errors="replace").strip().splitlines()
    return f"{how}: {said[-1]}" if said else how
