"""Question and answer with a worker's process, line by line: what is sent, what is waited for, and how it ends."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import queue
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

from deploy_prune import errors
from deploy_prune.causes import read_missing_library
from deploy_prune.errors import DeployPruneError, InputError, Unavailable, WorkerDied
from deploy_prune.timing.wire import pack_file

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0
STDERR_TAIL = 600
QUIET_S = 20.0
"""Seconds without an answer after which a warning says for how long a worker is waited for."""
MOST_CHATTER = 1000
"""How many lines may come before the first answer, as the start-up files of a shell print some."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Launch:
    """What starts a worker, and how it is to be talked to."""

    command: tuple[str, ...]
    """The program here that is the worker, or leads to it, and its arguments."""
    environment: Mapping[str, str] | None
    """The environment of that program; None: ours."""
    attaches: bool
    """Whether files travel with the requests; False: the worker reads them by their paths."""
    explain: Callable[[int, str], DeployPruneError | None]
    """(exit code, what it said last) -> what the end of the process means; None: what any worker's means."""


def say_nothing_more(_code: int, _said: str) -> None:
    """Explain no end of a process: what a worker's end means says all there is to say."""


@dataclass(eq=False)
class Talk:
    """A running worker, and both ways of the talk with it. Not a value: it knows what was sent last."""

    process: subprocess.Popen[bytes]
    """The process; it takes requests on stdin, see `timing/worker.py`."""
    answers: queue.Queue[bytes]
    """The lines that it has answered and nobody has read yet; an empty one says that it has closed its end."""
    log: IO[bytes]
    """What it has written to stderr."""
    launch: Launch
    """What it was started by."""
    sent: str = ""
    """The digest of the file that was attached last, which need not travel again."""
    heard: list[bytes] = field(default_factory=list)
    """Lines that came before its first answer, and were none."""
    answered: bool = False
    """Whether it has answered before: from then on, every line must be an answer."""

    def send(self, request: dict[str, object], file: Path | None = None) -> None:
        """Send a request, and the file that is attached to it.

        Raises:
            InputError: the file cannot be read.
        """
        stdin = self.process.stdin
        assert stdin is not None
        with _open_to_send(file) as content, suppress(OSError):  # it died: reading its answer finds out and says why
            stdin.write(json.dumps(request).encode() + b"\n")
            for piece in pack_file(content) if content else ():
                stdin.write(piece)
            stdin.flush()

    def send_open(self, path: Path) -> None:
        """Ask for a file to be opened, by its path or with its bytes, which travel once while it stays the same.

        Raises:
            InputError: the file cannot be read.
        """
        request: dict[str, object] = {"open": str(path)}
        if not self.launch.attaches:
            return self.send(request)
        if not path.is_file():
            hint = "check the path; what is a folder (.mlpackage, .aimodel) runs on this machine alone"
            raise InputError(f"{path} is not a file", hint=hint)
        with _open_to_send(path) as content:
            assert content
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        before, self.sent = self.sent, ""
        if digest == before:
            self.send({**request, "again": True})
        else:
            self.send({**request, "attached": True}, path)
        self.sent = digest
        return None

    def receive(self, path: Path, timeout_s: float) -> dict[str, Any]:
        """The next answer; `path` is the file that it is about.

        Raises:
            DeployPruneError: what the worker answers instead, or what its end means.
        """
        while True:
            line = _await_line(path, self.answers, timeout_s)
            if not line:
                raise self._explain_end(path)
            if (answer := self._read_answer(line)) is not None:
                break
        if answer["event"] == "error":
            raise _make_error(answer)
        return answer

    def _read_answer(self, line: bytes) -> dict[str, Any] | None:
        """The answer in a line; None: it is what somebody else printed before the worker began."""
        if (answer := parse_answer(line)) is not None:
            self.answered = True
            return answer
        self.heard.append(line)
        if self.answered or len(self.heard) > MOST_CHATTER:
            said = line[:80].decode(errors="replace").strip()
            hint = "do start-up files of its shell (.bashrc) print without end? Else what carries it garbles it"
            raise Unavailable(f"the worker answers in words that are not its own: {said!r}", hint=hint)
        return None

    def _explain_end(self, path: Path) -> DeployPruneError:
        code = self.process.wait(timeout=STOP_TIMEOUT_S)
        said = _read_tail(self.log)
        heard = [line.decode(errors="replace").rstrip() for line in self.heard]
        if explained := self.launch.explain(code, "\n".join((said, *heard))) or read_missing_library(said):
            return explained
        hint = "is memory short? If not, the file may be damaged: export it again"
        if code == 1:  # an exception: the last line of its traceback says what happened
            said, hint = said.splitlines()[-1], "the file may be damaged, or for another runtime: export it again"
        return WorkerDied(f"the process that ran {path} died (exit {code}): {said}", hint=hint)


