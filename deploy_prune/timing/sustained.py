"""Runs files without a pause for minutes: what a device gives once it is warm, beside what it gives at first.

Phones and small boards slow down under load, not all networks alike, so that the ranking of the first minute is not
always that of the tenth.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from deploy_prune import stats
from deploy_prune.errors import ConfigError
from deploy_prune.timing.bracketing import BLOCK_TIMEOUT_S, STEADY, choose_block_size
from deploy_prune.timing.devices import Device, Job, Worker
from deploy_prune.values import Artifact, Conditions, Precision, Progress, Target, quiet

WINDOW_S = 60.0
"""How long what is compared lasts: the first minute, and the last."""
FEWEST_WINDOWS = 3
REST_S = 60.0
"""How long a device rests between two files, at the most, so that each of them finds it as cool."""


@dataclass(frozen=True)
class Sustained:
    """One file, run without a pause."""

    artifact: str
    target: Target
    unit: str
    """What the windows are counted in, such as "ms"."""
    window_s: float
    """How many seconds a window lasts."""
    windows: tuple[float, ...]
    """The median of each window, over its blocks' medians."""
    before: Conditions
    after: Conditions

    @property
    def first(self) -> float:
        """What an inference takes at first."""
        return self.windows[0]

    @property
    def steady(self) -> float:
        """What it takes at last."""
        return self.windows[-1]

    @property
    def settled(self) -> bool:
        """Whether the last two windows agree, so that longer would hardly say more."""
        return abs(self.windows[-1] / self.windows[-2] - 1) <= STEADY


@dataclass(frozen=True)
class Clock:
    """Seconds that pass, and waiting for them."""

    now: Callable[[], float] = time.monotonic
    wait: Callable[[float], object] = time.sleep


def run_sustained(
    artifacts: Sequence[Artifact],
    device: Device,
    seconds: float,
    *,
    threads: int = 1,
    progress: Progress = quiet,
    clock: Clock | None = None,
) -> tuple[Sustained, ...]:
    """Run each file for so many seconds without a pause, with a rest before the next.

    Args:
        artifacts: the files.
        device: where they run; one that has a clock.
        seconds: how long each of them runs.
        threads: how many threads the runtimes compute with.
        progress: told after each window.
        clock: what time it is; None: the machine's.

    Raises:
        ConfigError: on a device that only counts, or for a time that has no windows.
        InputError: a file does not run; Unavailable: a worker died.
    """
    if device.exact:
        hint = "name a device that has a clock"
        raise ConfigError(f"{device.fingerprint} does not warm up: what it counts is always the same", hint=hint)
    if not seconds > 0:
        raise ConfigError(f"{seconds:g} seconds are no time", hint="such as --sustained 10min")
    clock, results = clock or Clock(), list[Sustained]()
    for number, artifact in enumerate(artifacts):
        if number:
            clock.wait(min(REST_S, seconds))
        job = Job(Path(artifact.path), artifact.runtime, threads, device.cores(threads), seed=0)
        results.append(_run(device, job, artifact.precision, seconds, clock=clock, progress=progress))
    return tuple(results)


def _run(
    device: Device, job: Job, precision: Precision, seconds: float, *, clock: Clock, progress: Progress
) -> Sustained:
    count = max(round(seconds / WINDOW_S), FEWEST_WINDOWS)
    window_s, windows = seconds / count, list[float]()
    with device.start(job) as worker:
        before, began = device.conditions(job.cores), clock.now()
        inferences, unit = _find_block(worker)
        for window in range(count):
            end = began + (window + 1) * window_s
            medians = [_take(worker, inferences)]
            while clock.now() < end:
                medians.append(_take(worker, inferences))
            windows.append(stats.median(medians))
            progress("sustained", window + 1, count, f"{job.path.name}: {windows[-1]:.4g} {unit}")
        version, after = worker.version, device.conditions(job.cores)
    target = Target(device.fingerprint, job.runtime, version, job.threads, precision)
    return Sustained(str(job.path), target, unit, window_s, tuple(windows), before, after)


def _find_block(worker: Worker) -> tuple[int, str]:
    """How many inferences a block has, and what they are counted in."""
    block = worker.block(1, timeout_s=BLOCK_TIMEOUT_S)
    return choose_block_size(stats.median(block.samples)), block.unit


def _take(worker: Worker, inferences: int) -> float:
    return stats.median(worker.block(inferences, timeout_s=BLOCK_TIMEOUT_S).samples)


def find_overtaken(results: Sequence[Sustained]) -> tuple[tuple[str, str], ...]:
    """The pairs of files that are ranked otherwise at last than at first: (faster at last, slower at last)."""
    ranked = sorted(results, key=lambda each: each.steady)
    return tuple((one.artifact, other.artifact) for one, other in pairwise(ranked) if one.first > other.first)
