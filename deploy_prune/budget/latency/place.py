"""Where milliseconds are of: a runtime on a device, as users name it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deploy_prune import plugins
from deploy_prune.budget.latency.store import open_store, usual_path
from deploy_prune.errors import ConfigError
from deploy_prune.formats.templates import TEMPLATES
from deploy_prune.timing.devices import device_at, explain_no_address, is_address, target_on
from deploy_prune.timing.runtimes import RUNTIMES
from deploy_prune.values import FP32, Precision, Target


@dataclass(frozen=True)
class Place:
    """Where milliseconds are of, as users name it."""

    runtime: str
    device: str
    """The address of a device, or the name of one whose latency table was imported."""
    threads: int = 1
    precision: Precision = FP32

    @property
    def measurable(self) -> bool:
        """Whether files can be timed there; otherwise only tables that were imported can be asked."""
        return is_address(self.device)

    @property
    def target(self) -> Target:
        """The target that figures from there are of; where only tables can be asked, of any runtime version.

        Raises:
            UnknownName, MissingDependency: no such runtime, or not there.
        """
        if self.measurable:
            return target_on(device_at(self.device), self.runtime, self.threads, self.precision)
        plugins.load(RUNTIMES, self.runtime)
        return Target(self.device, self.runtime, "", self.threads, self.precision)


def check_device(device: str, store: Path | None) -> None:
    """Refuse what is neither an address nor the name of a device that a store (None: the usual one) has tables of.

    Raises:
        ConfigError: it is neither; says which there are.
        RecordError, StorageError: the store cannot be read.
    """
    path = store or usual_path()
    if is_address(device):
        return
    tables: set[str] = set()
    if path.exists():
        with open_store(path) as known:
            tables = {profile.target.device for profile in known.profiles()}
    if device not in tables:
        raise explain_no_address(device, sorted(tables))


def format_of(runtime: str) -> str:
    """The template format that a runtime runs.

    Raises:
        ConfigError: none.
    """
    by_runtime = {plugins.load(TEMPLATES, name).runtime: name for name in plugins.list_names(TEMPLATES)}
    if runtime not in by_runtime:
        hint = f"known: {', '.join(sorted(by_runtime))}"
        raise ConfigError(f"no milliseconds are predicted for runtime '{runtime}'", hint=hint)
    return by_runtime[runtime]
