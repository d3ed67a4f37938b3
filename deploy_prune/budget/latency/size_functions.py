"""What kernels make of a number of channels: tiles, vectors, and where a narrow kernel stands in for a wide one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NARROW, WASTED = 2, 0.01
"""Channels of XNNPACK's narrow kernel, and the share of all channels that whole tiles of the wide one may waste before
it is taken: found by counting single layers on simulated cores."""


@dataclass(frozen=True)
class RoundedUp:
    """Channels rounded up to whole tiles, as a multiple of the channels."""

    tile: int
    """Channels per tile."""

    def __call__(self, channels: np.ndarray) -> np.ndarray:
        """How many times the channels are worked on: 8 / 6 where six channels take two tiles of four; any shape."""
        some = np.maximum(channels, 1)
        times: np.ndarray = self.tile * np.ceil(some / self.tile) / some
        return times


@dataclass(frozen=True)
class Where:
    """1 where the channels are whole vectors (or where they are not), else 0."""

    width: int
    """Floats per vector."""
    aligned: bool = True
    """Whether 1 stands for whole vectors; False: for all others."""

    def __call__(self, channels: np.ndarray) -> np.ndarray:
        """Tell whole vectors of channels, 1.0 or 0.0 each; any shape."""
        whole: np.ndarray = ((channels % self.width == 0) == self.aligned).astype(np.float64)
        return whole


@dataclass(frozen=True)
class Narrow:
    """1 where XNNPACK takes its kernel of two channels for one of a tile, else 0: whole tiles would waste too much."""

    tile: int
    """Channels per tile of the kernel that it takes elsewhere."""

    def __call__(self, channels: np.ndarray) -> np.ndarray:
        """Tell where two by two is less: 18 of tiles of eight would be 24, 238 would be 240; 1.0 or 0.0, any shape."""
        whole, pairs = (size * np.ceil(channels / size) for size in (self.tile, NARROW))
        taken: np.ndarray = ((whole > (1 + WASTED) * channels) & (pairs < whole)).astype(np.float64)
        return taken


SizeFunction = RoundedUp | Where | Narrow
"""What a column may make of the channels of an operator."""
