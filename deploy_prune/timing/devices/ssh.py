"""A machine that ssh leads to, such as a board: files travel to it within the requests, and run in a process there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

from deploy_prune import plugins
from deploy_prune.timing.cooling import keep_cool
from deploy_prune.timing.describing import advise_on_runtimes
from deploy_prune.timing.devices import MILLISECONDS, Device, DeviceDescription, Job, Worker
from deploy_prune.timing.remote.host import Host
from deploy_prune.timing.remote.worker import start_on
from deploy_prune.timing.runtimes import RUNTIMES
from deploy_prune.timing.ssh.connection import Connection, Place, parse_place
from deploy_prune.timing.ssh.setup import list_left_out, set_up
from deploy_prune.values import Conditions


@dataclass(frozen=True)
class Ssh:
    """A host with Python, numpy and a runtime, reached by the system's ssh client with keys or the agent."""

    unit: ClassVar[str] = MILLISECONDS
    exact: ClassVar[bool] = False
    runs_here: ClassVar[bool] = False

    address: str = ""
    """The host, as in `ssh://pi@board:22`; who it is and with which key, ~/.ssh/config says. Empty: nowhere yet."""
    config: Path | None = None
    """A configuration file of ssh in place of the user's own."""
    patience_s: float = 180.0
    """How many seconds a host that vanishes in the middle is waited for."""
    max_temp_c: float | None = None
    """The degrees Celsius above which nothing is timed: blocks wait until it has cooled down; None: no block waits."""

    def __post_init__(self) -> None:
        if self.address:
            parse_place(self.address, self.config)

    @property
    def host(self) -> Host:
        """The host, to which this process has one connection."""
        return _host_at(parse_place(self.address, self.config), self.patience_s)

    @property
    def fingerprint(self) -> str:
        """The processor, or the board with its cores, the architecture and the system."""
        about = self.describe()
        return f"{about.processor}, {about.architecture}, {about.system}"

    def start(self, job: Job) -> AbstractContextManager[Worker]:
        """A process there with its file loaded; it is dead when the block ends."""
        return keep_cool(start_on(self.host, job), lambda: self.conditions(job.cores).temperature_c, self.max_temp_c)

    def conditions(self, cores: Sequence[int] | None = None) -> Conditions:
        """Load, clock, governor, temperature and throttling now."""
        return self.host.read_conditions(self._list_cores() if cores is None else cores)

    def cores(self, threads: int) -> tuple[int, ...]:
        """The first so many of the cores that a worker may use there, the fastest first."""
        return self._list_cores()[:threads]

    def runtime_version(self, runtime: str) -> str:
        """The version that is installed there."""
        plugins.load(RUNTIMES, runtime)
        return self.host.check_runtime(runtime)

    def describe(self) -> DeviceDescription:
        """What the host is made of."""
        return self.host.describe()

    def advise(self) -> tuple[str, ...]:
        """What is missing there or known not to work, and the command that makes it good."""
        about = self.describe()
        lacking = sorted({"litert", "onnxruntime"} - set(about.runtimes))
        setup = (f"deploy-prune doctor --device {self.host.address} --setup",) if lacking else ()
        return (*advise_on_runtimes(about), *(f"to install {' and '.join(lacking)}: {each}" for each in setup),
                *(list_left_out(about) if lacking else ()))  # fmt: skip

    def list_attached(self) -> tuple[str, ...]:
        """None: a host is named."""
        return ()

    def set_up(self) -> tuple[str, ...]:
        """Make a private environment in ~/.cache/deploy-prune there, with our versions of the runtimes."""
        return set_up(self.host)

    def _list_cores(self) -> tuple[int, ...]:
        return tuple(core for each in self.describe().classes for core in each.cores)


@cache
def _host_at(place: Place, patience_s: float) -> Host:
    """The host at a place: one for the whole process, so that all share a connection and what is known of it."""
    return Host(Connection(place), patience_s)


plugin: type[Device] = Ssh
