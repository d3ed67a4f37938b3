"""A device for tests: every inference of a file takes what a function of that file says, and no process is started.

Whatever takes a device takes this one, so that code which times can be tested without a clock:

    phone = FakeDevice(lambda path: 1e-6 * path.stat().st_size)
    (small, large) = bench(["small.tflite", "large.tflite"], device=phone)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from deploy_prune.timing.devices import Block, DeviceDescription, Job
from deploy_prune.values import Conditions, NodeTime, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    Compute = Callable[[Path, tuple[np.ndarray, ...]], tuple[np.ndarray, ...]]

MEMORY_BYTES = 1_000_000


@dataclass(frozen=True)
class FakeWorker:
    """Runs no file, but says what one inference takes."""

    job: Job
    time: Callable[[Path], float]
    """File -> what one inference takes, in `unit`; asked once per block, so that it may change while it runs."""
    unit: str = "ms"
    samples: tuple[float, ...] = (1.0,)
    """What the inferences of a block take, in turns, as multiples of that time."""
    version: str = "1.0"
    load_ms: float = 1.0
    runtime_memory_bytes: int = MEMORY_BYTES
    asked: list[int] = field(default_factory=list)
    """How many inferences each block had, in the order of the blocks."""
    compute: Compute | None = None
    """(file, inputs) -> its outputs; None: it has none."""
    inputs: tuple[TensorSpec, ...] = ()

    def block(self, inferences: int, *, timeout_s: float) -> Block:  # noqa: ARG002  (nothing here can hang)
        """What that many inferences take."""
        self.asked.append(inferences)
        time = self.time(self.job.path)
        turns = (self.samples[place % len(self.samples)] for place in range(inferences))
        return Block(tuple(share * time for share in turns), self.unit, 2 * MEMORY_BYTES)

    def profile(self, runs: int, *, timeout_s: float) -> tuple[NodeTime, ...]:  # noqa: ARG002
        """Nothing: this runtime has no profiler."""
        return ()

    def run(self, *arrays: np.ndarray, timeout_s: float) -> tuple[np.ndarray, ...]:  # noqa: ARG002
        """What `compute` says."""
        return self.compute(self.job.path, arrays) if self.compute else ()

    def layers(self, *arrays: np.ndarray, timeout_s: float) -> Mapping[str, np.ndarray]:  # noqa: ARG002
        """Nothing: this runtime shows none."""
        return {}

    def delegation(self, *, timeout_s: float) -> None:
        """None: this runtime has no delegate."""

    def open(self, path: Path) -> FakeWorker:
        """The same with another file."""
        return replace(self, job=replace(self.job, path=path))


@dataclass(frozen=True)
class FakeDevice:
    """A device on which every inference takes what `time` says of its file."""

    time: Callable[[Path], float]
    """File -> what one inference takes, in `unit`."""
    unit: str = "ms"
    exact: bool = False
    """Whether it says of itself that a file costs the same whenever it is run."""
    runs_here: bool = False
    """Whether it says of itself that files run on this machine's cores."""
    fingerprint: str = "fake processor, none, none"
    version: str = "1.0"
    """The version of every runtime."""
    many_cores: int = 2
    compute: Compute | None = None
    """(file, inputs) -> its outputs; None: a file has none."""
    inputs: tuple[TensorSpec, ...] = ()
    """What goes into every file."""

    @contextmanager
    def start(self, job: Job) -> Iterator[FakeWorker]:
        """A worker for that file."""
        yield FakeWorker(job, self.time, self.unit, version=self.version, compute=self.compute, inputs=self.inputs)

    def conditions(self, cores: Sequence[int] | None = None) -> Conditions:
        """A quiet machine that does not tell much."""
        return Conditions(0.0, None, None, None, self.cores(self.many_cores) if cores is None else tuple(cores))

    def cores(self, threads: int) -> tuple[int, ...]:
        """The first so many."""
        return tuple(range(min(threads, self.many_cores)))

    def runtime_version(self, runtime: str) -> str:  # noqa: ARG002
        """The same of every runtime."""
        return self.version

    def describe(self) -> DeviceDescription:
        """Nothing that there is."""
        return DeviceDescription("fake processor", "none", "none", self.many_cores, None, {})

    def advise(self) -> tuple[str, ...]:
        """Nothing is missing."""
        return ()

    def list_attached(self) -> tuple[str, ...]:
        """None."""
        return ()

    def set_up(self) -> tuple[str, ...]:
        """Nothing is installed."""
        return ()
