"""What inputs and outputs are called in every format."""

from __future__ import annotations

from collections.abc import Sequence


def give_names(role: str, given: Sequence[str], count: int) -> list[str]:
    """The names as given, else `input`, or `input_0`, `input_1`, ... of several."""
    return list(given) or ([role] if count == 1 else [f"{role}_{index}" for index in range(count)])
