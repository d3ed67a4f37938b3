"""A simulated ARM core: what a file costs there, exactly and without hardware, in instructions or in simulated cycles.

    sim://cortex-a72                  cycles, by LLVM's model of the core
    sim://cortex-a53/instructions     instructions

It is no time: caches, memory and branches that go wrong are not in it. Files of one precision can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from deploy_prune import plugins
from deploy_prune.errors import ConfigError, StorageError, Unavailable
from deploy_prune.records import sha256
from deploy_prune.timing.arm64.system import RUNTIMES as SIMULATED
from deploy_prune.timing.arm64.system import WHEELS
from deploy_prune.timing.devices import Block, Device, DeviceDescription, Job
from deploy_prune.timing.runtimes import RUNTIMES
from deploy_prune.timing.simulator import folder as place
from deploy_prune.timing.simulator.cores import Core, find_core
from deploy_prune.timing.simulator.cycles import Prices
from deploy_prune.timing.simulator.emulator import Guest, start_guest
from deploy_prune.timing.simulator.setting_up import set_up
from deploy_prune.timing.simulator.tools import find_analyser, find_emulator
from deploy_prune.timing.simulator.vectors import MultiplyAdds, check_vectors, count_multiply_adds
from deploy_prune.values import Conditions, Delegation, NodeTime, TensorSpec

if TYPE_CHECKING:
    import numpy as np

CYCLES, INSTRUCTIONS = "cycles", "instructions"
SLOWER = 10.0
"""How many times as long as a worker of this machine an emulated one may take."""


@dataclass(frozen=True)
class Known:
    """What one file costs."""

    cost: float
    """What an inference costs, in the device's unit."""
    instructions: int
    """How many instructions it executes."""
    done: MultiplyAdds
    """The multiply-adds among them."""
    peak_memory_bytes: int
    """The largest memory of the emulator when it had run, in bytes."""
    inputs: tuple[TensorSpec, ...]
    """What goes into the file, in order."""


@dataclass(frozen=True, eq=False)
class Meter:
    """What is done with what was counted."""

    core: Core
    unit: str
    """The device's unit."""
    prices: Prices
    in_cycles: bool
    """Whether cycles are asked for; else it is instructions."""
    known: dict[str, Known] = field(default_factory=dict)
    """The sha256 of a file -> what it costs: counts are exact, so that nothing is counted twice."""

    def count(self, guest: Guest, path: Path, timeout_s: float) -> Known:
        """Have the file that is open counted.

        Raises:
            InputError: the file does not run, or another one has been opened since.
            WorkerDied: the emulator died; Unavailable: no answer in time, or no vector instructions.
        """
        counts, memory = guest.count(timeout_s=timeout_s)
        done = count_multiply_adds(self.prices.list_hot(counts))
        check_vectors(done, counts.instructions, str(path), self.core.title)
        cost = self.prices.add_up(counts) if self.in_cycles else float(counts.instructions)
        return Known(cost, counts.instructions, done, memory, guest.worker.inputs)


@dataclass(frozen=True, eq=False)
class SimWorker:
    """A file in the emulator."""

    job: Job
    version: str
    load_ms: float
    """0: opening a file is not simulated."""
    runtime_memory_bytes: int
    """The largest memory of the emulator just before it opened the file, in bytes."""
    inputs: tuple[TensorSpec, ...]
    """What goes into the file, in order."""
    digest: str
    """The sha256 of the file's content when it was opened."""
    guest: Guest
    """The worker in the emulator; it may hold the file that was open before where this one's cost is known."""
    meter: Meter

    def block(self, inferences: int, *, timeout_s: float) -> Block:
        """What one inference costs, as often as asked for: it is counted once, however often the file is opened."""
        if self.digest not in self.meter.known:
            self.meter.known[self.digest] = self.meter.count(self.guest, self.job.path, SLOWER * timeout_s)
        known = self.meter.known[self.digest]
        return Block((known.cost,) * inferences, self.meter.unit, known.peak_memory_bytes)

    def profile(self, runs: int, *, timeout_s: float) -> tuple[NodeTime, ...]:  # noqa: ARG002  (never asked)
        """Nothing: what a node costs is not counted."""
        return ()

    def run(self, *arrays: np.ndarray, timeout_s: float) -> tuple[np.ndarray, ...]:
        """The outputs of one inference, by the core's own kernels."""
        return self._have_open().worker.run(*arrays, timeout_s=SLOWER * timeout_s)

    def layers(self, *arrays: np.ndarray, timeout_s: float) -> Mapping[str, np.ndarray]:
        """What every operator of the file returns in one inference."""
        return self._have_open().worker.layers(*arrays, timeout_s=SLOWER * timeout_s)

    def delegation(self, *, timeout_s: float) -> Delegation | None:
        """What a delegate took on the core: its kernels are the core's own."""
        return self._have_open().worker.delegation(timeout_s=SLOWER * timeout_s)

    def open(self, path: Path) -> SimWorker:
        """The same with another file; one whose cost is known is not opened again."""
        job, digest = replace(self.job, path=path), _hash(path)
        if (known := self.meter.known.get(digest)) is not None:
            return replace(self, job=job, digest=digest, inputs=known.inputs)
        guest = self.guest.open(path)
        return replace(self, job=job, digest=digest, inputs=guest.worker.inputs, guest=guest)

    def _have_open(self) -> Guest:
        """The emulated worker with this very file, which it may have let go of."""
        return self.guest.open(self.job.path)


