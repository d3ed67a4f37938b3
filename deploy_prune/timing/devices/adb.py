"""A phone or tablet that adb leads to: files travel to it within the requests, and run in a process there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import ClassVar

from deploy_prune import plugins
from deploy_prune.errors import DeployPruneError
from deploy_prune.timing.adb.bundle import find_bundle, usual_folder
from deploy_prune.timing.adb.client import READY, check_serial, choose_serial
from deploy_prune.timing.adb.client import list_attached as list_known
from deploy_prune.timing.adb.phone import Phone, check_architecture
from deploy_prune.timing.adb.setup import push_bundle
from deploy_prune.timing.adb.tool_worker import RUNTIME as TIMED_BY_TOOL
from deploy_prune.timing.adb.tool_worker import Tool, find_tool, start_tool
from deploy_prune.timing.cooling import keep_cool
from deploy_prune.timing.describing import advise_on_runtimes
from deploy_prune.timing.devices import MILLISECONDS, Device, DeviceDescription, Job, Worker
from deploy_prune.timing.remote.worker import start_on
from deploy_prune.timing.runtimes import RUNTIMES
from deploy_prune.values import Conditions


@dataclass(frozen=True)
class Adb:
    """A device with Android, reached by adb; what runs files there is pushed once, by `doctor --setup`."""

    unit: ClassVar[str] = MILLISECONDS
    exact: ClassVar[bool] = False
    runs_here: ClassVar[bool] = False

    address: str = ""
    """Its serial, as in `adb://R5CT20ABCDE`; empty: what ANDROID_SERIAL names, else the only one attached."""
    patience_s: float = 180.0
    """How many seconds a device that vanishes in the middle is waited for."""
    max_temp_c: float | None = None
    """The degrees Celsius above which nothing is timed: blocks wait until it has cooled down; None: no block waits."""
    benchmark_model: Path | None = None
    """The official tool, built for Android, to time .tflite files with; None: what `--setup` pushes times them."""

    def __post_init__(self) -> None:
        if self.address:
            check_serial(self.address)

    @property
    def phone(self) -> Phone:
        """The device, of which this process has one."""
        return _phone_at(self.address or choose_serial(), self.patience_s)

    @property
    def fingerprint(self) -> str:
        """Model, chip and cores, the architecture and the system."""
        about = self.phone.look()
        return f"{about.processor}, {about.architecture}, {about.system}"

    def start(self, job: Job) -> AbstractContextManager[Worker]:
        """A process there with its file loaded, or the user's tool; it is dead when the block ends."""
        tool = self._tool
        started: AbstractContextManager[Worker] = start_tool(tool, job) if tool else start_on(self.phone.host, job)
        return keep_cool(started, lambda: self.conditions(job.cores).temperature_c, self.max_temp_c)

    def conditions(self, cores: Sequence[int] | None = None) -> Conditions:
        """Load, clock, governor, temperature and Android's thermal status now."""
        return self.phone.read_conditions(self.cores(self.describe().cores) if cores is None else cores)

    def cores(self, threads: int) -> tuple[int, ...]:
        """The first so many of the cores, the fastest first."""
        return tuple(core for each in self.describe().classes for core in each.cores)[:threads]

    def runtime_version(self, runtime: str) -> str:
        """The version that is in what was pushed."""
        plugins.load(RUNTIMES, runtime)
        if runtime == TIMED_BY_TOOL and (tool := self._tool):
            return tool.version
        return self.phone.host.check_runtime(runtime)

    def describe(self) -> DeviceDescription:
        """What the device is made of."""
        about, tool = self.phone.describe(), self._tool
        return replace(about, runtimes={**about.runtimes, TIMED_BY_TOOL: tool.version}) if tool else about

    def advise(self) -> tuple[str, ...]:
        """What is missing there or known not to work, and what disturbs timing on it now."""
        about, phone = self.describe(), self.phone
        push = f"to push what runs files there: deploy-prune doctor --device {phone.host.address} --setup"
        missing = () if about.python else (push,)
        return (*advise_on_runtimes(about), *missing, *phone.advise())

    def set_up(self) -> tuple[str, ...]:
        """Push Python and the runtimes into /data/local/tmp/deploy-prune there; nothing is installed."""
        phone = self.phone
        check_architecture(phone)
        push_bundle(phone.host, find_bundle(usual_folder()))
        phone.forget()
        return tuple(f"{name} {version}" for name, version in phone.describe().runtimes.items())

    def list_attached(self) -> tuple[str, ...]:
        """The devices that adb lists as ready; none where there is no adb."""
        with suppress(DeployPruneError):
            return tuple(f"adb://{each.serial}" for each in list_known() if each.state == READY)
        return ()

    @property
    def _tool(self) -> Tool | None:
        return find_tool(self.phone.host, self.benchmark_model) if self.benchmark_model else None


@cache
def _phone_at(serial: str, patience_s: float) -> Phone:
    """The device of a serial: one for the whole process, so that it is asked once what it is."""
    return Phone(serial, patience_s)


plugin: type[Device] = Adb
