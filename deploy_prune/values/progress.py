"""Being told how far a long stage is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told how far a long stage is; the command line draws it, a library caller may ignore it."""

    def __call__(self, task: str, done: int, total: int, note: str = "") -> None:
        """`done` of `total` steps of `task` are finished."""


def quiet(task: str, done: int, total: int, note: str = "") -> None:
    """The progress that nobody watches."""
