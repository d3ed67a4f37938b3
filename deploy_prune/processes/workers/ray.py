"""Ray: processes of this machine or of a cluster (extra `ray`)."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from deploy_prune.errors import MissingDependency, WorkerDied
from deploy_prune.processes.reaper import reaping
from deploy_prune.processes.workers import Item, Result, Shared, Task, Workers, refuse_impossible, run_in_order
from deploy_prune.processes.workshop.parcels import pack, unpack


@dataclass(frozen=True)
class Ray:
    """Each candidate is one Ray task; what they share lies once in Ray's object store."""

    processes: int = 0
    """How many tasks run at the same time; 0: as many as Ray has cores for."""
    threads: int = 1
    """Threads of each process: the same number gives the same results, whoever computes."""
    address: str = ""
    """The address of a cluster, such as `auto`; empty: Ray is started here and ended afterwards."""

    def __post_init__(self) -> None:
        refuse_impossible(self.processes, self.threads)

    def map(
        self, task: Task[Shared, Item, Result], shared: Shared, items: Iterable[Item], *, ahead: int
    ) -> Iterator[Result]:
        """See the contract."""
        ray = _import_ray()
        with self._connect(ray):
            remote = ray.remote(num_cpus=self.threads, max_retries=0)(_compute)
            handed = ray.put(pack((task, shared)))
            name = uuid.uuid4().hex
            begin = partial(remote.remote, handed, name, self.threads)
            yield from run_in_order(items, ahead, begin, partial(_await_result, ray))

    @contextmanager
    def _connect(self, ray: Any) -> Iterator[None]:
        """Connect to Ray for the block; one that runs already is used and left running."""
        if ray.is_initialized():
            yield
            return
        cores: dict[str, Any] = (
            {} if self.address else {"num_cpus": (self.processes or os.cpu_count() or 1) * self.threads}
        )
        with reaping():
            with _import_as_we_do():
                ray.init(
                    address=self.address or None, include_dashboard=None if self.address else False,
                    log_to_driver=False, logging_level="ERROR", **cores,
                )  # fmt: skip
            try:
                yield
            finally:
                ray.shutdown()


def _import_ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingDependency("ray", "ray") from error
    return ray


@contextmanager
def _import_as_we_do() -> Iterator[None]:
    """Have processes that are started in the block find what we find: they inherit this variable."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


_received: dict[str, tuple[Task[Any, Any, Any], Any]] = {}
"""What the tasks of one search share, in a worker's process; unpacked once."""


def _compute(handed: bytes, name: str, threads: int, item: Any) -> Any:
    import torch

    if name not in _received:
        _received.clear()
        _received[name] = unpack(handed)
    torch.set_num_threads(threads)
    task, shared = _received[name]
    return task(shared, item)


def _await_result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise WorkerDied(f"a Ray worker died: {reason}", hint="is memory short? try --workers 1") from error


plugin: type[Workers] = Ray
