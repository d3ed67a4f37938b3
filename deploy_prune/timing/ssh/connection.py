"""A host that ssh leads to, and one connection to it that all of this process's commands share."""

from __future__ import annotations

import atexit
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlencode

from deploy_prune.errors import ConfigError, ConnectionLost, DeployPruneError, Unavailable
from deploy_prune.scratch import PREFIX, hold_new_folder
from deploy_prune.timing.remote.transport import NO_PYTHON, run_to_end
from deploy_prune.timing.ssh.refusals import SSH_FAILED, explain_refusal

CONNECT_S = 10
"""Seconds after which a host that does not answer is given up."""
ALIVE_S, ALIVE_TIMES = 5, 3
"""A host that is silent for so many seconds is asked whether it is there, so many times."""
PORTS = range(1, 1 << 16)
PLACE = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9._+-]*)@)?"
    r"(?P<host>[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
OPTIONS = {
    "BatchMode": "yes", "ConnectTimeout": f"{CONNECT_S}", "ServerAliveInterval": f"{ALIVE_S}",
    "ServerAliveCountMax": f"{ALIVE_TIMES}", "ClearAllForwardings": "yes", "ForwardAgent": "no", "ForwardX11": "no",
    "PermitLocalCommand": "no", "RequestTTY": "no", "LogLevel": "ERROR",
}  # fmt: skip
"""What is set whatever the user's own configuration says; who the host is, and by which key, that alone decides."""
OLDEST = (3, 11)
"""The oldest Python that the runner runs on."""
FIND_PYTHON = (
    'd="${XDG_CACHE_HOME:-$HOME/.cache}/deploy-prune"; p="$d/venv/bin/python"; [ -x "$p" ] || '
    "for p in python3 python3.13 python3.12 python3.11 none; do "
    f'"$p" -c "import sys; sys.exit(sys.version_info < {OLDEST})" 2>/dev/null && break; done; '
    f'[ "$p" != none ] || {{ echo "deploy-prune: $(python3 --version 2>&1)"; exit {NO_PYTHON}; }}; '
)
"""Sets `d` to our folder there, and `p` to the Python that `--setup` has made there, else to one of the host's own."""
SHARES = sys.platform != "win32"
"""Whether the system's ssh lets commands share a connection."""


