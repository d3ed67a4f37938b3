"""Starts a timing worker in the emulator, on a core, and has it count."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from deploy_prune.scratch import make_scratch
from deploy_prune.timing.arm64.system import SITE
from deploy_prune.timing.client import ProcessWorker, list_options, start_worker
from deploy_prune.timing.conditions import list_allowed_cores
from deploy_prune.timing.devices import Job
from deploy_prune.timing.simulator.cores import Core
from deploy_prune.timing.simulator.counts import Counts, read_counts
from deploy_prune.timing.simulator.folder import COUNTER, make_view
from deploy_prune.timing.simulator.tools import Emulator
from deploy_prune.timing.talk import Launch, say_nothing_more

COUNTED = "counts"
"""The file that the plugin writes."""


@dataclass(frozen=True, eq=False)
class Guest:
    """A worker in the emulator, with a file."""

    worker: ProcessWorker
    written: Path
    """The file that the plugin writes."""

    def open(self, path: Path) -> Guest:
        """The same with another file. Raises InputError, WorkerDied, Unavailable as `Worker.open` does."""
        return replace(self, worker=self.worker.open(path))

    def count(self, *, timeout_s: float) -> tuple[Counts, int]:
        """What one inference executed, and the largest memory of the emulator, in bytes.

        Raises:
            InputError: the file does not run, or another one has been opened since.
            WorkerDied: it died; Unavailable: it did not answer in time, or what it counted is not whole.
        """
        said = self.worker.ask({"count": True}, timeout_s)
        return read_counts(self.written.read_text()), said["peak_memory_bytes"]


@contextmanager
def start_guest(emulator: Emulator, folder: Path, core: Core, job: Job) -> Iterator[Guest]:
    """A worker in the emulator, with its file loaded; it is dead when the block ends."""
    with make_scratch() as scratch:
        view = scratch / "view"
        view.mkdir()
        make_view(view, folder, core)
        options = list_options(replace(job, cores=list_allowed_cores()), 0)  # the emulator runs where it may
        command = (*_list_options(emulator, folder, core, scratch), *options)
        launch = Launch(command, dict(os.environ), attaches=False, explain=say_nothing_more)
        with start_worker(job, launch) as worker:
            yield Guest(worker, scratch / COUNTED)


def _list_options(emulator: Emulator, folder: Path, core: Core, scratch: Path) -> tuple[str, ...]:
    """The emulator's command line, without what of our environment would reach the program or change its counts."""
    view = scratch / "view"
    variables = {
        "PYTHONPATH": f"{folder / SITE}{os.pathsep}{view / 'deploy-prune'}",
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
    }
    return (
        *(emulator.program, "-cpu", core.emulated, "-L", str(view)),
        *("-plugin", f"{folder / COUNTER},out={scratch / COUNTED}"),
        *("-U", "LD_LIBRARY_PATH", "-U", "LD_PRELOAD", "-U", "PYTHONHOME"),
        *(part for name, value in variables.items() for part in ("-E", f"{name}={value}")),
        *(str(view / "usr" / "bin" / "python3"), "-s", "-P", "-m", "deploy_prune.timing.worker"),
    )
