"""The contract of a device: where files run, and who runs them there. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl

from deploy_prune import plugins
from deploy_prune.errors import ConfigError
from deploy_prune.plugins import Kind
from deploy_prune.timing.cores import CoreClass
from deploy_prune.values import FP32, Conditions, Delegation, NodeTime, Precision, Target, TensorSpec

if TYPE_CHECKING:
    import numpy as np

MILLISECONDS = "ms"
"""The unit of what a clock measures."""
THIS_MACHINE = "local"
"""The address of the machine that deploy-prune itself runs on."""


PROCESSORS = frozenset({"cpu", "cuda", "gpu", "mps", "npu", "rocm", "xpu"})
"""What is no device, but taken for one: where torch computes."""


@dataclass(frozen=True)
class Job:
    """One file to time, and how."""

    path: Path
    """The exported file, on the machine that deploy-prune runs on."""
    runtime: str
    """The name of the runtime plugin that runs it."""
    threads: int
    """How many threads the runtime computes with."""
    cores: tuple[int, ...]
    """The numbers of the cores that the worker is pinned to."""
    seed: int
    """The seed of the random inputs."""


@dataclass(frozen=True)
class Block:
    """Inferences in a row."""

    samples: tuple[float, ...]
    """What each inference took, in `unit`."""
    unit: str
    """What the samples are counted in, such as "ms"."""
    peak_memory_bytes: int
    """The largest memory of the worker's process so far, in bytes."""


class Worker(Protocol):
    """A process on the device that has loaded a file."""

    @property
    def job(self) -> Job:
        """What it was started for; `path` is the file that is open."""

    @property
    def version(self) -> str:
        """The version of the runtime."""

    @property
    def load_ms(self) -> float:
        """Milliseconds that opening the file took."""

    @property
    def runtime_memory_bytes(self) -> int:
        """The largest memory of the process just before it opened the file, in bytes."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What goes into the file, in order."""

    def block(self, inferences: int, *, timeout_s: float) -> Block:
        """Run the file that many times in a row, at batch 1, and give what each inference took.

        Raises:
            InputError: the file does not run, or another one has been opened since.
            WorkerDied: it died; Unavailable: it does not answer in time.
        """

    def profile(self, runs: int, *, timeout_s: float) -> tuple[NodeTime, ...]:
        """Give what every node takes in one inference, in ms: the median over `runs` inferences.

        Empty where the runtime has no profiler.

        Raises:
            InputError: the file does not run, or another one has been opened since.
            WorkerDied: it died; Unavailable: it does not answer in time; MissingDependency: it takes one package more.
        """

    def run(self, *arrays: np.ndarray, timeout_s: float) -> tuple[np.ndarray, ...]:
        """Give the outputs of one inference: an array (batch, ...) per input and per output, in the file's own order.

        Raises:
            InputError: the file does not run, or not at that batch size, or another one has been opened since.
            WorkerDied: it died; Unavailable: it does not answer in time.
        """

    def layers(self, *arrays: np.ndarray, timeout_s: float) -> Mapping[str, np.ndarray]:
        """Give what every operator of the file returns in one inference, by the file's names, as `Session.layers` does.

        Raises:
            InputError: the file does not run, or another one has been opened since.
            WorkerDied: it died; Unavailable: it does not answer in time, or takes one package more.
        """

    def delegation(self, *, timeout_s: float) -> Delegation | None:
        """How many operators of the file a delegate took there; None: the runtime has none that says so.

        Raises:
            InputError: another file has been opened since.
            WorkerDied: it died; Unavailable: it does not answer in time.
        """

    def open(self, path: Path) -> Worker:
        """Have the same process open another file in place of this one, which ends this value.

        Raises:
            InputError: the runtime cannot read the file; the process then holds none and may open another.
            WorkerDied: it died; Unavailable: it did not get ready in time.
        """


@dataclass(frozen=True)
class DeviceDescription:
    """What a device is made of."""

    processor: str
    """The processor's own name, such as `AMD EPYC 7B13`."""
    architecture: str
    """The machine's architecture, such as `x86_64` or `arm64`."""
    system: str
    """The operating system, such as `Linux`."""
    cores: int
    """How many cores a worker may use."""
    memory_bytes: int | None
    """The memory of the device, in bytes; None: it does not tell."""
    runtimes: Mapping[str, str]
    """Runtime -> its version, of those that are installed there and whose times say something."""
    classes: tuple[CoreClass, ...] = ()
    """The cores that a worker may use, by class, fastest first."""
    features: tuple[str, ...] = ()
    """What all cores can do of what runtimes look for, such as `atomics`, `asimddp` and `fp16`."""
    libc: str = ""
    """The system's C library and its version, such as `glibc 2.36`; empty: it does not tell."""
    python: str = ""
    """The version of the Python that runs files there; empty: none does."""
    release: str = ""
    """The operating system by the name that its users know, such as `Debian GNU/Linux 12 (bookworm)`."""


