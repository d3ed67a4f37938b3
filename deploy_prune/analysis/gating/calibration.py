"""What a gate can tell on a device: a file is held against itself, again and again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deploy_prune import stats
from deploy_prune.analysis.gating.limits import find_interval
from deploy_prune.analysis.gating.session import Session, count_fewest, take_session
from deploy_prune.errors import ConfigError
from deploy_prune.timing.bench import Setting
from deploy_prune.values import Artifact, Interval, Progress, quiet

SESSIONS = 10
"""How many sessions are held, where nobody says how many."""
FEWEST_SESSIONS = 3
CONFIDENCE = 0.95
"""The share of sessions that a threshold must suit."""


@dataclass(frozen=True)
class Calibration:
    """What sessions of a file against itself came to."""

    artifact: str
    device: str
    """The fingerprint of the device."""
    sessions: int
    intervals: tuple[Interval, ...]
    """The interval of time / baseline of each session, which should hold 1."""
    false_alarms: int
    """How many sessions were above the limit by themselves; red takes two in a row."""
    smallest_limit: float
    """The smallest limit on time / baseline that 95 % of sessions pass."""
    smallest_found: float
    """How many times as long a file must take for 95 % of sessions to be above the limit that was asked about."""
    limit: float
    """The limit that was asked about."""

    @property
    def false_alarm_rate(self) -> float:
        """The share of gates that would be red for nothing: of two sessions that are both above the limit."""
        return (self.false_alarms / self.sessions) ** 2


def calibrate(
    artifact: Artifact,
    setting: Setting,
    limit: float,
    *,
    sessions: int = SESSIONS,
    session_s: float = 30.0,
    progress: Progress = quiet,
) -> Calibration:
    """Hold a file against itself in sessions that were started apart.

    Args:
        artifact: the file.
        setting: where and how it runs.
        limit: the limit on time / baseline that is asked about.
        sessions: how many are held.
        session_s: the seconds that each of them takes.
        progress: told after each session.

    Raises:
        ConfigError: fewer sessions than say anything.
        InputError: the file does not run; Unavailable: no such runtime or device.
        Inconclusive: the machine was too noisy in a session.
    """
    if sessions < FEWEST_SESSIONS and not setting.device.exact:
        raise ConfigError(f"{sessions} sessions say nothing", hint=f"take {FEWEST_SESSIONS} or more")
    intervals = []
    for number in range(sessions):
        held = take_session((artifact, artifact), setting, _never, time_limit_s=session_s)
        intervals.append(_find_interval(held, setting))
        progress("calibration", number + 1, sessions)
    lows, highs = sorted(low for low, _ in intervals), sorted((high for _, high in intervals), reverse=True)
    allowed = math.floor((1 - CONFIDENCE) * sessions)
    return Calibration(
        artifact.path, setting.device.fingerprint, sessions, tuple(intervals), sum(low > limit for low in lows),
        highs[allowed], limit / lows[allowed] if lows[allowed] else math.inf, limit,
    )  # fmt: skip


def find_blind_limit(calibration: Calibration) -> ConfigError | None:
    """The error that a limit is which noise alone crosses; None: it is above the smallest."""
    if calibration.limit >= calibration.smallest_limit:
        return None
    message = f"a limit of {calibration.limit:g} is below what this device tells apart"
    told = calibration.smallest_limit < math.inf  # else a session is over before it says anything
    wider = f"--max-ratio {calibration.smallest_limit:.3f} or more, " * told
    hint = f"give {wider}a longer --time-limit, or a quieter device"
    return ConfigError(message, hint=hint)


def _find_interval(session: Session, setting: Setting) -> Interval:
    ratios = [each.ratio for each in session.sittings]
    return find_interval(ratios) if len(ratios) >= count_fewest(setting) else (0.0, math.inf)


def _never(_sittings: Sequence[object], _unit: str) -> bool:
    return False


def write_calibration(calibration: Calibration) -> str:
    """What it came to, line by line."""
    low, high = (stats.median(ends) for ends in zip(*calibration.intervals, strict=True))
    return "\n".join((
        f"{calibration.sessions} sessions of {calibration.artifact} against itself on {calibration.device}:",
        f"time / baseline lay within {low:.4f} to {high:.4f} (95 %, the median session)",
        f"above {calibration.limit:g} for nothing: {calibration.false_alarms} of {calibration.sessions} sessions; "
        f"two in a row, as red takes: {calibration.false_alarm_rate:.1%}",
        f"smallest limit that 95 % of sessions pass: {calibration.smallest_limit:.4f}",
        f"at {calibration.limit:g}, 95 % of sessions are above it for a file that takes "
        f"{calibration.smallest_found:.4f} times as long",
    ))  # fmt: skip
