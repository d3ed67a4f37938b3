"""A runtime on a device, used like one here: files are opened there, and given inputs come back as outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploy_prune.timing.devices import Device, Job, Worker
from deploy_prune.timing.runtimes import Session
from deploy_prune.values import Delegation, NodeTime, TensorSpec

if TYPE_CHECKING:
    import numpy as np

RUN_TIMEOUT_S = 600.0
"""Seconds after which a batch is given up: eight inferences of a minute each would fit."""


@dataclass(frozen=True, eq=False)
class RuntimeThere:
    """A runtime on a device."""

    device: Device
    """Where files are opened."""
    name: str
    """The name of the runtime plugin."""
    workers: ExitStack
    """The processes that hold the files that were opened."""

    def open(self, path: Path, *, threads: int) -> Session:
        """Load a file there.

        Raises:
            InputError: the runtime cannot read it.
            MissingDependency: it is not installed there; Unavailable: the device cannot be reached.
        """
        job = Job(path, self.name, threads, self.device.cores(threads), seed=0)
        return SessionThere(self.workers.enter_context(self.device.start(job)))


@dataclass(frozen=True, eq=False)
class SessionThere:
    """A file that is open on a device."""

    worker: Worker
    """The process that holds it."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The file's inputs in order."""
        return self.worker.inputs

    def run(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """One inference there; arrays in the file's own layout and order."""
        return self.worker.run(*arrays, timeout_s=RUN_TIMEOUT_S)

    def layers(self, *arrays: np.ndarray) -> Mapping[str, np.ndarray]:
        """What every operator gives there."""
        return self.worker.layers(*arrays, timeout_s=RUN_TIMEOUT_S)

    def profile(self, *arrays: np.ndarray, runs: int) -> tuple[NodeTime, ...]:
        """What every node takes there, on inputs of the worker's own."""
        del arrays
        return self.worker.profile(runs, timeout_s=RUN_TIMEOUT_S)

    def delegation(self) -> Delegation | None:
        """What a delegate took there."""
        return self.worker.delegation(timeout_s=RUN_TIMEOUT_S)

    def resize(self, batch: int) -> None:
        """Nothing to prepare: the worker takes the batch that it is given."""


@contextmanager
def open_runtime(device: Device, name: str) -> Iterator[RuntimeThere]:
    """A runtime on a device; what it has opened is closed when the block ends."""
    with ExitStack() as workers:
        yield RuntimeThere(device, name, workers)
