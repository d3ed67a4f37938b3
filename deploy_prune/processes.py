"""Runs work in processes of its own, several at once: what crashes there ends nothing here.

    python -m deploy_prune.processes FOLDER NUMBER

is what such a process runs. Work and results travel as pickles between our own processes, in a folder that only this
user can read; cloudpickle carries networks of the user's own files along, which a new process could not import.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Shared, Item], Iterator[Result]]

POLL_S = 0.02
LOG_TAIL = 300
THREADS = "OMP_NUM_THREADS"
KILLED = "SIGKILL"


class Unsendable(Exception):
    """Work that cannot be handed to another process; says what of it."""


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What became of one item."""

    result: Result | None
    """The last that its work gave; None: it gave none."""
    died: str = ""
    """How its process ended before its time; empty: it came to its end."""


def run_each(
    work: Work[Shared, Item, Result],
    shared: Shared,
    items: Sequence[Item],
    *,
    at_once: int,
    told: Callable[[list[Item], int], None],
) -> list[Outcome[Result]]:
    """Run `work(shared, item)` for every item, each in a new process; an outcome per item, in their order.

    Args:
        work: a function of a module, which gives ever better results, the last of them being final.
        shared: the same for all items; handed over once.
        items: one per process.
        at_once: processes that run at the same time.
        told: what runs and how many have ended, at every change.

    Raises:
        Exception: what the work raised itself, once all processes have ended.
        Unsendable: something cannot be pickled.
    """
    outcomes: dict[int, Outcome[Result]] = {}
    waiting, running = list(range(len(items))), dict[int, "subprocess.Popen[bytes]"]()
    with tempfile.TemporaryDirectory(prefix="deploy-prune-") as name:
        folder = Path(name)
        _send(folder, work, shared, items)
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    running[waiting[0]] = _started(folder, waiting[0], threads=_threads(at_once, len(items)))
                    del waiting[0]
                    told([items[number] for number in running], len(outcomes))
                for number in [number for number, process in running.items() if process.poll() is not None]:
                    outcomes[number] = _outcome(folder, number, _ended(running.pop(number)))
                    told([items[number] for number in running], len(outcomes))
                time.sleep(POLL_S)
        finally:
            for process in running.values():
                process.kill()
                _ended(process)
        for number in range(len(items)):
            if (folder / f"{number}.raised").exists():
                raise _load(folder / f"{number}.raised")
    return [outcomes[number] for number in range(len(items))]


def _send(folder: Path, work: Work[Shared, Item, Result], shared: Shared, items: Sequence[Item]) -> None:
    try:
        with _whole(_not_importable()):
            _dump(folder / "shared", (work, shared))
            for number, item in enumerate(items):
                _dump(folder / f"{number}.item", item)
    except (
        TypeError,
        AttributeError,
        RuntimeError,
        pickle.PicklingError,
    ) as error:  # whatever a class's own pickling raises
        raise Unsendable(f"{type(error).__name__}: {error}") from error


def _threads(at_once: int, items: int) -> int:
    return max((os.cpu_count() or 1) // max(min(at_once, items), 1), 1)


def _started(folder: Path, number: int, *, threads: int) -> subprocess.Popen[bytes]:
    environment = {THREADS: str(threads), **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "deploy_prune.processes", str(folder), str(number)]
    with (folder / f"{number}.log").open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment)


def _ended(process: subprocess.Popen[bytes]) -> int:
    """Its exit code, and our end of its stdin closed."""
    assert process.stdin
    process.stdin.close()
    return process.wait()


def _outcome(folder: Path, number: int, code: int) -> Outcome[Any]:
    path = folder / f"{number}.result"
    result = _load(path) if path.exists() else None
    return Outcome(result, died="" if code == 0 else _how(code, (folder / f"{number}.log").read_bytes()))


def _how(code: int, log: bytes) -> str:
    """Exit code or signal, and the last that was said."""
    if code >= 0:
        how = f"exit {code}"
    else:
        how = signal.Signals(-code).name
        how += ", as when memory is short" if how == KILLED else ""
    said = log[-LOG_TAIL:].decode(errors="replace").strip().splitlines()
    return f"{how}: {said[-1]}" if said else how


def _dump(path: Path, value: Any) -> None:
    """Complete or not at all, as a process may die at any moment."""
    import cloudpickle

    unfinished = path.with_suffix(f"{path.suffix}.part")
    with unfinished.open("wb") as file:
        cloudpickle.dump(value, file, protocol=pickle.HIGHEST_PROTOCOL)
    unfinished.replace(path)


def _load(path: Path) -> Any:
    """What `_dump` of this or the other process wrote, in a folder that only we can write to."""
    with path.open("rb") as file:
        return pickle.load(file)  # noqa: S301 - our own process wrote it


def _not_importable() -> list[ModuleType]:
    """Modules that a new process would not find by name: those of files that were loaded by their path."""
    known = {str(Path(entry or ".").resolve()) for entry in sys.path}
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is None or "." in name or name == "__main__":
            continue
        folder = Path(file).resolve().parent
        if {str(folder), str(folder.parent)} & known or any(_finds(finder, name) for finder in sys.meta_path):
            continue
        found.append(module)
    return found


def _finds(finder: Any, name: str) -> bool:
    find = getattr(finder, "find_spec", None)
    return find is not None and find(name, None) is not None


@contextmanager
def _whole(modules: Sequence[ModuleType]) -> Iterator[None]:
    """What these modules define is pickled by value while the block runs."""
    import cloudpickle

    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def main(arguments: Sequence[str]) -> int:
    """The other process: work on one item, leave every result in the folder."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    folder, number = Path(arguments[0]), arguments[1]
    try:
        work, shared = _load(folder / "shared")
        for result in work(shared, _load(folder / f"{number}.item")):
            _dump(folder / f"{number}.result", result)
    except Exception as error:  # noqa: BLE001 - it is raised in the process that asked for the work
        _dump(folder / f"{number}.raised", error)
        return 1
    return 0


def _end_with_parent() -> None:
    """Our stdin closes when the process that started this one is gone, however it went."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))  # all results are written: what vendors do at exit, some crash in, is not waited for
