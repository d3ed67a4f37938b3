"""Being told how far a long stage is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Told how far a long stage is; the command line draws it, a library caller may ignore it."""

    def __call__(self, task: str, done: int, total: int, note: str = "") -> None:
        """`done` of `total` steps of `task` are finished."""


def quiet(task: str, done: int, total: int, note: str = "") -> None:
    """The progress that nobody watches."""


class Lines:
    """A line on stderr when a task begins to report, when it ends, and every ten seconds between, with the time left.

    Not a value: it remembers when each task began.
    """

    EVERY_S = 10.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the time, in seconds, from `clock`."""
        self._clock = clock
        self._begun: dict[str, tuple[float, int]] = {}
        self._told: dict[str, float] = {}

    def __call__(self, task: str, done: int, total: int, note: str = "") -> None:
        """See `Progress`."""
        now = self._clock()
        if task in self._told and done < total and now - self._told[task] < self.EVERY_S:
            return
        began, first = self._begun.setdefault(task, (now, done))
        self._told[task] = now
        left = ""
        if first < done < total:
            left = f"about {write_seconds((now - began) * (total - done) / (done - first))} left"
        sys.stderr.write(f"{task}: {done}/{total}{'  ' * bool(note or left)}{', '.join(filter(None, (note, left)))}\n")
        if done >= total:  # the next one of this name begins anew
            del self._begun[task], self._told[task]


def write_seconds(seconds: float) -> str:
    """Write a time in the unit that people would: `40 s`, `3 min`, `2.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


told_in_lines = Lines()
"""What tells a caller in Python, who hands over no progress of his own; `quiet` tells nobody."""


def prefix_tasks(stage: str, progress: Progress) -> Progress:
    """Make a progress whose tasks bear the name of their stage."""

    def told(task: str, done: int, total: int, note: str = "") -> None:
        progress(f"{stage}: {task}", done, total, note)

    return told
