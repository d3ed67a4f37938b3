"""A host that runs our runner: the runner is sent once, says what the host is, and is what workers there are."""

from __future__ import annotations

import logging
import re
import shlex
import subprocess
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from deploy_prune.errors import ConnectionLost, DeployPruneError, MissingDependency, StorageError, Unavailable
from deploy_prune.timing.client import list_options
from deploy_prune.timing.describing import read_conditions, read_description
from deploy_prune.timing.devices import DeviceDescription, Job
from deploy_prune.timing.runner import build_runner
from deploy_prune.timing.ssh import keep_runner
from deploy_prune.timing.ssh.connection import Connection, Place
from deploy_prune.timing.ssh.refusals import SSH_FAILED
from deploy_prune.timing.talk import Launch, parse_answer
from deploy_prune.values import Conditions

OLDEST = (3, 11)
"""The oldest Python that the runner runs on."""
NO_RUNNER, NO_PYTHON = 90, 91
"""The exit codes of our script where something that it needs is not there."""
FIND_PYTHON = (
    'd="${XDG_CACHE_HOME:-$HOME/.cache}/deploy-prune"; p="$d/venv/bin/python"; [ -x "$p" ] || '
    "for p in python3 python3.13 python3.12 python3.11 none; do "
    f'"$p" -c "import sys; sys.exit(sys.version_info < {OLDEST})" 2>/dev/null && break; done; '
    f'[ "$p" != none ] || {{ echo "deploy-prune: $(python3 --version 2>&1)"; exit {NO_PYTHON}; }}; '
)
"""Sets `d` to our folder there, and `p` to the Python that `--setup` has made there, else to one of the host's own."""
RUN = FIND_PYTHON + f'f="$d/$0"; [ -f "$f" ] || exit {NO_RUNNER}; touch -c "$f"; exec "$p" "$f" "$@"'
"""Runs the runner of that name with these arguments."""
KEEP = FIND_PYTHON + 'exec "$p" -I -c "$0" "$@"'
"""Runs a Python text with these arguments."""
ASK_S, SEND_S = 60.0, 300.0
POLL_S = 2.0
MARK = re.compile(r"^deploy-prune: (.*)$", re.MULTILINE)
"""How our script and `keep_runner` say what happened, among whatever else the host prints."""

logger = logging.getLogger(__name__)


