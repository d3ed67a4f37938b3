"""Tells from disassembled code whether a runtime computes with vectors (NEON): otherwise its cost says nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from deploy_prune.errors import Unavailable

_VECTOR = re.compile(
    r"(?:fmla|fmls|mla|mls|[su]ml[as]l2?|[su]mull2?|sqdmlal2?|(?P<dot>[su]dot))\s+v\d+\.(?P<lanes>\d+)"
)
"""A multiplication of whole vectors, or one with an addition, and the lanes of what it writes."""
_SCALAR = re.compile(r"(?:fmadd|fmsub|fnmadd|fnmsub|smaddl|umaddl)\s")
FEW = 0.01
"""The share of all instructions up to which scalar multiply-adds are those of the call itself: in kernels it is ten
times as much."""
DOT = 4
"""Multiply-adds per lane of a dot product."""


@dataclass(frozen=True)
class MultiplyAdds:
    """How many multiply-adds an inference executed."""

    vector: int
    """Multiply-adds in vector instructions, every lane counted."""
    scalar: int
    """Multiply-adds one at a time."""


def count_multiply_adds(blocks: Iterable[tuple[tuple[str, ...], int]]) -> MultiplyAdds:
    """Count them in disassembled blocks, each with how often it ran."""
    vector = scalar = 0
    for instructions, count in blocks:
        own = [match for match in map(_VECTOR.match, instructions) if match]
        vector += count * sum(int(match["lanes"]) * (DOT if match["dot"] else 1) for match in own)
        scalar += count * sum(_SCALAR.match(each) is not None for each in instructions)
    return MultiplyAdds(vector, scalar)


def check_vectors(done: MultiplyAdds, instructions: int, path: str, core: str) -> None:
    """Refuse what was computed number by number; what multiplies nothing (an addition) has little to compute.

    Args:
        done: the multiply-adds of an inference.
        instructions: how many instructions it executed in all.
        path: the file, as users know it.
        core: the core's own name.

    Raises:
        Unavailable: more multiply-adds were scalar than in vectors.
    """
    if done.scalar > max(done.vector, FEW * instructions):
        message = (
            f"{path} is not run with vector instructions on the simulated {core}: {done.vector:,} multiply-adds of "
            f"{done.vector + done.scalar:,} are in them"
        )
        hint = "its cost would say nothing about a real core: the runtime lacks kernels for this file, or take another"
        raise Unavailable(message, hint=hint)
