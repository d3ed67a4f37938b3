"""A host that runs our runner: the runner is sent once, says what the host is, and is what workers there are."""

from __future__ import annotations

import logging
import re
import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy_prune.errors import ConnectionLost, DeployPruneError, MissingDependency, StorageError, Unavailable
from deploy_prune.timing.arm64.system import RUNTIMES as PACKAGES
from deploy_prune.timing.client import list_options
from deploy_prune.timing.describing import read_conditions, read_description
from deploy_prune.timing.devices import DeviceDescription, Job
from deploy_prune.timing.remote import keep_runner
from deploy_prune.timing.remote.transport import NO_PYTHON, NO_RUNNER, Transport
from deploy_prune.timing.runner import build_runner
from deploy_prune.timing.talk import Launch, parse_answer
from deploy_prune.values import Conditions

RUN = f'f="$d/$0"; [ -f "$f" ] || exit {NO_RUNNER}; touch -c "$f"; exec "$p" "$f" "$@"'
"""Runs the runner of that name with these arguments, once `d` and `p` are set."""
KEEP = 'exec "$p" -I -c "$0" "$@"'
"""Runs a Python text with these arguments, once `p` is set."""
ASK_S, SEND_S = 60.0, 300.0
POLL_S = 2.0
MARK = re.compile(r"^deploy-prune: (.*)$", re.MULTILINE)
"""How our script and `keep_runner` say what happened, among whatever else the host prints."""

logger = logging.getLogger(__name__)


class Host:
    """A machine that a transport leads to. Not a value: it remembers what was sent and found out."""

    def __init__(self, transport: Transport, patience_s: float) -> None:
        self.transport = transport
        self.patience_s = patience_s
        self._description: DeviceDescription | None = None

    @property
    def address(self) -> str:
        """What users call it."""
        return self.transport.address

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
        done = self.run_script(self.transport.find_python + KEEP, (text, *arguments), content, timeout_s)
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
        script = self.transport.find_python + RUN
        command = self._command(script, _name_runner(), "worker", *list_options(job, 0))
        return Launch(command, None, attaches=True, explain=self._explain_end)

    def await_return(self) -> None:
        """Wait until it can be reached again. Raises Unavailable where that takes too long."""
        until = time.monotonic() + self.patience_s
        while True:
            try:
                self.transport.close()
                self.run_script("exec true", (), b"", ASK_S)
            except Unavailable:
                if time.monotonic() > until:
                    raise
                time.sleep(POLL_S)
            else:
                return

    def run_script(
        self, script: str, arguments: Sequence[str], content: bytes, timeout_s: float
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a script of `sh` there to its end; the first argument is its `$0`.

        Raises:
            Unavailable: the host cannot be reached, was lost (ConnectionLost), or takes too long.
        """
        return self.transport.run(self._command(script, *arguments), content, timeout_s)

    def ask_script(
        self, script: str, arguments: Sequence[str] = (), timeout_s: float = ASK_S
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a script that changes nothing there, again where the host was lost since the last that was asked.

        Raises:
            Unavailable: the host cannot be reached, or takes too long.
        """
        try:
            return self.run_script(script, arguments, b"", timeout_s)
        except ConnectionLost:
            self.await_return()
            return self.run_script(script, arguments, b"", timeout_s)

    def _run_runner(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return self.ask_script(self.transport.find_python + RUN, (_name_runner(), *arguments))

    def _command(self, script: str, *arguments: str) -> tuple[str, ...]:
        """Whatever the user's shell there is, it gets words that mean themselves, and hands them to `sh`."""
        return self.transport.command(f"exec sh -c {shlex.quote(script)}", [shlex.quote(each) for each in arguments])

    def _send_runner(self) -> None:
        runner = build_runner()
        text = Path(keep_runner.__file__).read_text()
        code, said = self.run_python(text, [runner.sha256], runner.content, SEND_S)
        if code == keep_runner.REFUSED:
            raise StorageError(f"{self.address} cannot keep our runner: {_read_mark(said)}", hint="make room there")
        if code:
            what = "it arrived garbled" if code == keep_runner.GARBLED else said.strip() or "it said nothing"
            raise Unavailable(f"our runner could not be sent to {self.address} (exit {code}): {what}",
                              hint="does the way there change what it carries? `cat` must give it back")  # fmt: skip

    def _check_python(self, code: int, said: str) -> None:
        if code == NO_PYTHON:
            raise self.transport.explain_no_python(_read_mark(said))

    def _explain_end(self, code: int, said: str) -> DeployPruneError | None:
        if code == NO_RUNNER:
            return Unavailable(f"our runner is gone from {self.address}", hint="somebody has removed it: try again")
        return self.transport.explain_end(code, said)


def _name_runner() -> str:
    return f"runner-{build_runner().sha256}.pyz"


def _read_mark(said: str) -> str:
    marked = MARK.search(said)
    return marked[1].strip() if marked else ""
