"""Times of files, and where and under which conditions they were taken."""

from __future__ import annotations

from dataclasses import dataclass

from deploy_prune.errors import UnitError
from deploy_prune.values.networks import Interval
from deploy_prune.values.precisions import Precision


def same_unit(one: str, *others: str) -> str:
    """The unit of figures that are about to be compared, such as "ms".

    Raises:
        UnitError: they are of different units.
    """
    for other in others:
        if one != other:
            message = f"figures in {one} and in {other} are never compared"
            raise UnitError(message, hint=f"take both in {one}, or both in {other}")
    return one


def name_unit(unit: str) -> str:
    """The word of a unit that stands behind a figure: `cycles` of `simulated Cortex-A72 cycles`."""
    return unit.rpartition(" ")[2]


@dataclass(frozen=True)
class Target:
    """Where and how a file runs; figures of different devices, threads or precisions are never compared."""

    device: str
    """The device's fingerprint: processor, architecture, system."""
    runtime: str
    """The name of the runtime that runs the file."""
    runtime_version: str
    """The version of that runtime."""
    threads: int
    """How many threads the runtime computes with."""
    precision: Precision
    """The precision of the file's weights."""


@dataclass(frozen=True)
class Conditions:
    """The machine around a measurement; None: this machine does not tell."""

    load: float | None
    """How many processes wanted to run, on average over the last minute."""
    frequency_mhz: float | None
    """The clock frequency of the cores, in MHz."""
    governor: str | None
    """The policy by which the system sets that frequency, such as `performance`."""
    temperature_c: float | None
    """The processor's temperature, in degrees Celsius."""
    affinity: tuple[int, ...]
    """The numbers of the cores that the file ran on."""
    throttled: str | None = None
    """What it says of throttling: a Raspberry Pi `0x0`, which is none since it started, Android its thermal status."""


@dataclass(frozen=True)
class Bracket:
    """A block of a candidate's samples between two blocks of a fixed reference; a sample is of a single inference.

    Disturbances only ever add time, so that the fastest of a block of some 70 ms is the reading closest to the
    undisturbed machine; what lasts longer than a block (clock frequency, a neighbour) hits both sides of the ratio.
    """

    before: tuple[float, ...]
    """The reference's samples just before the candidate's."""
    candidate: tuple[float, ...]
    """The candidate's samples."""
    after: tuple[float, ...]
    """The reference's samples just after them."""
    unit: str
    """What all samples are counted in, such as "ms"."""

    @property
    def reference(self) -> float:
        """The reference when the candidate ran: half way between its fastest before and its fastest after."""
        return (min(self.before) + min(self.after)) / 2

    @property
    def ratio(self) -> float:
        """The candidate's fastest against the reference."""
        return min(self.candidate) / self.reference

    @property
    def drift(self) -> float:
        """The share by which the reference moved meanwhile; 0 where it did not."""
        fastest = min(self.before), min(self.after)
        return max(fastest) / min(fastest) - 1


@dataclass(frozen=True)
class Comparison:
    """A candidate's time against its reference's, from one session on the same cores."""

    ratio: float
    """The candidate's time / the reference's: the median over brackets."""
    interval: Interval
    """The 95 % interval of the ratio, by a bootstrap over brackets."""
    reference: float
    """The reference's time: the median over brackets, in `unit`."""
    unit: str
    """What the reference's time is counted in, such as "ms"."""
    brackets: tuple[Bracket, ...]
    """The brackets that the figures above are of, in the order in which they were taken."""
    repeated: int
    """How many brackets were thrown away because the reference moved."""


@dataclass(frozen=True)
class Delegation:
    """How much of a file's main graph a delegate runs; what it leaves runs elsewhere, mostly slower."""

    taken: int
    """Operators that it took."""
    operators: int
    """Operators of the main graph."""
    partitions: int
    """Parts that it took them in: between two of them tensors go back and forth."""


@dataclass(frozen=True)
class Measurement:
    """Raw samples of one file on one target; the first file of its session is the reference of all others."""

    artifact: str
    """The path of the file."""
    target: Target
    """Where and how it ran."""
    session: str
    """The name of the process run that took it: figures are compared within one session only."""
    unit: str
    """What `blocks`, `median`, `interval` and `p90` are counted in, such as "ms"."""
    blocks: tuple[tuple[float, ...], ...]
    """Samples of single inferences, a tuple per block; of the session's reference those that close a bracket."""
    median: float
    """The median over blocks of each block's median, in `unit`."""
    interval: Interval
    """The 95 % interval of `median`, by a bootstrap over blocks."""
    p90: float
    """What nine of ten single inferences stay under, in `unit`."""
    load_ms: float
    """Milliseconds that opening the file took."""
    peak_memory_bytes: int
    """The largest resident set of the worker process, runtime included, in bytes."""
    runtime_memory_bytes: int
    """The same just before it opened the file: what the runtime takes by itself."""
    before: Conditions
    """The machine before the first block."""
    after: Conditions
    """The machine after the last block."""
    ratio: float | None = None
    """Median over rounds of (this file / the session's first file with the same target), each as the ratio of its
    bracket, of which the session's reference has 1 by definition; None: there is none to compare with."""
    ratio_interval: Interval | None = None
    """The 95 % interval of `ratio`; None where there is no ratio."""
    format_base: str | None = None
    """The session's first file of the same network with the same threads, where it is of another format."""
    format_ratio: float | None = None
    """The ratio to `format_base`, taken like `ratio`; None where there is none."""
    format_ratio_interval: Interval | None = None
    """The 95 % interval of `format_ratio`; None where there is none."""
    brackets: tuple[Bracket, ...] = ()
    """This file's blocks between those of the session's reference, one per round; empty for the reference itself."""
    repeated: int = 0
    """Brackets that were thrown away because the reference moved."""
    delegation: Delegation | None = None
    """What a delegate took where it ran; None: the runtime has none that says so."""


@dataclass(frozen=True)
class NodeTime:
    """What one inference spends in one node of what the runtime made of a file, by its own profiler."""

    name: str
    """What the runtime calls the node."""
    operator: str
    """The runtime's own word; it may have fused operators of the file and put in some of its own."""
    ms: float
    """Milliseconds that it takes in one inference."""
    bytes_moved: int
    """Bytes that it reads and writes: its inputs, its weights and its outputs."""
    place: int | None
    """The place of the file's operator that it stands for; None where the runtime put it in."""