class Device(Protocol):
    """Runs exported files somewhere; the fields of the plugin are its options."""

    @property
    def fingerprint(self) -> str:
        """Processor, architecture and system: what `Target.device` holds. Figures of another one are not its own."""

    @property
    def unit(self) -> str:
        """What its blocks are counted in, such as "ms"; figures of two units are never compared."""

    @property
    def exact(self) -> bool:
        """Whether a file costs the same number whenever it is run, so that no more is run than a model has to learn."""

    @property
    def runs_here(self) -> bool:
        """Whether its files run on the cores of this machine: two such devices disturb each other."""

    def start(self, job: Job) -> AbstractContextManager[Worker]:
        """A worker with its file loaded; it is dead when the block ends.

        Raises:
            InputError: the runtime cannot read the file.
            WorkerDied: it died; Unavailable: it did not get ready in time; MissingDependency: no runtime.
        """

    def conditions(self, cores: Sequence[int] | None = None) -> Conditions:
        """What the device tells about itself now, on these cores (None: on all that may be used)."""

    def cores(self, threads: int) -> tuple[int, ...]:
        """The cores to time that many threads on; fewer where there are fewer."""

    def runtime_version(self, runtime: str) -> str:
        """The version of a runtime there. Raises UnknownName, MissingDependency: no such runtime, or not there."""

    def describe(self) -> DeviceDescription:
        """What the device is made of."""

    def advise(self) -> tuple[str, ...]:
        """What is missing there or known not to work, and how to get it; empty: nothing."""

    def list_attached(self) -> tuple[str, ...]:
        """The addresses of such devices that need not be named to be seen; this machine is none of them."""

    def set_up(self) -> tuple[str, ...]:
        """Install there what runs files, in a place of its own; what was installed.

        Raises:
            ConfigError: there is nothing that could be set up; Unavailable: it cannot be.
        """


DEVICES: Kind[Device] = Kind("devices")


def list_attached() -> tuple[str, ...]:
    """This machine, and the addresses of all devices that need not be named to be seen."""
    devices = [plugins.build(DEVICES, name) for name in plugins.list_names(DEVICES)]
    return (THIS_MACHINE, *sorted(address for device in devices for address in device.list_attached()))


def is_address(text: str) -> bool:
    """Whether a text leads to a device: `local`, or `SCHEME://...` of a plugin of that name."""
    return text.partition("://")[0] in plugins.list_names(DEVICES)


def device_at(address: str) -> Device:
    """The device that an address leads to: the scheme is the plugin's name, what follows is its option `address`.

    Further options of the plugin may stand behind it, as in `ssh://board?config=/home/me/board.config`.

    Raises:
        ConfigError: it is no address; UnknownName: an option that the plugin does not have.
    """
    scheme, separator, rest = address.partition("://")
    if not is_address(address):
        raise explain_no_address(address)
    place, _, query = rest.partition("?")
    return plugins.build(DEVICES, scheme, {"address": place, **dict(parse_qsl(query))} if separator else {})


def explain_no_address(text: str, tables: Sequence[str] = ()) -> ConfigError:
    """What to say of a text that is no address; `tables`: names of devices whose latency tables are at hand."""
    known = ", ".join((*plugins.list_names(DEVICES), *(f"'{name}'" for name in tables)))
    if text.partition(":")[0].lower() in PROCESSORS:
        hint = f"--device is where files are timed (known: {known}); where networks are trained is --accelerator"
    else:
        hint = (
            f"known: {known}, as in ssh://pi@board; for budgets on a device that files cannot be timed on from here a "
            "table that was measured there is read by `deploy-prune latency import FILE` (docs/milliseconds.md)"
        )
    return ConfigError(f"'{text}' is no device that files can be timed on", hint=hint)


def target_on(device: Device, runtime: str, threads: int = 1, precision: Precision = FP32) -> Target:
    """The target of figures that are taken on a device now: its fingerprint, and the runtime as it is installed there.

    Raises:
        UnknownName: no such runtime; MissingDependency: it is not installed there.
    """
    return Target(device.fingerprint, runtime, device.runtime_version(runtime), threads, precision)