@dataclass(frozen=True)
class Sim:
    """One core of ARM's, simulated."""

    runs_here: ClassVar[bool] = True

    address: str = "cortex-a72"
    """The core, such as `cortex-a72`; `CORE/instructions` counts instructions where cycles are usual."""
    folder: Path | None = None
    """Where the simulator is set up; None: in the platform's cache folder."""

    def __post_init__(self) -> None:
        """Refuse an address that leads nowhere."""
        find_core(self._name)
        if self._counted not in {CYCLES, INSTRUCTIONS}:
            message = f"a simulated core counts {CYCLES} or {INSTRUCTIONS}, not '{self._counted}'"
            raise ConfigError(message, hint=f"sim://{self._name}, or sim://{self._name}/{INSTRUCTIONS}")

    @property
    def fingerprint(self) -> str:
        """Core, architecture and system; the versions of what simulates it are in the core's name."""
        return f"{self._processor}, aarch64, Linux"

    @property
    def unit(self) -> str:
        """Cycles or instructions of this core: never milliseconds."""
        return f"simulated {find_core(self._name).title} {self._counted}"

    @property
    def exact(self) -> bool:
        """True: a file is counted once; another run of it differs by no more than the system's share of a call."""
        return True

    @contextmanager
    def start(self, job: Job) -> Iterator[SimWorker]:
        """A program in the emulator with its file loaded; it is dead when the block ends.

        Raises:
            ConfigError: several threads, which cannot be counted.
            Unavailable: the simulator is not set up.
        """
        if job.threads != 1:
            hint = "leave --threads out, or count with one"
            raise ConfigError(f"{job.threads} threads cannot be counted: they wait for each other", hint=hint)
        folder, core = self._folder, find_core(self._name)
        place.check_folder(folder)
        version = self.runtime_version(job.runtime)
        meter = Meter(core, self.unit, Prices(find_analyser(), self._name), self._counted == CYCLES)
        with start_guest(find_emulator(), folder, core, job) as guest:
            worker = guest.worker
            yield SimWorker(
                job, version, 0.0, worker.runtime_memory_bytes, worker.inputs, _hash(job.path), guest, meter
            )

    def conditions(self, cores: Sequence[int] | None = None) -> Conditions:
        """Nothing that could disturb."""
        return Conditions(None, None, None, None, self.cores(1) if cores is None else tuple(cores))

    def cores(self, threads: int) -> tuple[int, ...]:  # noqa: ARG002  (there is one)
        """The only one."""
        return (0,)

    def runtime_version(self, runtime: str) -> str:
        """The version that is simulated.

        Raises:
            UnknownName: no such runtime; Unavailable: it cannot be simulated.
        """
        plugins.load(RUNTIMES, runtime)
        if runtime not in SIMULATED:
            raise Unavailable(f"{runtime} is not simulated", hint=f"simulated are: {', '.join(SIMULATED)}")
        return WHEELS[SIMULATED[runtime]]

    def describe(self) -> DeviceDescription:
        """What the core and its simulator are."""
        runtimes = {name: WHEELS[wheel] for name, wheel in SIMULATED.items()}
        return DeviceDescription(self._processor, "aarch64", "Linux", len(self.cores(1)), None, runtimes)

    def advise(self) -> tuple[str, ...]:
        """Whether the simulator is still to be set up."""
        try:
            place.check_folder(self._folder)
        except Unavailable as error:
            return (f"{error.message}: deploy-prune doctor --device sim://{self._name} --setup",)
        return ()

    def list_attached(self) -> tuple[str, ...]:
        """None: a core is named."""
        return ()

    def set_up(self) -> tuple[str, ...]:
        """Fill the simulator's folder. Raises Unavailable: a tool or a download is missing."""
        set_up(self._folder)
        return tuple(f"{name}=={version}" for name, version in WHEELS.items())

    @property
    def _name(self) -> str:
        return self.address.partition("/")[0]

    @property
    def _counted(self) -> str:
        return self.address.partition("/")[2] or CYCLES

    @property
    def _folder(self) -> Path:
        return self.folder or place.usual_folder()

    @cached_property
    def _processor(self) -> str:
        versions = [f"QEMU {find_emulator().version}"]
        if self._counted == CYCLES:
            versions.append(f"LLVM {find_analyser().version}")
        return f"simulated {find_core(self._name).title} ({self._counted}; {' '.join(versions)})"


def _hash(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}", hint="check the path") from error


plugin: type[Device] = Sim
