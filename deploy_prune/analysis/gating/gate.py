"""Whether a file may take the place of another: both timed against each other, red only where a second session agrees.

A gate that is red without a reason is switched off. So a candidate fails only where the whole interval lies above the
limit, by more than a floor in milliseconds, in two sessions that were started apart; and where that cannot be said
before the time is over the verdict is "inconclusive", which is no failure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from deploy_prune.analysis.gating.counting import check_counts, count
from deploy_prune.analysis.gating.limits import (
    BYTES,
    COUNTED,
    OPERATORS,
    PARTITIONS,
    Check,
    Limits,
    Sitting,
    Verdict,
    check_times,
    is_decided,
)
from deploy_prune.analysis.gating.session import Session, count_fewest, take_session
from deploy_prune.errors import Inconclusive
from deploy_prune.stats import write_briefly
from deploy_prune.timing.bench import Setting
from deploy_prune.values import Artifact, Progress, Quality, quiet
from deploy_prune.values.precisions import UNKNOWN

TIME_LIMIT_S = 120.0
FIRST = 0.6
"""The share of the time that the first session may take."""


@dataclass(frozen=True)
class GateResult:
    """What a gate has found."""

    verdict: Verdict
    why: str
    """The verdict's reason in a sentence."""
    baseline: str
    candidate: str
    device: str
    """The fingerprint of the device."""
    runtime: str
    threads: int
    limits: Limits
    checks: tuple[Check, ...] = ()
    """The limits and where the candidate is, by the last session."""
    sessions: tuple[Session, ...] = ()


def run_gate(
    pair: tuple[Artifact, Artifact],
    setting: Setting,
    limits: Limits,
    *,
    quality: Quality | None = None,
    time_limit_s: float = TIME_LIMIT_S,
    progress: Progress = quiet,
) -> GateResult:
    """Hold a candidate against a baseline and its limits.

    Args:
        pair: the baseline and the candidate.
        setting: where and how they run.
        limits: what the candidate must keep to.
        quality: what is known of the candidate on test images; None: nothing.
        time_limit_s: after how many seconds it is given up.
        progress: told how many sessions have ended.

    Raises:
        ConfigError: a limit on what cannot be counted of the candidate.
        InputError: a file does not run; Unavailable: no such runtime or device.
    """
    baseline, candidate = pair
    shown = (baseline.path, candidate.path, setting.device.fingerprint, candidate.runtime, setting.threads, limits)
    if reason := explain_not_comparable(baseline, candidate):
        return GateResult("not comparable", reason, *shown)
    fewest, counted = count_fewest(setting), count(candidate, limits, quality)

    def is_enough(sittings: Sequence[Sitting], unit: str) -> bool:
        return is_decided(check_times(limits, sittings, unit, fewest=fewest))

    def look(seconds: float) -> Look:
        session = take_session(pair, setting, is_enough, time_limit_s=seconds)
        times = check_times(limits, session.sittings, session.unit, fewest=fewest)
        return (*times, *check_counts(limits, counted, session.peak_memory_bytes)), session

    return decide(look, GateResult("inconclusive", "", *shown), setting, time_limit_s=time_limit_s, progress=progress)


Look = tuple[tuple[Check, ...], Session]
"""One session, and what it says of the limits."""


def decide(
    look: Callable[[float], Look], asked: GateResult, setting: Setting, *, time_limit_s: float, progress: Progress
) -> GateResult:
    """Fill in the verdict: red takes two sessions that agree.

    Args:
        look: takes a session of so many seconds.
        asked: the result, but for what is found here.
        setting: where and how the files run.
        time_limit_s: after how many seconds it is given up.
        progress: told how many sessions have ended.
    """
    try:
        checks, first = look(FIRST * time_limit_s)
        progress("gate", 1, 2)
        if not needs_a_second_session(checks) or setting.device.exact:
            verdict, why = _judge(checks, first)
            return replace(asked, verdict=verdict, why=why, checks=checks, sessions=(first,))
        again, second = look(max(time_limit_s - first.seconds, first.seconds))
    except Inconclusive as error:
        return replace(asked, verdict="inconclusive", why=error.message)
    progress("gate", 2, 2)
    verdict, why = _judge(again, second)
    if verdict != "failed":
        verdict, why = "inconclusive", f"the first session was above a limit, the second was not: {_name(checks)}"
    return replace(asked, verdict=verdict, why=why, checks=again, sessions=(first, second))


def explain_not_comparable(baseline: Artifact, candidate: Artifact) -> str:
    """Explain why times of two files say nothing about each other; empty: they do."""
    if baseline.runtime != candidate.runtime:
        return f"the baseline runs on {baseline.runtime}, the candidate on {candidate.runtime}"
    if UNKNOWN not in (baseline.precision, candidate.precision) and baseline.precision != candidate.precision:
        return f"the baseline is {baseline.precision}, the candidate {candidate.precision}"
    if baseline.input_shape and candidate.input_shape and baseline.input_shape != candidate.input_shape:
        return f"the baseline takes {baseline.input_shape}, the candidate {candidate.input_shape}"
    return ""


def needs_a_second_session(checks: Sequence[Check]) -> bool:
    """Whether it is times alone that are above a limit: what is counted needs no other opinion."""
    above = [check for check in checks if check.side == "above"]
    return bool(above) and all(check.unit not in COUNTED for check in above)


def _is_above(checks: Sequence[Check]) -> bool:
    return any(check.side == "above" for check in checks)


def _judge(checks: Sequence[Check], session: Session) -> tuple[Verdict, str]:
    """The verdict of a session by itself."""
    if _is_above(checks):
        return "failed", _name([check for check in checks if check.side == "above"])
    if any(check.side == "open" for check in checks):
        why = session.restless or f"{_name([check for check in checks if check.side == 'open'])}: not told apart"
        return "inconclusive", why
    return "passed", _name(checks)


def _name(checks: Sequence[Check]) -> str:
    return "; ".join(map(name_check, checks))


def name_check(check: Check) -> str:
    """Name a limit and where the candidate is: `time / baseline 1.102 [1.094, 1.110], limit 1.05`."""
    if check.unit in (BYTES, OPERATORS, PARTITIONS):
        return f"{check.name} {check.value:,.0f} {check.unit}, limit {check.limit:,.0f}"
    unit = f" {check.unit}" if check.unit else ""
    low, high = check.interval
    value, limit = write_briefly(check.value), write_briefly(check.limit)
    return f"{check.name} {value} [{write_briefly(low)}, {write_briefly(high)}]{unit}, limit {limit}{unit}"
