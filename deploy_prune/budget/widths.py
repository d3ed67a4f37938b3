"""The widths that a plan may give a group: a ladder per group, within the limits that the user sets."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from deploy_prune.values import Group, Keep


@dataclass(frozen=True)
class Limits:
    """What a plan may do to a group."""

    floor: float = 0.1
    """Share of its units that every group keeps at least (and never fewer than 2)."""
    multiple: int = 1
    """Channel counts are multiples of this, or the dense count."""
    scope: str = "full"
    """`inner` leaves groups that a residual add touches as they are, `full` cuts them too."""


@dataclass(frozen=True)
class Reach:
    """How far a group may move from the width that the rank cut left it, where the cost climbs in steps."""

    share: float = 0.5
    """The share of its width that it may move by."""
    least: int = 4
    """The units that it may move by in any case."""
    most: int = 32
    """The units that it may move by at most, where a wider width costs more."""
    beyond: int = 32
    """How many units farther it may move where that costs nothing: to the next edge of a stair."""

    def units(self, width: int) -> float:
        """How far a group of this width may move, in units: 4 from 5, 20 from 40, 32 from 100."""
        return min(max(self.share * width, self.least), self.most)


REACH = Reach()


@dataclass(frozen=True, eq=False)
class Ladder:
    """The widths that one group may have, ascending; the last is the dense one."""

    steps: np.ndarray

    def nearest(self) -> np.ndarray:
        """The step closest to each width from 0 to the dense one, the larger at a tie."""
        middles = (self.steps[1:] + self.steps[:-1]) / 2
        snapped: np.ndarray = self.steps[np.searchsorted(middles, np.arange(self.steps[-1] + 1), side="right")]
        return snapped


class HasWidth(Protocol):
    """A group of channels, of a graph or of a latency table."""

    @property
    def name(self) -> str:
        """What plans call it."""

    @property
    def width(self) -> int:
        """How many units it has in the dense network."""


def dense_widths(groups: Iterable[HasWidth]) -> np.ndarray:
    """The dense widths of groups, in units: (groups,)."""
    return np.array([group.width for group in groups])


def kept_widths(groups: Iterable[HasWidth], keep: Keep) -> np.ndarray:
    """The widths of groups under a plan, in units: (groups,); a group that the plan does not name stays whole."""
    return np.array([len(keep[group.name]) if group.name in keep else group.width for group in groups])


def ladder(group: Group, limits: Limits) -> Ladder:
    """Every allowed width of a group."""
    if limits.scope == "inner" and group.residual:
        return Ladder(np.array([group.width]))
    floor = min(group.width, max(2, math.ceil(limits.floor * group.width)))
    step = limits.multiple // math.gcd(limits.multiple, group.channels_per_unit)
    multiples = np.arange(step, group.width, step)
    return Ladder(np.array([*multiples[multiples >= floor], group.width]))