def parse_answer(line: bytes) -> dict[str, Any] | None:
    """The answer that a line is; None: it is none of a worker's."""
    try:
        answer = json.loads(line)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) and isinstance(answer.get("event"), str) else None


@contextmanager
def begin_talk(launch: Launch) -> Iterator[Talk]:
    """A worker without a file; it is dead when the block ends."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            launch.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=launch.environment
        )
        try:
            yield Talk(process, _listen_to(process), log, launch)
        finally:
            _end(process)


@contextmanager
def _open_to_send(file: Path | None) -> Iterator[BufferedReader | None]:
    if file is None:
        yield None
        return
    try:
        content = file.open("rb")
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}", hint="check the path and who may read it") from error
    with content:
        yield content


def _listen_to(process: subprocess.Popen[bytes]) -> queue.Queue[bytes]:
    """Lines of the worker as they come; an empty one says that it has closed its end.

    A thread, as waiting for a pipe with a timeout exists on no system but POSIX.
    """
    answers: queue.Queue[bytes] = queue.Queue()
    assert process.stdout is not None
    lines = process.stdout

    def listen() -> None:
        for line in lines:
            answers.put(line)
        answers.put(b"")

    threading.Thread(target=listen, daemon=True).start()
    return answers


def _await_line(path: Path, answers: queue.Queue[bytes], timeout_s: float, *, quiet_s: float = QUIET_S) -> bytes:
    """The worker's next line; long before it is given up a warning says when that will be."""
    quiet_s = min(quiet_s, timeout_s)
    with suppress(queue.Empty):
        return answers.get(timeout=quiet_s)
    try:
        if quiet_s < timeout_s:
            logger.warning("%s has not answered for %.0f s; after %.0f s it is given up", path, quiet_s, timeout_s)
        return answers.get(timeout=timeout_s - quiet_s)
    except queue.Empty as error:
        hint = "is the machine overloaded? Try again, or time fewer files at once; a file may also never end"
        raise Unavailable(f"{path} did not answer within {timeout_s:.0f} s", hint=hint) from error


ERRORS: dict[str, type[DeployPruneError]] = {
    "InputError": errors.InputError,
    "UnknownName": errors.InputError,  # its text is complete already
    "ConfigError": errors.ConfigError,
    "StorageError": errors.StorageError,
}
"""What a worker may answer; all else is a device, tool or dependency that is not there."""


def _make_error(answer: dict[str, Any]) -> DeployPruneError:
    return ERRORS.get(answer["kind"], Unavailable)(answer["message"], hint=answer["hint"])


def _read_tail(log: IO[bytes]) -> str:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(size - STDERR_TAIL, 0))
    return log.read().decode(errors="replace").strip() or "it said nothing"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing that a worker holds is worth waiting for."""
    process.kill()
    process.wait(timeout=START_TIMEOUT_S)
    for stream in (process.stdin, process.stdout):
        with suppress(OSError):  # closing flushes what a dead worker will not read
            if stream is not None:
                stream.close()
