"""One session of a gate: both files in processes of their own, in turns, for as long as it takes to decide."""

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
from deploy_prune.timing.devices import Job, Worker
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
    began, sittings, restless = time.monotonic(), list[Sitting](), ""
    fewest = count_fewest(setting)
    with ExitStack() as stack:
        workers = [stack.enter_context(device.start(job)) for job in jobs]
        before, version, unit = device.conditions(cores), workers[1].version, ""
        while len(sittings) < MOST:
            try:
                sitting, unit = _sit(workers[0], workers[1])
            except Inconclusive as error:
                if not sittings:
                    raise
                restless = error.message
                break
            sittings.append(sitting)
            spent = time.monotonic() - began
            if len(sittings) >= fewest and (device.exact or is_enough(sittings, unit)):
                break
            if spent + spent / len(sittings) > time_limit_s:
                break
            workers = [worker.open(worker.job.path) for worker in workers]
        memory = workers[1].block(1, timeout_s=BLOCK_TIMEOUT_S).peak_memory_bytes
        after = device.conditions(cores)
    return Session(tuple(sittings), unit, version, memory, before, after, time.monotonic() - began, restless)


def count_fewest(setting: Setting) -> int:
    """Count the sittings that it takes to say anything: an exact device needs one."""
    return 1 if setting.device.exact else FEWEST


def _sit(baseline: Worker, candidate: Worker) -> tuple[Sitting, str]:
    brackets, _ = take_brackets(baseline, candidate, replace(PACE, blocks=BRACKETS))
    ratio = stats.median([each.ratio for each in brackets])
    reference = stats.median([each.reference for each in brackets])
    return Sitting(ratio, reference), same_unit(*(each.unit for each in brackets))
