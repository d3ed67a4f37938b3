"""The contract of workers: who computes the many small tasks of a search, and in which order results come back.


A task is a function of a module, `task(shared, item) -> result`; `shared` is handed to each process once. Items are
taken one by one, so that a later item may depend on earlier results: never more than `ahead` items are taken than
results were given back, and both keep their order. What is computed is therefore the same for any number of workers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Protocol, TypeVar

from deploy_prune.plugins import Kind

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")
Handle = TypeVar("Handle")
Task = Callable[[Shared, Item], Result]


class Workers(Protocol):
    """Computes the tasks of a search, on as many processes as it has."""

    def map(
        self, task: Task[Shared, Item, Result], shared: Shared, items: Iterable[Item], *, ahead: int
    ) -> Iterator[Result]:
        """A result per item, in the items' order.

        Raises:
            WorkerDied: a worker was killed.
            Exception: what the task raised itself.
        """


def refuse_impossible(processes: int, threads: int) -> None:
    """Numbers of processes and threads that no workers have, as `plugins.build` expects them to be refused."""
    if processes < 0 or threads < 1:
        raise ValueError("processes must be 0 or more, threads 1 or more")


def run_in_order(
    items: Iterable[Item], ahead: int, begin: Callable[[Item], Handle], end: Callable[[Handle], Result]
) -> Iterator[Result]:
    """Begin items, end them in their order; at most `ahead` are begun and not ended."""
    source = iter(items)
    begun = deque(begin(item) for item in islice(source, ahead))
    while begun:
        yield end(begun.popleft())
        begun.extend(begin(item) for item in islice(source, 1))


WORKERS: Kind[Workers] = Kind("workers")
USUAL = "local"
"""The workers that are taken where none are named: processes of this machine."""
