"""This machine: files run on its CPU, each in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

from deploy_prune import plugins
from deploy_prune.errors import ConfigError
from deploy_prune.timing import client, conditions
from deploy_prune.timing.cores import list_core_classes
from deploy_prune.timing.describing import advise_on_runtimes, describe_here
from deploy_prune.timing.devices import MILLISECONDS, Device, DeviceDescription, Job, Worker
from deploy_prune.timing.runtimes import RUNTIMES
from deploy_prune.values import Conditions


@dataclass(frozen=True)
class Local:
    """The machine that deploy-prune itself runs on."""

    unit: ClassVar[str] = MILLISECONDS
    exact: ClassVar[bool] = False
    runs_here: ClassVar[bool] = True

    @property
    def fingerprint(self) -> str:
        """Processor, architecture and system."""
        return conditions.fingerprint()

    def start(self, job: Job) -> AbstractContextManager[Worker]:
        """A process with its file loaded; it is dead when the block ends."""
        return client.start_worker(job)

    def conditions(self, cores: Sequence[int] | None = None) -> Conditions:
        """Load, clock, governor and temperature now."""
        return conditions.read(cores)

    def cores(self, threads: int) -> tuple[int, ...]:
        """The first so many of the cores that this process may use, the fastest first."""
        classes = list_core_classes(conditions.list_allowed_cores(), "")
        return tuple(core for each in classes for core in each.cores)[:threads]

    def runtime_version(self, runtime: str) -> str:
        """The version that is installed here."""
        return plugins.build(RUNTIMES, runtime).version()

    def describe(self) -> DeviceDescription:
        """What this machine is made of."""
        return describe_here()

    def advise(self) -> tuple[str, ...]:
        """What is known not to work here."""
        return advise_on_runtimes(self.describe())

    def list_attached(self) -> tuple[str, ...]:
        """None: it is always there."""
        return ()

    def set_up(self) -> tuple[str, ...]:
        """Refuse: what runs files here, pip installs. Raises ConfigError."""
        hint = "pip install 'deploy-prune[all]'; `deploy-prune doctor` says what is missing"
        raise ConfigError("this machine is set up by pip", hint=hint)


plugin: type[Device] = Local
