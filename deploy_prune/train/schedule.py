"""How a learning rate falls from the first step to the last."""

from __future__ import annotations

import math


def half_cosine(step: int, steps: int) -> float:
    """The share of the first learning rate that is left at a step: 1 at step 0, 0.5 half way, 0 after the last."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))
