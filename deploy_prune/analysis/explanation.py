"""What a look at two files of one format has shown."""

from __future__ import annotations

from dataclasses import dataclass

from deploy_prune.analysis.slowdown import Appeared, LayerPair, OffStair, TimeShare
from deploy_prune.timing.devices import MILLISECONDS
from deploy_prune.values import Interval, Target


@dataclass(frozen=True)
class Explanation:
    """Two files of one format, the second one held against the first."""

    before: str
    after: str
    target: Target
    ratio: float
    """The second file's time as a ratio to the first one's, bracketed by it."""
    interval: Interval
    before_ms: float
    """What the first file takes, in `unit`."""
    after_ms: float
    macs_ratio: float | None
    """None: nothing here takes such files apart, and their layers are not known."""
    layers: tuple[LayerPair, ...]
    """In order; their times add up to the whole files'. Empty where they are not known."""
    appeared: tuple[Appeared, ...]
    off_stair: tuple[OffStair, ...]
    memory_bound_before: TimeShare
    memory_bound_after: TimeShare
    not_delegated_before: TimeShare
    not_delegated_after: TimeShare
    source: str
    """Where the layers' times are from."""
    not_timed: tuple[str, ...]
    """Operators that do not run alone, so that they have no time of their own."""
    sentence: str
    unit: str = MILLISECONDS
    """What all times are counted in, those of layers too."""

    @property
    def faster(self) -> bool:
        """Whether the interval stays below 1."""
        return self.interval[1] < 1
