"""When a greedy selection stops by itself: the rules that look at the losses so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

SMALLEST = 1e-6
"""The least loss that a change of the loss is held against."""


class Stop(Protocol):
    """Decides from the losses so far (the first: with nothing taken in) whether more is worth it."""

    def __call__(self, losses: Sequence[float]) -> bool:
        """Whether to stop."""


@dataclass(frozen=True)
class StartRelative:
    """DCP's rule: the loss changes by no more than epsilon x the loss at the start, several times in a row.

    The first change is not looked at: with nothing taken in, the loss is large for any layer.
    """

    epsilon: float
    patience: int = 3

    def __call__(self, losses: Sequence[float]) -> bool:
        """Whether to stop."""
        changes = [abs(before - after) / losses[0] for before, after in pairwise(losses[1:])]
        return _is_lasting(changes, self.epsilon, self.patience)


@dataclass(frozen=True)
class StepRelative:
    """Our reading of DKP's adaptive rule: the loss falls by no more than epsilon x itself, several times in a row."""

    epsilon: float
    patience: int = 3

    def __call__(self, losses: Sequence[float]) -> bool:
        """Whether to stop."""
        changes = [(before - after) / max(before, SMALLEST) for before, after in pairwise(losses[1:])]
        return _is_lasting(changes, self.epsilon, self.patience)


def _is_lasting(changes: Sequence[float], epsilon: float, patience: int) -> bool:
    return len(changes) >= patience and all(change <= epsilon for change in changes[-patience:])
