"""What a closed-form refit found out, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerRefit:
    """What became of one layer."""

    name: str
    """The layer's name, such as `features.2.conv.1.0`."""
    error_before: float | None = None
    """How far its outputs were from what they should be: the squared error on held-out images as a share of the
    variance of what they should be. None: it was not measured."""
    error_after: float | None = None
    """The same of the best new weights, whether they were kept or not; None: there were none."""
    ridge: float | None = None
    """The ridge that these were solved with, one of those of the settings."""
    condition: float | None = None
    """The condition number of the moments that were solved, with this ridge."""
    rows: int = 0
    """How many positions they were fitted to."""
    kept: bool = False
    """Whether the network has the new weights."""
    corrected: bool = False
    """Whether they also make up for what the stream that the layer is added to has lost."""
    seconds: float = 0.0
    skipped: str = ""
    """Why the layer was left as it is without new weights; empty: it was solved."""
