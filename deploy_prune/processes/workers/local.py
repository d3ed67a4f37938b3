"""Processes of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from deploy_prune.errors import MissingDependency, WorkerDied
from deploy_prune.processes.lifeline import follow
from deploy_prune.processes.workers import Item, Result, Shared, Task, Workers, refuse_impossible, run_in_order
from deploy_prune.processes.workshop.parcels import load, send
from deploy_prune.scratch import make_scratch, sweep_beside

SHARED = "shared"
SEMAPHORES = "/dev/shm/sem.loky-{}-*"  # noqa: S108 - where Linux keeps them, not a file of ours
"""The files of the semaphores that loky makes for a process, which it removes unless it is killed as well."""

NO_LEAK = "1e15"
"""Bytes above which loky takes what a worker holds for a leak, and begins it anew: caches of a refit are none."""

_received: list[tuple[Task[Any, Any, Any], Any]] = []
"""What all tasks share, in a worker's process."""


@dataclass(frozen=True)
class Local:
    """Workers are processes of this machine; a single one is this process itself."""

    processes: int = 0
    """How many processes compute; 0: one per core."""
    threads: int = 1
    """Threads of each process, which sums of floats depend on: the same number gives the same results everywhere."""

    def __post_init__(self) -> None:
        refuse_impossible(self.processes, self.threads)

    def map(
        self, task: Task[Shared, Item, Result], shared: Shared, items: Iterable[Item], *, ahead: int
    ) -> Iterator[Result]:
        """See the contract; a single process computes an item when its result is asked for."""
        processes = min(self.processes or os.cpu_count() or 1, ahead)
        if processes == 1:
            return run_in_order(items, ahead, lambda item: item, partial(_run_here, task, shared, self.threads))
        return self._map_in_processes(processes, task, shared, items, ahead)

    def _map_in_processes(
        self,
        processes: int,
        task: Task[Shared, Item, Result],
        shared: Shared,
        items: Iterable[Item],
        ahead: int,
    ) -> Iterator[Result]:
        try:
            import loky
        except ModuleNotFoundError as error:
            raise MissingDependency("loky", "prune") from error
        with make_scratch() as folder:
            send(folder, (task, shared), ())
            sweep_beside(folder, SEMAPHORES.format(os.getpid()))
            pool = loky.ProcessPoolExecutor(
                processes,
                initializer=_receive,
                initargs=(folder, self.threads, os.getpid()),
                env={"OMP_NUM_THREADS": str(self.threads), "LOKY_MAX_MEMORY_LEAK_SIZE": NO_LEAK},
            )
            try:
                yield from run_in_order(items, ahead, partial(pool.submit, _run_on_received), _await_result)
            finally:
                pool.shutdown(kill_workers=True)


def _run_here(task: Task[Shared, Item, Result], shared: Shared, threads: int, item: Item) -> Result:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return task(shared, item)
    finally:
        torch.set_num_threads(before)


def _receive(folder: Path, threads: int, parent: int) -> None:
    torch.set_num_threads(threads)
    follow(parent)
    _received.append(load(folder / SHARED))


def _run_on_received(item: Any) -> Any:
    task, shared = _received[-1]
    return task(shared, item)


def _await_result(future: Future[Result]) -> Result:
    from loky.process_executor import BrokenProcessPool

    try:
        return future.result()
    except BrokenProcessPool as error:
        reason = str(error).splitlines()[0] if str(error) else "killed"
        raise WorkerDied(f"a worker process died: {reason}", hint="is memory short? try --workers 1") from error


plugin: type[Workers] = Local
