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
BYTES, OPERATORS, PARTITIONS, WRONG = "bytes", "operators", "partitions", "of all answers"
COUNTED = (BYTES, OPERATORS, PARTITIONS, WRONG)
"""The units of what is counted instead of timed, so that another session would say the same."""
FEWEST = 6
"""The sittings below which times say nothing, but those of an exact device."""
FEWEST_RUNS = 8
"""The runs below which a history says nothing of the next one."""
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
    not_delegated: int | None = None
    """How many of its operators no delegate takes."""
    partitions: int | None = None
    """In how many parts a delegate takes its operators."""
    accuracy: float | None = None
    """The share of test images that it must answer right, from 0 to 1."""

    def __post_init__(self) -> None:
        """Refuse what no file can keep to."""
        rules = (
            ("max_ratio", "above 0", self.max_ratio is None or self.max_ratio > 0),
            ("min_delta", "0 or more", self.min_delta >= 0),
            ("budget", "above 0", self.budget is None or self.budget > 0),
            ("size_bytes", "1 or more", self.size_bytes is None or self.size_bytes > 0),
            ("peak_memory_bytes", "1 or more", self.peak_memory_bytes is None or self.peak_memory_bytes > 0),
            ("not_delegated", "0 or more", self.not_delegated is None or self.not_delegated >= 0),
            ("partitions", "0 or more", self.partitions is None or self.partitions >= 0),
            ("accuracy", "from 0 to 1", self.accuracy is None or 0 <= self.accuracy <= 1),
        )
        check_settings("the gate", self, rules)
        if all(value is None for name, value in vars(self).items() if name != "min_delta"):
            raise ConfigError("the gate has no limit to hold a file to", hint="give --max-ratio or --budget-ms")


@dataclass(frozen=True)
class Sitting:
    """What both files took in one process each: where its memory comes to lie decides over some percent."""

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
    against: tuple[Check, ...] = ()
    if limits.max_ratio is not None:
        baseline = stats.median([each.baseline for each in sittings])
        limit = max(limits.max_ratio, 1 + limits.min_delta / baseline)
        ratios = [each.ratio for each in sittings]
        against = (_check("time / baseline", limit, ratios, blind=len(sittings) < fewest),)
    return (*against, *check_budget(limits, sittings, unit, fewest=fewest))


def check_budget(limits: Limits, sittings: Sequence[Sitting], unit: str, *, fewest: int = FEWEST) -> tuple[Check, ...]:
    """Hold the candidate's own times against the budget; the arguments are those of `check_times`."""
    if limits.budget is None:
        return ()
    times = [each.candidate for each in sittings]
    return (_check("time", limits.budget, times, unit, blind=len(sittings) < fewest),)


def check_against_history(limits: Limits, earlier: Sequence[float], value: float) -> tuple[Check, ...]:
    """Hold one measurement against those of before, by the interval of what one more of them would have been.

    Args:
        limits: what is asked.
        earlier: what the file took before: `FEWEST_RUNS` values or more, else nothing is decided.
        value: what it takes now, in the same unit.
    """
    if limits.max_ratio is None:
        return ()
    usual = stats.geometric_mean(earlier) if earlier else value
    limit = max(limits.max_ratio, 1 + limits.min_delta / usual)
    low, high = predict_ratio(earlier, value) if len(earlier) >= FEWEST_RUNS else (0.0, math.inf)
    return (Check("time / history", limit, value / usual, (low, high), find_side(limit, low, high)),)


def is_decided(checks: Sequence[Check]) -> bool:
    """Whether more of the same could change nothing."""
    return all(check.side != "open" for check in checks) or any(check.side == "above" for check in checks)


def _check(name: str, limit: float, values: Sequence[float], unit: str = "", *, blind: bool) -> Check:
    low, high = (0.0, math.inf) if blind else find_interval(values)
    return Check(name, limit, stats.geometric_mean(values), (low, high), find_side(limit, low, high), unit)


def find_side(limit: float, low: float, high: float) -> Side:
    """Find where an interval lies."""
    return "within" if high <= limit else "above" if low > limit else "open"


def find_interval(values: Sequence[float]) -> Interval:
    """Find the 95 % interval of the geometric mean of times, or of their ratios, of several sittings.

    Sittings are what is independent: blocks of one share its processes. Student's t on logarithms; one
    value alone, or equal ones (of an exact device), are their own interval.
    """
    if len(set(values)) == 1:
        return values[0], values[0]
    logs = [math.log(value) for value in values]
    mean = sum(logs) / len(logs)
    spread = math.sqrt(sum((each - mean) ** 2 for each in logs) / (len(logs) - 1))
    half = stats.quantile_of_t(len(logs) - 1) * spread / math.sqrt(len(logs))
    return math.exp(mean - half), math.exp(mean + half)


def predict_ratio(earlier: Sequence[float], value: float) -> Interval:
    """The 95 % interval of value / what the series would have given now, had nothing changed.

    That is the prediction interval of one more run, on logarithms, which is wider than the interval of the mean: runs
    of an unchanged file differ by more than each of them shows by itself.

    Args:
        earlier: the values of `FEWEST_RUNS` runs or more.
        value: the new one.
    """
    logs = [math.log(each) for each in earlier]
    mean = sum(logs) / len(logs)
    spread = math.sqrt(sum((each - mean) ** 2 for each in logs) / (len(logs) - 1))
    half = stats.quantile_of_t(len(logs) - 1) * spread * math.sqrt(1 + 1 / len(logs))
    return math.exp(math.log(value) - mean - half), math.exp(math.log(value) - mean + half)
