"""Listeners to a run's progress: they tell what was done how often, and act when a stage begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from deploy_prune.values import Progress


@dataclass(frozen=True)
class Counting:
    """A listener that counts how often each task got to its first step, records of before aside."""

    times: Counter[str] = field(default_factory=Counter)
    """Task -> how often it was begun, such as `trained-1` or `dense: training`."""

    def __call__(self, task: str, done: int, total: int, note: str = "") -> None:
        if done == 1 and note != "done before":
            self.times[task] += 1


def at_begin_of(stage: str, act: Callable[[], object]) -> Progress:
    """A listener that calls `act` when a stage begins."""

    def told(task: str, done: int, total: int, note: str = "") -> None:
        if (task, done) == (stage, 0):
            act()

    return told


def interrupt_at(stage: str) -> Progress:
    """A listener that interrupts the run, as Ctrl-C does, when a stage begins."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    return at_begin_of(stage, interrupt)


def interrupt_after(task: str, steps: int) -> Progress:
    """A listener that interrupts the work when a task, or several of one name, have told that many steps."""
    heard = 0

    def told(name: str, done: int, total: int, note: str = "") -> None:
        nonlocal heard
        heard += name == task
        if name == task and heard == steps:
            raise KeyboardInterrupt

    return told