@dataclass(frozen=True)
class Place:
    """Where ssh is to go."""

    host: str
    """A name, a number, or a `Host` of the user's configuration of ssh."""
    user: str = ""
    """The name to log in by; empty: the one that the configuration says."""
    port: int | None = None
    """The port of the ssh server; None: the one that the configuration says."""
    config: Path | None = None
    """A configuration file of ssh in place of the user's own; None: the user's own."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        user, port = f"{self.user}@" if self.user else "", f":{self.port}" if self.port else ""
        return f"ssh://{user}{host}{port}" + (f"?{urlencode({'config': self.config})}" if self.config else "")

    @property
    def arguments(self) -> tuple[str, ...]:
        """What ssh is called with to get there."""
        named = ("-F", str(self.config)) if self.config else ()
        user, port = ("-l", self.user) if self.user else (), ("-p", str(self.port)) if self.port else ()
        options = (word for key, value in OPTIONS.items() for word in ("-o", f"{key}={value}"))
        return ("-T", *named, *options, *user, *port)


def parse_place(text: str, config: Path | None = None) -> Place:
    """`pi@board:2222`, `board`, `[fe80::1]`.

    Raises:
        ConfigError: it is none of these; nothing that a shell or ssh could take for anything else is let through.
    """
    match = PLACE.fullmatch(text)
    if match is None or (match["port"] and int(match["port"]) not in PORTS):
        hint = (
            "write ssh://HOST, ssh://USER@HOST or ssh://USER@HOST:PORT; whatever else it takes is said in ~/.ssh/config"
        )
        raise ConfigError(f"'ssh://{text}' is no address of a host", hint=hint)
    if config is not None and not config.is_file():
        raise ConfigError(f"{config} is no configuration file of ssh", hint="check the path behind ?config=")
    return Place(match["host"].strip("[]"), match["user"] or "", int(match["port"]) if match["port"] else None, config)


class Connection:
    """One connection, made when it is first needed and again where it was lost. Not a value: it holds a process."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._process: subprocess.Popen[bytes] | None = None
        self._held = ExitStack()
        self._socket = ""
        self._owner = os.getpid()
        self._lock = threading.Lock()
        atexit.register(self.close)

    @property
    def address(self) -> str:
        """What users call the host."""
        return str(self.place)

    @property
    def find_python(self) -> str:
        """The lines that find the host's Python."""
        return FIND_PYTHON

    def command(self, script: str, arguments: Sequence[str] = ()) -> tuple[str, ...]:
        """What runs a script of `sh` there, over the shared connection; its arguments have been quoted already.

        Raises:
            Unavailable: the host cannot be reached.
        """
        with self._lock:
            self._open()
        shared = ("-o", "ControlMaster=no", "-o", f"ControlPath={self._socket}") if self._socket else ()
        return ("ssh", *self.place.arguments, *shared, "--", self.place.host, " ".join((script, *arguments)))

    def run(self, command: Sequence[str], content: bytes, timeout_s: float) -> subprocess.CompletedProcess[bytes]:
        """Run what `command` has given to its end, with bytes on its stdin; its own exit code is the caller's to judge.

        Raises:
            Unavailable: the connection was lost, or it takes too long.
        """
        done = run_to_end(command, content, timeout_s, self.address, "is it overloaded, or the connection slow?")
        if done.returncode == SSH_FAILED:
            raise explain_refusal(str(self.place), done.stderr.decode(errors="replace"))
        return done

    def close(self) -> None:
        """End the connection; commands that still run over it end with it."""
        if self._process is not None and os.getpid() == self._owner:
            self._process.kill()
            self._process.wait()
            with suppress(OSError):
                _stdin_of(self._process).close()
            self._held.close()
            self._process, self._socket = None, ""

    def explain_no_python(self, found: str) -> Unavailable:
        """What to do where the host has none that is new enough."""
        has = found if found.startswith("Python ") else "none"
        hint = "install one there (Debian 12, Raspberry Pi OS Bookworm or newer: apt install python3 python3-venv)"
        return Unavailable(f"{self.place} has no Python 3.11 or newer (it has {has})", hint=hint)

    def explain_end(self, code: int, said: str) -> DeployPruneError | None:
        """The connection, where it is ssh that says so; why it does not come back, waiting for it tells."""
        if code != SSH_FAILED:
            return None
        last = said.strip().splitlines()[-1:]
        return ConnectionLost(f"the connection to {self.place} was lost ({', '.join(last)})")

    def _open(self) -> None:
        """Make the connection where there is none.

        It runs `cat` at its other end, which ends with our stdin: nothing stays behind where we are killed.
        """
        if not SHARES or (self._process is not None and self._process.poll() is None):
            return
        self.close()
        folder = self._held.enter_context(hold_new_folder(Path(tempfile.gettempdir()), PREFIX))
        log = self._held.enter_context((folder / "said").open("w+b"))
        shared = ("-o", "ControlMaster=yes", "-o", f"ControlPath={folder / 'c'}", "-o", "ControlPersist=no")
        command = ("ssh", *self.place.arguments, *shared, "--", self.place.host, "exec cat")
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log)
        except FileNotFoundError as error:
            raise Unavailable("there is no ssh client here", hint="Debian: apt install openssh-client") from error
        self._await_socket(folder / "c", log)
        self._socket = str(folder / "c")

    def _await_socket(self, socket: Path, log: IO[bytes]) -> None:
        assert self._process is not None
        until = time.monotonic() + 3 * CONNECT_S
        while not socket.exists():
            if self._process.poll() is None and time.monotonic() < until:
                time.sleep(0.01)
                continue
            log.seek(0)
            said = log.read().decode(errors="replace") or "connection timed out"
            self.close()
            raise explain_refusal(str(self.place), said)


def _stdin_of(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdin is not None
    return process.stdin