class Host:
    """A machine that ssh leads to. Not a value: it remembers what was sent and found out."""

    def __init__(self, place: Place, patience_s: float) -> None:
        self.place = place
        self.patience_s = patience_s
        self.connection = Connection(place)
        self._description: DeviceDescription | None = None

    @property
    def address(self) -> str:
        """What users call it."""
        return str(self.place)

    def describe(self) -> DeviceDescription:
        """What it is made of, asked once.

        Raises:
            Unavailable: it cannot be reached, or has no Python; StorageError: it cannot keep the runner.
        """
        if self._description is None:
            self._description = read_description(self.ask("machine", "describe"))
        return self._description

    def forget(self) -> None:
        """Ask anew from now on: something was installed there."""
        self._description = None

    def read_conditions(self, cores: Sequence[int]) -> Conditions:
        """How it is now, on these cores."""
        return read_conditions(self.ask("conditions", "describe", ",".join(map(str, cores))))

    def ask(self, event: str, *arguments: str) -> dict[str, Any]:
        """What the runner answers, which is sent first where it is not there yet.

        Raises:
            Unavailable: it cannot be reached, or has no Python; StorageError: it cannot keep the runner.
        """
        try:
            done = self._run_runner(*arguments)
        except ConnectionLost:  # since the last that was asked
            self.await_return()
            done = self._run_runner(*arguments)
        if done.returncode == NO_RUNNER:
            self._send_runner()
            done = self._run_runner(*arguments)
        said = done.stdout.decode(errors="replace")
        self._check_python(done.returncode, said)
        for line in done.stdout.splitlines():
            if (answer := parse_answer(line)) is not None and answer["event"] == event:
                return answer
        last = (done.stderr.decode(errors="replace").strip() or said.strip() or "nothing").splitlines()[-1]
        raise Unavailable(f"the runner on {self.address} failed (exit {done.returncode}): {last}",
                          hint=f"deploy-prune doctor --device {self.address} says what it has")  # fmt: skip

    def run_python(self, text: str, arguments: Sequence[str], content: bytes, timeout_s: float) -> tuple[int, str]:
        """The exit code of a Python text of ours there, and what it has printed.

        Raises:
            Unavailable: the host cannot be reached, or has no Python.
        """
        done = self.connection.run(self._command(KEEP, text, *arguments), content, timeout_s)
        said = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
        self._check_python(done.returncode, said)
        return done.returncode, said

    def check_runtime(self, runtime: str) -> str:
        """The version of a runtime there. Raises MissingDependency, Unavailable: it has none."""
        versions = self.describe().runtimes
        if runtime not in versions and runtime in PACKAGES:
            raise MissingDependency(PACKAGES[runtime], runtime, self.address)
        if runtime not in versions:
            hint = f"leave its format out, or install it in the Python there; --setup installs {', '.join(PACKAGES)}"
            raise Unavailable(f"{runtime} is not installed on {self.address}", hint=hint)
        return versions[runtime]

    def launch(self, job: Job) -> Launch:
        """What starts a worker there. Raises Unavailable."""
        command = self._command(RUN, _name_runner(), "worker", *list_options(job, 0))
        return Launch(command, None, attaches=True, explain=self._explain_end)

    def await_return(self) -> None:
        """Wait until it can be reached again. Raises Unavailable where that takes too long."""
        until = time.monotonic() + self.patience_s
        while True:
            try:
                self.connection.close()
                self.connection.run(self._command("exec true"), b"", ASK_S)
            except Unavailable:
                if time.monotonic() > until:
                    raise
                time.sleep(POLL_S)
            else:
                return

    def _run_runner(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return self.connection.run(self._command(RUN, _name_runner(), *arguments), b"", ASK_S)

    def _command(self, script: str, *arguments: str) -> tuple[str, ...]:
        """Whatever the user's shell there is, it gets words that mean themselves, and hands them to `sh`."""
        return self.connection.command(f"exec sh -c {shlex.quote(script)}", [shlex.quote(each) for each in arguments])

    def _send_runner(self) -> None:
        runner = build_runner()
        text = Path(keep_runner.__file__).read_text()
        code, said = self.run_python(text, [runner.sha256], runner.content, SEND_S)
        if code == keep_runner.REFUSED:
            raise StorageError(f"{self.address} cannot keep our runner: {_read_mark(said)}", hint="make room there")
        if code:
            what = "it arrived garbled" if code == keep_runner.GARBLED else said.strip() or "it said nothing"
            raise Unavailable(f"our runner could not be sent to {self.address} (exit {code}): {what}",
                              hint="does `ssh HOST cat` give back just what it is given?")  # fmt: skip

    def _check_python(self, code: int, said: str) -> None:
        if code == NO_PYTHON:
            version = _read_mark(said)
            has = version if version.startswith("Python ") else "none"
            hint = "install one there (Debian 12, Raspberry Pi OS Bookworm or newer: apt install python3 python3-venv)"
            raise Unavailable(f"{self.address} has no Python 3.11 or newer (it has {has})", hint=hint)

    def _explain_end(self, code: int, said: str) -> DeployPruneError | None:
        if code == SSH_FAILED:  # it was there a moment ago; why it does not come back, waiting for it tells
            last = said.strip().splitlines()[-1:]
            return ConnectionLost(f"the connection to {self.address} was lost ({', '.join(last)})")
        if code == NO_RUNNER:
            return Unavailable(f"our runner is gone from {self.address}", hint="somebody has removed it: try again")
        return None


PACKAGES = {"litert": "ai-edge-litert", "onnxruntime": "onnxruntime"}
"""Runtime that `--setup` installs -> the package that has it."""


@cache
def host_at(place: Place, patience_s: float) -> Host:
    """The host at a place: one for the whole process, so that all share a connection and what is known of it."""
    return Host(place, patience_s)


def _name_runner() -> str:
    return f"runner-{build_runner().sha256}.pyz"


def _read_mark(said: str) -> str:
    marked = MARK.search(said)
    return marked[1].strip() if marked else ""
