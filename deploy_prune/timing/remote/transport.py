"""What leads to another machine: runs scripts of `sh` there, says where its Python is, and what it means to fail."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Protocol

from deploy_prune.errors import DeployPruneError, Unavailable

NO_RUNNER, NO_PYTHON = 90, 91
"""The exit codes of our scripts where something that they need is not there."""


class Transport(Protocol):
    """The way to a machine. Not a value: it may hold a connection."""

    @property
    def address(self) -> str:
        """What users call the machine."""

    @property
    def find_python(self) -> str:
        """Lines of `sh` that set `d` to our folder there and `p` to the Python that runs our runner.

        They exit with `NO_PYTHON` where there is none.
        """

    def command(self, script: str, arguments: Sequence[str] = ()) -> tuple[str, ...]:
        """What runs a script of `sh` there; its arguments have been quoted already.

        Raises:
            Unavailable: the machine cannot be reached.
        """

    def run(self, command: Sequence[str], content: bytes, timeout_s: float) -> subprocess.CompletedProcess[bytes]:
        """Run what `command` has given to its end, with bytes on its stdin; its own exit code is the caller's to judge.

        Raises:
            Unavailable: the connection was lost (ConnectionLost), or it takes too long.
        """

    def close(self) -> None:
        """End the connection, where one is held: the next command makes it anew."""

    def explain_no_python(self, found: str) -> Unavailable:
        """What to do where no Python runs our runner; `found` is what the script has found instead, or nothing."""

    def explain_end(self, code: int, said: str) -> DeployPruneError | None:
        """What the end of a command means, by its exit code and last words; None: nothing about the connection."""


def run_to_end(
    command: Sequence[str], content: bytes, timeout_s: float, address: str, hint: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a client's command with bytes on its stdin; `hint` is what to do where the machine takes too long.

    Raises:
        Unavailable: it takes too long.
    """
    try:
        return subprocess.run(command, input=content, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{address} did not answer within {timeout_s:.0f} s", hint=hint) from error
