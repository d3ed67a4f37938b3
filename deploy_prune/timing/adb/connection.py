"""The way to a device of adb: scripts of `sh` run there through `adb shell`."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from deploy_prune.errors import DeployPruneError, Unavailable
from deploy_prune.timing.adb.client import connect, find_adb
from deploy_prune.timing.adb.refusals import NO_EXIT_CODE, explain_refusal, is_fault
from deploy_prune.timing.remote.transport import NO_PYTHON, run_to_end

FOLDER = "/data/local/tmp/deploy-prune"
"""The one folder that is ours there; a shell may write and execute in no other that apps do not see."""
FIND_PYTHON = (
    f'd={FOLDER}; export XDG_CACHE_HOME="${{d%/*}}" HOME="$d" TMPDIR="$d"; '
    f'for p in "$d"/bundle-*/python; do [ -x "$p" ] && break; done; [ -x "$p" ] || exit {NO_PYTHON}; '
)
"""Sets `d` to our folder, and `p` to the Python of the bundle in it; what we write there is all within `d`."""


class Connection:
    """The way to one device. Not a value: it knows whether the device has answered before."""

    def __init__(self, serial: str) -> None:
        self.serial = serial
        self._reached = False
        self._cut = True

    @property
    def address(self) -> str:
        """What users call the device."""
        return f"adb://{self.serial}"

    @property
    def find_python(self) -> str:
        """The lines that find the bundle's Python."""
        return FIND_PYTHON

    def command(self, script: str, arguments: Sequence[str] = ()) -> tuple[str, ...]:
        """What runs a script of `sh` there, without a terminal; its arguments have been quoted already.

        Raises:
            MissingDependency: there is no adb; Unavailable: it does not answer.
        """
        if self._cut:
            connect(self.serial)
            self._cut = False
        return (find_adb(), "-s", self.serial, "shell", "-T", " ".join((script, *arguments)))

    def run(self, command: Sequence[str], content: bytes, timeout_s: float) -> subprocess.CompletedProcess[bytes]:
        """Run what `command` has given to its end, with bytes on its stdin; its own exit code is the caller's to judge.

        Raises:
            Unavailable: the connection was lost, or it takes too long.
        """
        hint = "is it asleep, or the cable slow? Wake it, and try another port"
        done = run_to_end(command, content, timeout_s, self.address, hint)
        said = done.stderr.decode(errors="replace")
        if is_fault(done.returncode, said):
            raise explain_refusal(self.address, said, reached=self._reached)
        self._reached = True
        return done

    def close(self) -> None:
        """Hold nothing; a device of the network is connected to anew."""
        self._cut = True

    def explain_no_python(self, found: str) -> Unavailable:  # noqa: ARG002  (there is none but ours)
        """What to do where the bundle has not been pushed."""
        hint = f"push what runs files there (140 MB, one folder): deploy-prune doctor --device {self.address} --setup"
        return Unavailable(f"nothing on {self.address} runs files yet", hint=hint)

    def explain_end(self, code: int, said: str) -> DeployPruneError | None:
        """The connection, where it is adb that says so, or says nothing."""
        if code == NO_EXIT_CODE:
            said = ""
        return explain_refusal(self.address, said, reached=True) if is_fault(code, said) else None
