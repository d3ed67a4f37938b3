"""One session of a gate: both files in turns, in new processes for every sitting, for as long as it takes to decide."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from deploy_prune import stats
from deploy_prune.analysis.gating.limits import FEWEST, Sitting
from deploy_prune.errors import Inconclusive
from deploy_prune.timing.bench import Setting
from deploy_prune.timing.bracketing import BLOCK_TIMEOUT_S, PACE, take_brackets
from deploy_prune.timing.devices import Device, Job
from deploy_prune.values import Artifact, Conditions, same_unit

BRACKETS = 3
"""How often both files take turns within a sitting."""
MOST = 60
"""The sittings of a session, at the most."""


@dataclass(frozen=True)
class Session:
    """What one session has shown."""

    sittings: tuple[Sitting, ...]
    unit: str
    """What times are counted in."""
    runtime_version: str
    peak_memory_bytes: int
    """The largest memory of the candidate's process, runtime included."""
    before: Conditions
    after: Conditions
    seconds: float
    restless: str = ""
    """Why it ended before it had decided: the machine was too noisy; empty: it was not."""


def take_session(
    pair: tuple[Artifact, Artifact],
    setting: Setting,
    is_enough: Callable[[Sequence[Sitting], str], bool],
    *,
    time_limit_s: float,
) -> Session:
    """Time a baseline and a candidate until they are told apart, or the time is over.

    Args:
        pair: the baseline and the candidate.
        setting: where and how they run.
        is_enough: the sittings so far and their unit -> whether more would change nothing.
        time_limit_s: after how many seconds no further sitting is begun.

    Raises:
        InputError: a file does not run; Unavailable: a worker died.
        Inconclusive: the machine was too noisy from the start.
    """
    device, cores = setting.device, setting.device.cores(setting.threads)
    jobs = [Job(Path(each.path), each.runtime, setting.threads, cores, setting.seed) for each in pair]
    began, taken, restless = time.monotonic(), list[_Taken](), ""
    fewest, before = count_fewest(setting), device.conditions(cores)
    while len(taken) < MOST:
        try:
            taken.append(_sit(device, jobs, len(taken)))
        except Inconclusive as error:
            if not taken:
                raise
            restless = error.message
            break
        spent = time.monotonic() - began
        if len(taken) >= fewest and (device.exact or is_enough([each.sitting for each in taken], taken[-1].unit)):
            break
        if spent + spent / len(taken) > time_limit_s:
            break
    return Session(
        sittings=tuple(each.sitting for each in taken),
        unit=same_unit(*(each.unit for each in taken)),
        runtime_version=taken[-1].version,
        peak_memory_bytes=max(each.peak_memory_bytes for each in taken),
        before=before,
        after=device.conditions(cores),
        seconds=time.monotonic() - began,
        restless=restless,
    )


def count_fewest(setting: Setting) -> int:
    """Count the sittings that it takes to say anything: an exact device needs one."""
    return 1 if setting.device.exact else FEWEST


@dataclass(frozen=True)
class _Taken:
    """A sitting, and what else it shows."""

    sitting: Sitting
    unit: str
    version: str
    peak_memory_bytes: int


def _sit(device: Device, jobs: Sequence[Job], number: int) -> _Taken:
    """Start both anew: where a process comes to lie in memory makes it some percent slower for as long as it lives.

    They change places with every sitting: who comes first, and whose blocks stand around the other's.
    """
    turn = 1 if number % 2 == 0 else -1
    with ExitStack() as stack:
        first, second = (stack.enter_context(device.start(job)) for job in jobs[::turn])
        brackets, _ = take_brackets(first, second, replace(PACE, blocks=BRACKETS))
        candidate = (first, second)[::turn][1]
        memory = candidate.block(1, timeout_s=BLOCK_TIMEOUT_S).peak_memory_bytes
        version = candidate.version
    ratio = stats.median([each.ratio for each in brackets]) ** turn
    baseline = stats.median([each.reference for each in brackets]) / (1 if turn > 0 else ratio)
    unit = same_unit(*(each.unit for each in brackets))
    return _Taken(Sitting(ratio, baseline), unit, version, memory)
