"""How many examples a law is tried on: all of them with `--hypothesis-profile full`, as in CI, else a quarter."""

from __future__ import annotations

from hypothesis import settings

ALL = 100
"""Examples of a law that names no number, in full; hypothesis' own default."""


def begin_quick() -> None:
    """Make both profiles known and take the quick one, which `--hypothesis-profile full` replaces.

    Neither has a deadline: on a busy machine a first example takes as long as an import, and no law is about time.
    """
    settings.register_profile("quick", max_examples=ALL // 4, deadline=None)
    settings.register_profile("full", max_examples=ALL, deadline=None)
    settings.load_profile("quick")


def examples(most: int, *, derandomize: bool = False) -> settings:
    """The settings of a law whose every example takes long: so many examples in full, the profile's share of them."""
    usual = settings.default
    assert usual
    return settings(max_examples=max(1, round(most * usual.max_examples / ALL)), derandomize=derandomize)
