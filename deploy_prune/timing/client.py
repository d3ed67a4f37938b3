"""Our end of a timing worker, wherever it runs: starts it, asks for blocks of samples, and ends it whatever happens."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy_prune.timing.devices import Block, Job
from deploy_prune.timing.talk import START_TIMEOUT_S, Launch, Talk, begin_talk, say_nothing_more
from deploy_prune.timing.wire import pack_array, unpack_array
from deploy_prune.values import Delegation, NodeTime, TensorSpec

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, eq=False)
class ProcessWorker:
    """A process that has loaded its file."""

    job: Job
    """What it was started for; `path` is the file that is open."""
    version: str
    """The version of the runtime."""
    load_ms: float
    """Milliseconds that opening the file took."""
    runtime_memory_bytes: int
    """The largest memory of the process just before it opened the file, in bytes."""
    inputs: tuple[TensorSpec, ...]
    """What goes into the file, in order."""
    talk: Talk
    """What the process is asked and answers by."""

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process; where it only leads to the worker, the one here."""
        return self.talk.process

    def block(self, inferences: int, *, timeout_s: float) -> Block:
        """Run the file that many times in a row, at batch 1, and give what each inference took, in ms.

        Raises:
            InputError: the file does not run, or another one has been opened since.
            WorkerDied: it died; Unavailable: it does not answer in time.
        """
        answer = self.ask({"inferences": inferences}, timeout_s)
        return Block(tuple(answer["samples"]), answer["unit"], answer["peak_memory_bytes"])

    def profile(self, runs: int, *, timeout_s: float) -> tuple[NodeTime, ...]:
        """Give what every node takes in one inference, in ms, by the runtime's own profiler; empty where it has none.

        Raises:
            InputError: the file does not run, or another one has been opened since.
            WorkerDied: it died; Unavailable: it does not answer in time; MissingDependency: it takes one package more.
        """
        return tuple(NodeTime(**node) for node in self.ask({"profile": runs}, timeout_s)["nodes"])

    def run(self, *arrays: np.ndarray, timeout_s: float) -> tuple[np.ndarray, ...]:
        """Give the outputs of one inference on given inputs.

        Raises:
            InputError, WorkerDied, Unavailable: see `block`; InputError also where the file takes no such batch.
        """
        answer = self.ask({"run": True, "arrays": [pack_array(array) for array in arrays]}, timeout_s)
        return tuple(map(unpack_array, answer["arrays"]))

    def layers(self, *arrays: np.ndarray, timeout_s: float) -> Mapping[str, np.ndarray]:
        """Give what every operator of the file returns in one inference, as `Session.layers` does.

        Raises:
            InputError, WorkerDied, Unavailable: see `profile`.
        """
        answer = self.ask({"layers": True, "arrays": [pack_array(array) for array in arrays]}, timeout_s)
        return dict(zip(answer["names"], map(unpack_array, answer["arrays"]), strict=True))

    def delegation(self, *, timeout_s: float) -> Delegation | None:
        """How many operators of the file a delegate took; None: the runtime has none that says so.

        Raises:
            InputError, WorkerDied, Unavailable: see `block`.
        """
        counted = self.ask({"delegation": True}, timeout_s)["counted"]
        return None if counted is None else Delegation(**counted)

    def open(self, path: Path) -> ProcessWorker:
        """The same process with another file in place of this one, which ends this value.

        Peak memory stays that of the process, over all its files.

        Raises:
            InputError: the runtime cannot read the file; the process then holds none and may open another.
            WorkerDied: it died; Unavailable: it did not get ready in time.
        """
        return _open_file(replace(self.job, path=path), self.talk)

    def ask(self, request: dict[str, object], timeout_s: float) -> dict[str, Any]:
        """The answer to a request of `timing/worker.py` about the file that is open."""
        self.talk.send({**request, "path": str(self.job.path)})
        return self.talk.receive(self.job.path, timeout_s)


@contextmanager
def start_worker(job: Job, launch: Launch | None = None) -> Iterator[ProcessWorker]:
    """A worker with its file loaded; it is dead when the block ends.

    Args:
        job: what it runs, and how.
        launch: what starts the worker, and how files reach it; None: a process here, which reads them by their paths.

    Raises:
        InputError: the runtime cannot read the file.
        WorkerDied: it died; Unavailable: it did not get ready in time; MissingDependency, MissingLibrary: no runtime.
    """
    with begin_talk(launch or _launch_here(job)) as talk:
        yield _open_file(job, talk)


def list_options(job: Job, parent: int) -> list[str]:
    """What a worker is called with; `parent` is the number of the process that it ends with, 0 where that is not here.

    All of it is numbers but the runtime's name, which is that of a plugin.
    """
    return [job.runtime, str(job.threads), ",".join(map(str, job.cores)), str(job.seed), str(parent)]


def _launch_here(job: Job) -> Launch:
    command = (sys.executable, "-m", "deploy_prune.timing.worker", *list_options(job, os.getpid()))
    return Launch(command, make_environment(), attaches=False, explain=say_nothing_more)


def _open_file(job: Job, talk: Talk) -> ProcessWorker:
    """What the worker says once it has opened the job's file."""
    talk.send_open(job.path)
    said = talk.receive(job.path, START_TIMEOUT_S)
    inputs = tuple(TensorSpec(each["name"], tuple(each["shape"]), each["dtype"]) for each in said["inputs"])
    return ProcessWorker(job, said["version"], said["load_ms"], said["runtime_memory_bytes"], inputs, talk)


def make_environment() -> dict[str, str]:
    """Ours, this very package found first, also where it runs from a source folder, and nothing from where we stand."""
    here = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(filter(None, (here, inherited)))}
