"""What is counted of a candidate instead of timed: its size, its memory, its delegated operators, its wrong answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy_prune import plugins
from deploy_prune.analysis.gating.limits import BYTES, OPERATORS, PARTITIONS, WRONG, Check, Limits, find_side
from deploy_prune.analysis.xnnpack_delegation import ask_delegation
from deploy_prune.errors import ConfigError
from deploy_prune.formats.templates import TEMPLATES
from deploy_prune.values import Artifact, Delegation, Quality

DELEGATING = "litert"
"""The runtime whose delegate says what it takes."""


@dataclass(frozen=True)
class Counted:
    """What was counted of a candidate."""

    size_bytes: int
    delegation: Delegation | None = None
    """None: nobody asks."""
    quality: Quality | None = None
    """What its run's record says of it on test images; None: nobody asks."""


def count(candidate: Artifact, limits: Limits, quality: Quality | None) -> Counted:
    """Count what limits ask for.

    Raises:
        ConfigError: delegated operators of a runtime without a delegate, or accuracy without a record of it.
        Unavailable: the runtime refuses the file.
    """
    if limits.accuracy is not None and quality is None:
        hint = "give the run folder as --candidate: its record has the accuracy on test"
        raise ConfigError(f"nothing says how accurate {candidate.path} is", hint=hint)
    if limits.not_delegated is None and limits.partitions is None:
        return Counted(candidate.size_bytes, quality=quality)
    return Counted(candidate.size_bytes, count_delegation(candidate), quality)


def count_delegation(candidate: Artifact) -> Delegation:
    """Count the operators of a file that a delegate takes.

    Raises:
        ConfigError: its runtime has none that says so.
        Unavailable: the runtime refuses the file.
    """
    if candidate.runtime != DELEGATING:
        message = f"{candidate.runtime} does not say which operators a delegate takes"
        raise ConfigError(message, hint=f"leave these limits out, or give a file that {DELEGATING} runs")
    template = plugins.build(TEMPLATES, candidate.format).read(Path(candidate.path).read_bytes())
    return ask_delegation(Path(candidate.path), len(template.structure.operators))


def check_counts(limits: Limits, counted: Counted, peak_memory_bytes: int) -> tuple[Check, ...]:
    """Hold what was counted against its limits."""
    return tuple(_list_checks(limits, counted, peak_memory_bytes))


def _list_checks(limits: Limits, counted: Counted, peak_memory_bytes: int) -> Iterator[Check]:
    numbers: list[tuple[str, int | None, int, str]] = [
        ("file size", limits.size_bytes, counted.size_bytes, BYTES),
        ("peak memory", limits.peak_memory_bytes, peak_memory_bytes, BYTES),
    ]
    if counted.delegation is not None:
        left = counted.delegation.operators - counted.delegation.taken
        numbers.append((f"not delegated of {counted.delegation.operators}", limits.not_delegated, left, OPERATORS))
        numbers.append(("delegated in", limits.partitions, counted.delegation.partitions, PARTITIONS))
    for name, limit, value, unit in numbers:
        if limit is not None:
            yield Check(name, limit, value, (value, value), "above" if value > limit else "within", unit)
    if limits.accuracy is not None and counted.quality is not None:
        low, high = (1 - bound for bound in reversed(counted.quality.interval))
        wrong, allowed = 1 - counted.quality.value, 1 - limits.accuracy
        side = "within" if wrong <= allowed else find_side(allowed, low, high)
        yield Check("wrong", allowed, wrong, (low, high), side, WRONG)
