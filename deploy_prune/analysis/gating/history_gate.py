"""A gate that looks back at measurements of before, where the file of before is not at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deploy_prune.analysis.gating.counting import check_counts, count
from deploy_prune.analysis.gating.gate import TIME_LIMIT_S, GateResult, Look, decide
from deploy_prune.analysis.gating.history import History, describe_run
from deploy_prune.analysis.gating.limits import (
    FEWEST_RUNS,
    Limits,
    Sitting,
    check_against_history,
    check_budget,
    find_interval,
)
from deploy_prune.analysis.gating.session import count_fewest, take_session
from deploy_prune.timing.bench import Setting
from deploy_prune.values import Artifact, Progress, Quality, quiet

Candidate = tuple[Artifact, Quality | None]
NARROW = 1.02
"""The upper end of a time's interval / its lower one below which one run needs no further sitting."""


def run_gate_on_history(
    candidate: Candidate,
    setting: Setting,
    limits: Limits,
    history: History,
    *,
    time_limit_s: float = TIME_LIMIT_S,
    progress: Progress = quiet,
) -> GateResult:
    """Hold a candidate against measurements of before.

    Only those count that were taken of a file of this name on the same device, by the same version of the runtime, with
    as many threads, in the same precision and unit. The verdict is "inconclusive" until there are `FEWEST_RUNS`.

    Args:
        candidate: the file, which takes turns with itself, and what is known of it on test images.
        setting: where and how it runs.
        limits: what it must keep to.
        history: the measurements of before.
        time_limit_s: after how many seconds it is given up.
        progress: told how many sessions have ended.

    Raises:
        ConfigError: a limit on what cannot be counted of the candidate.
        InputError: the file does not run; Unavailable: no such runtime or device.
        RecordError, StorageError: the history cannot be used.
    """
    artifact, quality = candidate
    known: list[int] = []
    counted = count(artifact, limits, quality)

    def look(seconds: float) -> Look:
        session = take_session((artifact, artifact), setting, _is_narrow, time_limit_s=seconds)
        series, run = describe_run(artifact, setting, session)
        earlier = [each.value for each in history.list_runs(series)]
        known.append(len(earlier))
        absolute = check_budget(limits, session.sittings, session.unit, fewest=count_fewest(setting))
        counts = check_counts(limits, counted, session.peak_memory_bytes)
        return (*check_against_history(limits, earlier, run.value), *absolute, *counts), session

    asked = GateResult("inconclusive", "", str(history.path), artifact.path, setting.device.fingerprint,
                       artifact.runtime, setting.threads, limits)  # fmt: skip
    result = decide(look, asked, setting, time_limit_s=time_limit_s, progress=progress)
    if known and known[-1] < FEWEST_RUNS and result.verdict == "inconclusive":
        why = f"{known[-1]} of the {FEWEST_RUNS} measurements that it takes are in {history.path}"
        result = replace(result, why=why)
    return result


def update_history(history: History, candidate: Artifact, setting: Setting, result: GateResult) -> None:
    """Add what a gate has measured of its candidate, unless it failed.

    Raises:
        RecordError, StorageError: the history cannot be used.
    """
    if result.sessions and result.verdict != "failed":
        history.add(*describe_run(candidate, setting, result.sessions[-1]))


def _is_narrow(sittings: Sequence[Sitting], _unit: str) -> bool:
    low, high = find_interval([each.candidate for each in sittings])
    return high <= NARROW * low
