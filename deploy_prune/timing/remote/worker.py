"""A worker on another machine: where that vanishes it is waited for, and what was asked is asked again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from deploy_prune.errors import ConnectionLost
from deploy_prune.timing.client import ProcessWorker, start_worker
from deploy_prune.timing.devices import Block, Job
from deploy_prune.timing.remote.host import Host
from deploy_prune.values import Delegation, NodeTime, TensorSpec

if TYPE_CHECKING:
    import numpy as np

Result = TypeVar("Result")
logger = logging.getLogger(__name__)


@contextmanager
def start_on(host: Host, job: Job) -> Iterator[RemoteWorker]:
    """A worker on a host with its file loaded; it is dead when the block ends.

    Raises:
        InputError: the runtime cannot read the file.
        WorkerDied: it died; Unavailable: it did not get ready in time; MissingDependency: no such runtime there.
    """
    host.check_runtime(job.runtime)
    with ExitStack() as workers:
        link = Link(host, workers)
        yield RemoteWorker(link.start(job), link)


class Link:
    """The way to a worker, made anew where it was lost. Not a value: it holds the process of now."""

    def __init__(self, host: Host, workers: ExitStack) -> None:
        self._host = host
        self._workers = workers
        self._now: ProcessWorker | None = None

    def start(self, job: Job) -> ProcessWorker:
        """Start a process in place of the last."""
        self._workers.close()
        self._now = self._workers.enter_context(start_worker(job, self._host.launch(job)))
        return self._now

    def ask(self, job: Job, do: Callable[[ProcessWorker], Result]) -> Result:
        """What the worker gives that holds the job's file.

        Raises:
            Unavailable: the host vanished, and does not come back.
        """
        assert self._now is not None
        try:
            return do(replace(self._now, job=job))
        except ConnectionLost as lost:
            told = "%s: waiting up to %.0f s until it is back; what %s was asked is then asked again"
            logger.warning(told, lost.message, self._host.patience_s, job.path)
        self._host.await_return()
        return do(self.start(job))


@dataclass(frozen=True, eq=False)
class RemoteWorker:
    """A process on a host that has loaded its file."""

    opened: ProcessWorker
    """The process as it was when it opened the file."""
    link: Link
    """The way to the process of now."""

    @property
    def job(self) -> Job:
        """What it was started for; `path` is the file that is open."""
        return self.opened.job

    @property
    def version(self) -> str:
        """The version of the runtime."""
        return self.opened.version

    @property
    def load_ms(self) -> float:
        """Milliseconds that opening the file took there, not counting its way."""
        return self.opened.load_ms

    @property
    def runtime_memory_bytes(self) -> int:
        """The largest memory of the process just before it opened the file, in bytes."""
        return self.opened.runtime_memory_bytes

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What goes into the file, in order."""
        return self.opened.inputs

    def block(self, inferences: int, *, timeout_s: float) -> Block:
        """See `Worker.block`; a block that was cut off is taken again from its beginning."""
        return self.link.ask(self.job, lambda now: now.block(inferences, timeout_s=timeout_s))

    def profile(self, runs: int, *, timeout_s: float) -> tuple[NodeTime, ...]:
        """See `Worker.profile`."""
        return self.link.ask(self.job, lambda now: now.profile(runs, timeout_s=timeout_s))

    def run(self, *arrays: np.ndarray, timeout_s: float) -> tuple[np.ndarray, ...]:
        """See `Worker.run`."""
        return self.link.ask(self.job, lambda now: now.run(*arrays, timeout_s=timeout_s))

    def layers(self, *arrays: np.ndarray, timeout_s: float) -> Mapping[str, np.ndarray]:
        """See `Worker.layers`."""
        return self.link.ask(self.job, lambda now: now.layers(*arrays, timeout_s=timeout_s))

    def delegation(self, *, timeout_s: float) -> Delegation | None:
        """See `Worker.delegation`."""
        return self.link.ask(self.job, lambda now: now.delegation(timeout_s=timeout_s))

    def open(self, path: Path) -> RemoteWorker:
        """See `Worker.open`."""
        job = replace(self.job, path=path)
        return RemoteWorker(self.link.ask(job, lambda now: now.open(path)), self.link)
