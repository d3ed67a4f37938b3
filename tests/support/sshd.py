"""An ssh server on loopback, with keys of its own: the real server, and the real client that it is reached by."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin:/opt/homebrew/sbin") or ""
MISSING = "" if SSHD and shutil.which("ssh") else "no sshd and ssh are installed here (Debian: openssh-server)"
"""Why no test needs to try; empty: they are there."""
TOOLS = ("sh", "cat", "touch", "mkdir", "true")
"""The programs of the system that the host has, beside a Python."""


@dataclass
class Board:
    """A host that `ssh://board?config=...` leads to; its sessions see a home and programs of their own."""

    folder: Path
    port: int
    python: str = sys.executable
    """What `python3` is there; empty: there is none."""
    environment: dict[str, str] = field(default_factory=dict)
    server: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def own(self) -> Path:
        """The one folder that deploy-prune may write to there."""
        return self.home / ".cache" / "deploy-prune"

    @property
    def config(self) -> Path:
        return self.folder / "ssh_config"

    @property
    def address(self) -> str:
        return f"ssh://board?config={self.config}&patience_s=20"

    def prepare(self) -> None:
        """Make keys, both configurations, a home, and programs."""
        for folder in (self.home, self.folder / "bin", self.folder / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        for name in ("host", "user"):
            key = self.folder / f"{name}_key"
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        shutil.copy(self.folder / "user_key.pub", self.folder / "authorized_keys")
        kind, key, *_ = (self.folder / "host_key.pub").read_text().split()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")
        for tool in TOOLS:
            (self.folder / "bin" / tool).symlink_to(str(shutil.which(tool)))
        self.set_python(self.python)
        self.write_configs()

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def set_python(self, python: str, before: str = "") -> None:
        """Have that be `python3` there; `before`: lines of shell that run first."""
        path = self.folder / "bin" / "python3"
        path.unlink(missing_ok=True)
        if python:
            path.write_text(f'#!/bin/sh\n{before}\nexec {shlex.quote(python)} "$@"\n')
            path.chmod(0o755)

    def write_configs(self) -> None:
        user = pwd.getpwuid(os.getuid()).pw_name
        environment = {
            "HOME": self.home,
            "PATH": self.folder / "bin",
            "TMPDIR": self.folder / "tmp",
            **self.environment,
        }
        told = " ".join(f'{key}="{value}"' for key, value in environment.items())
        (self.folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host_key\nPidFile {self.folder}/pid\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n"
            f"PasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 100\nMaxSessions 4\n"
            f"PrintMotd no\nSetEnv {told}\n"
        )
        self.config.write_text(
            f"Host board\n  HostName 127.0.0.1\n  Port {self.port}\n  User {user}\n"
            f"  IdentityFile {self.folder}/user_key\n  IdentitiesOnly yes\n  UserKnownHostsFile {self.known_hosts}\n"
            "  GlobalKnownHostsFile /dev/null\n"
        )

    def start(self) -> None:
        """Serve, until `stop`."""
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where the server of root keeps to while it checks keys
        with (self.folder / "log").open("ab") as log:
            self.server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")], stderr=log)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError((self.folder / "log").read_text())

    def stop(self) -> None:
        """End the server and every session, as a host that loses its power does."""
        if self.server is not None:
            from deploy_prune.processes.reaper import list_descendants

            pids = [pid for pid, _ in list_descendants(self.server.pid)]
            self.server.kill()
            self.server.wait()
            self.server = None
            for pid in pids:
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    continue

    def list_files(self) -> list[str]:
        """All files in its home, but for those that ONNX Runtime keeps about itself."""
        paths = (path.relative_to(self.home).as_posix() for path in self.home.rglob("*") if path.is_file())
        return sorted(path for path in paths if not path.startswith(".cache/Microsoft"))

    def await_clean(self) -> bool:
        """Whether all workers clear away what they held; they do when they notice that nobody is there any more."""
        until = time.monotonic() + 10
        while any(self.own.glob("work-*")) and time.monotonic() < until:
            time.sleep(0.05)
        return not any(self.own.glob("work-*"))


@contextmanager
def serve(folder: Path, *, environment: dict[str, str] | None = None) -> Iterator[Board]:
    """A host that serves until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    board = Board(folder, port, environment=environment or {})
    board.prepare()
    board.start()
    try:
        yield board
    finally:
        board.stop()


def run_ssh(board: Board, *command: str) -> subprocess.CompletedProcess[str]:
    """What the client says to a command, without anything of ours between."""
    argv: Sequence[str] = ("ssh", "-F", str(board.config), "-o", "BatchMode=yes", "board", *command)
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
