"""What a file must keep to, and what measurements say of it: within a limit, above it, or not decided yet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from deploy_prune import stats
from deploy_prune.errors import ConfigError
from deploy_prune.setting_rules import check_settings
from deploy_prune.values import Interval

Side = Literal["within", "above", "open"]
"""Where the interval of a figure lies: below its limit, above it, or across."""
BYTES = "bytes"
"""The unit of what is counted instead of timed."""
FEWEST = 5
"""The sittings below which times say nothing, but those of an exact device."""
Verdict = Literal["passed", "failed", "inconclusive", "not comparable"]


@dataclass(frozen=True)
class Limits:
    """What a candidate must keep to; None: nobody asks."""

    max_ratio: float | None = 1.05
    """Its time / the baseline's."""
    min_delta: float = 0.1
    """How much slower it must be as well, in the device's unit (ms), before that counts."""
    budget: float | None = None
    """The time that it may take itself, in the device's unit (ms)."""
    size_bytes: int | None = None
    """The size of its file."""
    peak_memory_bytes: int | None = None
    """The largest memory of the process that runs it, runtime included."""

    def __post_init__(self) -> None:
        """Refuse what no file can keep to."""
        rules = (
            ("max_ratio", "above 0", self.max_ratio is None or self.max_ratio > 0),
            ("min_delta", "0 or more", self.min_delta >= 0),
            ("budget", "above 0", self.budget is None or self.budget > 0),
            ("size_bytes", "1 or more", self.size_bytes is None or self.size_bytes > 0),
            ("peak_memory_bytes", "1 or more", self.peak_memory_bytes is None or self.peak_memory_bytes > 0),
        )
        check_settings("the gate", self, rules)
        if (self.max_ratio, self.budget, self.size_bytes, self.peak_memory_bytes) == (None,) * 4:
            raise ConfigError("the gate has no limit to hold a file to", hint="give --max-ratio or --budget-ms")


@dataclass(frozen=True)
class Sitting:
    """What both files took while they were open once: where their buffers come to lie decides over some percent."""

    ratio: float
    """The candidate's time / the baseline's: the median over brackets."""
    baseline: float
    """The baseline's time, in the session's unit."""

    @property
    def candidate(self) -> float:
        """The candidate's time, in the session's unit."""
        return self.ratio * self.baseline


@dataclass(frozen=True)
class Check:
    """One limit, and where the candidate is."""

    name: str
    """What is limited, such as "time / baseline"."""
    limit: float
    value: float
    interval: Interval
    """The 95 % interval of the value; of what is counted the value itself, twice."""
    side: Side
    unit: str = ""
    """What all three are counted in; empty: a ratio."""


def check_times(limits: Limits, sittings: Sequence[Sitting], unit: str, *, fewest: int = FEWEST) -> tuple[Check, ...]:
    """Hold the times of a session against the limits on time.

    Args:
        limits: what is asked.
        sittings: of one session, at least one.
        unit: what its times are counted in.
        fewest: how many sittings it takes to say anything.
    """
    checks = []
    blind = len(sittings) < fewest
    if limits.max_ratio is not None:
        baseline = stats.median([each.baseline for each in sittings])
        limit = max(limits.max_ratio, 1 + limits.min_delta / baseline)
        checks.append(_check("time / baseline", limit, [each.ratio for each in sittings], blind=blind))
    if limits.budget is not None:
        checks.append(_check("time", limits.budget, [each.candidate for each in sittings], unit, blind=blind))
    return tuple(checks)


def check_counts(limits: Limits, size_bytes: int, peak_memory_bytes: int) -> tuple[Check, ...]:
    """Hold what is counted against its limits."""
    asked = (("file size", limits.size_bytes, size_bytes), ("peak memory", limits.peak_memory_bytes, peak_memory_bytes))
    return tuple(
        Check(name, limit, value, (value, value), "above" if value > limit else "within", BYTES)
        for name, limit, value in asked
        if limit is not None
    )


def is_decided(checks: Sequence[Check]) -> bool:
    """Whether more of the same could change nothing."""
    return all(check.side != "open" for check in checks) or any(check.side == "above" for check in checks)


def _check(name: str, limit: float, values: Sequence[float], unit: str = "", *, blind: bool) -> Check:
    low, high = (0.0, math.inf) if blind else find_interval(values)
    side: Side = "within" if high <= limit else "above" if low > limit else "open"
    return Check(name, limit, math.exp(sum(map(math.log, values)) / len(values)), (low, high), side, unit)


def find_interval(values: Sequence[float]) -> Interval:
    """Find the 95 % interval of the geometric mean of times, or of their ratios, of several sittings.

    Sittings are what is independent: blocks of one share its buffers and its neighbours. Student's t on logarithms; one
    value alone, or equal ones (of an exact device), are their own interval.
    """
    if len(set(values)) == 1:
        return values[0], values[0]
    logs = [math.log(value) for value in values]
    mean = sum(logs) / len(logs)
    spread = math.sqrt(sum((each - mean) ** 2 for each in logs) / (len(logs) - 1))
    half = stats.quantile_of_t(len(logs) - 1) * spread / math.sqrt(len(logs))
    return math.exp(mean - half), math.exp(mean + half)
