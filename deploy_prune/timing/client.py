"""Our end of a timing worker on this machine: starts it, asks for blocks of samples, and ends it whatever happens."""

from __future__ import annotations

import json
import logging
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from deploy_prune import errors
from deploy_prune.causes import read_missing_library
from deploy_prune.errors import DeployPruneError, Unavailable, WorkerDied
from deploy_prune.timing.devices import Block, Job
from deploy_prune.values import NodeTime

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 2.0
STDERR_TAIL = 600
QUIET_S = 20.0
"""Seconds without an answer after which a warning says for how long a worker is waited for."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LocalWorker:
    """A process of this machine that has loaded its file."""

    job: Job
    """What it was started for; `path` is the file that is open."""
    version: str
    """The version of the runtime."""
    load_ms: float
    """Milliseconds that opening the file took."""
    runtime_memory_bytes: int
    """The largest memory of the process just before it opened the file, in bytes."""
    process: subprocess.Popen[str]
    """The process; it takes one JSON request per line on stdin."""
    answers: queue.Queue[str]
    """The lines that it has answered and nobody has read yet; an empty one says that it has closed its end."""
    log: IO[bytes]
    """What it has written to stderr."""

    def block(self, inferences: int, *, timeout_s: float) -> Block:
        """Run the file that many times in a row, at batch 1, and give what each inference took, in ms.

        Raises:
            InputError: the file does not run, or another one has been opened since.
            WorkerDied: it died; Unavailable: it does not answer in time.
        """
        _send(self.process, {"inferences": inferences, "path": str(self.job.path)})
        answer = _receive(self.job, self.process, self.answers, self.log, timeout_s)
        return Block(tuple(answer["samples"]), answer["unit"], answer["peak_memory_bytes"])

    def profile(self, runs: int, *, timeout_s: float) -> tuple[NodeTime, ...]:
        """Give what every node takes in one inference, in ms, by the runtime's own profiler; empty where it has none.

        Raises:
            InputError: the file does not run, or another one has been opened since.
            WorkerDied: it died; Unavailable: it does not answer in time; MissingDependency: it takes one package more.
        """
        _send(self.process, {"profile": runs, "path": str(self.job.path)})
        answer = _receive(self.job, self.process, self.answers, self.log, timeout_s)
        return tuple(NodeTime(**node) for node in answer["nodes"])

    def open(self, path: Path) -> LocalWorker:
        """The same process with another file in place of this one, which ends this value.

        Peak memory stays that of the process, over all its files.

        Raises:
            InputError: the runtime cannot read the file; the process then holds none and may open another.
            WorkerDied: it died; Unavailable: it did not get ready in time.
        """
        _send(self.process, {"open": str(path)})
        return _wait_until_ready(replace(self.job, path=path), self.process, self.answers, self.log)


@contextmanager
def start_worker(job: Job) -> Iterator[LocalWorker]:
    """A worker with its file loaded; it is dead when the block ends.

    Raises:
        InputError: the runtime cannot read the file.
        WorkerDied: it died; Unavailable: it did not get ready in time; MissingDependency, MissingLibrary: no runtime.
    """
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            _make_command(job),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            env=make_environment(),
        )
        try:
            yield _wait_until_ready(job, process, _listen_to(process), log)
        finally:
            _end(process)


def _wait_until_ready(
    job: Job, process: subprocess.Popen[str], answers: queue.Queue[str], log: IO[bytes]
) -> LocalWorker:
    """What the worker says once it has opened the job's file."""
    said = _receive(job, process, answers, log, START_TIMEOUT_S)
    return LocalWorker(job, said["version"], said["load_ms"], said["runtime_memory_bytes"], process, answers, log)


def _make_command(job: Job) -> list[str]:
    cores = ",".join(map(str, job.cores))
    options = [str(job.path), job.runtime, str(job.threads), cores, str(job.seed), str(os.getpid())]
    return [sys.executable, "-m", "deploy_prune.timing.worker", *options]


def make_environment() -> dict[str, str]:
    """Ours, this very package found first, also where it runs from a source folder, and nothing from where we stand."""
    here = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(filter(None, (here, inherited)))}


def _listen_to(process: subprocess.Popen[str]) -> queue.Queue[str]:
    """Lines of the worker as they come; an empty one says that it has closed its end.

    A thread, as waiting for a pipe with a timeout exists on no system but POSIX.
    """
    answers: queue.Queue[str] = queue.Queue()
    assert process.stdout is not None
    lines = process.stdout

    def listen() -> None:
        for line in lines:
            answers.put(line)
        answers.put("")

    threading.Thread(target=listen, daemon=True).start()
    return answers


def _send(process: subprocess.Popen[str], request: dict[str, object]) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
    except OSError:
        return  # it died: reading its answer finds out and says why


def _receive(
    job: Job, process: subprocess.Popen[str], answers: queue.Queue[str], log: IO[bytes], timeout_s: float
) -> dict[str, Any]:
    line = _await_line(job, answers, timeout_s)
    if not line:
        code = process.wait(timeout=STOP_TIMEOUT_S)
        said = _read_tail(log)
        hint = "is memory short? If not, the file may be damaged: export it again"
        if missing := read_missing_library(said):
            raise missing
        if code == 1:  # an exception: the last line of its traceback says what happened
            said, hint = said.splitlines()[-1], "the file may be damaged, or for another runtime: export it again"
        raise WorkerDied(f"the process that ran {job.path} died (exit {code}): {said}", hint=hint)
    answer: dict[str, Any] = json.loads(line)
    if answer["event"] == "error":
        raise _make_error(answer)
    return answer


def _await_line(job: Job, answers: queue.Queue[str], timeout_s: float, *, quiet_s: float = QUIET_S) -> str:
    """The worker's next line; long before it is given up a warning says when that will be."""
    quiet_s = min(quiet_s, timeout_s)
    with suppress(queue.Empty):
        return answers.get(timeout=quiet_s)
    try:
        if quiet_s < timeout_s:
            logger.warning("%s has not answered for %.0f s; after %.0f s it is given up", job.path, quiet_s, timeout_s)
        return answers.get(timeout=timeout_s - quiet_s)
    except queue.Empty as error:
        hint = "is the machine overloaded? Try again, or time fewer files at once; a file may also never end"
        raise Unavailable(f"{job.path} did not answer within {timeout_s:.0f} s", hint=hint) from error


ERRORS: dict[str, type[DeployPruneError]] = {
    "InputError": errors.InputError,
    "UnknownName": errors.InputError,  # its text is complete already
    "ConfigError": errors.ConfigError,
}
"""What a worker may answer; all else is a device, tool or dependency that is not there."""


def _make_error(answer: dict[str, Any]) -> DeployPruneError:
    return ERRORS.get(answer["kind"], Unavailable)(answer["message"], hint=answer["hint"])


def _read_tail(log: IO[bytes]) -> str:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(size - STDERR_TAIL, 0))
    return log.read().decode(errors="replace").strip() or "it said nothing"


def _end(process: subprocess.Popen[str]) -> None:
    """Nothing that a worker holds is worth waiting for."""
    process.kill()
    process.wait(timeout=START_TIMEOUT_S)
    for stream in (process.stdin, process.stdout):
        with suppress(OSError):  # closing flushes what a dead worker will not read
            if stream is not None:
                stream.close()
