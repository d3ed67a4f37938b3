"""Times files with the official tool that the user points to: a process on the device for each block.

It runs no given inputs and shows no layers; what it tells of a block are the fastest inference, the median and the
slowest, which stand for the samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from uuid import uuid4

from deploy_prune.errors import ConfigError, InputError, StorageError, Unavailable, WorkerDied
from deploy_prune.records import sha256
from deploy_prune.timing.adb.benchmark_tool import ToolTimes, read_tool
from deploy_prune.timing.adb.connection import FOLDER
from deploy_prune.timing.devices import MILLISECONDS, Block, Job
from deploy_prune.timing.remote.host import Host
from deploy_prune.timing.remote.keep_runner import REFUSED
from deploy_prune.values import NodeTime, TensorSpec

if TYPE_CHECKING:
    import numpy as np

RUNTIME = "litert"
"""What the tool runs files with."""
SEND_S = 900.0
NOT_PINNED = 94
KEEP = f"""\
f="{FOLDER}/$0"
mkdir -p "${{f%/*}}" && cat > "$f.new" && chmod 755 "$f.new" && mv "$f.new" "$f" || exit {REFUSED}
"""
"""Keeps what comes on stdin under a name, whole or not at all."""
RUN = f"""\
m=$(taskset "$0" sh -c 'taskset -p $$') && [ $((0x${{m##* }})) = $((0x$0)) ] || {{ echo "$m"; exit {NOT_PINNED}; }}
cd "{FOLDER}" && exec taskset "$0" "$@" 2>&1
"""
"""Runs a program on the cores of a mask, once it is sure that the system lets it: vendors' schedulers may not."""


@dataclass(frozen=True)
class Tool:
    """A `benchmark_model` on a device."""

    host: Host
    """The device."""
    path: Path
    """The program, on this machine."""
    digest: str
    """Its sha256, by which it is kept on the device."""

    @property
    def version(self) -> str:
        """What stands for the runtime's version: the tool tells none."""
        return f"{self.path.name} {self.digest[:12]}"

    def keep(self, name: str, path: Path) -> None:
        """Have a file there under a name.

        Raises:
            StorageError: it cannot be kept; InputError: it cannot be read; Unavailable: no connection.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}", hint="check the path") from error
        done = self.host.run_script(KEEP, (name,), content, SEND_S)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise StorageError(f"{path} could not be kept on {self.host.address}: {said[-1]}", hint="make room there")

    def run(self, name: str, job: Job, inferences: int, timeout_s: float) -> ToolTimes:
        """Time a file that is kept there.

        Raises:
            WorkerDied: the tool failed; Unavailable: it tells no times, or may not run on these cores.
        """
        mask = f"{sum(1 << core for core in job.cores):x}"
        flags = [f"--graph={name}", f"--num_threads={job.threads}", f"--num_runs={inferences}", "--min_secs=0",
                 "--warmup_runs=1", "--warmup_min_secs=0", "--report_peak_memory_footprint=true"]  # fmt: skip
        done = self.host.ask_script(RUN, (mask, f"./tool-{self.digest}", *flags), timeout_s)
        said = done.stdout.decode(errors="replace")
        if done.returncode == NOT_PINNED:
            message = f"{self.host.address} does not let a shell run on the cores {list(job.cores)}: {said.strip()}"
            raise Unavailable(
                message, hint="its vendor's scheduler decides; without `benchmark_model` it may be allowed"
            )
        if done.returncode:
            last = (said.strip().splitlines() or ["it said nothing"])[-1]
            raise WorkerDied(f"{self.path.name} on {job.path} died (exit {done.returncode}): {last}",
                             hint="is the file one that it runs, and memory enough?")  # fmt: skip
        return read_tool(said, self.path.name)


@dataclass(frozen=True, eq=False)
class ToolWorker:
    """A file that is kept on the device, to be timed by the tool."""

    job: Job
    tool: Tool
    name: str
    """What the file is called there."""
    opened: ToolTimes
    """What one inference gave when the file was opened."""

    @property
    def version(self) -> str:
        """The tool, by its digest."""
        return self.tool.version

    @property
    def load_ms(self) -> float:
        """Milliseconds that opening the file took, by the tool; 0 where it does not tell."""
        return self.opened.load_ms or 0.0

    @property
    def runtime_memory_bytes(self) -> int:
        """0: it tells the largest memory alone."""
        return 0

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """None: the tool does not tell."""
        return ()

    def block(self, inferences: int, *, timeout_s: float) -> Block:
        """The fastest, the median and the slowest of so many inferences, in a process of their own."""
        times = self.tool.run(self.name, self.job, inferences, timeout_s)
        return Block(times.statistics_ms, MILLISECONDS, times.peak_memory_bytes or 0)

    def profile(self, runs: int, *, timeout_s: float) -> tuple[NodeTime, ...]:  # noqa: ARG002  (never asked)
        """None: the tool's own profile names the delegate, and not its operators."""
        return ()

    def run(self, *arrays: np.ndarray, timeout_s: float) -> NoReturn:  # noqa: ARG002  (there is no way)
        """Refuse: the tool takes no inputs and gives no outputs."""
        raise _explain_no_inputs(self.tool)

    def layers(self, *arrays: np.ndarray, timeout_s: float) -> Mapping[str, np.ndarray]:  # noqa: ARG002
        """Refuse: the tool shows none."""
        raise _explain_no_inputs(self.tool)

    def delegation(self, *, timeout_s: float) -> None:
        """None: the tool tells parts, and not operators."""

    def open(self, path: Path) -> ToolWorker:
        """Have another file there in place of this one."""
        return _open(self.tool, replace(self.job, path=path), self.name)


@contextmanager
def start_tool(tool: Tool, job: Job) -> Iterator[ToolWorker]:
    """A worker of a tool; the file that it has on the device is removed when the block ends.

    Raises:
        ConfigError: a file of another runtime.
        WorkerDied: the tool does not run it; StorageError, Unavailable: see `Tool.keep`.
    """
    if job.runtime != RUNTIME:
        hint = "leave `benchmark_model` out of the address: what --setup pushes runs them"
        raise ConfigError(f"{tool.path.name} runs no files of {job.runtime}", hint=hint)
    if tool.host.ask_script(f'[ -x "{FOLDER}/$0" ]', (f"tool-{tool.digest}",)).returncode:
        tool.keep(f"tool-{tool.digest}", tool.path)
    name = f"timed-{uuid4().hex}{job.path.suffix}"
    try:
        yield _open(tool, job, name)
    finally:
        with suppress(Unavailable):  # it is gone: what became of the block is said already
            tool.host.run_script(f'rm -f "{FOLDER}/$0"', (name,), b"", SEND_S)


@cache
def find_tool(host: Host, path: Path) -> Tool:
    """The tool that the user points to, hashed once in a process.

    Raises:
        ConfigError: there is none.
    """
    if not path.is_file():
        raise ConfigError(
            f"{path} is no benchmark_model", hint="a file built for android_arm64: see the runtime's docs"
        )
    return Tool(host, path, sha256(path))


def _open(tool: Tool, job: Job, name: str) -> ToolWorker:
    tool.keep(name, job.path)
    return ToolWorker(job, tool, name, tool.run(name, job, 1, SEND_S))


def _explain_no_inputs(tool: Tool) -> Unavailable:
    hint = "leave `benchmark_model` out of the address: what --setup pushes computes outputs"
    return Unavailable(f"{tool.path.name} computes nothing on given inputs", hint=hint)
